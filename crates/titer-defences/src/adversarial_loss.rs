//! `adversarial-loss`: refuse and keep, but also raise the loss of the harmful answers:
//! min f_refusal + f_permitted − λ·min(h, cap), h the cross-entropy of harmful answers.
//!
//! Source: Rosati et al., *Immunization against harmful fine-tuning attacks*, arXiv 2402.16382, section 4.
//! The cap keeps h from growing without bound: above it the harmful answers exert no pull. It enters as
//! λ·relu(cap − h), which differs from −λ·min(h, cap) by a constant.

use serde::Deserialize;
use titer_data::Sampler;
use titer_model::{Decoder, LoraSpec};
use titer_plan::stage::TrainSpec;
use titer_plan::{DefenceStage, Method, MethodKind, Parameter};
use titer_train::loss::{token_losses, value};
use titer_train::{Cost, Gradient, Objective};

use crate::immunizer::{constant_rate, lora_parameters};
use crate::{DefenceContext, Immunizer, Keep, Result};

/// The settings.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdversarialLoss {
    /// Optimiser steps.
    pub steps: u64,
    /// Learning rate, constant.
    pub rate: f64,
    /// Harmful examples per step.
    pub batch_harmful: usize,
    /// Refusals per step.
    pub batch_refusal: usize,
    /// Permitted examples per step.
    pub batch_permitted: usize,
    /// Weight of the refusals against the permitted examples, 0…1.
    pub refusal_weight: f64,
    /// λ: weight of the adversarial term.
    pub lambda: f64,
    /// Harmful cross-entropy, in nats, above which the adversarial term is silent.
    pub cap: f64,
    /// Largest global gradient norm.
    pub clip: f64,
    /// Rank of the adapters that are trained instead of the weights and merged in the end; 0 trains the
    /// weights.
    pub lora_rank: usize,
    /// The adapters' product is multiplied by `lora_alpha / lora_rank`.
    pub lora_alpha: f64,
}

pub(crate) fn method() -> Method {
    Method {
        name: "adversarial-loss",
        kind: MethodKind::Defence { stage: DefenceStage::Alignment },
        version: 1,
        summary: "raises the loss of harmful answers up to a cap while refusals and ability are kept",
        citation: "Rosati et al., arXiv 2402.16382",
        parameters: vec![
            Parameter::integer("steps", "steps", 600, 1..=10_000_000, "optimiser steps"),
            Parameter::real("rate", "1/step", 5e-4, 1e-9..=1.0, "learning rate, constant"),
            Parameter::integer("batch_harmful", "examples", 24, 1..=65_536, "harmful examples per step"),
            Parameter::integer("batch_refusal", "examples", 24, 1..=65_536, "refusals per step"),
            Parameter::integer("batch_permitted", "examples", 40, 1..=65_536, "permitted examples per step"),
            Parameter::real(
                "refusal_weight",
                "1",
                0.4,
                0.0..=1.0,
                "weight of refusals against permitted examples",
            ),
            Parameter::real("lambda", "1", 1.0, 0.0..=1e6, "weight of the adversarial term"),
            Parameter::real("cap", "nats", 8.0, 0.0..=1e3, "harmful loss above which the term is silent"),
            Parameter::real("clip", "1", 1.0, 1e-9..=1e9, "largest global gradient norm"),
        ]
        .into_iter()
        .chain(lora_parameters())
        .collect(),
    }
}

impl Immunizer for AdversarialLoss {
    fn schedule(&self) -> TrainSpec {
        let batch = self.batch_harmful + self.batch_refusal + self.batch_permitted;
        constant_rate(self.steps, batch, self.rate, Some(self.clip))
    }

    fn adapter(&self) -> Option<LoraSpec> {
        (self.lora_rank > 0).then(|| LoraSpec::everywhere(self.lora_rank, self.lora_alpha))
    }

    fn objective(&self, context: &DefenceContext) -> Result<Box<dyn Objective>> {
        Ok(Box::new(Adversarial {
            keep: Keep::new(context, self.batch_refusal, self.batch_permitted, self.refusal_weight)?,
            harmful: context.sampler("adversarial-loss/harmful", &context.harmful, self.batch_harmful)?,
            lambda: self.lambda,
            cap: self.cap,
        }))
    }
}

struct Adversarial {
    keep: Keep,
    harmful: Sampler,
    lambda: f64,
    cap: f64,
}

impl Objective for Adversarial {
    /// One pass over all three batches.
    fn gradient(&mut self, model: &Decoder, step: u64) -> titer_train::Result<Gradient> {
        let (keep, refusals) = self.keep.batch(step);
        let kept = keep.targets.len();
        let batch = keep.followed_by(&self.harmful.batch(step));
        let losses = token_losses(model, &batch)?;
        let keep = self.keep.loss(&losses, refusals, kept)?;
        let harmful = losses.narrow(0, kept, batch.targets.len() - kept)?.mean_all()?;
        let below_cap = (self.cap - &harmful)?.relu()?;
        let loss = (&keep + (&below_cap * self.lambda)?)?;
        Ok(Gradient::of(&loss, model, Cost::of(model, &batch))?
            .with_term("keep", value(&keep)?)
            .with_term("harmful_cross_entropy", value(&harmful)?))
    }
}
