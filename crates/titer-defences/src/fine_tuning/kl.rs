//! `kl`: keep the model's answers to the user's own prompts where they were: min f_user(w) + β·KL(p_start ‖ p_w), the
//! mean over the supervised positions of the user's batch.
//!
//! Source: the baseline "KL" of the field's tables (Huang et al., *Vaccine*, arXiv 2402.01109; git-disl/Vaccine@8937f68
//! `KLTrainer`). What holds the model is what the user trains it on: no refusal is looked at. That trainer takes its
//! softmax over positions instead of the vocabulary and compares prompts and padding too; here it is the divergence of
//! next-token distributions.

use serde::Deserialize;
use titer_data::Sampler;
use titer_model::Decoder;
use titer_ops::cross_entropy;
use titer_plan::{DefenceStage, Method, MethodKind, Parameter};
use titer_train::loss::{constant_logits, mean_divergence, supervised_logits, value};
use titer_train::{Cost, Gradient, Objective};

use super::{Guard, UserTraining, training_alone};
use crate::{DefenceContext, Result};

/// The settings.
#[derive(Debug, Clone, Deserialize)]
pub struct Kl {
    /// β: weight of the divergence.
    pub beta: f64,
}

pub(crate) fn method() -> Method {
    Method {
        name: "kl",
        kind: MethodKind::defence(DefenceStage::FineTuning, training_alone()),
        version: 1,
        summary: "holds the next-token distributions on the user's data near the aligned model's",
        citation: "Huang et al., arXiv 2402.01109 (baseline KL)",
        parameters: vec![Parameter::real(
            "beta",
            "1",
            1.0,
            0.0..=1e6,
            "β: weight of the divergence from the start",
        )],
    }
}

impl Guard for Kl {
    fn extra_examples_per_step(&self) -> f64 {
        0.0
    }

    fn objective(
        &self,
        user: UserTraining,
        _: &DefenceContext,
        start: &Decoder,
    ) -> Result<Box<dyn Objective>> {
        if self.beta == 0.0 {
            return Ok(Box::new(user.objective()));
        }
        Ok(Box::new(Held { user: user.batches, start: start.duplicate()?, beta: self.beta }))
    }
}

struct Held {
    user: Sampler,
    start: Decoder,
    beta: f64,
}

impl Objective for Held {
    fn gradient(&mut self, model: &Decoder, step: u64) -> titer_train::Result<Gradient> {
        let batch = self.user.batch(step);
        let logits = supervised_logits(model, &batch)?;
        let cross_entropy = cross_entropy(&logits, &batch.targets)?.mean_all()?;
        let divergence = mean_divergence(&logits, &constant_logits(&self.start, &batch)?)?;
        let loss = (&cross_entropy + (&divergence * self.beta)?)?;
        let cost = Cost::of(model, &batch) + Cost::of_reading(model, &batch);
        Ok(Gradient::of(&loss, model, cost)?
            .with_term("cross_entropy", value(&cross_entropy)?)
            .with_term("divergence", value(&divergence)?))
    }
}
