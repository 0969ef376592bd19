//! What the attacks by supervised fine-tuning share: the attacker's pairs, the training, the parameters.

use rand::seq::index;
use serde::Deserialize;
use titer_data::{Draw, Example, Sampler, Stream};
use titer_model::Decoder;
use titer_plan::stage::{Optimizer, Schedule, TrainSpec};
use titer_plan::{AttackFacts, Meaning, Mechanism, Need, Parameter, ThreatModel};
use titer_train::{Objective, Observer, Outcome, Resumed, Supervised, Trainer};

use crate::{AttackContext, Error, Result};

/// The pairs that an attacker owns.
pub struct Pairs {
    /// The method, which names its streams of randomness.
    pub name: &'static str,
    /// How many.
    pub examples: usize,
}

impl Pairs {
    /// Chosen among `available` by the attacker's seed.
    ///
    /// # Errors
    /// When there are not so many.
    pub fn chosen(&self, available: &[Example], seed: u64) -> Result<Vec<Example>> {
        Ok(self.places(available.len(), seed)?.into_iter().map(|at| available[at].clone()).collect())
    }

    /// The places of those chosen among so many.
    ///
    /// # Errors
    /// When there are not so many.
    pub fn places(&self, available: usize, seed: u64) -> Result<Vec<usize>> {
        if self.examples > available {
            return Err(Error::Examples { examples: self.examples, available });
        }
        let mut rng = Stream::new(seed, &format!("{}/examples", self.name)).at(0);
        Ok(index::sample(&mut rng, available, self.examples).into_vec())
    }

    /// What draws steps.
    pub(crate) fn stream(&self, seed: u64) -> Stream {
        Stream::new(seed, &format!("{}/batches", self.name))
    }

    /// Batches of the chosen harmful rows, all of a batch distinct.
    ///
    /// # Errors
    /// When there are not so many rows, or fewer than the batch.
    pub(crate) fn batches(&self, context: &AttackContext<'_>, batch: usize) -> Result<Sampler> {
        let rows = self.chosen(&context.harmful, context.seed)?;
        Ok(Sampler::new(rows, self.stream(context.seed), batch, Draw::WithoutReplacement)?)
    }
}

/// Draws a step's places among the rows that an attacker owns, all of a step distinct.
pub(crate) struct Places {
    among: usize,
    batch: usize,
    stream: Stream,
}

impl Places {
    /// Of so many rows.
    ///
    /// # Errors
    /// When there are fewer than the batch.
    pub(crate) fn new(pairs: &Pairs, batch: usize, seed: u64) -> Result<Self> {
        let among = pairs.examples;
        if batch > among {
            return Err(titer_data::Error::BatchAboveData { examples: among, batch }.into());
        }
        Ok(Self { among, batch, stream: pairs.stream(seed) })
    }

    /// Those of one step.
    pub(crate) fn at(&self, step: u64) -> Vec<usize> {
        index::sample(&mut self.stream.at(step), self.among, self.batch).into_vec()
    }
}

/// The optimisers by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// AdamW, by both betas.
    #[default]
    Adamw,
    /// Stochastic gradient descent, by the momentum.
    Sgd,
    /// Adafactor with the rate as it is given, by the momentum.
    Adafactor,
}

impl Rule {
    /// The names as specs spell them.
    pub const NAMES: [&str; 3] = ["adamw", "sgd", "adafactor"];
}

/// AdamW's usual decay of the first moment.
const BETA1: f64 = 0.9;
/// AdamW's usual decay of the second moment.
const BETA2: f64 = 0.999;
/// Largest decay: at 1 nothing would ever be taken up.
const MOST_DECAY: f64 = 0.999_999;

fn beta1() -> f64 {
    BETA1
}

fn beta2() -> f64 {
    BETA2
}

/// The settings of the loop that all of them have.
#[derive(Debug, Clone, Deserialize)]
pub struct Loop {
    /// Peak learning rate.
    pub rate: f64,
    /// Optimiser steps.
    pub steps: u64,
    /// Examples per step, distinct within a step.
    pub batch: usize,
    /// How the rate moves.
    pub schedule: Schedule,
    /// Steps of linear warm-up.
    pub warmup_steps: u64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// The rule of its steps.
    #[serde(default)]
    pub optimizer: Rule,
    /// SGD's share of the running sum of gradients that the next step keeps, or Adafactor's decay of the first moment; 0
    /// for none.
    #[serde(default)]
    pub momentum: f64,
    /// AdamW's decay of the first moment.
    #[serde(default = "beta1")]
    pub beta1: f64,
    /// AdamW's decay of the second moment.
    #[serde(default = "beta2")]
    pub beta2: f64,
    /// Largest global gradient norm; 0 for no clipping.
    #[serde(default)]
    pub clip: f64,
}

impl Loop {
    /// Its parameters; `rate` and `steps` are the defaults.
    pub fn parameters(rate: f64, steps: i64) -> [Parameter; 11] {
        const RULES: &[&str] = &Rule::NAMES;
        let schedules = &["constant", "cosine", "linear"];
        let decay = |name, default, summary| Parameter::real(name, "1", default, 0.0..=MOST_DECAY, summary);
        [
            Parameter::real("rate", "1/step", rate, 1e-9..=1.0, "peak learning rate").meaning(Meaning::Rate),
            Parameter::integer("steps", "steps", steps, 1..=10_000_000, "optimiser steps")
                .meaning(Meaning::Steps),
            Parameter::integer("batch", "examples", 16, 1..=65_536, "examples per step")
                .meaning(Meaning::Batch),
            Parameter::choice("schedule", "constant", schedules, "how the rate moves"),
            Parameter::integer("warmup_steps", "steps", 0, 0..=10_000_000, "steps of linear warm-up"),
            Parameter::real("weight_decay", "1", 0.0, 0.0..=1.0, "decoupled weight decay"),
            Parameter::choice("optimizer", "adamw", RULES, "the rule of its steps").later(),
            decay(
                "momentum",
                0.0,
                "of `sgd` the share of earlier gradients kept, of `adafactor` the decay of the first moment",
            )
            .later(),
            decay("beta1", BETA1, "`adamw`'s decay of the first moment").later(),
            decay("beta2", BETA2, "`adamw`'s decay of the second moment").later(),
            Parameter::real("clip", "1", 0.0, 0.0..=1e6, "largest global gradient norm; 0 for no clipping")
                .later(),
        ]
    }

    /// For the trainer.
    pub fn train(&self) -> TrainSpec {
        let Self { rate, steps, batch, schedule, warmup_steps, weight_decay, .. } = *self;
        let Self { momentum, beta1, beta2, .. } = *self;
        let clip = (self.clip > 0.0).then_some(self.clip);
        let optimizer = match self.optimizer {
            Rule::Adamw => Optimizer::Adamw,
            Rule::Sgd => Optimizer::Sgd { momentum },
            Rule::Adafactor => Optimizer::Adafactor { momentum },
        };
        TrainSpec { steps, batch, rate, schedule, warmup_steps, beta1, beta2, weight_decay, clip, optimizer }
    }
}

/// How many harmful pairs the attacker owns, so many where nothing is said.
pub(crate) fn owned(examples: i64) -> Parameter {
    let summary = "distinct harmful examples owned";
    Parameter::integer("examples", "examples", examples, 1..=10_000_000, summary)
        .meaning(Meaning::HarmfulRows)
}

/// What is true of those that train the victim's weights themselves.
pub(crate) fn facts() -> AttackFacts {
    AttackFacts {
        threat_models: vec![ThreatModel::OpenWeights],
        mechanism: Mechanism::Trains,
        needs: vec![Need::HarmfulRows, Need::Weights, Need::Gradients],
    }
}

/// Trains whatever of the victim is trainable on the attacker's pairs.
///
/// # Errors
/// When there are not so many pairs, or training or the observer fails.
pub(crate) fn run(
    train: TrainSpec,
    pairs: Pairs,
    victim: Decoder,
    context: &AttackContext<'_>,
    observer: &mut dyn Observer,
) -> Result<Outcome> {
    fit(train, pairs.batches(context, train.batch)?, victim, context, observer)
}

/// Trains whatever of the victim is trainable on batches of `sampler`.
///
/// # Errors
/// When training or the observer fails.
pub(crate) fn fit(
    train: TrainSpec,
    sampler: Sampler,
    victim: Decoder,
    context: &AttackContext<'_>,
    observer: &mut dyn Observer,
) -> Result<Outcome> {
    follow(&mut Supervised::new(sampler), train, victim, context, observer)
}

/// Trains whatever of the victim is trainable by any objective, from the context's checkpoint on where it has one.
///
/// # Errors
/// When the checkpoint is of another run, or training or the observer fails.
pub(crate) fn follow(
    objective: &mut dyn Objective,
    train: TrainSpec,
    victim: Decoder,
    context: &AttackContext<'_>,
    observer: &mut dyn Observer,
) -> Result<Outcome> {
    let Resumed { mut trainer, model } = match &context.resume {
        Some(folder) => Trainer::resume(train, objective, folder, victim)?,
        None => Resumed { trainer: Trainer::new(train, &victim)?, model: victim },
    };
    Ok(trainer.fit(&model, objective, observer)?)
}
