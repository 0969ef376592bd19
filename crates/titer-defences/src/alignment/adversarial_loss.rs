//! `adversarial-loss`: refuse and keep, but also raise the loss of the harmful answers:
//! min f_refusal + f_permitted − λ·min(h, cap), h the cross-entropy of harmful answers.
//!
//! Source: Rosati et al., *Immunization against harmful fine-tuning attacks*, arXiv 2402.16382, section 4.
//! The cap keeps h from growing without bound: above it the harmful answers exert no pull. It enters as
//! λ·relu(cap − h), which differs from −λ·min(h, cap) by a constant.

use serde::Deserialize;
use titer_data::Sampler;
use titer_model::Decoder;
use titer_plan::{DefenceStage, Method, MethodKind, Parameter};
use titer_train::loss::{token_losses, value};
use titer_train::{Cost, Gradient, Objective};

use super::{Immunizer, Training, rehearsal};
use crate::{DefenceContext, Keep, Result};

/// The settings.
#[derive(Debug, Clone, Deserialize)]
pub struct AdversarialLoss {
    /// How long, how fast, and what is kept.
    #[serde(flatten)]
    pub training: Training,
    /// Harmful examples per step.
    pub batch_harmful: usize,
    /// λ: weight of the adversarial term.
    pub lambda: f64,
    /// Harmful cross-entropy, in nats, above which the adversarial term is silent.
    pub cap: f64,
}

pub(crate) fn method() -> Method {
    let own = [
        Parameter::integer("batch_harmful", "examples", 24, 1..=65_536, "harmful examples per step"),
        Parameter::real("lambda", "1", 1.0, 0.0..=1e6, "λ: weight of the adversarial term"),
        Parameter::real("cap", "nats", 8.0, 0.0..=1e3, "c: harmful loss above which the term is silent"),
    ];
    Method {
        name: "adversarial-loss",
        kind: MethodKind::defence(DefenceStage::Alignment, rehearsal::sham(None)),
        version: 1,
        summary: "raises the loss of harmful answers up to a cap while refusals and ability are kept",
        citation: "Rosati et al., arXiv 2402.16382",
        parameters: Training::parameters(600, 5e-4).into_iter().chain(own).collect(),
    }
}

impl Immunizer for AdversarialLoss {
    fn training(&self) -> &Training {
        &self.training
    }

    fn extra_examples_per_step(&self) -> f64 {
        self.batch_harmful as f64
    }

    fn objective(&self, context: &DefenceContext, _: &Decoder) -> Result<Box<dyn Objective>> {
        if self.lambda == 0.0 {
            return rehearsal::plain(&self.training, context);
        }
        Ok(Box::new(Adversarial {
            keep: self.training.keep(context)?,
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
