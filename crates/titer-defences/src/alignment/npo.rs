//! `npo`: negative preference optimisation on harmful answers, the aligned model as the reference:
//! min keep + λ·(2/β)·mean log(1 + (π(y|x)/π₀(y|x))^β), π the probability of a whole answer.
//!
//! Source: Zhang et al., *Negative preference optimization: from catastrophic collapse to effective
//! unlearning*, arXiv 2404.05868, equation 3 and, with what is kept, section 3.3. Its gradient is that of
//! gradient ascent, weighted down where an answer is already less likely than it was.

use serde::Deserialize;
use titer_data::Sampler;
use titer_model::Decoder;
use titer_plan::{DefenceStage, Method, MethodKind, Parameter};
use titer_train::activations::Original;
use titer_train::loss::{per_sequence, softplus, token_losses, value};
use titer_train::{Cost, Gradient, Objective};

use super::{Immunizer, Training, rehearsal};
use crate::{DefenceContext, Keep, Result};

/// The settings.
#[derive(Debug, Clone, Deserialize)]
pub struct Npo {
    /// How long, how fast, and what is kept.
    #[serde(flatten)]
    pub training: Training,
    /// Harmful examples per step.
    pub batch_harmful: usize,
    /// λ: weight of the preference term.
    pub lambda: f64,
    /// β: inverse temperature; towards 0 the term becomes gradient ascent.
    pub beta: f64,
}

pub(crate) fn method() -> Method {
    let own = [
        Parameter::integer("batch_harmful", "examples", 24, 1..=65_536, "harmful examples per step"),
        Parameter::real("lambda", "1", 1.0, 0.0..=1e6, "λ: weight of the preference term"),
        Parameter::real(
            "beta",
            "1/nat",
            0.1,
            1e-6..=1e3,
            "β: inverse temperature; towards 0 the term becomes gradient ascent",
        ),
    ];
    Method {
        name: "npo",
        kind: MethodKind::defence(DefenceStage::Alignment, rehearsal::sham(None)),
        version: 1,
        summary: "makes harmful answers less likely than they were, the less the further they are",
        citation: "Zhang et al., arXiv 2404.05868",
        parameters: Training::parameters(300, 5e-4).into_iter().chain(own).collect(),
    }
}

impl Immunizer for Npo {
    fn training(&self) -> &Training {
        &self.training
    }

    fn extra_examples_per_step(&self) -> f64 {
        self.batch_harmful as f64
    }

    fn objective(&self, context: &DefenceContext, start: &Decoder) -> Result<Box<dyn Objective>> {
        if self.lambda == 0.0 {
            return rehearsal::plain(&self.training, context);
        }
        Ok(Box::new(NegativePreference {
            keep: self.training.keep(context)?,
            harmful: context.sampler("npo/harmful", &context.harmful, self.batch_harmful)?,
            original: Original::of(start)?,
            lambda: self.lambda,
            beta: self.beta,
        }))
    }
}

struct NegativePreference {
    keep: Keep,
    harmful: Sampler,
    original: Original,
    lambda: f64,
    beta: f64,
}

impl Objective for NegativePreference {
    /// One pass over all three batches, and one of the original model.
    fn gradient(&mut self, model: &Decoder, step: u64) -> titer_train::Result<Gradient> {
        let (kept, refusals) = self.keep.batch(step);
        let targets = kept.targets.len();
        let harmful = self.harmful.batch(step);
        let batch = kept.followed_by(&harmful);
        let losses = token_losses(model, &batch)?;
        let keep = self.keep.loss(&losses, refusals, targets)?;

        let now = losses.narrow(0, targets, harmful.targets.len())?;
        // log π − log π₀ of each token.
        let ratio = (self.original.token_losses(&harmful)? - &now)?;
        let ratio = (per_sequence(&ratio, &harmful)? * self.beta)?;
        let preference = (softplus(&ratio)?.mean_all()? * (2.0 / self.beta))?;

        let loss = (&keep + (&preference * self.lambda)?)?;
        Ok(Gradient::of(&loss, model, Cost::of(model, &batch))?
            .with_term("keep", value(&keep)?)
            .with_term("negative_preference", value(&preference)?)
            .with_term("harmful_cross_entropy", value(&now.mean_all()?)?))
    }
}
