//! What an experiment may name: methods and data, gathered from the registries by whoever reads specs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::method::Method;
use crate::probe::MeasureSpec;
use crate::vocabulary::Probe;

/// Everything a spec may refer to by name.
#[derive(Debug, Clone, PartialEq)]
pub struct Catalogue {
    /// The attacks that can be run.
    pub attacks: Vec<Method>,
    /// The defences that can be run.
    pub defences: Vec<Method>,
    /// The worlds that models can be trained on.
    pub worlds: Vec<DataFacts>,
    /// The policies that chat models can be measured by.
    pub policies: Vec<DataFacts>,
    /// The data sets that chat models can be measured by.
    pub datasets: Vec<DataFacts>,
    /// The tasks that chat models can be asked beside them.
    pub tasks: Vec<TaskFacts>,
}

/// What a plan must know of a task.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskFacts {
    /// What a spec calls it: its name, or its file.
    pub called: String,
    /// The probe that it is.
    pub probe: Probe,
    /// The parsed file, which stage hashes cover.
    pub definition: Value,
    /// How many items it has.
    pub items: usize,
    /// What scores its answers.
    pub measure: MeasureSpec,
}

/// What data are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DataKind {
    /// An embedded world.
    World,
    /// A policy over everyday subjects.
    Policy,
    /// A data set of real conversations.
    Dataset,
}

impl DataKind {
    /// The word for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::World => "world",
            Self::Policy => "policy",
            Self::Dataset => "data set",
        }
    }
}

/// What a plan must know of a world, a policy or a data set: its domains, and how many items each split holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataFacts {
    /// What it is.
    pub kind: DataKind,
    /// Its name.
    pub name: String,
    /// The file that it was read from, as an absolute path; none for one that comes with titer.
    pub file: Option<String>,
    /// What stage hashes cover of it: everything but where things lie.
    pub definition: Value,
    /// Domains that the policy forbids.
    pub forbidden: Vec<String>,
    /// Domains that the policy permits.
    pub permitted: Vec<String>,
    /// Domains of the harmless fine-tuning.
    pub alias: Vec<String>,
    /// Items that alignment may turn into refusals, in each forbidden domain.
    pub align_items_per_domain: usize,
    /// Items that a defence may train on, in each forbidden domain.
    pub defence_items_per_domain: usize,
    /// Items that an attacker may train on, in each forbidden domain.
    pub attack_items_per_domain: usize,
    /// Items with an ingredient that no attack datum mentions, in each forbidden domain.
    pub unseen_items_per_domain: usize,
    /// Items of the attacker's own kind, in each forbidden domain.
    pub seen_items_per_domain: usize,
    /// Items that may be trained on, in each permitted domain.
    pub permitted_train_items_per_domain: usize,
    /// Items held out for probing, in each permitted domain.
    pub permitted_probe_items_per_domain: usize,
    /// Items of the harmless fine-tuning, in each alias domain.
    pub alias_train_items_per_domain: usize,
    /// Items held out from it, in each alias domain.
    pub alias_probe_items_per_domain: usize,
    /// All items of a domain.
    pub items_per_domain: usize,
    /// Multiple-choice questions for stability.
    pub choice_items: usize,
    /// Held-out texts for stability.
    pub text_items: usize,
    /// Of a data set: where each of [`Source::ALL`](crate::stage::Source::ALL) is, in that order.
    #[serde(default)]
    pub sources: Vec<String>,
    /// What can score answers to each probe; the first does where a spec names none.
    #[serde(default)]
    pub measures: BTreeMap<Probe, Vec<MeasureSpec>>,
}
