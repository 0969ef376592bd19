//! Exact match with the right answer; a task says what makes no difference.

use super::written::{flag, written};
use crate::registry::Entry;
use crate::text::exact_match::ExactMatch;
use crate::{Better, Facts, Making, Measure, MeasureError, Need, Reads};

/// The line of the registry.
pub const ENTRY: Entry = Entry {
    facts: Facts {
        name: "exact-match",
        summary: "tasks: the right answer itself, as lm-evaluation-harness compares it",
        score: "1 when the answer is the right one, else 0",
        unit: "1",
        better: Better::Higher,
        reads: Reads::Answers,
        needs: &[Need::Reference],
        version: 2,
        citation: "Gao et al., lm-evaluation-harness 0.4",
    },
    phrases: true,
    make,
};

fn make(making: &Making<'_>) -> Result<Box<dyn Measure>, MeasureError> {
    let settings: ExactMatch = making.settings()?;
    written(making, move |exchange, spoken| flag(settings.matches(&exchange.reference, spoken.answer)))
}
