//! The fine-tuning stage: how the provider trains on a user's data.

mod guard;

pub use guard::{Guard, UserTraining};

use crate::registry::Entry;

/// Every method of this stage.
pub(crate) const METHODS: &[Entry] = &[];
