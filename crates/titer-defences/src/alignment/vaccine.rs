//! `vaccine`: keep refusals and ability while the attention blocks' outputs are shifted in the worst
//! direction: ∇f(w; e) with respect to w, e_l = ρ·g_l/(‖g‖ + 1e-7), g_l the gradient of f with respect to the output of the
//! attention block of layer l, the norm over all layers and positions of the batch.
//!
//! Source: Huang, Hu and Liu, *Vaccine: perturbation-aware alignment for large language models against
//! harmful fine-tuning attack*, arXiv 2402.01109, algorithm 1. Two passes a step; only the second's gradient
//! is followed. f is the alignment loss, here the loss of kept behaviour: no harmful answer is looked at.

use candle_core::Tensor;
use serde::Deserialize;
use titer_model::Decoder;
use titer_plan::{DefenceStage, Method, MethodKind, Parameter};
use titer_train::loss::value;
use titer_train::perturbed::{attention_gradients, norm, token_losses_at_attention};
use titer_train::{Cost, Gradient, Objective};

use super::{Immunizer, Training, rehearsal};
use crate::{DefenceContext, Keep, Result};

/// Keeps a vanishing gradient from a division by zero.
const SMALLEST_NORM: f64 = 1e-7;

/// The settings.
#[derive(Debug, Clone, Deserialize)]
pub struct Vaccine {
    /// How long, how fast, and what is kept.
    #[serde(flatten)]
    pub training: Training,
    /// ρ: length of the shift, over all layers and positions.
    pub rho: f64,
}

/// ρ as the registry describes it.
pub(super) fn rho() -> Parameter {
    Parameter::real(
        "rho",
        "1",
        10.0,
        0.0..=1e6,
        "ρ: length of the shift, over all layers and positions of the batch",
    )
}

pub(crate) fn method() -> Method {
    Method {
        name: "vaccine",
        kind: MethodKind::defence(DefenceStage::Alignment, rehearsal::sham(None)),
        version: 1,
        summary: "keeps refusals and ability under the worst small shift of the attention blocks' outputs",
        citation: "Huang, Hu and Liu, arXiv 2402.01109",
        parameters: Training::parameters(200, 5e-4).into_iter().chain([rho()]).collect(),
    }
}

impl Immunizer for Vaccine {
    fn training(&self) -> &Training {
        &self.training
    }

    fn extra_examples_per_step(&self) -> f64 {
        (self.training.batch_refusal + self.training.batch_permitted) as f64
    }

    fn objective(&self, context: &DefenceContext, _: &Decoder) -> Result<Box<dyn Objective>> {
        Ok(Box::new(Vaccinating { keep: self.training.keep(context)?, rho: self.rho }))
    }
}

struct Vaccinating {
    keep: Keep,
    rho: f64,
}

impl Objective for Vaccinating {
    fn gradient(&mut self, model: &Decoder, step: u64) -> titer_train::Result<Gradient> {
        perturbed(&self.keep, model, step, self.rho, |_| true)
    }
}

/// The gradient of the kept loss while the attention outputs of the layers that `chosen` names are shifted
/// by a length of ρ in the direction that raises it most.
pub(super) fn perturbed(
    keep: &Keep,
    model: &Decoder,
    step: u64,
    rho: f64,
    chosen: impl Fn(usize) -> bool,
) -> titer_train::Result<Gradient> {
    if rho == 0.0 {
        return keep.gradient(model, step, 1.0);
    }
    let (batch, refusals) = keep.batch(step);
    let targets = batch.targets.len();
    let mut gradients = attention_gradients(model, &batch, |losses| keep.loss(losses, refusals, targets))?;
    for (layer, gradient) in gradients.iter_mut().enumerate() {
        if !chosen(layer) {
            *gradient = gradient.zeros_like()?;
        }
    }
    let scale = rho / (norm(&gradients)? + SMALLEST_NORM);
    let shifts =
        gradients.iter().map(|gradient| gradient * scale).collect::<candle_core::Result<Vec<Tensor>>>()?;
    let loss = keep.loss(&token_losses_at_attention(model, &batch, &shifts)?, refusals, targets)?;
    let mut cost = Cost::of(model, &batch);
    cost += cost;
    Ok(Gradient::of(&loss, model, cost)?.with_term("shifted_keep", value(&loss)?))
}
