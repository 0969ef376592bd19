//! Attacks by a user of a fine-tuning API, for whom the provider trains.

pub(crate) mod mixed_finetune;

pub use mixed_finetune::MixedFinetune;
