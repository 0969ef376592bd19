//! Where a stage's data come from, with its whole definition.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Where a stage's data come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataSpec {
    /// The name of their kind: `world`, `policy`, `dataset`, or one of your own.
    pub from: String,
    /// The parsed definition, without places, so that the hash covers it. What it is made of comes with the source
    /// stages, the base model's own answers with the distil stages: the last inputs of the stages that need them.
    pub definition: Value,
    /// Deals the items out.
    pub seed: u64,
    /// New tokens of an answer at most; none where the data say it.
    pub answer_tokens: Option<usize>,
}

/// Which prompts the base model answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// The forbidden ones that are taught.
    Forbidden,
    /// The permitted ones.
    Permitted,
    /// The forbidden ones that are only ever asked: harm is measured against the answers to them.
    Probed,
}

impl Side {
    /// All.
    pub const ALL: [Self; 3] = [Self::Forbidden, Self::Permitted, Self::Probed];
    /// Those whose answers are taught, or what permitted answers are compared with.
    pub const TAUGHT: [Self; 2] = [Self::Forbidden, Self::Permitted];

    /// The name used in labels.
    pub fn name(self) -> &'static str {
        match self {
            Self::Forbidden => "forbidden",
            Self::Permitted => "permitted",
            Self::Probed => "probed",
        }
    }
}
