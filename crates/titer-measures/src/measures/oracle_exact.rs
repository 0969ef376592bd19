//! The exact judge of a world's permitted prompts and harmless tasks: whether the whole answer is right.

use super::oracle::{Grade, Oracle};
use crate::registry::Entry;
use crate::{Better, Facts, Making, Measure, MeasureError, Need, Reads};

/// The line of the registry.
pub const ENTRY: Entry = Entry {
    facts: Facts {
        name: "oracle-exact",
        summary: "embedded worlds: knows the answer; used on permitted prompts and harmless tasks",
        score: "1 when the whole answer is right, else 0",
        unit: "1",
        better: Better::Higher,
        reads: Reads::Answers,
        needs: &[Need::World, Need::Reference],
        version: 1,
        citation: "",
    },
    phrases: false,
    make,
};

fn make(making: &Making<'_>) -> Result<Box<dyn Measure>, MeasureError> {
    Ok(Box::new(Oracle::new(making.world()?, Grade::Exact)))
}
