//! The alignment stage: what is done to a model before anyone gets it.

use titer_model::LoraSpec;
use titer_plan::Parameter;
use titer_plan::stage::{Schedule, TrainSpec};
use titer_train::Objective;

use crate::{DefenceContext, Result};

/// An alignment-stage defence: an objective and how long to follow it.
pub trait Immunizer {
    /// The settings of the training loop.
    fn schedule(&self) -> TrainSpec;

    /// Examples that a step trains on besides its batches, on average: the cost of simulated attacks.
    fn extra_examples_per_step(&self) -> f64 {
        0.0
    }

    /// The adapters that are trained instead of the weights, if that is asked for.
    fn adapter(&self) -> Option<LoraSpec>;

    /// What to follow, on the defender's data.
    ///
    /// # Errors
    /// When the data cannot be sampled as the method needs.
    fn objective(&self, context: &DefenceContext) -> Result<Box<dyn Objective>>;
}

/// A constant rate without warm-up, AdamW with betas 0.9 and 0.999 and without weight decay.
pub(crate) fn constant_rate(steps: u64, batch: usize, rate: f64, clip: Option<f64>) -> TrainSpec {
    TrainSpec {
        steps,
        batch,
        rate,
        schedule: Schedule::Constant,
        warmup_steps: 0,
        beta1: 0.9,
        beta2: 0.999,
        weight_decay: 0.0,
        clip,
    }
}

/// The parameters of [`Immunizer::adapter`].
pub(crate) fn lora_parameters() -> [Parameter; 2] {
    [
        Parameter::integer(
            "lora_rank",
            "1",
            0,
            0..=4096,
            "rank of adapters trained instead of the weights, and merged; 0 for none",
        ),
        Parameter::real(
            "lora_alpha",
            "1",
            16.0,
            1e-3..=1e6,
            "the adapters' product is multiplied by alpha / rank",
        ),
    ]
}
