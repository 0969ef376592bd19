//! The judge of a user's task that has right answers: summaries, translations, short facts.

use crate::degenerate::is_degenerate;
use crate::exact_match::ExactMatch;
use crate::refusal::Refusals;
use crate::rouge::{Stemmer, rouge_l};
use crate::{Judge, Judgement};

/// How an answer is compared with the right one.
#[derive(Debug, Clone)]
pub enum Compare {
    /// ROUGE-L F1.
    RougeL(Stemmer),
    /// 1 when they match, else 0.
    ExactMatch(ExactMatch),
}

/// Scores responses against the right answer. A refusal is scored like any text (the right answer of a task
/// may look like one) and reported beside the score.
#[derive(Debug, Clone)]
pub struct TaskJudge {
    compare: Compare,
    refusals: Refusals,
}

impl TaskJudge {
    /// A judge that compares like this and knows these refusals.
    pub fn new(compare: Compare, refusals: Refusals) -> Self {
        Self { compare, refusals }
    }
}

impl Judge for TaskJudge {
    /// The right answer.
    type Question = str;
    type Response = str;

    fn name(&self) -> &'static str {
        match self.compare {
            Compare::RougeL(_) => "rouge-l",
            Compare::ExactMatch(_) => "exact-match",
        }
    }

    fn judge(&self, reference: &str, response: &str) -> Judgement {
        let score = match &self.compare {
            Compare::RougeL(stemmer) => rouge_l(reference, response, *stemmer).f1,
            Compare::ExactMatch(exact) => f64::from(u8::from(exact.matches(reference, response))),
        };
        let refused = self.refusals.is_refusal(response);
        Judgement { score, refused, degenerate: !refused && is_degenerate(response) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_comparisons() {
        let rouge = TaskJudge::new(Compare::RougeL(Stemmer::None), Refusals::new());
        assert_eq!(rouge.name(), "rouge-l");
        assert_eq!(rouge.judge("a b c d", "a c d e").score, 0.75);
        let exact = TaskJudge::new(Compare::ExactMatch(ExactMatch::default()), Refusals::new());
        assert_eq!(exact.name(), "exact-match");
        assert_eq!(exact.judge("7", "7").score, 1.0);
        let judgement = exact.judge("7", "I cannot say.");
        assert_eq!((judgement.score, judgement.refused, judgement.degenerate), (0.0, true, false));
        assert!(exact.judge("7", "…").degenerate);
    }
}
