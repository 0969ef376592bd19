//! What a registry says of a method: enough to list it, document it, and check a spec that names it.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::vocabulary::{DefenceStage, ThreatModel};

/// One attack or defence, as its registry describes it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Method {
    /// The name of its paper, in kebab case.
    pub name: &'static str,
    /// Attack, or defence of some stage.
    pub kind: MethodKind,
    /// Raised when the method's results change, so that old artifacts are not reused.
    pub version: u32,
    /// One line of what it does.
    pub summary: &'static str,
    /// Where it comes from (arXiv id, repository).
    pub citation: &'static str,
    /// Every setting that changes a result.
    pub parameters: Vec<Parameter>,
}

/// Attack, or defence of some stage.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum MethodKind {
    /// Spends a budget on making a model harmful.
    Attack {
        /// The threat models under which it can be carried out.
        threat_models: Vec<ThreatModel>,
    },
    /// Makes a model resist.
    Defence {
        /// When it acts.
        stage: DefenceStage,
    },
}

/// One setting of a method.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Parameter {
    /// Its key in a spec.
    pub name: &'static str,
    /// The unit of its value: `steps`, `nats`, `1` for a pure number.
    pub unit: &'static str,
    /// One line of what it does.
    pub summary: &'static str,
    /// The value where a spec says nothing.
    pub default: Value,
    /// The values it may take.
    pub domain: Domain,
}

/// The values a parameter may take.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Domain {
    /// A whole number, bounds included.
    Integer {
        /// Least value.
        min: i64,
        /// Greatest value.
        max: i64,
    },
    /// A real number, bounds included.
    Real {
        /// Least value.
        min: f64,
        /// Greatest value.
        max: f64,
    },
    /// True or false.
    Flag,
    /// One of these words.
    Choice {
        /// The words.
        of: &'static [&'static str],
    },
    /// A non-empty list whose members are real numbers, bounds included. Never expanded to a grid.
    Reals {
        /// Least value.
        min: f64,
        /// Greatest value.
        max: f64,
    },
}

/// A method with every parameter stated: what a stage's hash covers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MethodSpec {
    /// The method's name in its registry.
    pub name: String,
    /// The method's version in its registry.
    pub version: u32,
    /// Every parameter, defaults filled in.
    pub parameters: BTreeMap<String, Value>,
}

impl MethodSpec {
    /// The parameters as the method's own type.
    ///
    /// # Errors
    /// When a parameter is missing, unknown or of another type: the spec was not resolved against the
    /// registry that the method stands in.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_value(Value::Object(self.parameters.clone().into_iter().collect()))
    }
}

impl Parameter {
    /// A whole number.
    pub fn integer(
        name: &'static str,
        unit: &'static str,
        default: i64,
        range: RangeInclusive<i64>,
        summary: &'static str,
    ) -> Self {
        let domain = Domain::Integer { min: *range.start(), max: *range.end() };
        Self { name, unit, summary, default: default.into(), domain }
    }

    /// A real number.
    pub fn real(
        name: &'static str,
        unit: &'static str,
        default: f64,
        range: RangeInclusive<f64>,
        summary: &'static str,
    ) -> Self {
        let domain = Domain::Real { min: *range.start(), max: *range.end() };
        Self { name, unit, summary, default: default.into(), domain }
    }

    /// A list of real numbers.
    pub fn reals(
        name: &'static str,
        unit: &'static str,
        default: &[f64],
        range: RangeInclusive<f64>,
        summary: &'static str,
    ) -> Self {
        let domain = Domain::Reals { min: *range.start(), max: *range.end() };
        Self { name, unit, summary, default: default.into(), domain }
    }

    /// One of several words.
    pub fn choice(
        name: &'static str,
        default: &'static str,
        of: &'static [&'static str],
        summary: &'static str,
    ) -> Self {
        Self { name, unit: "", summary, default: default.into(), domain: Domain::Choice { of } }
    }
}
