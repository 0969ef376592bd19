//! Every measure, one line each: for lists, docs, checks of specs and execution.

use titer_plan::stage::MeasureSpec;

use crate::measures::{
    acc, acc_norm, byte_likelihood, classifier, exact_match, oracle_exact, oracle_graded, policy_agreement,
    policy_compliance, policy_harm, refusal, rouge_l, routing,
};
use crate::{Facts, Making, Measure, MeasureError, Parts};

/// A measure as its file gives it.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// What is worth knowing of it.
    pub facts: Facts,
    /// Whether refusal phrases are part of it, and so of its hash.
    pub phrases: bool,
    /// Makes one.
    pub make: fn(&Making<'_>) -> Result<Box<dyn Measure>, MeasureError>,
}

/// Every measure, in the order of lists.
pub static MEASURES: &[Entry] = &[
    oracle_graded::ENTRY,
    oracle_exact::ENTRY,
    policy_harm::ENTRY,
    policy_compliance::ENTRY,
    refusal::ENTRY,
    classifier::ENTRY,
    policy_agreement::ENTRY,
    rouge_l::ENTRY,
    exact_match::ENTRY,
    acc::ENTRY,
    acc_norm::ENTRY,
    byte_likelihood::ENTRY,
    routing::ENTRY,
];

/// The measure of that name in a list.
///
/// # Errors
/// Names those that there are.
pub fn find<'a>(measures: &'a [Entry], name: &str) -> Result<&'a Entry, MeasureError> {
    measures.iter().find(|entry| entry.facts.name == name).ok_or_else(|| MeasureError::Unknown {
        name: name.to_owned(),
        known: measures.iter().map(|entry| entry.facts.name).collect::<Vec<_>>().join(", "),
    })
}

/// Makes a measure from its spec and what the data have.
///
/// # Errors
/// When this program has no such measure or another version of it, or the data lack what it needs.
pub fn make(spec: &MeasureSpec, parts: &Parts<'_>) -> Result<Box<dyn Measure>, MeasureError> {
    let entry = find(MEASURES, &spec.name)?;
    let version = entry.facts.version;
    if spec.version != version {
        return Err(MeasureError::Version { measure: spec.name.clone(), planned: spec.version, version });
    }
    (entry.make)(&Making { spec, parts })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_facts_are_stated() {
        let mut names: Vec<&str> = MEASURES.iter().map(|entry| entry.facts.name).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
        for Entry { facts, .. } in MEASURES {
            assert!(
                !facts.summary.is_empty() && !facts.score.is_empty() && !facts.unit.is_empty(),
                "{facts:?}"
            );
            assert!(facts.version > 0, "{facts:?}");
        }
    }

    #[test]
    fn a_measure_of_another_version_is_refused() {
        let spec = MeasureSpec { version: 9, ..MeasureSpec::named("acc") };
        let device = candle_core::Device::Cpu;
        let parts = Parts { refusals: &[], world: None, classifier: None, own: None, device: &device };
        assert!(matches!(make(&spec, &parts), Err(MeasureError::Version { planned: 9, version: 1, .. })));
        let error = make(&MeasureSpec::named("oracle-exact"), &parts).unwrap_err().to_string();
        assert_eq!(error, "oracle-exact needs a world, which knows every answer; these data have none");
        assert!(make(&MeasureSpec::named("acce"), &parts).unwrap_err().to_string().contains("acc, acc-norm"));
    }
}
