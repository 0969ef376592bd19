//! A request to stop, shared by everyone who runs something.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A request to stop cleanly: running stages save where they are and end.
#[derive(Debug, Clone, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Asks everyone to stop.
    pub fn raise(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether someone asked.
    pub fn raised(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
