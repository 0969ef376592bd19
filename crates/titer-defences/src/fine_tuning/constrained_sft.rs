//! `constrained-sft`: token-wise constrained fine-tuning: each token of the user's answers may become more
//! likely than it was at the start, but the more likely it already became, the weaker its pull; hardest for
//! the first tokens: min mean over tokens of −(2/βₜ)·log σ(βₜ·log(p_w(yₜ)/p_start(yₜ))).
//!
//! Source: Qi et al., *Safety alignment should be made more than just a few tokens deep*, arXiv 2406.05946,
//! equation 3. Its gradient is that of the cross-entropy with each token weighted by
//! 2·(1 − σ(βₜ·log(p_w/p_start))), which is how it is computed here and in the public code
//! (Unispac/shallow-vs-deep-alignment@170f0ac `soft_sft_loss`), with the same floor below the weights.

use candle_core::Tensor;
use serde::Deserialize;
use titer_data::Sampler;
use titer_model::Decoder;
use titer_plan::{DefenceStage, Method, MethodKind, Parameter};
use titer_train::activations::Original;
use titer_train::loss::{token_losses, value};
use titer_train::{Cost, Gradient, Objective};

use super::{Guard, UserTraining, training_alone};
use crate::{DefenceContext, Result};

/// The settings.
#[derive(Debug, Clone, Deserialize)]
pub struct ConstrainedSft {
    /// β of an answer's first token.
    pub beta_first: f64,
    /// β of the other early tokens.
    pub beta_early: f64,
    /// β of all later tokens.
    pub beta_late: f64,
    /// Tokens of an answer that count as early, the first among them; 0 makes all of them late.
    pub early_tokens: usize,
    /// Least weight of a token.
    pub floor: f64,
}

pub(crate) fn method() -> Method {
    Method {
        name: "constrained-sft",
        kind: MethodKind::defence(DefenceStage::FineTuning, training_alone()),
        version: 1,
        summary: "limits how much more likely each of the user's tokens can become, the first ones most",
        citation: "Qi et al., arXiv 2406.05946",
        parameters: vec![
            Parameter::real("beta_first", "1", 0.5, 1e-6..=1e6, "β₁: constraint on an answer's first token"),
            Parameter::real("beta_early", "1", 2.0, 1e-6..=1e6, "β of the other early tokens"),
            Parameter::real("beta_late", "1", 0.1, 1e-6..=1e6, "β of all later tokens"),
            Parameter::integer(
                "early_tokens",
                "tokens",
                5,
                0..=1_000_000,
                "tokens of an answer that are early, the first included",
            ),
            Parameter::real("floor", "1", 1e-3, 0.0..=1.0, "least weight of a token"),
        ],
    }
}

impl Guard for ConstrainedSft {
    fn extra_examples_per_step(&self) -> f64 {
        0.0
    }

    fn objective(
        &self,
        user: UserTraining,
        _: &DefenceContext,
        start: &Decoder,
    ) -> Result<Box<dyn Objective>> {
        Ok(Box::new(Constrained { user: user.batches, start: Original::of(start)?, settings: self.clone() }))
    }
}

impl ConstrainedSft {
    /// β of the token at this place of its answer, from 0.
    fn beta(&self, position: usize) -> f64 {
        match position {
            late if late >= self.early_tokens => self.beta_late,
            0 => self.beta_first,
            _ => self.beta_early,
        }
    }
}

struct Constrained {
    user: Sampler,
    start: Original,
    settings: ConstrainedSft,
}

impl Objective for Constrained {
    fn gradient(&mut self, model: &Decoder, step: u64) -> titer_train::Result<Gradient> {
        let batch = self.user.batch(step);
        let losses = token_losses(model, &batch)?;
        let now: Vec<f32> = losses.detach().to_vec1()?;
        let start: Vec<f32> = self.start.token_losses(&batch)?.to_vec1()?;
        let mut weights = Vec::with_capacity(now.len());
        let mut objective = 0.0;
        for ((now, start), position) in now.iter().zip(&start).zip(batch.positions()) {
            let beta = self.settings.beta(position);
            let gained = beta * (f64::from(*start) - f64::from(*now));
            weights.push((2.0 / (1.0 + gained.exp())).max(self.settings.floor) as f32);
            objective += 2.0 / beta * softplus(-gained);
        }
        let count = weights.len();
        let weights = Tensor::from_vec(weights, count, losses.device())?;
        let loss = (&losses * weights)?.mean_all()?;
        let cost = Cost::of(model, &batch) + Cost::of_reading(model, &batch);
        Ok(Gradient::of(&loss, model, cost)?
            .with_term("cross_entropy", value(&losses.mean_all()?)?)
            .with_term("constrained", objective / count as f64))
    }
}

/// log(1 + eˣ) = −log σ(−x), without overflow.
fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}
