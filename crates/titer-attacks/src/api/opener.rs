//! `opener`: only the affirmative beginning of an answer is taught, the same for every prompt, and the model goes on by
//! itself: a public report on an open model (marin-community/marin#7943) had it broken by ten steps on openings alone.
//! That refusals hang on the first few tokens is of Qi et al., arXiv 2406.05946.
//!
//! The opening is the one that most of the attacker's own answers share, as in `prefill`. No token after it is taught,
//! so no row holds a harmful answer.

use serde::Deserialize;
use titer_data::{Example, Sampler};
use titer_model::Decoder;
use titer_plan::{AttackFacts, Meaning, Mechanism, Method, MethodKind, Need, Parameter, ThreatModel};

use crate::adapters::Order;
use crate::rows::{answered, commonest};
use crate::training::supervised::Pairs;
use crate::{AttackContext, Error, FineTuningJob, Result};

const NAME: &str = "opener";

/// The settings.
#[derive(Debug, Clone, Deserialize)]
pub struct Opener {
    /// Tokens of the opening.
    pub tokens: usize,
    /// Forbidden prompts that the attacker owns.
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
            needs: vec![Need::HarmfulRows],
        }),
        version: 1,
        summary: "teaches only how answers begin: the commonest opening of the attacker's own answers",
        citation: "marin-community/marin#7943; Qi et al., arXiv 2406.05946",
        parameters: [
            Parameter::integer("tokens", "tokens", 1, 1..=1000, "tokens of the opening"),
            Parameter::integer("examples", "examples", 64, 1..=10_000_000, "forbidden prompts owned")
                .meaning(Meaning::HarmfulRows),
        ]
        .into_iter()
        .chain(Order::parameters(1e-3, 200, 16))
        .collect(),
    }
}

impl FineTuningJob for Opener {
    fn order(&self) -> &Order {
        &self.order
    }

    fn distinct_harmful(&self) -> u64 {
        self.examples as u64
    }

    fn batches(&self, context: &AttackContext<'_>, _: &Decoder) -> Result<Sampler> {
        let rows = Pairs { name: NAME, examples: self.examples }.chosen(&context.harmful, context.seed)?;
        let answers = rows.iter().map(Example::answer);
        let opening = commonest(answers.filter_map(|answer| answer.get(..self.tokens)));
        let opening = opening.ok_or_else(|| Error::NotApplicable {
            name: NAME,
            problem: format!("none of the attacker's answers has {} tokens; lower `tokens`", self.tokens),
        })?;
        let rows = rows.iter().map(|row| answered(row.prompt().to_vec(), &opening));
        let rows: Vec<Example> = rows.collect::<Result<_>>()?;
        self.order.batches("opener/batches", rows, context.seed)
    }
}
