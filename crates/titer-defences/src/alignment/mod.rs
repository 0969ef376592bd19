//! The alignment stage: what is done to a model before anyone gets it.

mod adversarial_loss;
mod booster;
mod circuit_breakers;
mod condition_number;
mod identity;
pub(crate) mod immunizer;
mod none;
mod npo;
mod rehearsal;
mod repnoise;
mod rmu;
mod sdd;
mod spectrum;
mod t_vaccine;
mod tar;
mod training;
mod vaccine;

pub use adversarial_loss::AdversarialLoss;
pub use booster::Booster;
pub use circuit_breakers::CircuitBreakers;
pub use condition_number::ConditionNumber;
pub use identity::Identity;
pub use immunizer::Immunizer;
pub use npo::Npo;
pub use rehearsal::Rehearsal;
pub use repnoise::{RepNoise, RepNoiseForm, RepNoiseLoss};
pub use rmu::Rmu;
pub use sdd::Sdd;
pub use t_vaccine::TVaccine;
pub use tar::{Tamper, Tar, TarRows};
pub use training::Training;
pub use vaccine::Vaccine;

use crate::entry::MethodEntry;

/// Every method of this stage.
pub(crate) const METHODS: &[MethodEntry] = &[
    MethodEntry::baseline(none::method),
    MethodEntry::immunizer::<Identity>(identity::method),
    MethodEntry::immunizer::<Rehearsal>(rehearsal::method),
    MethodEntry::immunizer::<AdversarialLoss>(adversarial_loss::method),
    MethodEntry::immunizer::<Booster>(booster::method),
    MethodEntry::immunizer::<RepNoise>(repnoise::method),
    MethodEntry::immunizer::<TVaccine>(t_vaccine::method),
    MethodEntry::immunizer::<Tar>(tar::method),
    MethodEntry::immunizer::<Vaccine>(vaccine::method),
    MethodEntry::immunizer::<CircuitBreakers>(circuit_breakers::method),
    MethodEntry::immunizer::<Rmu>(rmu::method),
    MethodEntry::immunizer::<ConditionNumber>(condition_number::method),
    MethodEntry::immunizer::<Npo>(npo::method),
    MethodEntry::immunizer::<Sdd>(sdd::method),
];
