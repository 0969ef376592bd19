//! What a search may change: some parameters of a defence, each over a range or a list of values.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use titer_lab::{Error, Result};
use titer_plan::spec::DefenceEntry;
use titer_plan::{Domain, Method, Parameter};

/// One value for each parameter that a search changes, by its key.
pub type Setting = BTreeMap<String, Value>;

/// A parameter of a defence, as a search names it.
#[derive(Debug, Clone, PartialEq)]
pub struct Tunable {
    /// Its key below the defence: `rate`, or `then.0.rate` of the first method that acts after the first.
    pub key: String,
    /// What its registry says of it.
    pub parameter: Parameter,
}

/// Every parameter of a defence, those of its later methods included.
pub(super) fn tunables(entry: &DefenceEntry, methods: &[Method]) -> Vec<Tunable> {
    let first = (String::new(), &entry.method);
    let then = entry.then.iter().enumerate();
    let then = then.map(|(index, later)| (format!("then.{index}."), &later.method));
    let named = std::iter::once(first).chain(then);
    named
        .filter_map(|(prefix, name)| Some((prefix, methods.iter().find(|method| method.name == name)?)))
        .flat_map(|(prefix, method)| {
            let tunable = move |parameter: &Parameter| Tunable {
                key: format!("{prefix}{}", parameter.name),
                parameter: parameter.clone(),
            };
            method.parameters.iter().map(tunable)
        })
        .collect()
}

/// One parameter that a search changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Axis {
    /// Its key below the defence.
    pub key: String,
    /// The unit of its values; `1` for a pure number.
    pub unit: String,
    /// The values that it may take.
    pub values: Values,
}

/// The values that a parameter may take in a search.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Values {
    /// Whole numbers, bounds included.
    Whole {
        /// Least value.
        low: i64,
        /// Greatest value.
        high: i64,
        /// Whether equal ratios, not equal differences, are equally likely.
        log: bool,
    },
    /// Real numbers, bounds included, rounded to three digits.
    Real {
        /// Least value.
        low: f64,
        /// Greatest value.
        high: f64,
        /// Whether equal ratios, not equal differences, are equally likely.
        log: bool,
    },
    /// These values, equally likely.
    Listed {
        /// At least two.
        of: Vec<Value>,
    },
}

impl Axis {
    /// Reads `KEY=LOW..HIGH`, `KEY=LOW..HIGH:log` or `KEY=[a, b, …]`.
    ///
    /// # Errors
    /// When the text is none of these, names no parameter, or goes outside what the parameter may be.
    pub(super) fn parse(text: &str, tunables: &[Tunable]) -> Result<Self> {
        let wrong = |problem: String| Error::Search { problem: format!("--over {text}: {problem}") };
        let form = "expected KEY=LOW..HIGH, KEY=LOW..HIGH:log or KEY=[a, b], like rate=1e-4..1e-2:log";
        let (key, values) = text.split_once('=').ok_or_else(|| wrong(form.to_owned()))?;
        let (key, values) = (key.trim(), values.trim());
        let tunable = tunables.iter().find(|tunable| tunable.key == key).ok_or_else(|| {
            let known: Vec<&str> = tunables.iter().map(|tunable| tunable.key.as_str()).collect();
            wrong(format!("the defence has no parameter `{key}`; it has {}", known.join(", ")))
        })?;
        let domain = &tunable.parameter.domain;
        let values = if values.starts_with('[') {
            listed(values).ok_or_else(|| wrong(form.to_owned())).and_then(|of| {
                if of.len() < 2 {
                    return Err(wrong("a list needs two values at least".to_owned()));
                }
                Ok(Values::Listed { of })
            })?
        } else {
            range(values, domain).map_err(wrong)?
        };
        Ok(Self { key: key.to_owned(), unit: tunable.parameter.unit.to_owned(), values })
    }

    /// The value at a share of the way through all of them, 0 ≤ `share` < 1.
    pub(super) fn at(&self, share: f64) -> Value {
        match &self.values {
            Values::Whole { low, high, log } => {
                // Each whole number is as long as one step.
                let (from, to) = (*low as f64, *high as f64 + 1.0);
                (between(from, to, *log, share).floor() as i64).clamp(*low, *high).into()
            }
            Values::Real { low, high, log } => {
                let value = between(*low, *high, *log, share);
                // Three digits can be read, pasted and typed again, and differ on no machine.
                let rounded = format!("{value:.2e}").parse().unwrap_or(value);
                f64::clamp(rounded, *low, *high).into()
            }
            Values::Listed { of } => {
                let index = (share * of.len() as f64) as usize;
                of[index.min(of.len() - 1)].clone()
            }
        }
    }
}

fn between(low: f64, high: f64, log: bool, share: f64) -> f64 {
    if log { (low.ln() + share * (high.ln() - low.ln())).exp() } else { low + share * (high - low) }
}

/// `[a, b]` as TOML, or else as bare words.
fn listed(text: &str) -> Option<Vec<Value>> {
    let parsed: Result<toml::Table, _> = format!("list = {text}").parse();
    match parsed {
        Ok(mut table) => match serde_json::to_value(table.remove("list")?).ok()? {
            Value::Array(members) => Some(members),
            _ => None,
        },
        Err(_) => {
            let words = text.strip_prefix('[')?.strip_suffix(']')?.split(',').map(str::trim);
            words.map(|word| (!word.is_empty()).then(|| word.into())).collect()
        }
    }
}

fn range(text: &str, domain: &Domain) -> Result<Values, String> {
    let (text, log) = text.strip_suffix(":log").map_or((text, false), |text| (text, true));
    let number = |text: &str| text.trim().parse::<f64>().ok().filter(|number| number.is_finite());
    let ends = text.split_once("..").and_then(|(low, high)| Some((number(low)?, number(high)?)));
    let (low, high) =
        ends.ok_or("expected LOW..HIGH, LOW..HIGH:log or a list [a, b] of its values".to_owned())?;
    let (min, max) = match domain {
        Domain::Integer { min, max } => (*min as f64, *max as f64),
        Domain::Real { min, max } => (*min, *max),
        Domain::Reals { .. } => return Err("its values are lists: write KEY=[[…], […]]".to_owned()),
        Domain::Flag => return Err("it is true or false: write KEY=[true, false]".to_owned()),
        Domain::Choice { of } => return Err(format!("its values are words: write KEY=[{}]", of.join(", "))),
    };
    if low >= high {
        return Err(format!("{low} is not less than {high}"));
    }
    if low < min || high > max {
        return Err(format!("it goes from {min} to {max}"));
    }
    if log && low <= 0.0 {
        return Err("a logarithmic range begins above 0".to_owned());
    }
    match domain {
        Domain::Integer { .. } if low.fract() != 0.0 || high.fract() != 0.0 => {
            Err("its values are whole numbers".to_owned())
        }
        Domain::Integer { .. } => Ok(Values::Whole { low: low as i64, high: high as i64, log }),
        _ => Ok(Values::Real { low, high, log }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tunables() -> Vec<Tunable> {
        let parameters = [
            Parameter::integer("steps", "steps", 600, 1..=1000, ""),
            Parameter::real("rate", "1", 1e-3, 0.0..=1.0, ""),
            Parameter::choice("shape", "round", &["round", "square"], ""),
            Parameter::reals("weights", "1", &[1.0], 0.0..=1.0, ""),
        ];
        let tunable = |parameter: Parameter| Tunable { key: parameter.name.to_owned(), parameter };
        parameters.into_iter().map(tunable).collect()
    }

    fn parse(text: &str) -> Axis {
        Axis::parse(text, &tunables()).unwrap()
    }

    #[test]
    fn ranges_and_lists() {
        assert_eq!(parse("steps=10..20").values, Values::Whole { low: 10, high: 20, log: false });
        assert_eq!(
            parse(" rate = 1e-4 .. 1e-2:log").values,
            Values::Real { low: 1e-4, high: 1e-2, log: true }
        );
        let listed = |text: &str| match parse(text).values {
            Values::Listed { of } => Value::from(of).to_string(),
            other => panic!("{other:?}"),
        };
        assert_eq!(listed("shape=[round, square]"), r#"["round","square"]"#);
        assert_eq!(listed("shape=[\"round\", \"square\"]"), r#"["round","square"]"#);
        assert_eq!(listed("steps=[1, 2]"), "[1,2]");
        assert_eq!(listed("weights=[[0.5], [0.5, 1.0]]"), "[[0.5],[0.5,1.0]]");
        assert_eq!(parse("steps=1..2").unit, "steps");
    }

    #[test]
    fn what_cannot_be_searched_is_refused_and_taught() {
        for (text, taught) in [
            ("steps", "KEY=LOW..HIGH"),
            ("stepps=1..2", "steps, rate, shape, weights"),
            ("steps=1", "LOW..HIGH"),
            ("steps=0..5", "from 1 to 1000"),
            ("steps=1..1001", "from 1 to 1000"),
            ("steps=1.5..3", "whole numbers"),
            ("steps=5..5", "not less"),
            ("rate=0..1:log", "above 0"),
            ("rate=nan..1", "LOW..HIGH"),
            ("rate=[0.1]", "two values"),
            ("shape=0..1", "[round, square]"),
            ("weights=0..1", "lists"),
        ] {
            let error = Axis::parse(text, &tunables()).unwrap_err().to_string();
            assert!(error.contains(taught), "{text}: {error}");
        }
    }

    #[test]
    fn shares_reach_both_ends_and_no_further() {
        let check =
            |text: &str, share: f64, expected: Value| assert_eq!(parse(text).at(share), expected, "{text}");
        check("steps=10..20", 0.0, 10.into());
        check("steps=10..20", 0.999_999, 20.into());
        check("steps=10..1000:log", 0.5, 100.into());
        check("rate=1e-4..1e-2:log", 0.5, 1e-3.into());
        check("rate=1e-4..1e-2:log", 0.0, 1e-4.into());
        check("rate=0..1", 0.333_333, 0.333.into());
        check("shape=[round, square]", 0.49, "round".into());
        check("shape=[round, square]", 0.5, "square".into());
    }
}
