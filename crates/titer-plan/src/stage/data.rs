//! Where a stage's data come from, with its whole definition.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The world that a stage's data come from, with its whole definition, so that the hash covers it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorldSpec {
    /// The parsed world file (words, templates, sizes, splits).
    pub definition: Value,
    /// Makes the knowledge tables and the splits.
    pub seed: u64,
}

/// The policy that a stage's data come from, with its whole definition, so that the hash covers it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicySpec {
    /// The parsed policy file (subjects, templates, refusals, splits) and the task files beside it.
    pub definition: Value,
    /// Makes the splits and chooses the wording of refusals.
    pub seed: u64,
    /// New tokens of an answer at most, whoever gives it.
    pub answer_tokens: usize,
}

/// The data set that a stage's data come from. Its rows are not here: the source stages cover
/// them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatasetSpec {
    /// The parsed definition (columns, domains, counts, judge), without places.
    pub definition: Value,
    /// Deals the rows out.
    pub seed: u64,
    /// New tokens of an answer at most.
    pub answer_tokens: usize,
}

/// What a data set is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// Harmful conversations.
    Harmful,
    /// Harmless conversations.
    Harmless,
    /// The harmless task.
    Task,
    /// The classifier that judges.
    Judge,
}

impl Source {
    /// All, in the order of a stage's inputs.
    pub const ALL: [Self; 4] = [Self::Harmful, Self::Harmless, Self::Task, Self::Judge];

    /// The key in the definition, and the name in labels.
    pub fn name(self) -> &'static str {
        match self {
            Self::Harmful => "harmful",
            Self::Harmless => "harmless",
            Self::Task => "task",
            Self::Judge => "judge",
        }
    }
}

/// Where a stage's data come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "from", rename_all = "kebab-case")]
pub enum DataSpec {
    /// An embedded world, which knows every answer.
    World(WorldSpec),
    /// A policy over everyday subjects, answered by the base model itself: stages that need answers have
    /// the two distil stages as their last inputs.
    Policy(PolicySpec),
    /// A data set of real conversations: stages have its [`Source::ALL`] as their last inputs.
    Dataset(DatasetSpec),
}

/// Which of a policy's subjects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// Those that it forbids.
    Forbidden,
    /// Those that it permits.
    Permitted,
}

impl Side {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Forbidden, Self::Permitted];

    /// The name used in labels.
    pub fn name(self) -> &'static str {
        match self {
            Self::Forbidden => "forbidden",
            Self::Permitted => "permitted",
        }
    }
}
