//! What a model is asked, and by what its answers are scored.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::vocabulary::Probe;

/// A set of items that a model is asked, drawn from a probe split or from a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProbeSpec {
    /// Which kind of items.
    pub probe: Probe,
    /// The domains they come from.
    pub domains: Vec<String>,
    /// How many, chosen by the data's seed: the same for every model, so that differences are paired.
    pub items: usize,
    /// The parsed task file that the items come from, where they come from one.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub task: Value,
    /// What scores the answers. The first decides verdicts and early stops, the others are reported beside it.
    pub measures: Vec<MeasureSpec>,
}

/// A measure, with everything on which its scores depend.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeasureSpec {
    /// A name of `titer list judges`.
    pub name: String,
    /// Its version in the registry.
    pub version: u32,
    /// Its refusal phrases: the published ones by name, a user's own in full; null for a measure without.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub phrases: Value,
    /// What its data say of it: a classifier's template, what an exact match ignores.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub settings: Value,
    /// Whether it compares with the base model's own answers to what is forbidden, which are then an input.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub own: bool,
    /// The role of the source that holds the model by which it judges, which is then an input; none where it has none
    /// of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

impl MeasureSpec {
    /// The first version of a measure, without settings and with the published phrases, if it has any.
    pub fn named(name: &str) -> Self {
        let (phrases, settings) = (Value::Null, Value::Null);
        Self { name: name.to_owned(), version: 1, phrases, settings, own: false, model: None }
    }
}
