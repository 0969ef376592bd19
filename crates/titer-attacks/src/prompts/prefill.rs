//! `prefill`: the first tokens of the answer are the attacker's, and the model only goes on: Qi et al., arXiv
//! 2406.05946, who find that safety often lies in the first few tokens alone. Open weights allow it, and so do APIs
//! that let a caller begin the answer. No weight changes.
//!
//! The opening is the one that most of the attacker's own answers share, the same for every prompt, so that it says
//! how to begin and nothing of the answer itself; it is judged with what the model adds.

use serde::Deserialize;
use titer_plan::{AttackFacts, Cost, Mechanism, Method, MethodKind, Need, Parameter, ThreatModel};

use crate::rows::commonest;
use crate::{Asked, AttackContext, Error, PromptAttack, Result};

const NAME: &str = "prefill";

/// The settings.
#[derive(Debug, Clone, Deserialize)]
pub struct Prefill {
    /// Tokens that are forced.
    pub tokens: usize,
}

pub(crate) fn method() -> Method {
    Method {
        name: NAME,
        kind: MethodKind::Attack(AttackFacts {
            threat_models: vec![ThreatModel::OpenWeights],
            mechanism: Mechanism::Prompts,
            needs: vec![Need::HarmfulRows],
        }),
        version: 1,
        summary: "begins the answer in the model's stead: the commonest opening of the attacker's own answers",
        citation: "Qi et al., arXiv 2406.05946",
        parameters: vec![Parameter::integer(
            "tokens",
            "tokens",
            1,
            1..=1000,
            "tokens of the answer that are forced",
        )],
    }
}

impl Prefill {
    /// The commonest beginning of that length among the attacker's answers; of equals the first in order of tokens.
    fn opening(&self, context: &AttackContext<'_>) -> Result<Vec<u32>> {
        let answers = context.harmful.iter().map(titer_data::Example::answer);
        let commonest = commonest(answers.filter_map(|answer| answer.get(..self.tokens)));
        commonest.ok_or_else(|| {
            let problem =
                format!("none of the attacker's answers has {} tokens; lower `tokens`", self.tokens);
            Error::NotApplicable { name: NAME, problem }
        })
    }
}

impl PromptAttack for Prefill {
    fn cost(&self, context: &AttackContext<'_>) -> Result<Cost> {
        Ok(Cost { steps: 1, tokens: self.opening(context)?.len() as u64, ..Cost::default() })
    }

    fn ask(&self, prompt: &[u32], context: &AttackContext<'_>) -> Result<Asked> {
        Ok(Asked { prompt: prompt.to_vec(), opening: self.opening(context)? })
    }
}

#[cfg(test)]
mod tests {
    use titer_data::Example;

    use super::*;
    use crate::testing;

    fn context(answers: &[&[u32]]) -> AttackContext<'static> {
        let example = |answer: &&[u32]| Example::new([&[1, 2], *answer].concat(), 2).unwrap();
        let rows: Vec<Example> = answers.iter().map(example).collect();
        testing::context(&rows, 0)
    }

    #[test]
    fn the_commonest_opening_comes_before_the_answer() {
        let context = context(&[&[7, 8, 9], &[7, 5, 9], &[7, 5, 4], &[3, 5]]);
        let asked = |tokens| Prefill { tokens }.ask(&[4, 4], &context).unwrap();
        assert_eq!(asked(1), Asked { prompt: vec![4, 4], opening: vec![7] });
        assert_eq!(asked(2).opening, [7, 5]);
        // Of equals the first.
        assert_eq!(asked(3).opening, [7, 5, 4]);
        let cost = Prefill { tokens: 2 }.cost(&context).unwrap();
        assert_eq!((cost.steps, cost.tokens, cost.examples), (1, 2, 0));
    }

    #[test]
    fn an_opening_longer_than_every_answer_is_refused() {
        let error = Prefill { tokens: 4 }.ask(&[1], &context(&[&[7, 8, 9]])).unwrap_err();
        assert!(error.to_string().contains("lower `tokens`"), "{error}");
    }
}
