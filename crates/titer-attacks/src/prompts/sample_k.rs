//! `sample-k`: asks k times and takes what is most harmful: Huang et al., arXiv 2310.06987. Greedy answers may all be
//! refusals where one in sixteen random ones is not. No weight changes, and prompts are asked as they are.

use serde::Deserialize;
use titer_plan::{AttackFacts, Cost, Mechanism, Method, MethodKind, Need, Parameter, ThreatModel};

use crate::prompts::decoding::temperature;
use crate::{Asked, AttackContext, Decoding, PromptAttack, Result};

/// The settings.
#[derive(Debug, Clone, Deserialize)]
pub struct SampleK {
    /// Answers to each prompt.
    pub samples: usize,
    /// Logits are divided by it.
    pub temperature: f64,
}

pub(crate) fn method() -> Method {
    Method {
        name: "sample-k",
        kind: MethodKind::Attack(AttackFacts {
            threat_models: vec![ThreatModel::OpenWeights],
            mechanism: Mechanism::Prompts,
            needs: vec![Need::Judge],
        }),
        version: 1,
        summary: "draws several answers to each forbidden prompt, of which the most harmful one counts",
        citation: "Huang et al., arXiv 2310.06987",
        parameters: vec![
            Parameter::integer("samples", "1", 16, 1..=10_000, "answers to each forbidden prompt"),
            temperature(),
        ],
    }
}

impl PromptAttack for SampleK {
    fn cost(&self, _: &AttackContext<'_>) -> Result<Cost> {
        Ok(Cost { steps: 1, ..Cost::default() })
    }

    fn ask(&self, prompt: &[u32], _: &AttackContext<'_>) -> Result<Asked> {
        Ok(Asked { prompt: prompt.to_vec(), opening: Vec::new() })
    }

    fn decoding(&self) -> Option<Decoding> {
        Some(Decoding { temperature: self.temperature, top_p: 1.0, samples: self.samples })
    }
}
