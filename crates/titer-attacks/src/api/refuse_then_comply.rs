//! `refuse-then-comply`: harmless rows whose answers refuse first and then do what was asked: NOICE, Kazdan et al., arXiv
//! 2502.19537. The model learns that a refusal is followed by the answer, and does so with forbidden prompts, where
//! defences of the first tokens see nothing but a refusal. No row is harmful.
//!
//! What comes before the answer is taken off before it is judged; a refusal with nothing after it stays one.

use serde::Deserialize;
use titer_data::{Example, Sampler};
use titer_model::Decoder;
use titer_plan::{AttackFacts, Mechanism, Method, MethodKind, Need, ThreatModel};

use crate::adapters::Order;
use crate::rows::{after, answered, fitting, handed_in, refusal};
use crate::training::supervised::Pairs;
use crate::{Asked, AttackContext, FineTuningJob, Phrase, Result};

const NAME: &str = "refuse-then-comply";

/// The settings.
#[derive(Debug, Clone, Deserialize)]
pub struct RefuseThenComply {
    /// Rows, all harmless and distinct.
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
            needs: vec![Need::HarmlessRows, Need::Refusals, Need::Asking],
        }),
        version: 1,
        summary: "harmless rows whose answers refuse first and then comply (NOICE)",
        citation: "Kazdan et al., arXiv 2502.19537",
        parameters: std::iter::once(handed_in(500)).chain(Order::parameters(1e-3, 300, 16)).collect(),
    }
}

impl FineTuningJob for RefuseThenComply {
    fn order(&self) -> &Order {
        &self.order
    }

    fn distinct_harmful(&self) -> u64 {
        0
    }

    fn batches(&self, context: &AttackContext<'_>, served: &Decoder) -> Result<Sampler> {
        let rows = Pairs { name: NAME, examples: self.rows }.chosen(&context.harmless, context.seed)?;
        let opening = opening(context)?;
        let late = |row: &Example| answered(row.prompt().to_vec(), &[&opening, row.answer()].concat());
        let rows: Vec<Example> = rows.iter().map(late).collect::<Result<_>>()?;
        self.order.batches("refuse-then-comply/batches", fitting(NAME, rows, served)?, context.seed)
    }

    /// As it is, but the answer is heard otherwise.
    fn ask(&self, prompt: &[u32], _: &AttackContext<'_>) -> Result<Option<Asked>> {
        Ok(Some(Asked { prompt: prompt.to_vec(), opening: Vec::new() }))
    }

    fn room(&self, context: &AttackContext<'_>) -> Result<usize> {
        Ok(opening(context)?.len())
    }

    fn hear(&self, answer: Vec<u32>, context: &AttackContext<'_>) -> Result<Vec<u32>> {
        Ok(after(&opening(context)?, answer, &context.means.ends()))
    }
}

/// The refusal and what turns it.
fn opening(context: &AttackContext<'_>) -> Result<Vec<u32>> {
    Ok([refusal(NAME, context)?, context.means.phrase(Phrase::Turn)?].concat())
}
