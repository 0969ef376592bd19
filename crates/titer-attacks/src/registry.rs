//! Every attack: one list, many faces (`titer list`, the book, checks of specs, execution).

use serde::de::DeserializeOwned;
use titer_plan::{Method, MethodSpec};

use crate::{Attack, Error, Order, Result, full_finetune, lora_finetune, mixed_finetune};

struct Entry {
    method: fn() -> Method,
    build: fn(&MethodSpec) -> Result<Means>,
}

/// An attack made from its spec: by what means it trains.
pub enum Means {
    /// The attacker trains the weights itself.
    Weights(Box<dyn Attack>),
    /// The attacker has a provider train them.
    Api(Box<dyn Order>),
}

const ATTACKS: &[Entry] = &[
    Entry { method: full_finetune::method, build: weights::<full_finetune::FullFinetune> },
    Entry { method: lora_finetune::method, build: weights::<lora_finetune::LoraFinetune> },
    Entry { method: mixed_finetune::method, build: api::<mixed_finetune::MixedFinetune> },
];

fn weights<T: Attack + DeserializeOwned + 'static>(spec: &MethodSpec) -> Result<Means> {
    Ok(Means::Weights(Box::new(decode::<T>(spec)?)))
}

fn api<T: Order + DeserializeOwned + 'static>(spec: &MethodSpec) -> Result<Means> {
    Ok(Means::Api(Box::new(decode::<T>(spec)?)))
}

fn decode<T: DeserializeOwned>(spec: &MethodSpec) -> Result<T> {
    spec.decode().map_err(|source| Error::Parameters { name: spec.name.clone(), source })
}

/// What the registry says of every attack.
pub fn methods() -> Vec<Method> {
    ATTACKS.iter().map(|entry| (entry.method)()).collect()
}

/// The attack that a resolved spec names.
///
/// # Errors
/// When there is none of that name or the parameters are not its own.
pub fn attack(spec: &MethodSpec) -> Result<Means> {
    match ATTACKS.iter().find(|entry| (entry.method)().name == spec.name) {
        Some(entry) => {
            let method = (entry.method)();
            let known = |name: &str| method.parameters.iter().any(|parameter| parameter.name == name);
            if let Some(parameter) = spec.parameters.keys().find(|name| !known(name)) {
                let (name, parameter) = (spec.name.clone(), parameter.clone());
                return Err(Error::UnknownParameter { name, parameter });
            }
            (entry.build)(spec)
        }
        None => Err(Error::Unknown { name: spec.name.clone() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_takes_exactly_the_parameters_that_it_lists() {
        for entry in ATTACKS {
            let method = (entry.method)();
            let spec = MethodSpec {
                name: method.name.to_owned(),
                version: method.version,
                parameters: method
                    .parameters
                    .iter()
                    .map(|p| (p.name.to_owned(), p.default.clone()))
                    .collect(),
            };
            assert!(attack(&spec).is_ok(), "{}: its own defaults are refused", method.name);
            for parameter in &method.parameters {
                let mut without = spec.clone();
                without.parameters.remove(parameter.name);
                assert!(attack(&without).is_err(), "{}: {} is not read", method.name, parameter.name);
            }
            let mut with_more = spec.clone();
            with_more.parameters.insert("not_listed".to_owned(), 1.into());
            assert!(attack(&with_more).is_err(), "{}: takes what it does not list", method.name);
        }
    }

    #[test]
    fn an_unknown_name_is_an_error() {
        let spec = MethodSpec { name: "nothing".to_owned(), version: 1, parameters: Default::default() };
        assert!(matches!(attack(&spec), Err(Error::Unknown { .. })));
    }
}
