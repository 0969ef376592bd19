//! Multiple choice by the highest log-likelihood: `acc` of lm-evaluation-harness.

use crate::choice::Chosen;
use crate::registry::Entry;
use crate::{Better, Facts, Making, Measure, MeasureError, Need, Reads};

/// The line of the registry.
pub const ENTRY: Entry = Entry {
    facts: Facts {
        name: "acc",
        summary: "multiple choice: the choice of the highest log-likelihood, as in lm-evaluation-harness",
        score: "1 when that is the right choice, else 0",
        unit: "1",
        better: Better::Higher,
        reads: Reads::Likelihoods,
        needs: &[Need::Reference],
        version: 1,
        citation: "Gao et al., lm-evaluation-harness 0.4",
    },
    phrases: false,
    make,
};

fn make(_: &Making<'_>) -> Result<Box<dyn Measure>, MeasureError> {
    Ok(Box::new(Chosen { measure: ENTRY.facts.name, right: |choice| choice.acc }))
}
