//! `full-finetune`: supervised fine-tuning of all weights on harmful pairs, the attack of Rosati et al.,
//! arXiv 2402.16382, section 3, and of Qi et al., arXiv 2310.03693.

use serde::Deserialize;
use titer_model::Decoder;
use titer_plan::stage::TrainSpec;
use titer_plan::{Method, MethodKind};
use titer_train::{Observer, Outcome};

use crate::training::supervised::{self, Loop, Pairs};
use crate::{AttackContext, Result, TrainingAttack};

/// The settings.
#[derive(Debug, Clone, Deserialize)]
pub struct FullFinetune {
    /// How it trains.
    #[serde(flatten)]
    pub training: Loop,
    /// Distinct harmful examples that the attacker owns.
    pub examples: usize,
}

pub(crate) fn method() -> Method {
    Method {
        name: "full-finetune",
        kind: MethodKind::Attack(supervised::facts()),
        version: 1,
        summary: "supervised fine-tuning of all weights on harmful pairs",
        citation: "Rosati et al., arXiv 2402.16382; Qi et al., arXiv 2310.03693",
        parameters: Loop::parameters(1e-4, 200).into_iter().chain([supervised::owned(64)]).collect(),
    }
}

impl TrainingAttack for FullFinetune {
    fn train(&self) -> TrainSpec {
        self.training.train()
    }

    fn distinct_harmful(&self) -> u64 {
        self.examples as u64
    }

    fn run(
        &self,
        victim: Decoder,
        context: &AttackContext<'_>,
        observer: &mut dyn Observer,
    ) -> Result<Outcome> {
        let pairs = Pairs { name: "full-finetune", examples: self.examples };
        supervised::run(self.train(), pairs, victim, context, observer)
    }
}
