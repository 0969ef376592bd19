//! The alignment stage: what is done to a model before anyone gets it.

mod adversarial_loss;
mod immunizer;
mod none;
mod tar;
mod training;

pub use adversarial_loss::AdversarialLoss;
pub use immunizer::Immunizer;
pub use tar::Tar;
pub use training::Training;
pub(crate) use training::constant_rate;

use crate::registry::Entry;

/// Every method of this stage.
pub(crate) const METHODS: &[Entry] = &[
    Entry::baseline(none::method),
    Entry::immunizer::<AdversarialLoss>(adversarial_loss::method),
    Entry::immunizer::<Tar>(tar::method),
];
