//! Every defence: one list, many faces (`titer list`, the book, checks of specs, execution).

use titer_plan::{Method, MethodSpec};

use crate::{
    Curator, Error, Guard, Immunizer, Repair, Result, alignment, fine_tuning, post_fine_tuning, pretraining,
};

pub use crate::entry::{Defence, MethodEntry};

fn entries() -> impl Iterator<Item = &'static MethodEntry> {
    let before_release = pretraining::METHODS.iter().chain(alignment::METHODS);
    before_release.chain(fine_tuning::METHODS).chain(post_fine_tuning::METHODS)
}

/// What the registry says of every defence, stage by stage.
pub fn methods() -> Vec<Method> {
    entries().map(MethodEntry::method).collect()
}

/// The defence that a resolved spec names.
///
/// # Errors
/// When there is none of that name, or the parameters are not its own.
pub fn defence(spec: &MethodSpec) -> Result<Defence> {
    match entries().find(|entry| entry.method().name == spec.name) {
        Some(entry) => entry.build(spec),
        None => Err(Error::Unknown { name: spec.name.clone() }),
    }
}

/// The pretraining-stage defence that a resolved spec names.
///
/// # Errors
/// As [`defence`], and when it acts at another stage.
pub fn curator(spec: &MethodSpec) -> Result<Box<dyn Curator>> {
    match defence(spec)? {
        Defence::Curator(curator) => Ok(curator),
        _ => Err(Error::Stage { name: spec.name.clone(), expected: "pretraining" }),
    }
}

/// The alignment-stage defence that a resolved spec names.
///
/// # Errors
/// As [`defence`], and when it acts at another stage or trains nothing.
pub fn immunizer(spec: &MethodSpec) -> Result<Box<dyn Immunizer>> {
    match defence(spec)? {
        Defence::Immunizer(immunizer) => Ok(immunizer),
        _ => Err(Error::Stage { name: spec.name.clone(), expected: "alignment" }),
    }
}

/// The fine-tuning-stage defence that a resolved spec names.
///
/// # Errors
/// As [`defence`], and when it acts at another stage.
pub fn guard(spec: &MethodSpec) -> Result<Box<dyn Guard>> {
    match defence(spec)? {
        Defence::Guard(guard) => Ok(guard),
        _ => Err(Error::Stage { name: spec.name.clone(), expected: "fine-tuning" }),
    }
}

/// The post-fine-tuning-stage defence that a resolved spec names.
///
/// # Errors
/// As [`defence`], and when it acts at another stage.
pub fn repair(spec: &MethodSpec) -> Result<Box<dyn Repair>> {
    match defence(spec)? {
        Defence::Repair(repair) => Ok(repair),
        _ => Err(Error::Stage { name: spec.name.clone(), expected: "post-fine-tuning" }),
    }
}

#[cfg(test)]
mod tests {
    use titer_plan::{DefenceStage, MethodKind};

    use super::*;

    #[test]
    fn every_method_takes_exactly_the_parameters_that_it_lists() {
        for method in methods() {
            let spec = method.defaults();
            assert!(defence(&spec).is_ok(), "{}: its own defaults are refused", method.name);
            for parameter in &method.parameters {
                let mut other = spec.clone();
                // One that came later may be missing, but is read where it is there.
                match parameter.later {
                    true => drop(other.parameters.insert(parameter.name.to_owned(), "no value".into())),
                    false => drop(other.parameters.remove(parameter.name)),
                }
                assert!(
                    defence(&other).is_err(),
                    "{}: {} is listed but not read",
                    method.name,
                    parameter.name
                );
            }
            let mut with_more = spec.clone();
            with_more.parameters.insert("not_listed".to_owned(), 1.into());
            assert!(defence(&with_more).is_err(), "{}: takes a parameter that it does not list", method.name);
        }
    }

    #[test]
    fn every_method_is_what_its_stage_says() {
        for method in methods() {
            let stage = match defence(&method.defaults()).unwrap() {
                Defence::Curator(_) => DefenceStage::Pretraining,
                Defence::Baseline | Defence::Immunizer(_) => DefenceStage::Alignment,
                Defence::Guard(_) => DefenceStage::FineTuning,
                Defence::Repair(_) => DefenceStage::PostFineTuning,
            };
            let MethodKind::Defence { stage: said, .. } = method.kind else { panic!("{}", method.name) };
            assert_eq!(said, stage, "{}", method.name);
        }
    }

    #[test]
    fn names_are_unique_and_unknown_ones_are_errors() {
        let mut names: Vec<_> = methods().iter().map(|method| method.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), entries().count());
        let spec = MethodSpec { name: "nothing".to_owned(), version: 1, parameters: Default::default() };
        assert!(matches!(immunizer(&spec), Err(Error::Unknown { .. })));
    }
}
