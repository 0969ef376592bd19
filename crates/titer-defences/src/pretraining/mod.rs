//! The pretraining stage: what a base model is trained on.

pub(crate) mod curator;
mod data_filtering;

pub use curator::Curator;
pub use data_filtering::DataFiltering;

use crate::entry::MethodEntry;

/// Every method of this stage.
pub(crate) const METHODS: &[MethodEntry] = &[MethodEntry::curator::<DataFiltering>(data_filtering::method)];
