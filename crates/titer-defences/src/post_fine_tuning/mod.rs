//! The post-fine-tuning stage: what is done to the weights that came out of a user's fine-tuning.

mod repair;

pub use repair::{Repair, RepairContext, RepairReport};

use crate::registry::Entry;

/// Every method of this stage.
pub(crate) const METHODS: &[Entry] = &[];
