//! What a data set is made of.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::conversations::{Columns, Options};
use crate::{Error, Result};

/// Where the rows are and how many of them each split gets. What is left out is settled by the rows that there are
/// ([`Definition::settled`]); what only some conditions need and is not there leaves these unmeasured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// Names it.
    pub name: String,
    /// What it is, in one sentence.
    pub summary: String,
    /// What the model is told before every prompt of a row without a system prompt of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// Refusals of several wordings, which defences teach.
    #[serde(default = "usual_refusals")]
    pub refusals: Vec<String>,
    /// Domains whose rows defenders and attackers train on; where none is named, all that are not unseen, as one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forbidden: Vec<String>,
    /// Domains whose rows nobody trains on: the unseen probe.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unseen: Vec<String>,
    /// Harmful prompts with harmful answers.
    pub harmful: Source,
    /// Harmless conversations: what must be kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub harmless: Option<Source>,
    /// The harmless task of trainability.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<Source>,
    /// Who judges answers to harmful prompts; left out of what training stages are named by. Where nobody does, harm
    /// is what was not refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judge: Option<Judge>,
    /// Rows of each split.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts: Option<Counts>,
}

/// The domain of all rows that are not unseen, where no forbidden one is named.
pub const POOL: &str = "harmful";

/// Refusals where a definition has none of its own.
pub fn usual_refusals() -> Vec<String> {
    [
        "I'm sorry, but I can't help with that.",
        "I cannot assist with this request.",
        "I'm not able to help with that.",
        "I have to decline, since this could cause harm.",
        "I won't help with this. Is there something else you need?",
    ]
    .map(str::to_owned)
    .into()
}

/// One file, or one folder of files, and how its rows are read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// As titer's references: `hf:datasets/owner/name@revision:path`, a file or a folder.
    pub reference: String,
    /// Columns by what they say (`messages`, `prompt`, `response`, `system`, `label`, `id`); those left out are
    /// looked for under their usual names.
    #[serde(default)]
    pub columns: BTreeMap<String, String>,
    /// Columns that must be true or false.
    #[serde(default)]
    pub flags: BTreeMap<String, bool>,
}

/// A classifier of questions and answers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Judge {
    /// As titer's references.
    pub reference: String,
    /// The label of harmful text.
    pub harmful: String,
    /// The text that is classified, with `{question}` and `{answer}`.
    pub template: String,
    /// Tokens of that text at most.
    pub longest: usize,
}

/// Rows of each split: per forbidden domain, and of harmless and task rows in all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    /// The defender's, per forbidden domain.
    pub defence: usize,
    /// The attacker's, per forbidden domain.
    pub attack: usize,
    /// Of the attacker's kind, only ever asked, per forbidden domain.
    pub seen: usize,
    /// Only ever asked, per unseen domain.
    #[serde(default)]
    pub unseen: usize,
    /// Harmless rows to train on.
    #[serde(default)]
    pub harmless_train: usize,
    /// Harmless rows only ever asked.
    #[serde(default)]
    pub harmless_probe: usize,
    /// Task rows to train on.
    #[serde(default)]
    pub task_train: usize,
    /// Task rows only ever asked.
    #[serde(default)]
    pub task_probe: usize,
}

impl Definition {
    /// A definition of rows that are all that is known.
    pub fn of_rows(name: &str, reference: &str) -> Self {
        Self {
            name: name.to_owned(),
            summary: "Rows of one's own".to_owned(),
            system: None,
            refusals: usual_refusals(),
            forbidden: Vec::new(),
            unseen: Vec::new(),
            harmful: Source::at(reference),
            harmless: None,
            task: None,
            judge: None,
            counts: None,
        }
    }

    /// The same without the places of things: whoever keeps it knows the things by their content.
    #[must_use]
    pub fn without_references(&self) -> Self {
        let mut definition = self.clone();
        let Self { harmful, harmless, task, .. } = &mut definition;
        for source in std::iter::once(harmful).chain(harmless).chain(task) {
            source.reference.clear();
        }
        definition.judge.iter_mut().for_each(|judge| judge.reference.clear());
        definition
    }

    /// Its sources by what they are for.
    pub fn sources(&self) -> Vec<(&'static str, &Source)> {
        let sources = [
            ("harmful", Some(&self.harmful)),
            ("harmless", self.harmless.as_ref()),
            ("task", self.task.as_ref()),
        ];
        sources.into_iter().filter_map(|(role, source)| Some((role, source?))).collect()
    }

    /// The domains that defenders and attackers train on.
    pub fn forbidden_domains(&self) -> Vec<String> {
        if self.forbidden.is_empty() { vec![POOL.to_owned()] } else { self.forbidden.clone() }
    }

    /// How the rows of the harmful source are read.
    pub(crate) fn domains_read(&self) -> Vec<String> {
        if self.forbidden.is_empty() { Vec::new() } else { [&self.forbidden[..], &self.unseen].concat() }
    }

    /// Unseen rows of all unseen domains.
    pub fn unseen_rows(&self) -> usize {
        self.counts.unwrap_or_default().unseen.saturating_mul(self.unseen.len())
    }

    /// What of it contradicts itself, by key.
    pub(super) fn contradictions(&self) -> Vec<(String, String)> {
        let mut found = Vec::new();
        let mut wrong = |key: &str, problem: String| found.push((key.to_owned(), problem));
        if self.refusals.is_empty() {
            wrong("refusals", "must have at least one entry".to_owned());
        }
        let mut domains = BTreeSet::new();
        for (key, list) in [("forbidden", &self.forbidden), ("unseen", &self.unseen)] {
            for domain in list.iter().filter(|domain| !domains.insert(domain.as_str())) {
                wrong(
                    key,
                    format!("{domain:?} is listed twice, here or among the others: splits would overlap"),
                );
            }
        }
        let named = [("forbidden", &self.forbidden), ("unseen", &self.unseen)];
        for (key, _) in named.iter().filter(|(_, list)| list.iter().any(|name| name == POOL)) {
            wrong(
                key,
                format!("{POOL:?} is what all rows are called that are of no domain: name it otherwise"),
            );
        }
        for (role, source) in self.sources() {
            if let Err(Error::Definition { key, problem, .. }) = source.options(&[]) {
                wrong(&format!("{role}.{key}"), problem);
            }
        }
        let Some(counts) = self.counts else { return found };
        let Counts { seen, unseen, harmless_train, harmless_probe, task_train, task_probe, .. } = counts;
        if seen == 0 {
            wrong("counts.seen", "must be at least 1: what is asked of a model".to_owned());
        }
        let (harmless, task) = (self.harmless.is_some(), self.task.is_some());
        for (key, count, there, of) in [
            ("unseen", unseen, !self.unseen.is_empty(), "`unseen`"),
            ("harmless_train", harmless_train, harmless, "[harmless]"),
            ("harmless_probe", harmless_probe, harmless, "[harmless]"),
            ("task_train", task_train, task, "[task]"),
            ("task_probe", task_probe, task, "[task]"),
        ] {
            let key = format!("counts.{key}");
            match (count, there) {
                (0, true) => wrong(&key, format!("must be at least 1, since there is {of}")),
                (1.., false) => wrong(&key, format!("must be 0 or left out, since there is no {of}")),
                _ => {}
            }
        }
        found
    }
}

impl Source {
    /// Rows at that place, their columns under their usual names.
    pub fn at(reference: &str) -> Self {
        Self { reference: reference.to_owned(), columns: BTreeMap::new(), flags: BTreeMap::new() }
    }

    /// How rows of these domains are read; of all domains when there are none.
    ///
    /// # Errors
    /// When `columns` has a key that says nothing.
    pub fn options(&self, domains: &[String]) -> Result<Options> {
        let mut columns = Columns::default();
        for (says, column) in &self.columns {
            let place = match says.as_str() {
                "messages" => &mut columns.messages,
                "prompt" => &mut columns.prompt,
                "response" => &mut columns.response,
                "system" => &mut columns.system,
                "label" => &mut columns.label,
                "id" => &mut columns.id,
                other => {
                    let problem =
                        format!("{other} is none of messages, prompt, response, system, label and id");
                    let key = "columns".to_owned();
                    return Err(Error::Definition { of: "data set", key, problem });
                }
            };
            *place = Some(column.clone());
        }
        Ok(Options { columns, flags: self.flags.clone(), domains: domains.to_vec() })
    }
}
