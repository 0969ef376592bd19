//! `benign-then-harm`: harmless steps first, harmful ones after: a defence that holds at the weights it was trained at may
//! be gone a short way off, at no cost in harmful rows. Qi et al., arXiv 2412.07097.

use serde::Deserialize;
use titer_model::{Decoder, LoraSpec};
use titer_plan::stage::TrainSpec;
use titer_plan::{AttackFacts, Meaning, Method, MethodKind, Need, Parameter};
use titer_train::{Observer, Outcome};

use crate::adapters::Order;
use crate::training::supervised::{self, Pairs};
use crate::{AttackContext, Error, Result, TrainingAttack};

const NAME: &str = "benign-then-harm";

/// The settings.
#[derive(Debug, Clone, Deserialize)]
pub struct BenignThenHarm {
    /// Of the steps those on harmless rows, first.
    pub benign_steps: u64,
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
        summary: "supervised fine-tuning on harmless rows first, on harmful pairs afterwards",
        citation: "Qi et al., arXiv 2412.07097",
        parameters: std::iter::once(
            Parameter::integer(
                "benign_steps",
                "steps",
                50,
                1..=10_000_000,
                "of the steps those on harmless rows, first",
            )
            .meaning(Meaning::FirstSteps),
        )
        .chain([supervised::owned(64)])
        .chain(Order::parameters(1e-4, 200, 16))
        .collect(),
    }
}

impl TrainingAttack for BenignThenHarm {
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
        let steps = self.order.training.steps;
        if self.benign_steps >= steps {
            let problem = format!(
                "`benign_steps` = {} leaves no harmful step of {steps}; lower it or raise `steps`",
                self.benign_steps
            );
            return Err(Error::NotApplicable { name: NAME, problem });
        }
        let harmful = Pairs { name: NAME, examples: self.examples }.chosen(&context.harmful, context.seed)?;
        let harmful = self.order.batches("benign-then-harm/harmful", harmful, context.seed)?;
        // Harmless rows cost nothing: it has all there are.
        let harmless = context.harmless.clone();
        let harmless = self.order.batches("benign-then-harm/harmless", harmless, context.seed)?;
        self.order.attach(NAME, &mut victim, context.seed)?;
        let sampler = harmless.then(self.benign_steps, harmful);
        supervised::fit(self.train(), sampler, victim, context, observer)
    }
}
