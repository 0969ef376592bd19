//! Data sets of real conversations for an experiment: which rows are harmful, in which domains, which ones
//! are harmless, and who may see what of them.
//!
//! A [`Definition`] is data; the rows come from files that whoever runs the experiment has. Together with a
//! seed they make a [`Dataset`] with splits that are proved disjoint. The published setting (Rosati et al.,
//! arXiv 2402.16382) is one: BeaverTails, whose categories of harm are the domains.

mod definition;
mod read;
mod shares;

use std::collections::BTreeSet;

use crate::conversations::{Conversation, Conversations, same_question};
use crate::split::Splits;
use crate::text::{Message, Role};
use crate::{Error, Result, Split, Stream};
use rand::RngExt;
use rand::seq::SliceRandom;

pub use definition::{Counts, Definition, Judge, POOL, Source, usual_refusals};
pub use read::Mistake;

/// The data sets that come with titer: name and TOML, without any row.
pub const BUILTIN: &[(&str, &str)] = &[
    ("beavertails", include_str!("../../../data/datasets/beavertails.toml")),
    ("beavertails-sst2", include_str!("../../../data/datasets/beavertails-sst2.toml")),
];

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
    /// Every split that gets fewer rows than it should.
    pub fn new(
        definition: Definition,
        harmful: Conversations,
        harmless: Conversations,
        task: Conversations,
        seed: u64,
    ) -> Result<Self> {
        definition.check()?;
        let definition = definition.settled(&harmful, &harmless, &task)?;
        let counts = definition.counts.unwrap_or_default();
        let mut splits = Splits::default();
        let mut taken = Asked::default();
        let mut left_out = LeftOut::default();
        let mut problems = Vec::new();
        let distinct = taken.distinct(harmful);
        let (mut rows, mixed) = definition.placed(distinct);
        left_out.mixed = mixed;
        for domain in &definition.forbidden_domains() {
            let parts = [
                (Split::Defence, counts.defence),
                (Split::Attack, counts.attack),
                (Split::Seen, counts.seen),
            ];
            problems.extend(
                deal(&mut splits, take_domain(&mut rows, domain), (domain, taken.repeated), &parts, seed)
                    .err(),
            );
        }
        for domain in &definition.unseen {
            let (rows, parts) = (take_domain(&mut rows, domain), [(Split::Unseen, counts.unseen)]);
            problems.extend(deal(&mut splits, rows, (domain, taken.repeated), &parts, seed).err());
        }
        let harmless_parts =
            [(Split::PermittedTrain, counts.harmless_train), (Split::PermittedProbe, counts.harmless_probe)];
        let task_parts = [(Split::TaskTrain, counts.task_train), (Split::TaskProbe, counts.task_probe)];
        for (role, rows, parts) in [("harmless", harmless, harmless_parts), ("task", task, task_parts)] {
            let before = taken.repeated;
            let rows = taken.distinct(rows);
            let repeated = taken.repeated - before;
            problems.extend(deal(&mut splits, rows, (role, repeated), &parts, seed).err());
        }
        Error::all(problems)?;
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

/// Deals the rows of a domain or source; `repeated` says how many were none of their own.
fn deal(
    splits: &mut Splits<Conversation>,
    mut rows: Vec<Conversation>,
    (of, repeated): (&str, usize),
    parts: &[(Split, usize)],
    seed: u64,
) -> Result<()> {
    let wanted = parts.iter().map(|(_, count)| count).sum();
    if rows.len() < wanted {
        return Err(Error::TooFewRows { of: of.to_owned(), wanted, available: rows.len(), repeated });
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
            return Err(Error::TooFewRows { of, wanted: *count, available: given.len(), repeated });
        }
        splits.give(*split, given);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
