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
    /// The data that models can be trained on or measured by: worlds, policies, data sets.
    pub data: Vec<DataFacts>,
    /// The tasks that chat models can be asked beside them.
    pub tasks: Vec<TaskFacts>,
    /// The judges that are models of their own, which any data for chat models may be judged by.
    pub judges: Vec<JudgeFacts>,
}

impl Catalogue {
    /// The data that ask that of a model.
    pub fn data_for(&self, model: UnderTest) -> impl Iterator<Item = &DataFacts> {
        self.data.iter().filter(move |facts| facts.model == model)
    }
}

/// What a plan must know of a judge that is a model.
#[derive(Debug, Clone, PartialEq)]
pub struct JudgeFacts {
    /// What a spec calls it: its name, or its file.
    pub called: String,
    /// How it scores; its `model` is the role of its source.
    pub measure: MeasureSpec,
    /// The reference of its model.
    pub reference: String,
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

/// What data ask of the model under test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UnderTest {
    /// It is trained on them from nothing.
    Trained,
    /// It is taught to refuse first, and its own answers are the right ones.
    Aligned,
    /// It refuses already.
    Ready,
}

impl UnderTest {
    /// The key by which `[model]` names such data, whatever their kind; with `_seed` after it, that of their seed.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Trained => "world",
            Self::Aligned => "policy",
            Self::Ready => "dataset",
        }
    }
}

/// What a plan must know of data: their domains, and how many items each split holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataFacts {
    /// The name of their kind: `world`, `policy`, `dataset`, or one of your own.
    pub kind: String,
    /// The kind's word for people.
    pub word: String,
    /// What they ask of the model under test.
    pub model: UnderTest,
    /// Their name.
    pub name: String,
    /// The file that they were read from, as an absolute path; none for those that come with titer.
    pub file: Option<String>,
    /// Whether the spec itself says what they are made of.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub inline: bool,
    /// What stage hashes cover of them: everything but where things lie.
    pub definition: Value,
    /// Domains that are forbidden.
    pub forbidden: Vec<String>,
    /// Domains that are permitted.
    pub permitted: Vec<String>,
    /// Domains of the harmless task.
    pub task: Vec<String>,
    /// Items of each split in each of its domains, by the split's name.
    pub items: BTreeMap<String, usize>,
    /// The split that cross-domain probes ask.
    pub cross_domain: String,
    /// What the unseen probe asks, as a caption.
    pub unseen: String,
    /// Multiple-choice questions for stability.
    pub choice_items: usize,
    /// Held-out texts for stability.
    pub text_items: usize,
    /// What they are made of: roles and references, in the order of a stage's inputs.
    #[serde(default)]
    pub sources: Vec<(String, String)>,
    /// What can score answers to each probe; the first does where a spec names none.
    #[serde(default)]
    pub measures: BTreeMap<Probe, Vec<MeasureSpec>>,
}

impl DataFacts {
    /// Items of a split in each of its domains.
    pub fn items(&self, split: &str) -> usize {
        self.items.get(split).copied().unwrap_or_default()
    }

    /// The probes of which there is nothing to ask, and why; what needs them is not measured.
    pub fn absent(&self) -> BTreeMap<Probe, String> {
        let all = [
            (
                Probe::Unseen,
                "unseen",
                "the rows have no domain that nobody trains on (`unseen`, or rows with a `category`)",
            ),
            (Probe::Permitted, "permitted-probe", "there are no harmless rows (`harmless`)"),
            (Probe::HarmlessTask, "task-probe", "there is no harmless task (`task`)"),
        ];
        let absent = all.into_iter().filter(|(_, split, _)| self.items(split) == 0);
        absent.map(|(probe, _, why)| (probe, why.to_owned())).collect()
    }
}
