//! `tar`: tamper-resistant training, first order. Each step simulates an attack from the present weights
//! and makes the attacked model's harmful answers as uncertain as can be:
//! ∇ = ∇(f_refusal + f_permitted + r·d)(w) + λ·Σ over chosen moments of the attack of
//! exp(s·(steps made − K))·∇T(w_attacked), K the attack's length; the second gradients are taken at the
//! attacked weights and applied to w. T is −H, H the mean entropy on harmful text, or a DPO loss that
//! prefers the refusal; d is the distance of the kept text's hidden states to the original model's.
//!
//! Source: Tamirisa et al., *Tamper-resistant safeguards for open-weight LLMs*, arXiv 2408.00761,
//! section 4. By default the length of the simulated attack is drawn uniformly from 1 to `inner_steps`, the
//! tamper gradient is taken once, at its end, r is 0, and attack and tamper gradient draw from the same rows.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use rand::RngExt;
use rand::seq::index;
use serde::Deserialize;
use titer_data::{Draw, Example, Packed, Sampler, Stream};
use titer_model::Decoder;
use titer_plan::stage::TrainSpec;
use titer_plan::{DefenceStage, Meaning, Method, MethodKind, Parameter};
use titer_train::activations::Original;
use titer_train::loss::{mean_entropy, per_sequence, softplus, token_losses, value};
use titer_train::{Cost, Gradient, Objective, Observer, Point, StepRecord, Supervised, Trainer};

use super::rehearsal::{self, Rehearsing};
use super::{Immunizer, Training};
use crate::{DefenceContext, Error, Result};

/// Inverse temperature of the DPO loss, per nat, as in the public code.
const DPO_BETA: f64 = 0.1;

/// What is asked of the attacked model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tamper {
    /// Uncertainty: −H, the mean entropy in nats on harmful answers.
    Entropy,
    /// Preference of the refusal: −log σ(β·(log-ratio of the refusal − log-ratio of the harmful answer)),
    /// ratios to the original model, β 0.1.
    Dpo,
}

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
    /// Fewest steps of a simulated attack; the length is drawn from here to `inner_steps`, and fixed where
    /// both are the same.
    pub inner_least: u64,
    /// Every so many steps of a simulated attack the tamper gradient is taken and added; 0 for once, at the
    /// end.
    pub tamper_every: u64,
    /// s: a tamper gradient weighs exp(s · (steps made − steps of the attack)).
    pub tamper_growth: f64,
    /// What is asked of the attacked model.
    pub tamper_loss: Tamper,
    /// r: weight of the distance of kept text's hidden states to the original model's.
    pub retain: f64,
    /// The share of the harmful rows that simulated attacks never train on and that tamper gradients alone are of, a new
    /// batch at each moment. At 0 both draw from all rows, and all moments of one attack have one batch.
    #[serde(default)]
    pub held_out: f64,
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
        Parameter::real("lambda", "1", 1.0, 0.0..=1e6, "λ: weight of the tamper gradients"),
        Parameter::integer("inner_steps", "steps", 8, 1..=100_000, "most steps of a simulated attack")
            .meaning(Meaning::Named),
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
            "rates of simulated attacks; one is drawn for each",
        ),
        Parameter::integer(
            "inner_least",
            "steps",
            1,
            1..=100_000,
            "fewest steps of a simulated attack; the length is drawn from here to `inner_steps`, fixed where both are the same",
        ),
        Parameter::integer(
            "tamper_every",
            "steps",
            0,
            0..=100_000,
            "simulated steps between tamper gradients; 0 for one, at the end",
        ),
        Parameter::real(
            "tamper_growth",
            "1/step",
            0.0625,
            0.0..=100.0,
            "g: how fast the weight of tamper gradients grows along an attack",
        ),
        Parameter::choice(
            "tamper_loss",
            "entropy",
            &["entropy", "dpo"],
            "T: what is asked of the attacked model",
        ),
        Parameter::real(
            "retain",
            "1",
            0.0,
            0.0..=1e6,
            "r: weight of the kept hidden states' distance to the aligned model's",
        ),
        Parameter::real(
            "held_out",
            "1",
            0.0,
            0.0..=0.9,
            "share of the harmful rows that simulated attacks never train on, and that tamper gradients are of; 0: both draw from all",
        )
        .later(),
    ];
    Method {
        name: "tar",
        kind: MethodKind::defence(DefenceStage::Alignment, rehearsal::sham(None)),
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
        let mean_length = (self.inner_least.min(self.inner_steps) + self.inner_steps) as f64 / 2.0;
        let tampers = if self.tamper_every == 0 { 1.0 } else { mean_length / self.tamper_every as f64 };
        self.batch_harmful as f64 * tampers + self.adversary_batch as f64 * mean_length
    }

    fn objective(&self, context: &DefenceContext, start: &Decoder) -> Result<Box<dyn Objective>> {
        let kept = Rehearsing::new(&self.training, 1.0, self.retain, context, start)?;
        if self.lambda == 0.0 {
            return Ok(Box::new(kept));
        }
        let rows = self.rows(context)?;
        Ok(Box::new(Tampering {
            kept,
            // The same stream, so that of paired data both draw the same prompts.
            tamper: context.sampler("tar/tamper", &rows.held, self.batch_harmful)?,
            refusals: context.sampler("tar/tamper", &rows.refusals, self.batch_harmful)?,
            adversary: Stream::new(context.seed, "tar/adversary"),
            original: Original::of(start)?,
            attacked: rows.attacked,
            seed: context.seed,
            settings: self.clone(),
        }))
    }
}

/// Which harmful rows are whose.
#[derive(Debug, Clone)]
pub struct TarRows {
    /// What simulated attacks train on.
    pub attacked: Arc<[Example]>,
    /// What tamper gradients are of.
    pub held: Arc<[Example]>,
    /// The refusals of these; of data that are not paired, all.
    pub refusals: Arc<[Example]>,
}

impl Tar {
    /// Deals the harmful rows out, by the defence's seed.
    ///
    /// # Errors
    /// When a share is held out and one side would have no row.
    pub fn rows(&self, context: &DefenceContext) -> Result<TarRows> {
        let (harmful, refusals) = (&context.harmful, &context.refusals);
        if self.held_out == 0.0 {
            return Ok(TarRows {
                attacked: harmful.clone(),
                held: harmful.clone(),
                refusals: refusals.clone(),
            });
        }
        let held = (self.held_out * harmful.len() as f64).round() as usize;
        if held == 0 || held >= harmful.len() {
            let problem = format!(
                "held_out {} of {} harmful rows leaves {held} to hold out and {} to attack with; both need one",
                self.held_out,
                harmful.len(),
                harmful.len() - held
            );
            return Err(Error::NotApplicable { name: "tar", problem });
        }
        let mut rng = Stream::new(context.seed, "tar/held-out").at(0);
        let chosen: BTreeSet<usize> = index::sample(&mut rng, harmful.len(), held).into_iter().collect();
        let of = |rows: &Arc<[Example]>, is_held: bool| -> Arc<[Example]> {
            let rows = rows.iter().enumerate().filter(|(at, _)| chosen.contains(at) == is_held);
            rows.map(|(_, row)| row.clone()).collect()
        };
        let paired = refusals.len() == harmful.len();
        Ok(TarRows {
            attacked: of(harmful, false),
            held: of(harmful, true),
            refusals: if paired { of(refusals, true) } else { refusals.clone() },
        })
    }
}

struct Tampering {
    kept: Rehearsing,
    tamper: Sampler,
    refusals: Sampler,
    adversary: Stream,
    original: Original,
    /// What simulated attacks train on.
    attacked: Arc<[Example]>,
    seed: u64,
    settings: Tar,
}

impl Objective for Tampering {
    fn gradient(&mut self, model: &Decoder, step: u64) -> titer_train::Result<Gradient> {
        let kept = self.kept.gradient(model, step)?;
        kept.add_scaled(self.settings.lambda, &self.attack(model, step)?)
    }
}

impl Tampering {
    /// The tamper gradients of a simulated attack, summed, with what the attack cost.
    fn attack(&self, model: &Decoder, step: u64) -> titer_train::Result<Gradient> {
        let Tar { inner_least, inner_steps, adversary_batch, adversary_rates, .. } = &self.settings;
        let mut rng = self.adversary.at(step);
        let steps = rng.random_range(*inner_least.min(inner_steps)..=*inner_steps);
        let rate = adversary_rates[rng.random_range(0..adversary_rates.len())];
        let spec = TrainSpec::constant(steps, *adversary_batch, rate, None);
        let stream = Stream::new(self.seed, &format!("tar/adversary/{step}"));
        let sampler = Sampler::new(self.attacked.clone(), stream, spec.batch, Draw::WithReplacement)?;
        let attacked = model.duplicate()?;
        let mut watch = Watch { tampering: self, step, steps, sum: None, spent: Cost::default() };
        Trainer::new(spec, &attacked)?.fit(&attacked, &mut Supervised::new(sampler), &mut watch)?;
        let Watch { sum, spent, .. } = watch;
        // An attack shorter than the distance of two tamper gradients has none along its path.
        let mut sum = match sum {
            Some(sum) => sum,
            None => self.tamper_gradient(&attacked, self.draw(step, steps))?,
        };
        sum.cost += spent;
        Ok(sum)
    }

    /// Which batch the tamper gradient is of after so many steps of the attack.
    fn draw(&self, step: u64, made: u64) -> u64 {
        if self.settings.held_out == 0.0 { step } else { step * (self.settings.inner_steps + 1) + made }
    }

    /// The gradient of T at attacked weights, on the batch of that draw.
    fn tamper_gradient(&self, attacked: &Decoder, draw: u64) -> titer_train::Result<Gradient> {
        let batch = self.tamper.batch(draw);
        match self.settings.tamper_loss {
            Tamper::Entropy => {
                let entropy = mean_entropy(attacked, &batch)?;
                Ok(Gradient::of(&entropy.neg()?, attacked, Cost::of(attacked, &batch))?
                    .with_term("attacked_entropy", value(&entropy)?))
            }
            Tamper::Dpo => {
                let both = self.refusals.batch(draw).followed_by(&batch);
                let loss = self.preference(attacked, &both, both.sequences() - batch.sequences())?;
                Ok(Gradient::of(&loss, attacked, Cost::of(attacked, &both))?
                    .with_term("attacked_preference", value(&loss)?))
            }
        }
    }

    /// The DPO loss of a batch whose first `refusals` sequences are preferred, each to one of the others.
    fn preference(
        &self,
        attacked: &Decoder,
        both: &Packed,
        refusals: usize,
    ) -> titer_train::Result<candle_core::Tensor> {
        let ratio = (self.original.token_losses(both)? - token_losses(attacked, both)?)?;
        let ratio = per_sequence(&ratio, both)?;
        let margin = (ratio.narrow(0, 0, refusals)? - ratio.narrow(0, refusals, refusals)?)?;
        Ok(softplus(&(margin * -DPO_BETA)?)?.mean_all()?)
    }
}

/// Watches a simulated attack: takes tamper gradients along its path and remembers what it has cost.
struct Watch<'a> {
    tampering: &'a Tampering,
    step: u64,
    steps: u64,
    sum: Option<Gradient>,
    spent: Cost,
}

impl Observer for Watch<'_> {
    fn between(&mut self, point: &Point<'_>) -> titer_train::Result<ControlFlow<()>> {
        self.spent = point.spent;
        let Tar { tamper_every, tamper_growth, .. } = self.tampering.settings;
        // Every 0 steps is never: 0 alone is a multiple of 0.
        if point.step == 0 || !point.step.is_multiple_of(tamper_every) {
            return Ok(ControlFlow::Continue(()));
        }
        let draw = self.tampering.draw(self.step, point.step);
        let gradient = self.tampering.tamper_gradient(point.model, draw)?;
        let weight = (tamper_growth * (point.step as f64 - self.steps as f64)).exp();
        let sum = self.sum.take().map_or_else(|| gradient.zeros(), Ok)?;
        self.sum = Some(sum.add_scaled(weight, &gradient)?);
        Ok(ControlFlow::Continue(()))
    }

    fn stepped(&mut self, _: &StepRecord) -> titer_train::Result<()> {
        Ok(())
    }
}
