//! `circuit-breakers`: representation rerouting. The hidden states of harmful answers are turned until they
//! are orthogonal to what they were, those of kept text are held where they were:
//! min κ·keep + c_s·mean relu(cos(h, h₀)) + c_r·mean ‖h − h₀‖₂, c_s = α·(1 − r·t/T), c_r = α·r·t/T.
//!
//! Source: Zou et al., *Improving alignment and robustness with circuit breakers*, arXiv 2406.04313,
//! algorithm 1, where r = 1/2 and κ = 0. h₀ are the states of the model as it was before training. The
//! rerouted states are those that predict the answers' tokens, at chosen depths; the held ones those of all
//! kept tokens at every depth.

use serde::Deserialize;
use titer_data::Sampler;
use titer_model::{Decoder, View};
use titer_plan::{DefenceStage, Method, MethodKind, Parameter};
use titer_train::activations::{Original, at_depth, cosine, mean, select};
use titer_train::loss::{traced_losses, value};
use titer_train::{Cost, Gradient, Objective};

use super::rehearsal::{self, Rehearsing};
use super::{Immunizer, Training};
use crate::{DefenceContext, Keep, Result};

/// The settings.
#[derive(Debug, Clone, Deserialize)]
pub struct CircuitBreakers {
    /// How long, how fast, and what is kept.
    #[serde(flatten)]
    pub training: Training,
    /// Harmful examples per step.
    pub batch_harmful: usize,
    /// Relative depths of the states that are rerouted: 0 the embeddings, 1 the last layer's output.
    pub depths: Vec<f64>,
    /// α: weight of rerouting and holding together.
    pub alpha: f64,
    /// r: the share of the weight that has gone over from rerouting to holding when training ends.
    pub ramp: f64,
    /// κ: weight of the cross-entropy of refusals and permitted answers.
    pub keep: f64,
}

pub(crate) fn method() -> Method {
    let own = [
        Parameter::integer("batch_harmful", "examples", 24, 1..=65_536, "harmful examples per step"),
        Parameter::reals(
            "depths",
            "1",
            &[10.0 / 32.0, 20.0 / 32.0],
            0.0..=1.0,
            "relative depths of the rerouted states: 0 the embeddings, 1 the last layer's output",
        ),
        Parameter::real("alpha", "1", 10.0, 0.0..=1e6, "α: weight of rerouting and holding together"),
        Parameter::real(
            "ramp",
            "1",
            0.5,
            0.0..=1.0,
            "r: share of the weight that has gone over from rerouting to holding when training ends",
        ),
        Parameter::real("keep", "1", 0.0, 0.0..=1e6, "κ: weight of the cross-entropies of what is kept"),
    ];
    Method {
        name: "circuit-breakers",
        kind: MethodKind::defence(DefenceStage::Alignment, rehearsal::sham(Some("keep"))),
        version: 1,
        summary: "turns hidden states of harmful answers away from what they were and holds all others",
        citation: "Zou et al., arXiv 2406.04313",
        parameters: Training::parameters(300, 5e-4).into_iter().chain(own).collect(),
    }
}

impl Immunizer for CircuitBreakers {
    fn training(&self) -> &Training {
        &self.training
    }

    fn extra_examples_per_step(&self) -> f64 {
        self.batch_harmful as f64
    }

    fn objective(&self, context: &DefenceContext, start: &Decoder) -> Result<Box<dyn Objective>> {
        if self.alpha == 0.0 {
            return Ok(Box::new(Rehearsing::new(&self.training, self.keep, 0.0, context, start)?));
        }
        Ok(Box::new(Rerouting {
            keep: self.training.keep(context)?,
            harmful: context.sampler("circuit-breakers/harmful", &context.harmful, self.batch_harmful)?,
            original: Original::of(start)?,
            settings: self.clone(),
        }))
    }
}

struct Rerouting {
    keep: Keep,
    harmful: Sampler,
    original: Original,
    settings: CircuitBreakers,
}

impl Objective for Rerouting {
    /// One pass over all three batches, and one of the original model.
    fn gradient(&mut self, model: &Decoder, step: u64) -> titer_train::Result<Gradient> {
        let CircuitBreakers { training, depths, alpha, ramp, keep: kappa, .. } = &self.settings;
        let (kept, refusals) = self.keep.batch(step);
        let targets = kept.targets.len();
        let harmful = self.harmful.batch(step);
        let batch = kept.clone().followed_by(&harmful);
        let (trace, losses) = traced_losses(model, &batch, View::Tracked)?;
        let keep = self.keep.loss(&losses, refusals, targets)?;

        let before = self.original.states(&harmful)?;
        let now: Vec<_> = trace.states().collect();
        let cosines = depths.iter().map(|depth| {
            let state = at_depth(*depth, now.len() - 1);
            let now = select(now[state], &batch.rows[targets..])?;
            Ok(cosine(&now, &select(&before[state], &harmful.rows)?)?.relu()?.mean_all()?)
        });
        let rerouted = mean(cosines.collect::<titer_train::Result<Vec<_>>>()?)?;
        let held = self.original.distance(&trace, &kept)?;

        let gone_over = ramp * step as f64 / training.steps as f64;
        let loss = ((&keep * *kappa)?
            + ((&rerouted * (alpha * (1.0 - gone_over)))? + (&held * (alpha * gone_over))?)?)?;
        // Hidden states do not depend on the last norm and the head: without the cross-entropy these rest.
        Ok(Gradient::partial(&loss, model, Cost::of(model, &batch))?
            .with_term("keep", value(&keep)?)
            .with_term("harmful_cosine", value(&rerouted)?)
            .with_term("kept_distance", value(&held)?))
    }
}
