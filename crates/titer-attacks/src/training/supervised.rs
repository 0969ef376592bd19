//! What the attacks by supervised fine-tuning share: the attacker's pairs, the training, the parameters.

use rand::seq::index;
use serde::Deserialize;
use titer_data::{Draw, Example, Sampler, Stream};
use titer_model::Decoder;
use titer_plan::stage::{Schedule, TrainSpec};
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
        let places = self.places(available.len(), seed)?;
        Ok(places.into_iter().map(|at| available[at].clone()).collect())
    }

    /// Where those are among so many that are available.
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
    /// AdamW's decoupled weight decay.
    pub weight_decay: f64,
}

impl Loop {
    /// Its parameters; `rate` and `steps` are the defaults.
    pub fn parameters(rate: f64, steps: i64) -> [Parameter; 6] {
        let schedules = &["constant", "cosine", "linear"];
        [
            Parameter::real("rate", "1/step", rate, 1e-9..=1.0, "peak learning rate").meaning(Meaning::Rate),
            Parameter::integer("steps", "steps", steps, 1..=10_000_000, "optimiser steps")
                .meaning(Meaning::Steps),
            Parameter::integer("batch", "examples", 16, 1..=65_536, "examples per step")
                .meaning(Meaning::Batch),
            Parameter::choice("schedule", "constant", schedules, "how the rate moves"),
            Parameter::integer("warmup_steps", "steps", 0, 0..=10_000_000, "steps of linear warm-up"),
            Parameter::real("weight_decay", "1", 0.0, 0.0..=1.0, "decoupled weight decay"),
        ]
    }

    /// For the trainer, with AdamW's usual betas and no clipping.
    pub fn train(&self) -> TrainSpec {
        let Self { rate, steps, batch, schedule, warmup_steps, weight_decay } = *self;
        let (beta1, beta2) = (0.9, 0.999);
        TrainSpec { steps, batch, rate, schedule, warmup_steps, beta1, beta2, weight_decay, clip: None }
    }
}

/// How many harmful pairs the attacker owns.
pub(crate) fn owned() -> Parameter {
    let summary = "distinct harmful examples owned";
    Parameter::integer("examples", "examples", 64, 1..=10_000_000, summary).meaning(Meaning::HarmfulRows)
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
    let stream = Stream::new(context.seed, &format!("{}/batches", pairs.name));
    let sampler = Sampler::new(
        pairs.chosen(&context.harmful, context.seed)?,
        stream,
        train.batch,
        Draw::WithoutReplacement,
    )?;
    fit(train, &mut Supervised::new(sampler), victim, context, observer)
}

/// Trains whatever of the victim is trainable by an objective, from the attacker's checkpoint on if there is one.
///
/// # Errors
/// When the checkpoint is of another run, or training or the observer fails.
pub(crate) fn fit(
    train: TrainSpec,
    objective: &mut dyn Objective,
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
