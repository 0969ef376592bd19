//! The post-fine-tuning stage: what is done to the weights that came out of a user's fine-tuning.

mod antidote;
mod edit;
mod form;
mod interpolation;
mod panacea;
mod place;
mod random_perturbation;
pub(crate) mod repair;
mod resta;
mod safe_lora;

pub use antidote::{Antidote, SparedBy};
pub use form::Form;
pub use interpolation::Interpolation;
pub use panacea::Panacea;
pub use place::Place;
pub use random_perturbation::{NoiseUnit, RandomPerturbation};
pub use repair::{Repair, RepairContext, RepairReport};
pub use resta::Resta;
pub use safe_lora::{Normalization, SafeLora};

use crate::entry::MethodEntry;

/// Every method of this stage.
pub(crate) const METHODS: &[MethodEntry] = &[
    MethodEntry::repair::<Interpolation>(interpolation::method),
    MethodEntry::repair::<RandomPerturbation>(random_perturbation::method),
    MethodEntry::repair::<Antidote>(antidote::method),
    MethodEntry::repair::<SafeLora>(safe_lora::method),
    MethodEntry::repair::<Resta>(resta::method),
    MethodEntry::repair::<Panacea>(panacea::method),
];
