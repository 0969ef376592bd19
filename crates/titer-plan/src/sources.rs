//! What a plan takes in from outside, known by its content.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What a stage takes in: the content itself is the key, wherever it lies.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Content {
    /// BLAKE3 over the names and bytes of the files that matter.
    Is(String),
    /// A reference to what is not on this machine. The names of the stages that need it are provisional, and
    /// none of them can be run.
    NotHere(String),
}

/// Something from outside that a plan rests on, and what it was when the plan was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedSource {
    /// What it is to the experiment: `model`, what its data use it for (`harmful`, `judge`), or the key that
    /// names it in the spec.
    pub role: String,
    /// As it was asked for.
    pub reference: String,
    /// What it was; none where it is not on this machine.
    pub found: Option<Found>,
}

/// What a source was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Found {
    /// Where it is found again, from any folder: an absolute path, or a reference with its commit.
    pub location: String,
    /// Names the content, as in [`Content::Is`].
    pub identity: String,
    /// BLAKE3 of each file that matters, by name.
    pub files: BTreeMap<String, String>,
}

impl PlannedSource {
    /// What stages take in.
    pub fn content(&self) -> Content {
        match &self.found {
            Some(found) => Content::Is(found.identity.clone()),
            None => Content::NotHere(self.reference.clone()),
        }
    }
}

/// The role of the model under test among a plan's sources.
pub const MODEL_SOURCE: &str = "model";
/// The role of the adapter that is folded into it.
pub const ADAPTER_SOURCE: &str = "adapter";
/// The role of the classifier that judges harm.
pub const JUDGE_SOURCE: &str = "judge";

/// The role of the model of a judge that is one: what a spec names beside the classifier that data bring.
pub fn judge_role(name: &str) -> String {
    format!("{JUDGE_SOURCE}/{name}")
}

/// Whether a source is one by which answers are judged, and no data.
pub fn judges(role: &str) -> bool {
    role == JUDGE_SOURCE || role.starts_with(&judge_role(""))
}
