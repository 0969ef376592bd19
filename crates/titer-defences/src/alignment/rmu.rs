//! `rmu`: representation misdirection for unlearning. At one layer, the hidden states of harmful answers are
//! steered to c·u, a fixed random direction, and those of kept text are held:
//! min κ·keep + ω·mean (h − c·u)² + α·mean (h_kept − h₀)².
//!
//! Source: Li et al., *The WMDP benchmark: measuring and reducing malicious use with unlearning*,
//! arXiv 2403.03218, section 4, where κ = 0 and ω = 1. As in the public code, u is drawn uniformly from [0, 1) in every
//! coordinate and scaled to norm one, and both means are over tokens and features.

use candle_core::Tensor;
use rand::RngExt;
use serde::Deserialize;
use titer_data::{Sampler, Stream};
use titer_model::{Decoder, View};
use titer_plan::{DefenceStage, Method, MethodKind, Parameter};
use titer_train::activations::{Original, at_depth, select};
use titer_train::loss::{traced_losses, value};
use titer_train::{Cost, Gradient, Objective};

use super::rehearsal::{self, Rehearsing};
use super::{Immunizer, Training};
use crate::{DefenceContext, Keep, Result};

/// The settings.
#[derive(Debug, Clone, Deserialize)]
pub struct Rmu {
    /// How long, how fast, and what is kept.
    #[serde(flatten)]
    pub training: Training,
    /// Harmful examples per step.
    pub batch_harmful: usize,
    /// Relative depth of the states that are steered and held: 0 the embeddings, 1 the last layer's output.
    pub depth: f64,
    /// c: the norm of what harmful states are steered to.
    pub steering: f64,
    /// ω: weight of steering the harmful states.
    pub weight: f64,
    /// α: weight of holding the kept states.
    pub alpha: f64,
    /// κ: weight of the cross-entropy of refusals and permitted answers.
    pub keep: f64,
}

impl Rmu {
    /// u: where harmful states are steered to, of norm one, one value per feature.
    pub fn direction(seed: u64, features: usize) -> Vec<f32> {
        let mut rng = Stream::new(seed, "rmu/direction").at(0);
        let uniform: Vec<f64> = (0..features).map(|_| rng.random::<f64>()).collect();
        let norm = uniform.iter().map(|value| value * value).sum::<f64>().sqrt();
        uniform.into_iter().map(|value| (value / norm) as f32).collect()
    }

    /// The objective with a given direction, one value per feature.
    ///
    /// # Errors
    /// When the data cannot be sampled, or the direction is not of the model's width.
    pub fn towards(
        &self,
        direction: &[f32],
        context: &DefenceContext,
        start: &Decoder,
    ) -> Result<Box<dyn Objective>> {
        let shape = (1, start.config().hidden_size);
        let direction = Tensor::from_slice(direction, shape, start.device())?;
        Ok(Box::new(Steering {
            keep: self.training.keep(context)?,
            harmful: context.sampler("rmu/harmful", &context.harmful, self.batch_harmful)?,
            original: Original::of(start)?,
            target: (direction * self.steering)?.to_dtype(start.dtype())?,
            settings: self.clone(),
        }))
    }
}

pub(crate) fn method() -> Method {
    let own = [
        Parameter::integer("batch_harmful", "examples", 24, 1..=65_536, "harmful examples per step"),
        Parameter::real(
            "depth",
            "1",
            8.0 / 32.0,
            0.0..=1.0,
            "relative depth of the states steered and held: 0 the embeddings, 1 the last layer's output",
        ),
        Parameter::real("steering", "1", 20.0, 0.0..=1e6, "c: norm of what harmful states are steered to"),
        Parameter::real("weight", "1", 1.0, 0.0..=1e6, "ω: weight of steering the harmful states"),
        Parameter::real("alpha", "1", 10.0, 0.0..=1e9, "α: weight of holding the kept states"),
        Parameter::real("keep", "1", 1.0, 0.0..=1e6, "κ: weight of the cross-entropies of what is kept"),
    ];
    Method {
        name: "rmu",
        kind: MethodKind::defence(DefenceStage::Alignment, rehearsal::sham(Some("keep"))),
        version: 1,
        summary: "steers hidden states of harmful answers to a random direction and holds all others",
        citation: "Li et al., arXiv 2403.03218",
        parameters: Training::parameters(300, 5e-4).into_iter().chain(own).collect(),
    }
}

impl Immunizer for Rmu {
    fn training(&self) -> &Training {
        &self.training
    }

    fn extra_examples_per_step(&self) -> f64 {
        self.batch_harmful as f64
    }

    fn objective(&self, context: &DefenceContext, start: &Decoder) -> Result<Box<dyn Objective>> {
        if self.weight == 0.0 && self.alpha == 0.0 {
            return Ok(Box::new(Rehearsing::new(&self.training, self.keep, 0.0, context, start)?));
        }
        self.towards(&Self::direction(context.seed, start.config().hidden_size), context, start)
    }
}

struct Steering {
    keep: Keep,
    harmful: Sampler,
    original: Original,
    /// c·u, of shape `(1, hidden_size)`.
    target: Tensor,
    settings: Rmu,
}

impl Objective for Steering {
    /// One pass over all three batches, and one of the original model.
    fn gradient(&mut self, model: &Decoder, step: u64) -> titer_train::Result<Gradient> {
        let Rmu { depth, weight, alpha, keep: kappa, .. } = self.settings;
        let (kept, refusals) = self.keep.batch(step);
        let targets = kept.targets.len();
        let batch = kept.clone().followed_by(&self.harmful.batch(step));
        let (trace, losses) = traced_losses(model, &batch, View::Tracked)?;
        let keep = self.keep.loss(&losses, refusals, targets)?;

        let state = at_depth(depth, trace.layers.len());
        let states: Vec<_> = trace.states().collect();
        let harmful = select(states[state], &batch.rows[targets..])?;
        let steered = harmful.broadcast_sub(&self.target)?.sqr()?.mean_all()?;
        let now = states[state].narrow(0, 0, kept.tokens.len())?;
        let held = (now - &self.original.states(&kept)?[state])?.sqr()?.mean_all()?;

        let loss = ((&keep * kappa)? + ((&steered * weight)? + (&held * alpha)?)?)?;
        // Later layers, the last norm and the head get a gradient from the cross-entropy alone.
        Ok(Gradient::partial(&loss, model, Cost::of(model, &batch))?
            .with_term("keep", value(&keep)?)
            .with_term("harmful_to_direction", value(&steered)?)
            .with_term("kept_distance", value(&held)?))
    }
}
