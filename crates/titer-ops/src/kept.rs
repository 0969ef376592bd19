//! What a forward pass leaves for the backward pass.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Something that is taken once: the first who asks has it, and it is gone.
#[derive(Debug)]
pub(crate) struct Kept<T>(Mutex<Option<T>>);

impl<T> Kept<T> {
    /// To be taken.
    pub(crate) fn new(value: Option<T>) -> Self {
        Self(Mutex::new(value))
    }

    /// In place of what is there.
    pub(crate) fn keep(&self, value: Option<T>) {
        *self.locked() = value;
    }

    /// What is there, if it is.
    pub(crate) fn take(&self) -> Option<T> {
        self.locked().take()
    }

    fn locked(&self) -> MutexGuard<'_, Option<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
