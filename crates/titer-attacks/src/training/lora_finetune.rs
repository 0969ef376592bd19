//! `lora-finetune`: supervised fine-tuning on harmful pairs of low-rank adapters (Hu et al., arXiv
//! 2106.09685), the cheap attack of Lermen et al., arXiv 2310.20624. The victim's own weights stay as they are, or with
//! `base = "bf16"` are held in half precision. With `freeze_a` B alone is trained against a random A (arXiv 2605.05995).

use serde::Deserialize;
use titer_data::Stream;
use titer_model::{Base, Decoder, LoraSpec};
use titer_plan::stage::TrainSpec;
use titer_plan::{Method, MethodKind, Parameter};
use titer_train::{Observer, Outcome, Partial, Supervised};

use crate::adapters::Targets;
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
    /// What is adapted.
    #[serde(default)]
    pub targets: Targets,
    /// Whether A stays at random as it began and B alone is trained.
    #[serde(default)]
    pub freeze_a: bool,
    /// The type of the matrices that are held fixed.
    #[serde(default)]
    pub base: Base,
}

pub(crate) fn method() -> Method {
    const TARGETS: &[&str] = &Targets::NAMES;
    const BASES: &[&str] = &Base::NAMES;
    let own = [
        Parameter::integer("rank", "1", 8, 1..=4096, "rank of the adapters"),
        Parameter::real(
            "alpha",
            "1",
            16.0,
            1e-3..=1e6,
            "the adapters' product is multiplied by alpha / rank",
        ),
    ];
    let later = [
        Parameter::choice("targets", "all", TARGETS, "the projections that adapters stand beside").later(),
        Parameter::flag("freeze_a", false, "A stays at random as it began; B alone is trained").later(),
        Parameter::choice("base", "f32", BASES, "the type of the matrices beside adapters").later(),
    ];
    Method {
        name: "lora-finetune",
        kind: MethodKind::Attack(supervised::facts()),
        version: 1,
        summary: "supervised fine-tuning of low-rank adapters on harmful pairs",
        citation: "Hu et al., arXiv 2106.09685; Lermen et al., arXiv 2310.20624",
        parameters: own
            .into_iter()
            .chain(Loop::parameters(2e-4, 200))
            .chain([supervised::owned(64)])
            .chain(later)
            .collect(),
    }
}

impl TrainingAttack for LoraFinetune {
    fn train(&self) -> TrainSpec {
        self.training.train()
    }

    fn adapter(&self) -> Option<LoraSpec> {
        Some(self.targets.adapted(self.rank, self.alpha, self.base))
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
        victim.attach(&self.targets.adapted(self.rank, self.alpha, self.base), &mut rng)?;
        let pairs = Pairs { name: "lora-finetune", examples: self.examples };
        let objective = Supervised::new(pairs.batches(context, self.training.batch)?);
        if self.freeze_a {
            let mut of_b = Partial::holding(objective, |name| name.ends_with(".lora_A.weight"));
            return supervised::follow(&mut of_b, self.train(), victim, context, observer);
        }
        supervised::follow(&mut { objective }, self.train(), victim, context, observer)
    }
}
