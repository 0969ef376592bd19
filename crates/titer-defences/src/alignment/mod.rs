//! The alignment stage: what is done to a model before anyone gets it.

mod adversarial_loss;
mod booster;
mod circuit_breakers;
mod condition_number;
mod immunizer;
mod none;
mod npo;
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
pub use immunizer::Immunizer;
pub use npo::Npo;
pub use repnoise::{RepNoise, RepNoiseForm, RepNoiseLoss};
pub use rmu::Rmu;
pub use sdd::Sdd;
pub use t_vaccine::TVaccine;
pub use tar::{Tamper, Tar};
pub use training::Training;
pub(crate) use training::constant_rate;
pub use vaccine::Vaccine;

use crate::registry::Entry;

/// Every method of this stage.
pub(crate) const METHODS: &[Entry] = &[
    Entry::baseline(none::method),
    Entry::immunizer::<AdversarialLoss>(adversarial_loss::method),
    Entry::immunizer::<Booster>(booster::method),
    Entry::immunizer::<RepNoise>(repnoise::method),
    Entry::immunizer::<TVaccine>(t_vaccine::method),
    Entry::immunizer::<Tar>(tar::method),
    Entry::immunizer::<Vaccine>(vaccine::method),
    Entry::immunizer::<CircuitBreakers>(circuit_breakers::method),
    Entry::immunizer::<Rmu>(rmu::method),
    Entry::immunizer::<ConditionNumber>(condition_number::method),
    Entry::immunizer::<Npo>(npo::method),
    Entry::immunizer::<Sdd>(sdd::method),
];
