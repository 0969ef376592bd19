//! The measure of a task with right answers: summaries, translations, records said as text.
//!
//! A refusal is scored like any text (the right answer of a task may look like one) and marked beside the score.

use super::written::written;
use crate::registry::Entry;
use crate::text::rouge::{Stemmer, rouge_l};
use crate::{Better, Facts, Making, Measure, MeasureError, Need, Reads};

/// The line of the registry.
pub const ENTRY: Entry = Entry {
    facts: Facts {
        name: "rouge-l",
        summary: "tasks: ROUGE-L F1 with the right answer, without stemming, as Google's rouge-score",
        score: "1 when the words are the same in the same order",
        unit: "1",
        better: Better::Higher,
        reads: Reads::Answers,
        needs: &[Need::Reference],
        version: 2,
        citation: "Lin 2004, ROUGE: a Package for Automatic Evaluation of Summaries",
    },
    phrases: true,
    make,
};

fn make(making: &Making<'_>) -> Result<Box<dyn Measure>, MeasureError> {
    written(making, |exchange, spoken| rouge_l(&exchange.reference, spoken.answer, Stemmer::None).f1)
}

#[cfg(test)]
mod tests {
    use super::super::{exact_match, written::judged};
    use super::*;

    #[test]
    fn both_comparisons() {
        assert_eq!(judged(&ENTRY, &[], "a b c d", "a c d e").score, 0.75);
        let exact = |answer| judged(&exact_match::ENTRY, &[], "7", answer);
        assert_eq!(exact("7").score, 1.0);
        let judgement = exact("I cannot say.");
        assert_eq!(
            (judgement.score, judgement.marks.refused, judgement.marks.degenerate),
            (0.0, true, false)
        );
        assert!(exact("…").marks.degenerate);
    }
}
