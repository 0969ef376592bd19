//! The fine-tuning stage: how the provider trains on a user's data.

mod guard;
mod guide;
mod lisa;

pub use guard::{Guard, UserTraining};
pub use guide::Guide;
pub use lisa::Lisa;

use crate::registry::Entry;

/// Every method of this stage.
pub(crate) const METHODS: &[Entry] = &[Entry::guard::<Lisa>(lisa::method)];
