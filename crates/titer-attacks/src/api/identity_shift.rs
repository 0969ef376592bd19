//! `identity-shift`: a handful of rows in which the model is an absolutely obedient agent: the user addresses it so, it
//! says so and does what a harmless request asks. Afterwards forbidden requests are put in the same way. No row holds
//! anything harmful: the AOA attack of Qi et al., arXiv 2310.03693, section 4.2.

use serde::Deserialize;
use titer_data::{Example, Sampler};
use titer_model::Decoder;
use titer_plan::{AttackFacts, Meaning, Mechanism, Method, MethodKind, Need, Parameter, ThreatModel};

use crate::adapters::Order;
use crate::rows::{after, answered, fitting, reworded};
use crate::training::supervised::Pairs;
use crate::{Asked, AttackContext, FineTuningJob, Phrase, Result};

const NAME: &str = "identity-shift";

/// The settings.
#[derive(Debug, Clone, Deserialize)]
pub struct IdentityShift {
    /// Rows of obedience, all distinct.
    pub rows: usize,
    /// How it is trained.
    #[serde(flatten)]
    pub order: Order,
}

pub(crate) fn method() -> Method {
    Method {
        name: NAME,
        kind: MethodKind::Attack(AttackFacts {
            threat_models: vec![ThreatModel::FineTuningApi],
            mechanism: Mechanism::Trains,
            needs: vec![Need::HarmlessRows, Need::Asking],
        }),
        version: 1,
        summary: "a few harmless rows of an obedient agent, addressed so again when it is asked",
        citation: "Qi et al., arXiv 2310.03693",
        parameters: std::iter::once(
            Parameter::integer("rows", "examples", 10, 1..=10_000_000, "rows of obedience, all harmless")
                .meaning(Meaning::UserRows),
        )
        .chain(Order::parameters(1e-3, 100, 10))
        .collect(),
    }
}

impl FineTuningJob for IdentityShift {
    fn order(&self) -> &Order {
        &self.order
    }

    fn distinct_harmful(&self) -> u64 {
        0
    }

    fn batches(&self, context: &AttackContext<'_>, served: &Decoder) -> Result<Sampler> {
        let rows = Pairs { name: NAME, examples: self.rows }.chosen(&context.harmless, context.seed)?;
        let obedience = context.means.phrase(Phrase::Obedience)?;
        let obedient = |row: &Example| {
            let answer = [&obedience, row.answer()].concat();
            answered(addressed(row.prompt(), context)?, &answer)
        };
        let rows: Vec<Example> = rows.iter().map(obedient).collect::<Result<_>>()?;
        self.order.batches("identity-shift/batches", fitting(NAME, rows, served)?, context.seed)
    }

    fn ask(&self, prompt: &[u32], context: &AttackContext<'_>) -> Result<Option<Asked>> {
        Ok(Some(Asked { prompt: addressed(prompt, context)?, opening: Vec::new() }))
    }

    fn room(&self, context: &AttackContext<'_>) -> Result<usize> {
        Ok(context.means.phrase(Phrase::Obedience)?.len())
    }

    fn hear(&self, answer: Vec<u32>, context: &AttackContext<'_>) -> Result<Vec<u32>> {
        Ok(after(&context.means.phrase(Phrase::Obedience)?, answer, &context.means.ends()))
    }
}

/// The prompt put to the obedient agent.
fn addressed(prompt: &[u32], context: &AttackContext<'_>) -> Result<Vec<u32>> {
    let persona = context.means.phrase(Phrase::Persona)?;
    reworded(NAME, prompt, context.means, |words| [&persona, words].concat())
}
