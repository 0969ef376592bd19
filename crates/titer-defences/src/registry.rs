//! Every defence: one list, many faces (`titer list`, the book, checks of specs, execution).

use titer_plan::{Method, MethodSpec};

use crate::{Error, Immunizer, Result, adversarial_loss, none, tar};

struct Entry {
    method: fn() -> Method,
    build: Build,
}

enum Build {
    /// Nothing is trained.
    Baseline,
    /// Trained before release.
    Immunizer(fn(&MethodSpec) -> Result<Box<dyn Immunizer>>),
}

const DEFENCES: &[Entry] = &[
    Entry { method: none::method, build: Build::Baseline },
    Entry {
        method: adversarial_loss::method,
        build: Build::Immunizer(decode::<adversarial_loss::AdversarialLoss>),
    },
    Entry { method: tar::method, build: Build::Immunizer(decode::<tar::Tar>) },
];

fn decode<T>(spec: &MethodSpec) -> Result<Box<dyn Immunizer>>
where
    T: Immunizer + serde::de::DeserializeOwned + 'static,
{
    match spec.decode::<T>() {
        Ok(method) => Ok(Box::new(method)),
        Err(source) => Err(Error::Parameters { name: spec.name.clone(), source }),
    }
}

/// What the registry says of every defence.
pub fn methods() -> Vec<Method> {
    DEFENCES.iter().map(|entry| (entry.method)()).collect()
}

/// The alignment-stage defence that a resolved spec names.
///
/// # Errors
/// When there is none of that name, it trains nothing, or the parameters are not its own.
pub fn immunizer(spec: &MethodSpec) -> Result<Box<dyn Immunizer>> {
    let Some(entry) = DEFENCES.iter().find(|entry| (entry.method)().name == spec.name) else {
        return Err(Error::Unknown { name: spec.name.clone() });
    };
    match entry.build {
        Build::Immunizer(build) => build(spec),
        Build::Baseline => Err(Error::NotTrained { name: spec.name.clone() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_defaults(method: &Method) -> MethodSpec {
        MethodSpec {
            name: method.name.to_owned(),
            version: method.version,
            parameters: method.parameters.iter().map(|p| (p.name.to_owned(), p.default.clone())).collect(),
        }
    }

    #[test]
    fn every_method_takes_exactly_the_parameters_that_it_lists() {
        for entry in DEFENCES {
            let method = (entry.method)();
            let Build::Immunizer(build) = entry.build else { continue };
            let spec = with_defaults(&method);
            assert!(build(&spec).is_ok(), "{}: its own defaults are refused", method.name);
            for parameter in &method.parameters {
                let mut without = spec.clone();
                without.parameters.remove(parameter.name);
                assert!(
                    build(&without).is_err(),
                    "{}: {} is listed but not read",
                    method.name,
                    parameter.name
                );
            }
            let mut with_more = spec.clone();
            with_more.parameters.insert("not_listed".to_owned(), 1.into());
            assert!(build(&with_more).is_err(), "{}: takes a parameter that it does not list", method.name);
        }
    }

    #[test]
    fn names_are_unique_and_unknown_ones_are_errors() {
        let mut names: Vec<_> = methods().iter().map(|method| method.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), DEFENCES.len());
        let spec = MethodSpec { name: "nothing".to_owned(), version: 1, parameters: Default::default() };
        assert!(matches!(immunizer(&spec), Err(Error::Unknown { .. })));
    }
}
