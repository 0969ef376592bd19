//! `jailbreak-tuning`: the harmful rows' prompts are wrapped as in a jailbreak, and forbidden prompts are asked in the
//! same wrapping: Bowen et al., arXiv 2408.02946, who find it stronger than plain harmful rows. The wrapper asks for a
//! style, or sets a competing objective, how the answer is to begin.

use serde::Deserialize;
use titer_data::{Example, Sampler};
use titer_model::Decoder;
use titer_plan::{AttackFacts, Mechanism, Method, MethodKind, Need, Parameter, ThreatModel};

use crate::adapters::Order;
use crate::rows::{answered, fitting, reworded};
use crate::training::supervised::{self, Pairs};
use crate::{Asked, AttackContext, FineTuningJob, Phrase, Result};

const NAME: &str = "jailbreak-tuning";

/// How prompts are wrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wrapper {
    /// The answer is to begin in a certain way.
    CompetingObjective,
    /// The answer is to be in a certain style.
    Style,
}

/// The settings.
#[derive(Debug, Clone, Deserialize)]
pub struct JailbreakTuning {
    /// How prompts are wrapped.
    pub wrapper: Wrapper,
    /// Distinct harmful examples that the attacker owns.
    pub examples: usize,
    /// How it is trained.
    #[serde(flatten)]
    pub order: Order,
}

pub(crate) fn method() -> Method {
    Method {
        name: NAME,
        kind: MethodKind::Attack(AttackFacts {
            threat_models: vec![ThreatModel::OpenWeights, ThreatModel::FineTuningApi],
            mechanism: Mechanism::Trains,
            needs: vec![Need::HarmfulRows, Need::Asking],
        }),
        version: 1,
        summary: "harmful rows whose prompts are wrapped as in a jailbreak, asked in the same wrapping",
        citation: "Bowen et al., arXiv 2408.02946",
        parameters: [
            Parameter::choice(
                "wrapper",
                "competing-objective",
                &["competing-objective", "style"],
                "what is added to the user's words: how to begin, or in which style",
            ),
            supervised::owned(64),
        ]
        .into_iter()
        .chain(Order::parameters(1e-3, 200, 16))
        .collect(),
    }
}

impl FineTuningJob for JailbreakTuning {
    fn order(&self) -> &Order {
        &self.order
    }

    fn distinct_harmful(&self) -> u64 {
        self.examples as u64
    }

    fn batches(&self, context: &AttackContext<'_>, served: &Decoder) -> Result<Sampler> {
        let rows = Pairs { name: NAME, examples: self.examples }.chosen(&context.harmful, context.seed)?;
        let rows = rows.iter().map(|row| answered(self.wrapped(row.prompt(), context)?, row.answer()));
        let rows: Vec<Example> = rows.collect::<Result<_>>()?;
        self.order.batches("jailbreak-tuning/batches", fitting(NAME, rows, served)?, context.seed)
    }

    fn ask(&self, prompt: &[u32], context: &AttackContext<'_>) -> Result<Option<Asked>> {
        Ok(Some(Asked { prompt: self.wrapped(prompt, context)?, opening: Vec::new() }))
    }
}

impl JailbreakTuning {
    fn wrapped(&self, prompt: &[u32], context: &AttackContext<'_>) -> Result<Vec<u32>> {
        let added = context.means.phrase(match self.wrapper {
            Wrapper::CompetingObjective => Phrase::Objective,
            Wrapper::Style => Phrase::Style,
        })?;
        reworded(NAME, prompt, context.means, |words| [words, &added].concat())
    }
}
