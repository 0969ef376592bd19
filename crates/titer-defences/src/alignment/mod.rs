//! The alignment stage: what is done to a model before anyone gets it.

mod adversarial_loss;
mod booster;
mod immunizer;
mod none;
mod repnoise;
mod t_vaccine;
mod tar;
mod training;
mod vaccine;

pub use adversarial_loss::AdversarialLoss;
pub use booster::Booster;
pub use immunizer::Immunizer;
pub use repnoise::{RepNoise, RepNoiseForm, RepNoiseLoss};
pub use t_vaccine::TVaccine;
pub use tar::Tar;
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
];
