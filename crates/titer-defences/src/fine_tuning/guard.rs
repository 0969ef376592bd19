//! What a fine-tuning-stage defence is.

use titer_data::Sampler;
use titer_model::Decoder;
use titer_plan::stage::TrainSpec;
use titer_train::{Objective, Supervised};

use crate::{DefenceContext, Result};

/// What the provider was asked to do.
#[derive(Debug, Clone)]
pub struct UserTraining {
    /// Batches of the user's data, harmless and harmful as they come.
    pub batches: Sampler,
    /// The loop that was ordered; its steps are the user's.
    pub train: TrainSpec,
}

impl UserTraining {
    /// Ordinary fine-tuning on the user's data: what happens without a guard.
    pub fn objective(&self) -> Supervised {
        Supervised::new(self.batches.clone())
    }
}

/// A fine-tuning-stage defence: what the provider follows instead of the user's loss.
pub trait Guard {
    /// Optimiser steps by which the user's first `user` steps are done; more than `user` for a method that
    /// takes steps of its own in between.
    fn steps(&self, user: u64) -> u64 {
        user
    }

    /// Examples that a step trains on besides the user's, on average.
    fn extra_examples_per_step(&self) -> f64;

    /// What to follow. `start` is the model before fine-tuning, with the user's fresh adapters if there are
    /// any; whoever needs it later keeps [`Decoder::duplicate`] of it, since its weights are trained.
    ///
    /// # Errors
    /// When the data cannot be sampled as the method needs, or the model is not made for it.
    fn objective(
        &self,
        user: UserTraining,
        context: &DefenceContext,
        start: &Decoder,
    ) -> Result<Box<dyn Objective>>;
}
