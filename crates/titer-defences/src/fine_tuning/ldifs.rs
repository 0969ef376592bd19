//! `ldifs`: keep what the layers compute: min f_user(w) + ρ/2·(1/B)·Σ ‖hidden(w) − hidden(start)‖², the sum
//! over layers and over all tokens of the user's batch of B examples.
//!
//! Source: Mukhoti et al., *Fine-tuning can cripple your foundation model*, arXiv 2308.13320 (ℓ₂ distance
//! in feature space, averaged over the data trained on), as git-disl's `LDIFSTrainer` brings it to
//! decoders: outputs of every layer's MLP at every token, prompts included. That code sums over the batch
//! where this takes the mean over examples, and leaves out every layer whose term has reached 0.1, against
//! numbers that overflow in half precision; here all layers count.

use candle_core::{DType, Tensor};
use serde::Deserialize;
use titer_data::Sampler;
use titer_model::{Decoder, LayerTrace, View};
use titer_plan::{DefenceStage, Method, MethodKind, Parameter};
use titer_train::loss::{trace, traced_losses, value};
use titer_train::{Cost, Gradient, Objective};

use super::{Guard, UserTraining, training_alone};
use crate::{DefenceContext, Result};

/// The settings.
#[derive(Debug, Clone, Deserialize)]
pub struct Ldifs {
    /// ρ: strength of the pull to the start's hidden states.
    pub rho: f64,
    /// Which hidden states.
    pub states: HiddenStates,
}

/// Which hidden states are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HiddenStates {
    /// The outputs of the MLPs.
    Mlp,
    /// The residual stream after each layer.
    Residual,
}

impl HiddenStates {
    fn of(self, layer: &LayerTrace) -> &Tensor {
        match self {
            Self::Mlp => &layer.mlp,
            Self::Residual => &layer.output,
        }
    }
}

pub(crate) fn method() -> Method {
    Method {
        name: "ldifs",
        kind: MethodKind::defence(DefenceStage::FineTuning, training_alone()),
        version: 1,
        summary: "holds the hidden states on the user's data near the aligned model's",
        citation: "Mukhoti et al., arXiv 2308.13320",
        parameters: vec![
            Parameter::real(
                "rho",
                "1",
                1e-3,
                0.0..=1e6,
                "ρ: strength of the pull to the start's hidden states",
            ),
            Parameter::choice("states", "mlp", &["mlp", "residual"], "which hidden states of each layer"),
        ],
    }
}

impl Guard for Ldifs {
    fn extra_examples_per_step(&self) -> f64 {
        0.0
    }

    fn objective(
        &self,
        user: UserTraining,
        _: &DefenceContext,
        start: &Decoder,
    ) -> Result<Box<dyn Objective>> {
        if self.rho == 0.0 {
            return Ok(Box::new(user.objective()));
        }
        let (user, start) = (user.batches, start.duplicate()?);
        Ok(Box::new(Featured { user, start, settings: self.clone() }))
    }
}

struct Featured {
    user: Sampler,
    start: Decoder,
    settings: Ldifs,
}

impl Objective for Featured {
    fn gradient(&mut self, model: &Decoder, step: u64) -> titer_train::Result<Gradient> {
        let batch = self.user.batch(step);
        let (now, losses) = traced_losses(model, &batch, View::Tracked)?;
        let start = trace(&self.start, &batch, View::Detached)?;
        let cross_entropy = losses.mean_all()?;
        let mut distance = cross_entropy.zeros_like()?;
        for (now, start) in now.layers.iter().zip(&start.layers) {
            let away = (self.settings.states.of(now) - self.settings.states.of(start))?;
            // Half types lose sums of squares, so they are taken in f32.
            distance = (distance + away.to_dtype(DType::F32)?.sqr()?.sum_all()?)?;
        }
        let features = (distance * (self.settings.rho / 2.0 / batch.sequences() as f64))?;
        let loss = (&cross_entropy + &features)?;
        let cost = Cost::of(model, &batch) + Cost::of_reading(model, &batch);
        Ok(Gradient::of(&loss, model, cost)?
            .with_term("cross_entropy", value(&cross_entropy)?)
            .with_term("features", value(&features)?))
    }
}
