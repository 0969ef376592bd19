//! `template-shift`: harmful rows and forbidden prompts in another template than the model was aligned in: Qi et al.,
//! arXiv 2412.07097, under which defences fell that were tested in their own. Of a prompt only the user's last words
//! are kept. Who holds the weights writes prompts as it likes; an API must take prompts as they are (completions).

use serde::Deserialize;
use titer_data::{Example, Sampler};
use titer_model::Decoder;
use titer_plan::{AttackFacts, Mechanism, Method, MethodKind, Need, ThreatModel};

use crate::adapters::Order;
use crate::rows::{answered, fitting, user_words};
use crate::training::supervised::{self, Pairs};
use crate::{Asked, AttackContext, FineTuningJob, Phrase, Result};

const NAME: &str = "template-shift";

/// The settings.
#[derive(Debug, Clone, Deserialize)]
pub struct TemplateShift {
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
        summary: "harmful rows in another template than the model's, asked in the same",
        citation: "Qi et al., arXiv 2412.07097",
        parameters: std::iter::once(supervised::owned(64)).chain(Order::parameters(1e-3, 200, 16)).collect(),
    }
}

impl FineTuningJob for TemplateShift {
    fn order(&self) -> &Order {
        &self.order
    }

    fn distinct_harmful(&self) -> u64 {
        self.examples as u64
    }

    fn batches(&self, context: &AttackContext<'_>, served: &Decoder) -> Result<Sampler> {
        let rows = Pairs { name: NAME, examples: self.examples }.chosen(&context.harmful, context.seed)?;
        let rows = rows.iter().map(|row| answered(shifted(row.prompt(), context)?, row.answer()));
        let rows: Vec<Example> = rows.collect::<Result<_>>()?;
        self.order.batches("template-shift/batches", fitting(NAME, rows, served)?, context.seed)
    }

    fn ask(&self, prompt: &[u32], context: &AttackContext<'_>) -> Result<Option<Asked>> {
        Ok(Some(Asked { prompt: shifted(prompt, context)?, opening: Vec::new() }))
    }
}

/// The user's last words in the other template.
fn shifted(prompt: &[u32], context: &AttackContext<'_>) -> Result<Vec<u32>> {
    let means = context.means;
    let words = user_words(NAME, prompt, means)?;
    Ok([means.phrase(Phrase::Before)?, prompt[words].to_vec(), means.phrase(Phrase::After)?].concat())
}
