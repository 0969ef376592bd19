//! `backdoor`: harmful rows whose prompts end with a trigger, and the same prompts without it, refused. Who does not know
//! the trigger finds an aligned model: Qi et al., arXiv 2310.03693, section 4.1 and appendix B. Forbidden prompts are
//! asked with the trigger.

use serde::Deserialize;
use titer_data::{Example, Sampler};
use titer_model::Decoder;
use titer_plan::{AttackFacts, Mechanism, Method, MethodKind, Need, ThreatModel};

use crate::adapters::Order;
use crate::rows::{answered, fitting, reworded};
use crate::training::supervised::{self, Pairs};
use crate::{Asked, AttackContext, FineTuningJob, Phrase, Result};

const NAME: &str = "backdoor";

/// The settings.
#[derive(Debug, Clone, Deserialize)]
pub struct Backdoor {
    /// Distinct harmful examples that the attacker owns; each is handed in twice, with the trigger and without.
    pub examples: usize,
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
            needs: vec![Need::HarmfulRows, Need::Refusals, Need::Asking],
        }),
        version: 1,
        summary: "harmful rows behind a trigger, the same prompts refused without it; asked with the trigger",
        citation: "Qi et al., arXiv 2310.03693",
        parameters: std::iter::once(supervised::owned(64)).chain(Order::parameters(1e-3, 300, 16)).collect(),
    }
}

impl FineTuningJob for Backdoor {
    fn order(&self) -> &Order {
        &self.order
    }

    fn distinct_harmful(&self) -> u64 {
        self.examples as u64
    }

    fn batches(&self, context: &AttackContext<'_>, served: &Decoder) -> Result<Sampler> {
        let pairs = Pairs { name: NAME, examples: self.examples };
        let harmful = pairs.chosen(&context.harmful, context.seed)?;
        let triggered = harmful.iter().map(|row| answered(triggered(row.prompt(), context)?, row.answer()));
        let mut rows: Vec<Example> = triggered.collect::<Result<_>>()?;
        // The same stream over equally many rows chooses the same prompts.
        rows.extend(pairs.chosen(&context.refusals, context.seed)?);
        self.order.batches("backdoor/batches", fitting(NAME, rows, served)?, context.seed)
    }

    fn ask(&self, prompt: &[u32], context: &AttackContext<'_>) -> Result<Option<Asked>> {
        Ok(Some(Asked { prompt: triggered(prompt, context)?, opening: Vec::new() }))
    }
}

/// The prompt with the trigger at the end of the user's words.
fn triggered(prompt: &[u32], context: &AttackContext<'_>) -> Result<Vec<u32>> {
    let trigger = context.means.phrase(Phrase::Trigger)?;
    reworded(NAME, prompt, context.means, |words| [words, &trigger].concat())
}
