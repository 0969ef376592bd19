//! `condition-number`: makes learning from harmful features slow and from kept ones fast, in the sense of
//! the condition number of their covariance S, which bounds how fast gradient descent on a linear map of
//! them converges: min keep + λ_ill·R_ill(S_harmful) + λ_well·R_well(S_kept),
//! R_ill(S) = 1 / (‖S‖²_F/2k − σ_min²/2), R_well(S) = σ_max²/2 − ‖S‖²_F/2k, k the number of features.
//!
//! Source: Zheng et al., *Model immunization from a condition number perspective*, arXiv 2505.23760,
//! section 4. There the features are what the last linear map reads; here they are hidden states at chosen
//! depths that predict the answers' tokens, scaled to root mean square one as the model's norms scale them.
//! So no term is met by growing or shrinking states, and the trace of S is k.

use candle_core::Tensor;
use serde::Deserialize;
use titer_data::Sampler;
use titer_model::{Decoder, View};
use titer_plan::{DefenceStage, Method, MethodKind, Parameter};
use titer_train::activations::{at_depth, mean, select, unit_scale};
use titer_train::loss::{traced_losses, value};
use titer_train::{Cost, Gradient, Objective};

use super::spectrum::extremes;
use super::{Immunizer, Training, rehearsal};
use crate::{DefenceContext, Keep, Result};

/// Keeps R_ill finite where all directions are alike.
const ROUND: f64 = 1e-6;

/// The settings.
#[derive(Debug, Clone, Deserialize)]
pub struct ConditionNumber {
    /// How long, how fast, and what is kept.
    #[serde(flatten)]
    pub training: Training,
    /// Harmful examples per step.
    pub batch_harmful: usize,
    /// Relative depths of the states that are the features: 1 is what the last norm reads.
    pub depths: Vec<f64>,
    /// λ_ill: weight of the term that makes harmful features ill-conditioned.
    pub lambda_ill: f64,
    /// λ_well: weight of the term that makes kept features well-conditioned.
    pub lambda_well: f64,
}

pub(crate) fn method() -> Method {
    let own = [
        Parameter::integer("batch_harmful", "examples", 24, 1..=65_536, "harmful examples per step"),
        Parameter::reals(
            "depths",
            "1",
            &[1.0],
            0.0..=1.0,
            "relative depths of the states that are features: 1 is what the last norm reads",
        ),
        Parameter::real(
            "lambda_ill",
            "1",
            10.0,
            0.0..=1e12,
            "λ_ill: weight of making harmful features ill-conditioned",
        ),
        Parameter::real(
            "lambda_well",
            "1",
            1e-4,
            0.0..=1e6,
            "λ_well: weight of making kept features well-conditioned",
        ),
    ];
    Method {
        name: "condition-number",
        kind: MethodKind::defence(DefenceStage::Alignment, rehearsal::sham(None)),
        version: 1,
        summary: "makes the covariance of harmful features ill-conditioned and that of others well-conditioned",
        citation: "Zheng et al., arXiv 2505.23760",
        parameters: Training::parameters(300, 5e-4).into_iter().chain(own).collect(),
    }
}

impl Immunizer for ConditionNumber {
    fn training(&self) -> &Training {
        &self.training
    }

    fn extra_examples_per_step(&self) -> f64 {
        self.batch_harmful as f64
    }

    fn objective(&self, context: &DefenceContext, _: &Decoder) -> Result<Box<dyn Objective>> {
        if self.lambda_ill == 0.0 && self.lambda_well == 0.0 {
            return rehearsal::plain(&self.training, context);
        }
        Ok(Box::new(Conditioning {
            keep: self.training.keep(context)?,
            harmful: context.sampler("condition-number/harmful", &context.harmful, self.batch_harmful)?,
            settings: self.clone(),
        }))
    }
}

struct Conditioning {
    keep: Keep,
    harmful: Sampler,
    settings: ConditionNumber,
}

impl Objective for Conditioning {
    /// One pass over all three batches.
    fn gradient(&mut self, model: &Decoder, step: u64) -> titer_train::Result<Gradient> {
        let ConditionNumber { depths, lambda_ill, lambda_well, .. } = &self.settings;
        let (kept, refusals) = self.keep.batch(step);
        let targets = kept.targets.len();
        let batch = kept.followed_by(&self.harmful.batch(step));
        let (trace, losses) = traced_losses(model, &batch, View::Tracked)?;
        let keep = self.keep.loss(&losses, refusals, targets)?;

        let states: Vec<_> = trace.states().collect();
        let (mut ill, mut well) = (Vec::new(), Vec::new());
        for depth in depths {
            let state = states[at_depth(*depth, trace.layers.len())];
            ill.push(ill_conditioned(&covariance(state, &batch.rows[targets..])?)?);
            well.push(well_conditioned(&covariance(state, &batch.rows[..targets])?)?);
        }
        let (ill, well) = (mean(ill)?, mean(well)?);
        let loss = ((&keep + (&ill * *lambda_ill)?)? + (&well * *lambda_well)?)?;
        Ok(Gradient::of(&loss, model, Cost::of(model, &batch))?
            .with_term("keep", value(&keep)?)
            .with_term("ill_conditioned", value(&ill)?)
            .with_term("well_conditioned", value(&well)?))
    }
}

/// S = XᵀX / rows of the states of some tokens, scaled: shape `(features, features)`.
fn covariance(states: &Tensor, rows: &[u32]) -> titer_train::Result<Tensor> {
    let features = unit_scale(&select(states, rows)?)?;
    Ok((features.t()?.matmul(&features)? / rows.len() as f64)?)
}

/// ‖S‖²_F / 2k: a scalar.
fn half_mean_square(s: &Tensor) -> titer_train::Result<Tensor> {
    Ok((s.sqr()?.sum_all()? / (2.0 * s.dim(0)? as f64))?)
}

/// R_ill: small where S is ill-conditioned.
fn ill_conditioned(s: &Tensor) -> titer_train::Result<Tensor> {
    let (least, _) = extremes(s)?;
    Ok(((half_mean_square(s)? - (least.sqr()? / 2.0)?)? + ROUND)?.recip()?)
}

/// R_well: zero where all singular values are the same.
fn well_conditioned(s: &Tensor) -> titer_train::Result<Tensor> {
    let (_, greatest) = extremes(s)?;
    Ok(((greatest.sqr()? / 2.0)? - half_mean_square(s)?)?)
}
