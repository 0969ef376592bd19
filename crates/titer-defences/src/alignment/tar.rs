//! `tar`: tamper-resistant training, first order. Each step simulates an attack from the present weights
//! and makes the attacked model's harmful answers as uncertain as can be:
//! ∇ = ∇(f_refusal + f_permitted)(w) + λ·∇(−H)(w_attacked), H the mean entropy on harmful text; the second
//! gradient is taken at the attacked weights and applied to w.
//!
//! Source: Tamirisa et al., *Tamper-resistant safeguards for open-weight LLMs*, arXiv 2408.00761,
//! section 4, with the max-entropy tamper loss. Here the length of the simulated attack is drawn uniformly
//! from 1 to `inner_steps` and the tamper gradient taken once, at its end; the retain term is the
//! cross-entropy of kept behaviour without the paper's hidden-state distance.

use rand::RngExt;
use serde::Deserialize;
use titer_data::{Draw, Sampler, Stream};
use titer_model::Decoder;
use titer_plan::{DefenceStage, Method, MethodKind, Parameter};
use titer_train::loss::{mean_entropy, token_losses, value};
use titer_train::{Cost, Gradient, Objective, Observer, Point, StepRecord, Supervised, Trainer};

use super::{Immunizer, Training, constant_rate};
use crate::{DefenceContext, Keep, Result};

/// The settings.
#[derive(Debug, Clone, Deserialize)]
pub struct Tar {
    /// How long, how fast, and what is kept.
    #[serde(flatten)]
    pub training: Training,
    /// Harmful examples per tamper gradient.
    pub batch_harmful: usize,
    /// λ: weight of the tamper gradient.
    pub lambda: f64,
    /// Most steps of a simulated attack.
    pub inner_steps: u64,
    /// Harmful examples per step of a simulated attack.
    pub adversary_batch: usize,
    /// Learning rates of simulated attacks; one is drawn for each.
    pub adversary_rates: Vec<f64>,
}

pub(crate) fn method() -> Method {
    let own = [
        Parameter::integer(
            "batch_harmful",
            "examples",
            24,
            1..=65_536,
            "harmful examples per tamper gradient",
        ),
        Parameter::real("lambda", "1", 1.0, 0.0..=1e6, "weight of the tamper gradient"),
        Parameter::integer("inner_steps", "steps", 8, 1..=100_000, "most steps of a simulated attack"),
        Parameter::integer(
            "adversary_batch",
            "examples",
            16,
            1..=65_536,
            "examples per step of a simulated attack",
        ),
        Parameter::reals(
            "adversary_rates",
            "1/step",
            &[1e-4, 3e-4, 1e-3],
            1e-9..=1.0,
            "rates of simulated attacks",
        ),
    ];
    Method {
        name: "tar",
        kind: MethodKind::Defence { stage: DefenceStage::Alignment },
        version: 1,
        summary: "trains through simulated attacks so that the attacked model stays uncertain (first order)",
        citation: "Tamirisa et al., arXiv 2408.00761",
        parameters: Training::parameters(200, 5e-4).into_iter().chain(own).collect(),
    }
}

impl Immunizer for Tar {
    fn training(&self) -> &Training {
        &self.training
    }

    fn extra_examples_per_step(&self) -> f64 {
        self.batch_harmful as f64 + self.adversary_batch as f64 * (self.inner_steps + 1) as f64 / 2.0
    }

    fn objective(&self, context: &DefenceContext, _: &Decoder) -> Result<Box<dyn Objective>> {
        Ok(Box::new(Tampering {
            keep: self.training.keep(context)?,
            tamper: context.sampler("tar/tamper", &context.harmful, self.batch_harmful)?,
            adversary: Stream::new(context.seed, "tar/adversary"),
            context: context.clone(),
            settings: self.clone(),
        }))
    }
}

struct Tampering {
    keep: Keep,
    tamper: Sampler,
    adversary: Stream,
    context: DefenceContext,
    settings: Tar,
}

impl Objective for Tampering {
    fn gradient(&mut self, model: &Decoder, step: u64) -> titer_train::Result<Gradient> {
        let (batch, refusals) = self.keep.batch(step);
        let keep = self.keep.loss(&token_losses(model, &batch)?, refusals, batch.targets.len())?;
        let kept = Gradient::of(&keep, model, Cost::of(model, &batch))?.with_term("keep", value(&keep)?);
        let (attacked, spent) = self.attack(model, step)?;
        let batch = self.tamper.batch(step);
        let entropy = mean_entropy(&attacked, &batch)?;
        let mut cost = Cost::of(model, &batch);
        cost += spent;
        let tamper =
            Gradient::of(&entropy.neg()?, &attacked, cost)?.with_term("attacked_entropy", value(&entropy)?);
        kept.add_scaled(self.settings.lambda, &tamper)
    }
}

impl Tampering {
    /// A copy of the model after a simulated attack, and what the attack cost.
    fn attack(&self, model: &Decoder, step: u64) -> titer_train::Result<(Decoder, Cost)> {
        let mut rng = self.adversary.at(step);
        let rates = &self.settings.adversary_rates;
        let steps = rng.random_range(1..=self.settings.inner_steps);
        let rate = rates[rng.random_range(0..rates.len())];
        let spec = constant_rate(steps, self.settings.adversary_batch, rate, None);
        let stream = Stream::new(self.context.seed, &format!("tar/adversary/{step}"));
        let sampler = Sampler::new(self.context.harmful.clone(), stream, spec.batch, Draw::WithReplacement)?;
        let attacked = model.duplicate()?;
        let mut spent = Spent::default();
        Trainer::new(spec, &attacked)?.fit(&attacked, &mut Supervised::new(sampler), &mut spent)?;
        Ok((attacked, spent.0))
    }
}

/// Remembers what a simulated attack has cost.
#[derive(Default)]
struct Spent(Cost);

impl Observer for Spent {
    fn between(&mut self, point: &Point<'_>) -> titer_train::Result<std::ops::ControlFlow<()>> {
        self.0 = point.spent;
        Ok(std::ops::ControlFlow::Continue(()))
    }

    fn stepped(&mut self, _: &StepRecord) -> titer_train::Result<()> {
        Ok(())
    }
}
