//! What an alignment-stage defence is.

use titer_model::Decoder;
use titer_train::Objective;

use super::training::Training;
use crate::{DefenceContext, Result};

/// An alignment-stage defence: an objective and how long to follow it.
pub trait Immunizer {
    /// The settings that all of them have.
    fn training(&self) -> &Training;

    /// Examples that a step trains on besides those of [`Training`], on average: harmful batches, second
    /// passes, simulated attacks.
    fn extra_examples_per_step(&self) -> f64;

    /// What to follow, on the defender's data. `start` is the aligned model with fresh adapters if there are
    /// any; whoever needs it later keeps [`Decoder::duplicate`] of it, since its weights are trained.
    ///
    /// # Errors
    /// When the data cannot be sampled as the method needs, or the model is not made for it.
    fn objective(&self, context: &DefenceContext, start: &Decoder) -> Result<Box<dyn Objective>>;
}
