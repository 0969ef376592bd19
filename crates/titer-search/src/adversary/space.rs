//! The space of attacks: a point of the unit cube is one attack, so that one way to draw and one to learn serve all
//! methods.

use std::collections::BTreeMap;

use serde_json::Value;
use titer_plan::{Adversary, Domain, Meaning, Mechanism, Method, Parameter, derive_seed};

use crate::sampling::unit;

/// Coordinates in 0…1 by name: `method`, `rate`, `batch`, and `METHOD.PARAMETER` of what a method has besides.
pub(super) type Place = BTreeMap<String, f64>;

/// How far a setting is varied around its default, downwards and upwards.
const SPREAD: f64 = 4.0;

/// An attack as a spec states it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Stated {
    pub(super) method: String,
    /// What tells it from other attacks of the method: a grid of one point each.
    pub(super) varied: BTreeMap<String, Value>,
    /// What all attacks of a search have in common.
    pub(super) common: BTreeMap<String, Value>,
    /// Examples in each of its steps; none of what is done at once.
    pub(super) batch: Option<u64>,
}

impl Stated {
    /// As the inline table of TOML that `--set attack=[…]` takes.
    pub(super) fn toml(&self, seeds: u64) -> String {
        let mut keys = vec![format!("method={:?}", self.method), format!("seeds={seeds}")];
        keys.extend(self.common.iter().map(|(key, value)| format!("{key}={value}")));
        keys.extend(self.varied.iter().map(|(key, value)| format!("{key}=[{value}]")));
        format!("{{{}}}", keys.join(","))
    }
}

/// What an adversary may try in one way. Each way is searched apart: an edit of weights or another way to ask costs one
/// of whatever is counted, and beside it nothing that trains would be looked for.
pub(super) struct Space<'a> {
    pub(super) settings: &'a Adversary,
    pub(super) mechanism: Mechanism,
    pub(super) methods: Vec<Method>,
    /// Attacks tried on each defence.
    pub(super) trials: usize,
    /// Steps at most: to the last probe.
    pub(super) steps: u64,
}

/// The spaces of these methods, one for each mechanism that some of them have. The adversary's trials are dealt to them
/// by how many methods each has.
pub(super) fn spaces(settings: &Adversary, methods: Vec<Method>, steps: u64) -> Vec<Space<'_>> {
    let all = methods.len().max(1);
    let space = |mechanism: Mechanism| {
        let own: Vec<Method> =
            methods.iter().filter(|method| mechanism_of(method) == Some(mechanism)).cloned().collect();
        let trials = (settings.trials * own.len()).div_ceil(all);
        (!own.is_empty()).then_some(Space { settings, mechanism, methods: own, trials, steps })
    };
    Mechanism::ALL.into_iter().filter_map(space).collect()
}

fn mechanism_of(method: &Method) -> Option<Mechanism> {
    method.attack().map(|facts| facts.mechanism)
}

impl Space<'_> {
    /// Whether an attack acts in this way.
    pub(super) fn has(&self, stated: &Stated) -> bool {
        let named =
            titer_attacks::registry::methods().into_iter().find(|method| method.name == stated.method);
        named.and_then(|method| mechanism_of(&method)) == Some(self.mechanism)
    }

    /// The attack at a place.
    pub(super) fn at(&self, place: &Place) -> Option<Stated> {
        let method = pick(&self.methods, coordinate(place, "method"))?;
        let mut stated = Stated {
            method: method.name.to_owned(),
            varied: BTreeMap::new(),
            common: BTreeMap::new(),
            batch: None,
        };
        for parameter in &method.parameters {
            let key = parameter.name.to_owned();
            match parameter.meaning {
                Some(Meaning::Steps) => drop(stated.common.insert(key, self.steps.into())),
                Some(Meaning::HarmfulRows) => drop(stated.common.insert(key, self.settings.examples.into())),
                Some(Meaning::Rate) => {
                    drop(stated.varied.insert(key, self.rate(coordinate(place, "rate")).into()))
                }
                Some(Meaning::Batch) => {
                    stated.batch = pick(&self.settings.batches, coordinate(place, "batch")).copied();
                    stated.varied.insert(key, stated.batch.into());
                }
                meaning => {
                    let mut value = near(parameter, coordinate(place, &format!("{}.{key}", method.name)));
                    if meaning == Some(Meaning::FirstSteps) {
                        value = self.first_steps(method, value);
                    }
                    if value != parameter.default {
                        stated.varied.insert(key, value);
                    }
                }
            }
        }
        Some(stated)
    }

    /// Steps of a first part. Where they would leave none for the second they are the share of the steps that they
    /// are of the method's own.
    fn first_steps(&self, method: &Method, value: Value) -> Value {
        let own =
            method.setting(Meaning::Steps).and_then(|steps| steps.default.as_u64()).unwrap_or(self.steps);
        match value.as_u64().filter(|first| *first >= self.steps) {
            Some(first) => {
                let share = first.min(own) * self.steps / own.max(1);
                share.clamp(1, self.steps.saturating_sub(1).max(1)).into()
            }
            None => value,
        }
    }

    /// Evenly between the logarithms of the least and the greatest, to three digits.
    fn rate(&self, unit: f64) -> f64 {
        let [least, greatest] = self.settings.rates;
        digits((least.ln() + unit * (greatest / least).ln()).exp())
    }

    /// The method at a place.
    pub(super) fn method(&self, place: &Place) -> Option<&str> {
        pick(&self.methods, coordinate(place, "method")).map(|method| method.name)
    }

    /// The names of all coordinates that a place of this method has.
    pub(super) fn names(&self, place: &Place) -> Vec<String> {
        let mut names = vec!["method".to_owned()];
        let Some(method) = pick(&self.methods, coordinate(place, "method")) else { return names };
        for parameter in &method.parameters {
            match parameter.meaning {
                Some(Meaning::Steps | Meaning::HarmfulRows) => {}
                Some(Meaning::Rate) => names.push("rate".to_owned()),
                Some(Meaning::Batch) => names.push("batch".to_owned()),
                _ => names.push(format!("{}.{}", method.name, parameter.name)),
            }
        }
        names
    }

    /// A place drawn from all of the space: the methods in turn, everything else at random from the seed.
    pub(super) fn draw(&self, number: u64, seed: u64) -> Place {
        let of = |name: &str| unit(derive_seed(seed, &format!("adversary/{number}/{name}")));
        let count = self.methods.len().max(1) as f64;
        let method = ((number as f64 + 0.5) / count).fract();
        let mut place = Place::from([("method".to_owned(), method)]);
        for name in self.names(&place).into_iter().skip(1) {
            place.insert(name.clone(), of(&name));
        }
        place
    }
}

/// A coordinate that a place does not have lies where the default is.
fn coordinate(place: &Place, name: &str) -> f64 {
    place.get(name).copied().unwrap_or(0.0)
}

/// The member of a list at a share of its length.
fn pick<T>(list: &[T], unit: f64) -> Option<&T> {
    list.get(((unit * list.len() as f64) as usize).min(list.len().saturating_sub(1)))
}

/// A setting's value: its default in the lower half of the unit, so that an attack differs from what its method's
/// authors did in some settings and not in all; above that another of its words, anywhere in a domain of shares, or
/// within a factor of its default.
fn near(parameter: &Parameter, unit: f64) -> Value {
    let default = &parameter.default;
    if unit < 0.5 {
        return default.clone();
    }
    let unit = 2.0 * unit - 1.0;
    let between = |low: f64, high: f64| (low.ln() + unit * (high / low).ln()).exp();
    match &parameter.domain {
        Domain::Flag => Value::from(default != &Value::Bool(true)),
        Domain::Choice { of } => pick(of, unit).map_or_else(|| default.clone(), |word| Value::from(*word)),
        Domain::Reals { .. } => default.clone(),
        Domain::Integer { min, max } => match default.as_i64() {
            Some(centre) if centre > 0 => {
                let value = between((centre as f64 / SPREAD).max(1.0), centre as f64 * SPREAD).round() as i64;
                value.clamp(*min, *max).into()
            }
            _ => default.clone(),
        },
        Domain::Real { min, max } if *min >= 0.0 && *max <= 1.0 => digits(min + unit * (max - min)).into(),
        Domain::Real { min, max } => match default.as_f64() {
            Some(centre) if centre > 0.0 => {
                digits(between(centre / SPREAD, centre * SPREAD).clamp(*min, *max)).into()
            }
            _ => default.clone(),
        },
    }
}

/// Three digits: what is found can be typed.
fn digits(number: f64) -> f64 {
    format!("{number:.2e}").parse().unwrap_or(number)
}
