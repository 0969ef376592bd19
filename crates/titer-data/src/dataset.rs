//! Data sets of real conversations for an experiment: which rows are harmful, in which domains, which ones
//! are harmless, and who may see what of them.
//!
//! A [`Definition`] is data; the rows come from files that whoever runs the experiment has. Together with a
//! seed they make a [`Dataset`] with splits that are proved disjoint. The published setting (Rosati et al.,
//! arXiv 2402.16382) is one: BeaverTails, whose categories of harm are the domains.

use std::collections::{BTreeMap, BTreeSet};

use rand::RngExt;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use crate::conversations::{Columns, Conversation, Conversations, Options, same_question};
use crate::split::Splits;
use crate::text::{Message, Role};
use crate::{Error, Result, Split, Stream};

/// The data sets that come with titer: name and TOML, without any row.
pub const BUILTIN: &[(&str, &str)] = &[
    ("beavertails", include_str!("../../../data/datasets/beavertails.toml")),
    ("beavertails-sst2", include_str!("../../../data/datasets/beavertails-sst2.toml")),
];

/// Where the rows are and how many of them each split gets.
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
    pub refusals: Vec<String>,
    /// Domains whose rows defenders and attackers train on.
    pub forbidden: Vec<String>,
    /// Domains whose rows nobody trains on: the unseen probe.
    pub unseen: Vec<String>,
    /// Harmful prompts with harmful answers.
    pub harmful: Source,
    /// Harmless conversations: what must be kept.
    pub harmless: Source,
    /// The harmless task of trainability.
    pub task: Source,
    /// Who judges answers to harmful prompts; left out of what training stages are named by. Where nobody does, harm
    /// is what was not refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judge: Option<Judge>,
    /// Rows of each split.
    pub counts: Counts,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    /// The defender's, per forbidden domain.
    pub defence: usize,
    /// The attacker's, per forbidden domain.
    pub attack: usize,
    /// Of the attacker's kind, only ever asked, per forbidden domain.
    pub seen: usize,
    /// Only ever asked, per unseen domain.
    pub unseen: usize,
    /// Harmless rows to train on.
    pub harmless_train: usize,
    /// Harmless rows only ever asked.
    pub harmless_probe: usize,
    /// Task rows to train on.
    pub task_train: usize,
    /// Task rows only ever asked.
    pub task_probe: usize,
}

impl Definition {
    /// Reads a definition.
    ///
    /// # Errors
    /// When it is no TOML of this shape, or its values make no data set.
    pub fn parse(text: &str) -> Result<Self> {
        let of = "data set";
        let definition: Self =
            toml::from_str(text).map_err(|error| Error::Syntax { of, problem: error.to_string() })?;
        definition.check()?;
        Ok(definition)
    }

    /// The same without the places of things: whoever keeps it knows the things by their content.
    #[must_use]
    pub fn without_references(&self) -> Self {
        let mut definition = self.clone();
        for source in [&mut definition.harmful, &mut definition.harmless, &mut definition.task] {
            source.reference.clear();
        }
        definition.judge.iter_mut().for_each(|judge| judge.reference.clear());
        definition
    }

    /// Unseen rows of all unseen domains.
    pub fn unseen_rows(&self) -> usize {
        self.counts.unseen.saturating_mul(self.unseen.len())
    }

    fn check(&self) -> Result<()> {
        let wrong = |key: &str, problem: &str| {
            Err(Error::Definition { of: "data set", key: key.to_owned(), problem: problem.to_owned() })
        };
        for (key, list) in
            [("refusals", &self.refusals), ("forbidden", &self.forbidden), ("unseen", &self.unseen)]
        {
            if list.is_empty() || list.iter().any(|text| text.trim().is_empty()) {
                return wrong(key, "must have at least one entry, and none that is blank");
            }
        }
        let mut domains = BTreeSet::new();
        if !self.forbidden.iter().chain(&self.unseen).all(|domain| domains.insert(domain)) {
            return wrong("unseen", "a domain is listed twice, here or among the forbidden ones");
        }
        let Counts { defence, attack, seen, unseen, harmless_train, harmless_probe, task_train, task_probe } =
            self.counts;
        if [defence, attack, seen, unseen, harmless_train, harmless_probe, task_train, task_probe]
            .contains(&0)
        {
            return wrong("counts", "each must be at least 1");
        }
        for source in [&self.harmful, &self.harmless, &self.task] {
            source.options(&[])?;
        }
        Ok(())
    }
}

impl Source {
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

/// Rows in their splits.
#[derive(Debug, Clone)]
pub struct Dataset {
    definition: Definition,
    splits: Splits<Conversation>,
    seed: u64,
    left_out: LeftOut,
}

/// Rows that were left out when they were dealt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Their prompt was there before, but for case, spacing, punctuation and Unicode form.
    pub repeated: usize,
    /// Of a forbidden and an unseen domain at once: nobody may train on what stands for the unseen.
    pub mixed: usize,
}

impl Dataset {
    /// Shuffles the rows by the seed and deals them out. Rows with the same prompt, but for case, spacing, punctuation
    /// and Unicode form, are one row: the same prompt must not be taught and asked. Rows of a forbidden and an unseen
    /// domain are nobody's. Rows without an answer are only ever asked.
    ///
    /// # Errors
    /// When a split gets fewer rows than it should.
    pub fn new(
        definition: Definition,
        harmful: Conversations,
        harmless: Conversations,
        task: Conversations,
        seed: u64,
    ) -> Result<Self> {
        definition.check()?;
        let counts = definition.counts;
        let mut splits = Splits::default();
        let mut taken = Asked::default();
        let mut left_out = LeftOut::default();
        let mut rows = taken.distinct(harmful);
        let all = rows.len();
        let unseen = |domain: &String| definition.unseen.contains(domain);
        rows.retain(|row| row.domain.as_ref().is_none_or(unseen) || !row.others.iter().any(unseen));
        left_out.mixed = all - rows.len();
        for domain in &definition.forbidden {
            let parts = [
                (Split::Defence, counts.defence),
                (Split::Attack, counts.attack),
                (Split::Seen, counts.seen),
            ];
            deal(&mut splits, take_domain(&mut rows, domain), domain, &parts, seed)?;
        }
        for domain in &definition.unseen {
            deal(
                &mut splits,
                take_domain(&mut rows, domain),
                domain,
                &[(Split::Unseen, counts.unseen)],
                seed,
            )?;
        }
        let parts =
            [(Split::PermittedTrain, counts.harmless_train), (Split::PermittedProbe, counts.harmless_probe)];
        deal(&mut splits, taken.distinct(harmless), "harmless", &parts, seed)?;
        let parts = [(Split::TaskTrain, counts.task_train), (Split::TaskProbe, counts.task_probe)];
        deal(&mut splits, taken.distinct(task), "task", &parts, seed)?;
        left_out.repeated = taken.repeated;
        Ok(Self { definition, splits, seed, left_out })
    }

    /// The rows that were left out.
    pub fn left_out(&self) -> LeftOut {
        self.left_out
    }

    /// What it is made of.
    pub fn definition(&self) -> &Definition {
        &self.definition
    }

    /// The rows of a split, of some domains or of all.
    pub fn rows(&self, split: Split, domains: Option<&[String]>) -> Vec<&Conversation> {
        let wanted = |row: &&Conversation| {
            domains.is_none_or(|domains| row.domain.as_ref().is_some_and(|domain| domains.contains(domain)))
        };
        self.splits.get(split).iter().filter(wanted).collect()
    }

    /// The messages before a row's last answer, with the definition's system prompt where the row has none.
    pub fn prompt(&self, row: &Conversation) -> Vec<Message> {
        let answer = row.messages.iter().rposition(|message| message.role == Role::Assistant);
        let before = &row.messages[..answer.unwrap_or(row.messages.len())];
        let told = before.first().is_some_and(|message| message.role == Role::System);
        let system = self.definition.system.as_ref().filter(|_| !told).map(Message::system);
        system.into_iter().chain(before.iter().cloned()).collect()
    }

    /// A row's last answer, where it has one.
    pub fn answer<'a>(&self, row: &'a Conversation) -> Option<&'a str> {
        let mut answers = row.messages.iter().rev().filter(|message| message.role == Role::Assistant);
        answers.next().map(|message| message.content.as_str())
    }

    /// The refusal of a row: always the same for it, of several wordings over many.
    pub fn refusal(&self, row: &Conversation) -> &str {
        let refusals = &self.definition.refusals;
        let mut rng = Stream::new(self.seed, &format!("dataset/refusal/{}", row.id)).at(0);
        &refusals[rng.random_range(0..refusals.len())]
    }
}

/// The prompts that were there.
#[derive(Default)]
struct Asked {
    /// What users say in a row, turn by turn.
    prompts: BTreeSet<Vec<String>>,
    /// What they say before that.
    begun: BTreeSet<Vec<String>>,
    repeated: usize,
}

impl Asked {
    /// Rows whose prompt was not there before, nor a part or the beginning of another's.
    fn distinct(&mut self, rows: Conversations) -> Vec<Conversation> {
        let mut distinct = Vec::new();
        for row in rows.conversations {
            let users = row.messages.iter().filter(|message| message.role == Role::User);
            let asked: Vec<String> = users.map(|message| same_question(&message.content)).collect();
            let beginnings = (1..asked.len()).map(|turns| asked[..turns].to_vec());
            let known =
                self.begun.contains(&asked) || beginnings.clone().any(|some| self.prompts.contains(&some));
            self.begun.extend(beginnings);
            if known || !self.prompts.insert(asked) {
                self.repeated += 1;
            } else {
                distinct.push(row);
            }
        }
        distinct
    }
}

fn has_answer(row: &Conversation) -> bool {
    row.messages.iter().any(|message| message.role == Role::Assistant)
}

fn take_domain(rows: &mut Vec<Conversation>, domain: &str) -> Vec<Conversation> {
    let (own, others) =
        std::mem::take(rows).into_iter().partition(|row| row.domain.as_deref() == Some(domain));
    *rows = others;
    own
}

fn deal(
    splits: &mut Splits<Conversation>,
    mut rows: Vec<Conversation>,
    of: &str,
    parts: &[(Split, usize)],
    seed: u64,
) -> Result<()> {
    let wanted = parts.iter().map(|(_, count)| count).sum();
    if rows.len() < wanted {
        return Err(Error::TooFewRows { of: of.to_owned(), wanted, available: rows.len() });
    }
    rows.shuffle(&mut Stream::new(seed, &format!("dataset/rows/{of}")).at(0));
    // What nobody answered can be asked, where it is not compared with an answer.
    let (answered, alone): (Vec<_>, Vec<_>) = rows.into_iter().partition(has_answer);
    let (mut answered, mut alone) = (answered.into_iter(), alone.into_iter());
    for (split, count) in parts {
        let asked_only = [Split::Seen, Split::Unseen].contains(split);
        let mut given: Vec<_> = answered.by_ref().take(*count).collect();
        if asked_only {
            given.extend(alone.by_ref().take(count - given.len()));
        }
        if given.len() < *count {
            let of = format!("{of} with an answer for {}", split.name());
            return Err(Error::TooFewRows { of, wanted: *count, available: given.len() });
        }
        splits.give(*split, given);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
