//! `full-finetune`: supervised fine-tuning of all weights on harmful pairs, the attack of Rosati et al.,
//! arXiv 2402.16382, section 3, and of Qi et al., arXiv 2310.03693.

use rand::seq::index;
use serde::Deserialize;
use titer_data::{Draw, Example, Sampler, Stream};
use titer_model::Decoder;
use titer_plan::stage::{Schedule, TrainSpec};
use titer_plan::{Method, MethodKind, Parameter, ThreatModel};
use titer_train::{Observer, Outcome, Resumed, Supervised, Trainer};

use crate::{Attack, AttackContext, Error, Result};

/// The settings.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FullFinetune {
    /// Peak learning rate.
    pub rate: f64,
    /// Optimiser steps.
    pub steps: u64,
    /// Distinct harmful examples that the attacker owns.
    pub examples: usize,
    /// Examples per step, distinct within a step.
    pub batch: usize,
    /// How the rate moves.
    pub schedule: Schedule,
    /// Steps of linear warm-up.
    pub warmup_steps: u64,
    /// AdamW's decoupled weight decay.
    pub weight_decay: f64,
}

pub(crate) fn method() -> Method {
    Method {
        name: "full-finetune",
        kind: MethodKind::Attack { threat_models: vec![ThreatModel::OpenWeights] },
        version: 1,
        summary: "supervised fine-tuning of all weights on harmful pairs (AdamW, betas 0.9 and 0.999)",
        citation: "Rosati et al., arXiv 2402.16382; Qi et al., arXiv 2310.03693",
        parameters: vec![
            Parameter::real("rate", "1/step", 1e-4, 1e-9..=1.0, "peak learning rate"),
            Parameter::integer("steps", "steps", 200, 1..=10_000_000, "optimiser steps"),
            Parameter::integer("examples", "examples", 64, 1..=10_000_000, "distinct harmful examples owned"),
            Parameter::integer("batch", "examples", 16, 1..=65_536, "examples per step"),
            Parameter::choice(
                "schedule",
                "constant",
                &["constant", "cosine", "linear"],
                "how the rate moves",
            ),
            Parameter::integer("warmup_steps", "steps", 0, 0..=10_000_000, "steps of linear warm-up"),
            Parameter::real("weight_decay", "1", 0.0, 0.0..=1.0, "decoupled weight decay"),
        ],
    }
}

impl FullFinetune {
    fn train(&self) -> TrainSpec {
        TrainSpec {
            steps: self.steps,
            batch: self.batch,
            rate: self.rate,
            schedule: self.schedule,
            warmup_steps: self.warmup_steps,
            beta1: 0.9,
            beta2: 0.999,
            weight_decay: self.weight_decay,
            clip: None,
        }
    }

    /// The examples that this attacker owns, chosen by its seed.
    fn owned(&self, context: &AttackContext) -> Result<Vec<Example>> {
        let available = context.harmful.len();
        if self.examples > available {
            return Err(Error::Examples { examples: self.examples, available });
        }
        let mut rng = Stream::new(context.seed, "full-finetune/examples").at(0);
        let chosen = index::sample(&mut rng, available, self.examples);
        Ok(chosen.iter().map(|at| context.harmful[at].clone()).collect())
    }
}

impl Attack for FullFinetune {
    fn distinct_examples(&self) -> u64 {
        self.examples as u64
    }

    fn run(&self, victim: Decoder, context: &AttackContext, observer: &mut dyn Observer) -> Result<Outcome> {
        let stream = Stream::new(context.seed, "full-finetune/batches");
        let sampler = Sampler::new(self.owned(context)?, stream, self.batch, Draw::WithoutReplacement)?;
        let mut objective = Supervised::new(sampler);
        let Resumed { mut trainer, model } = match &context.resume {
            Some(folder) => Trainer::resume(self.train(), &mut objective, folder, victim)?,
            None => Resumed { trainer: Trainer::new(self.train(), &victim)?, model: victim },
        };
        Ok(trainer.fit(&model, &mut objective, observer)?)
    }
}
