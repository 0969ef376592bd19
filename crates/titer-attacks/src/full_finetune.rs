//! `full-finetune`: supervised fine-tuning of all weights on harmful pairs, the attack of Rosati et al.,
//! arXiv 2402.16382, section 3, and of Qi et al., arXiv 2310.03693.

use serde::Deserialize;
use titer_model::Decoder;
use titer_plan::stage::{Schedule, TrainSpec};
use titer_plan::{Method, MethodKind, ThreatModel};
use titer_train::{Observer, Outcome};

use crate::supervised::{self, Pairs};
use crate::{Attack, AttackContext, Result};

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
        parameters: supervised::parameters(1e-4),
    }
}

impl FullFinetune {
    fn train(&self) -> TrainSpec {
        supervised::train(
            self.steps,
            self.batch,
            self.rate,
            self.schedule,
            self.warmup_steps,
            self.weight_decay,
        )
    }
}

impl Attack for FullFinetune {
    fn distinct_examples(&self) -> u64 {
        self.examples as u64
    }

    fn run(&self, victim: Decoder, context: &AttackContext, observer: &mut dyn Observer) -> Result<Outcome> {
        let pairs = Pairs { name: "full-finetune", examples: self.examples };
        supervised::run(self.train(), pairs, victim, context, observer)
    }
}
