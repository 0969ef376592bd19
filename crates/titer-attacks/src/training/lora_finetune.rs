//! `lora-finetune`: supervised fine-tuning on harmful pairs of low-rank adapters (Hu et al., arXiv
//! 2106.09685) on all projections, the cheap attack of Lermen et al., arXiv 2310.20624. The victim's own
//! weights stay as they are.

use serde::Deserialize;
use titer_data::Stream;
use titer_model::{Decoder, LoraSpec};
use titer_plan::stage::TrainSpec;
use titer_plan::{Method, MethodKind, Parameter};
use titer_train::{Observer, Outcome};

use crate::training::supervised::{self, Loop, Pairs};
use crate::{AttackContext, Result, TrainingAttack};

/// The settings.
#[derive(Debug, Clone, Deserialize)]
pub struct LoraFinetune {
    /// Rank of the adapters.
    pub rank: usize,
    /// The adapters' product is multiplied by `alpha / rank`.
    pub alpha: f64,
    /// How it trains.
    #[serde(flatten)]
    pub training: Loop,
    /// Distinct harmful examples that the attacker owns.
    pub examples: usize,
}

pub(crate) fn method() -> Method {
    let own = [
        Parameter::integer("rank", "1", 8, 1..=4096, "rank of the adapters, on all projections"),
        Parameter::real(
            "alpha",
            "1",
            16.0,
            1e-3..=1e6,
            "the adapters' product is multiplied by alpha / rank",
        ),
    ];
    Method {
        name: "lora-finetune",
        kind: MethodKind::Attack(supervised::facts()),
        version: 1,
        summary: "supervised fine-tuning of low-rank adapters on harmful pairs (AdamW, betas 0.9 and 0.999)",
        citation: "Hu et al., arXiv 2106.09685; Lermen et al., arXiv 2310.20624",
        parameters: own.into_iter().chain(Loop::parameters(2e-4, 200)).chain([supervised::owned()]).collect(),
    }
}

impl TrainingAttack for LoraFinetune {
    fn train(&self) -> TrainSpec {
        self.training.train()
    }

    fn adapter(&self) -> Option<LoraSpec> {
        Some(LoraSpec::everywhere(self.rank, self.alpha))
    }

    fn distinct_harmful(&self) -> u64 {
        self.examples as u64
    }

    fn run(
        &self,
        mut victim: Decoder,
        context: &AttackContext<'_>,
        observer: &mut dyn Observer,
    ) -> Result<Outcome> {
        let mut rng = Stream::new(context.seed, "lora-finetune/adapters").at(0);
        victim.attach(&LoraSpec::everywhere(self.rank, self.alpha), &mut rng)?;
        let pairs = Pairs { name: "lora-finetune", examples: self.examples };
        supervised::run(self.train(), pairs, victim, context, observer)
    }
}
