//! The settings that every alignment-stage defence has: how long, how fast, and what keeps the model.

use serde::Deserialize;
use titer_model::{Base, LoraSpec};
use titer_plan::Parameter;
use titer_plan::stage::TrainSpec;

use crate::{DefenceContext, Keep, Result};

/// How long and how fast to train, and the batches that keep refusals and ability meanwhile. Part of a
/// method's settings by `#[serde(flatten)]`; [`Training::parameters`] describes it to the registry.
#[derive(Debug, Clone, Deserialize)]
pub struct Training {
    /// Optimiser steps.
    pub steps: u64,
    /// Learning rate, constant.
    pub rate: f64,
    /// Refusals per step.
    pub batch_refusal: usize,
    /// Permitted examples per step.
    pub batch_permitted: usize,
    /// Weight of the refusals against the permitted examples, 0…1.
    pub refusal_weight: f64,
    /// Largest global gradient norm.
    pub clip: f64,
    /// Rank of the adapters that are trained instead of the weights and merged in the end; 0 trains the
    /// weights.
    pub lora_rank: usize,
    /// The adapters' product is multiplied by `lora_alpha / lora_rank`.
    pub lora_alpha: f64,
    /// The type of the matrices that adapters stand beside.
    #[serde(default)]
    pub lora_base: Base,
}

impl Training {
    /// What the registry says of these settings; `steps` and `rate` are the method's defaults.
    pub fn parameters(steps: i64, rate: f64) -> Vec<Parameter> {
        Self::parameters_with(steps, rate, 0.4)
    }

    /// The same with the method's own default of `refusal_weight`.
    pub fn parameters_with(steps: i64, rate: f64, refusal_weight: f64) -> Vec<Parameter> {
        const BASES: &[&str] = &Base::NAMES;
        vec![
            Parameter::integer("steps", "steps", steps, 1..=10_000_000, "optimiser steps"),
            Parameter::real("rate", "1/step", rate, 1e-9..=1.0, "learning rate, constant"),
            Parameter::integer("batch_refusal", "examples", 24, 1..=65_536, "refusals per step"),
            Parameter::integer("batch_permitted", "examples", 40, 1..=65_536, "permitted examples per step"),
            Parameter::real(
                "refusal_weight",
                "1",
                refusal_weight,
                0.0..=1.0,
                "weight of refusals against permitted examples",
            ),
            Parameter::real("clip", "1", 1.0, 1e-9..=1e9, "largest global gradient norm"),
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
            Parameter::choice("lora_base", "f32", BASES, "the type of the matrices beside adapters").later(),
        ]
    }

    /// The settings of the loop.
    pub fn schedule(&self) -> TrainSpec {
        TrainSpec::constant(self.steps, self.batch_refusal + self.batch_permitted, self.rate, Some(self.clip))
    }

    /// The adapters that are trained instead of the weights, if that is asked for.
    pub fn adapter(&self) -> Option<LoraSpec> {
        let base = self.lora_base;
        (self.lora_rank > 0)
            .then(|| LoraSpec { base, ..LoraSpec::everywhere(self.lora_rank, self.lora_alpha) })
    }

    /// The batches that keep refusals and ability.
    ///
    /// # Errors
    /// When the data cannot be sampled.
    pub fn keep(&self, context: &DefenceContext) -> Result<Keep> {
        Keep::new(context, self.batch_refusal, self.batch_permitted, self.refusal_weight)
    }
}
