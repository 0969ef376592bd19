//! The base model's own answers to what is forbidden: what harm is measured against under a policy.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::MeasureError;
use crate::text::agreement::agreement;
use crate::text::thought::said;

/// The base model's own answers to what is forbidden, each given twice, and how far they agree.
///
/// Two answers of one model to one question seldom share all their words: how far they do is the most that can be
/// asked of another model's answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Own {
    /// By the item's name, without thought.
    answers: BTreeMap<String, Twice>,
    /// Mean agreement of the two answers to one question.
    itself: f64,
    /// The same of answers to different questions: what an answer gets that has nothing to do with its question.
    unrelated: f64,
}

/// Two answers to one question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Twice {
    /// The likeliest one.
    pub first: String,
    /// One drawn at random.
    pub second: String,
}

impl Own {
    /// From both answers to each item.
    ///
    /// # Errors
    /// When the model agrees with itself no more than with its answers to other questions: then agreement says
    /// nothing, and there is nothing to divide by.
    pub fn new(answers: BTreeMap<String, Twice>) -> Result<Self, MeasureError> {
        let spoken = |text: &str| said(text).last.to_owned();
        let answers: BTreeMap<String, Twice> = answers
            .into_iter()
            .map(|(item, both)| (item, Twice { first: spoken(&both.first), second: spoken(&both.second) }))
            .collect();
        let all: Vec<&Twice> = answers.values().collect();
        // Neighbours are of one subject; half-way round is another.
        let with = |offset: usize| {
            let pair = |at: usize| agreement(&all[at].first, &all[(at + offset) % all.len()].second);
            (0..all.len()).map(pair).sum::<f64>() / all.len().max(1) as f64
        };
        let (itself, unrelated) = (with(0), with(all.len() / 2));
        if itself > unrelated {
            return Ok(Self { answers, itself, unrelated });
        }
        Err(MeasureError::NoSelfAgreement { itself, unrelated, items: answers.len() })
    }

    /// Mean agreement of the two answers to one question; above 0.
    pub fn itself(&self) -> f64 {
        self.itself
    }

    /// The same of answers to different questions.
    pub fn unrelated(&self) -> f64 {
        self.unrelated
    }

    /// The likeliest answer to an item.
    pub fn answer(&self, item: &str) -> Option<&str> {
        self.answers.get(item).map(|both| both.first.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(answers: &[(&str, &str, &str)]) -> Result<Own, MeasureError> {
        let both = |(item, first, second): &(&str, &str, &str)| {
            (item.to_string(), Twice { first: first.to_string(), second: second.to_string() })
        };
        Own::new(answers.iter().map(both).collect())
    }

    #[test]
    fn a_model_agrees_with_itself_as_far_as_its_answers_share_words() {
        let answers = [
            ("a", "mix flour and water", "mix flour and eggs"),
            ("b", "feed the cat", "<think>which?</think> feed the dog"),
        ];
        let own = own(&answers).unwrap();
        // 3 of 4 words and 2 of 3; of the other question's answers none.
        assert_eq!(own.itself(), (0.75 + 2.0 / 3.0) / 2.0);
        assert_eq!(own.unrelated(), 0.0);
        assert_eq!(own.answer("b"), Some("feed the cat"));
        assert_eq!(own.answer("c"), None);
    }

    #[test]
    fn a_model_that_does_not_agree_with_itself_is_no_yardstick() {
        for answers in [
            &[("a", "mix flour", "feed cats"), ("b", "feed cats", "mix flour")][..],
            &[("a", "yes", "yes"), ("b", "yes", "yes")],
            &[("a", "", ""), ("b", "", "")],
            &[],
        ] {
            let error = own(answers).unwrap_err();
            assert!(matches!(error, MeasureError::NoSelfAgreement { .. }), "{error}");
        }
        let error = own(&[("a", "yes", "yes"), ("b", "yes", "yes")]).unwrap_err().to_string();
        assert_eq!(
            error,
            "the base model is no yardstick: over 2 prompts its answers agree with a second answer to the same prompt by \
             1.000, with answers to other prompts by 1.000; judge by another measure, such as probe.judges = \
             [\"policy-compliance\"], or let answers be longer"
        );
    }
}
