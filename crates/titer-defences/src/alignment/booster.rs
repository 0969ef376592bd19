//! `booster`: keep refusals and ability while the harmful loss becomes hard to reduce:
//! ∇ = ∇f(w) + λ·(∇h(w) − ∇h(w − α·∇h(w)/(‖∇h(w)‖ + 1e-7))), h the cross-entropy of harmful answers; the
//! norm is over all trainable weights.
//!
//! Source: Huang et al., *Booster: tackling harmful fine-tuning for large language models via attenuating
//! harmful perturbation*, arXiv 2409.01586, equation 3 and algorithm 1. It is the gradient of f(w) +
//! λ·(h(w) − h(w − α·∇h/‖∇h‖)) where the perturbation is taken as constant, as the paper does.

use serde::Deserialize;
use titer_data::Sampler;
use titer_model::Decoder;
use titer_plan::{DefenceStage, Method, MethodKind, Parameter};
use titer_train::loss::{mean_cross_entropy, value};
use titer_train::perturbed::at_weights;
use titer_train::{Cost, Gradient, Objective};

use super::{Immunizer, Training, rehearsal};
use crate::{DefenceContext, Keep, Result};

/// Keeps a vanishing gradient from a division by zero.
const SMALLEST_NORM: f64 = 1e-7;

/// The settings.
#[derive(Debug, Clone, Deserialize)]
pub struct Booster {
    /// How long, how fast, and what is kept.
    #[serde(flatten)]
    pub training: Training,
    /// Harmful examples per step.
    pub batch_harmful: usize,
    /// λ: weight of the harmful loss's reduction.
    pub lambda: f64,
    /// α: length of the harmful step, as a distance between weights.
    pub alpha: f64,
}

pub(crate) fn method() -> Method {
    let own = [
        Parameter::integer(
            "batch_harmful",
            "examples",
            24,
            1..=65_536,
            "harmful examples per step; each is looked at twice",
        ),
        Parameter::real("lambda", "1", 0.3, 0.0..=1e6, "λ: weight of the harmful loss's reduction"),
        Parameter::real(
            "alpha",
            "1",
            0.1,
            0.0..=1e6,
            "α: length of the harmful step, as a distance between weights",
        ),
    ];
    Method {
        name: "booster",
        kind: MethodKind::defence(DefenceStage::Alignment, rehearsal::sham(None)),
        version: 1,
        summary: "lessens by how much one step along the harmful gradient lowers the harmful loss",
        citation: "Huang et al., arXiv 2409.01586",
        parameters: Training::parameters_with(300, 1e-3, 0.8).into_iter().chain(own).collect(),
    }
}

impl Immunizer for Booster {
    fn training(&self) -> &Training {
        &self.training
    }

    fn extra_examples_per_step(&self) -> f64 {
        2.0 * self.batch_harmful as f64
    }

    fn objective(&self, context: &DefenceContext, _: &Decoder) -> Result<Box<dyn Objective>> {
        if self.lambda == 0.0 {
            return rehearsal::plain(&self.training, context);
        }
        Ok(Box::new(Boosting {
            keep: self.training.keep(context)?,
            harmful: context.sampler("booster/harmful", &context.harmful, self.batch_harmful)?,
            lambda: self.lambda,
            alpha: self.alpha,
        }))
    }
}

struct Boosting {
    keep: Keep,
    harmful: Sampler,
    lambda: f64,
    alpha: f64,
}

impl Objective for Boosting {
    fn gradient(&mut self, model: &Decoder, step: u64) -> titer_train::Result<Gradient> {
        let kept = self.keep.gradient(model, step, 1.0)?;

        let batch = self.harmful.batch(step);
        let harmful_at = |model: &Decoder, name| {
            let loss = mean_cross_entropy(model, &batch)?;
            Ok(Gradient::of(&loss, model, Cost::of(model, &batch))?.with_term(name, value(&loss)?))
        };
        let before = harmful_at(model, "harmful_cross_entropy")?;
        let scale = -self.alpha / (before.norm()? + SMALLEST_NORM);
        let after = at_weights(model, &before.by_parameter, scale, |model| {
            harmful_at(model, "harmful_cross_entropy_after_step")
        })?;
        kept.add_scaled(self.lambda, &before)?.add_scaled(-self.lambda, &after)
    }
}
