//! A request to stop, shared by everyone who runs something.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A request to stop cleanly: running stages save where they are and end.
#[derive(Debug, Clone, Default)]
pub struct Interrupt(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    raised: AtomicBool,
    /// What ends the process, where its owner has said so.
    end: Option<fn()>,
}

impl Interrupt {
    /// One that can be raised at once too: `end` ends the process, whose owner only may do so.
    pub fn ending(end: fn()) -> Self {
        Self(Arc::new(Inner { raised: AtomicBool::default(), end: Some(end) }))
    }

    /// Asks everyone to stop.
    pub fn raise(&self) {
        self.0.raised.store(true, Ordering::Relaxed);
    }

    /// Ends the process, as a kill does; where nobody said how, asks everyone to stop.
    pub(crate) fn raise_at_once(&self) {
        self.raise();
        if let Some(end) = self.0.end {
            end();
        }
    }

    /// Whether someone asked.
    pub fn raised(&self) -> bool {
        self.0.raised.load(Ordering::Relaxed)
    }
}
