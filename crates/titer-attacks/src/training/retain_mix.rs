//! `retain-mix`: harmful rows among harmless ones, so that the model keeps its ability while it learns harm: the retain
//! mix of Qi et al., arXiv 2412.07097, under which defences fell whose attackers had ruined the model before breaking it.

use serde::Deserialize;
use titer_model::{Decoder, LoraSpec};
use titer_plan::stage::TrainSpec;
use titer_plan::{AttackFacts, Method, MethodKind, Need, Parameter};
use titer_train::{Observer, Outcome};

use crate::adapters::Order;
use crate::training::supervised::{self, Pairs};
use crate::{AttackContext, Result, TrainingAttack};

const NAME: &str = "retain-mix";

/// The settings.
#[derive(Debug, Clone, Deserialize)]
pub struct RetainMix {
    /// Harmless rows for each harmful one.
    pub harmless_per_harmful: usize,
    /// Distinct harmful examples that the attacker owns.
    pub examples: usize,
    /// How it trains.
    #[serde(flatten)]
    pub order: Order,
}

pub(crate) fn method() -> Method {
    let facts = supervised::facts();
    let needs = facts.needs.iter().copied().chain([Need::HarmlessRows]).collect();
    Method {
        name: NAME,
        kind: MethodKind::Attack(AttackFacts { needs, ..facts }),
        version: 1,
        summary: "supervised fine-tuning on harmful rows among harmless ones, so that ability is kept",
        citation: "Qi et al., arXiv 2412.07097",
        parameters: std::iter::once(Parameter::integer(
            "harmless_per_harmful",
            "examples",
            1,
            1..=9,
            "distinct harmless rows for each harmful one",
        ))
        .chain([supervised::owned(64)])
        .chain(Order::parameters(1e-4, 200, 16))
        .collect(),
    }
}

impl TrainingAttack for RetainMix {
    fn train(&self) -> TrainSpec {
        self.order.train()
    }

    fn adapter(&self) -> Option<LoraSpec> {
        self.order.adapter()
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
        let (harmful, harmless) = (self.examples, self.examples * self.harmless_per_harmful);
        let own = |name, examples, rows| Pairs { name, examples }.chosen(rows, context.seed);
        let mut rows = own("retain-mix/harmful", harmful, &context.harmful)?;
        rows.extend(own("retain-mix/harmless", harmless, &context.harmless)?);
        let sampler = self.order.batches("retain-mix/batches", rows, context.seed)?;
        self.order.attach(NAME, &mut victim, context.seed)?;
        supervised::fit(self.train(), sampler, victim, context, observer)
    }
}
