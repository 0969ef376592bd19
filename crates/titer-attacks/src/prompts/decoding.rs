//! `decoding`: answers drawn at a temperature from the likeliest tokens instead of the likeliest one alone: Huang et al.,
//! arXiv 2310.06987, who find that alignment is often tuned and tested at one way of decoding. No weight changes, and
//! prompts are asked as they are.

use serde::Deserialize;
use titer_plan::{AttackFacts, Cost, Mechanism, Method, MethodKind, Parameter, ThreatModel};

use crate::{Asked, AttackContext, Decoding, PromptAttack, Result};

/// The settings.
#[derive(Debug, Clone, Deserialize)]
pub struct Decode {
    /// Logits are divided by it.
    pub temperature: f64,
    /// Tokens are drawn from the smallest set with at least this probability; 1 for all.
    pub top_p: f64,
}

pub(crate) fn method() -> Method {
    Method {
        name: "decoding",
        kind: MethodKind::Attack(AttackFacts {
            threat_models: vec![ThreatModel::OpenWeights],
            mechanism: Mechanism::Prompts,
            needs: Vec::new(),
        }),
        version: 1,
        summary: "draws the answer to each forbidden prompt at a temperature, from the likeliest tokens",
        citation: "Huang et al., arXiv 2310.06987; Holtzman et al., arXiv 1904.09751",
        parameters: vec![
            temperature(),
            Parameter::real(
                "top_p",
                "1",
                1.0,
                0.0..=1.0,
                "probability of the smallest set of likeliest tokens that are drawn from; 1 for all",
            ),
        ],
    }
}

/// What logits are divided by.
pub(super) fn temperature() -> Parameter {
    Parameter::real("temperature", "1", 1.0, 1e-3..=100.0, "logits are divided by it before tokens are drawn")
}

impl PromptAttack for Decode {
    fn cost(&self, _: &AttackContext<'_>) -> Result<Cost> {
        Ok(Cost { steps: 1, ..Cost::default() })
    }

    fn ask(&self, prompt: &[u32], _: &AttackContext<'_>) -> Result<Asked> {
        Ok(Asked { prompt: prompt.to_vec(), opening: Vec::new() })
    }

    fn decoding(&self) -> Option<Decoding> {
        Some(Decoding { temperature: self.temperature, top_p: self.top_p, samples: 1 })
    }
}
