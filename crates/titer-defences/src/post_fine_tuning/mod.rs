//! The post-fine-tuning stage: what is done to the weights that came out of a user's fine-tuning.

mod antidote;
mod edit;
mod form;
mod interpolation;
mod panacea;
mod random_perturbation;
mod repair;
mod resta;
mod safe_lora;
mod wanda;

pub use antidote::{Antidote, SparedBy};
pub use form::Form;
pub use interpolation::Interpolation;
pub use panacea::Panacea;
pub use random_perturbation::{NoiseUnit, RandomPerturbation};
pub use repair::{Repair, RepairContext, RepairReport};
pub use resta::Resta;
pub use safe_lora::{Normalization, SafeLora};

use crate::registry::Entry;

/// Every method of this stage.
pub(crate) const METHODS: &[Entry] = &[
    Entry::repair::<Interpolation>(interpolation::method),
    Entry::repair::<RandomPerturbation>(random_perturbation::method),
    Entry::repair::<Antidote>(antidote::method),
    Entry::repair::<SafeLora>(safe_lora::method),
    Entry::repair::<Resta>(resta::method),
    Entry::repair::<Panacea>(panacea::method),
];
