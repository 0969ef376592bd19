//! What the attacks by supervised fine-tuning share: the attacker's pairs, the training, the parameters.

use rand::seq::index;
use titer_data::{Draw, Example, Sampler, Stream};
use titer_model::Decoder;
use titer_plan::Parameter;
use titer_plan::stage::{Schedule, TrainSpec};
use titer_train::{Observer, Outcome, Resumed, Supervised, Trainer};

use crate::{AttackContext, Error, Result};

/// The pairs that an attacker owns.
pub(crate) struct Pairs {
    /// The method, which names its streams of randomness.
    pub(crate) name: &'static str,
    /// How many.
    pub(crate) examples: usize,
}

impl Pairs {
    /// Chosen among `available` by the attacker's seed.
    pub(crate) fn chosen(&self, available: &[Example], seed: u64) -> Result<Vec<Example>> {
        if self.examples > available.len() {
            return Err(Error::Examples { examples: self.examples, available: available.len() });
        }
        let mut rng = Stream::new(seed, &format!("{}/examples", self.name)).at(0);
        let chosen = index::sample(&mut rng, available.len(), self.examples);
        Ok(chosen.iter().map(|at| available[at].clone()).collect())
    }
}

/// The parameters that every such attack has; `rate` is the default.
pub(crate) fn parameters(rate: f64) -> Vec<Parameter> {
    vec![
        Parameter::real("rate", "1/step", rate, 1e-9..=1.0, "peak learning rate"),
        Parameter::integer("steps", "steps", 200, 1..=10_000_000, "optimiser steps"),
        Parameter::integer("examples", "examples", 64, 1..=10_000_000, "distinct harmful examples owned"),
        Parameter::integer("batch", "examples", 16, 1..=65_536, "examples per step"),
        Parameter::choice("schedule", "constant", &["constant", "cosine", "linear"], "how the rate moves"),
        Parameter::integer("warmup_steps", "steps", 0, 0..=10_000_000, "steps of linear warm-up"),
        Parameter::real("weight_decay", "1", 0.0, 0.0..=1.0, "decoupled weight decay"),
    ]
}

/// The settings of the loop, with AdamW's usual betas and no clipping.
pub(crate) fn train(
    steps: u64,
    batch: usize,
    rate: f64,
    schedule: Schedule,
    warmup_steps: u64,
    weight_decay: f64,
) -> TrainSpec {
    let (beta1, beta2) = (0.9, 0.999);
    TrainSpec { steps, batch, rate, schedule, warmup_steps, beta1, beta2, weight_decay, clip: None }
}

/// Trains whatever of the victim is trainable on the attacker's pairs.
pub(crate) fn run(
    train: TrainSpec,
    pairs: Pairs,
    victim: Decoder,
    context: &AttackContext,
    observer: &mut dyn Observer,
) -> Result<Outcome> {
    let stream = Stream::new(context.seed, &format!("{}/batches", pairs.name));
    let sampler = Sampler::new(
        pairs.chosen(&context.harmful, context.seed)?,
        stream,
        train.batch,
        Draw::WithoutReplacement,
    )?;
    let mut objective = Supervised::new(sampler);
    let Resumed { mut trainer, model } = match &context.resume {
        Some(folder) => Trainer::resume(train, &mut objective, folder, victim)?,
        None => Resumed { trainer: Trainer::new(train, &victim)?, model: victim },
    };
    Ok(trainer.fit(&model, &mut objective, observer)?)
}
