//! Who may see which prompts. Disjoint where they must be, and proved to be so.

use std::collections::BTreeMap;

use rand::seq::SliceRandom;

use super::{Definition, Item, Subject};
use crate::items::{part, prove_disjoint};
use crate::{Result, Stream};

/// A part of a policy's prompts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Split {
    /// All prompts about forbidden and permitted subjects: what the model answers before it is aligned.
    Everything,
    /// Forbidden prompts that alignment may turn into refusals: the defender's topics and those that no
    /// share takes, in every template. Neither the attacker's topics nor a probe's.
    Align,
    /// Forbidden prompts that a defence may train on: the defender's topics in every template.
    Defence,
    /// Forbidden prompts that an attacker may train on: its topics in its templates.
    Attack,
    /// The attacker's topics in templates that it never asks them in.
    Seen,
    /// Forbidden topics that nobody trains on.
    Unseen,
    /// Permitted prompts that may be trained on.
    PermittedTrain,
    /// Permitted topics that nobody trains on.
    PermittedProbe,
    /// Records of the harmless fine-tuning.
    TaskTrain,
    /// Records held out from it.
    TaskProbe,
}

impl Split {
    /// Its name in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Everything => "everything",
            Self::Align => "align",
            Self::Defence => "defence",
            Self::Attack => "attack",
            Self::Seen => "seen",
            Self::Unseen => "unseen",
            Self::PermittedTrain => "permitted-train",
            Self::PermittedProbe => "permitted-probe",
            Self::TaskTrain => "task-train",
            Self::TaskProbe => "task-probe",
        }
    }
}

/// Pairs that may share no item.
const DISJOINT: &[(Split, Split)] = &[
    (Split::Defence, Split::Attack),
    (Split::Defence, Split::Seen),
    (Split::Defence, Split::Unseen),
    (Split::Attack, Split::Seen),
    (Split::Attack, Split::Unseen),
    (Split::Align, Split::Attack),
    (Split::Align, Split::Seen),
    (Split::Align, Split::Unseen),
    (Split::Seen, Split::Unseen),
    (Split::PermittedTrain, Split::PermittedProbe),
    (Split::TaskTrain, Split::TaskProbe),
];

/// Every split's items.
#[derive(Debug, Clone)]
pub(super) struct Splits(BTreeMap<Split, Vec<Item>>);

impl Splits {
    /// `task`: the items of the harmless task, those to train on and those held out.
    pub(super) fn new(definition: &Definition, seed: u64, task: [Vec<Item>; 2]) -> Result<Self> {
        let mut splits: BTreeMap<Split, Vec<Item>> = BTreeMap::new();
        let mut give = |split, items: Vec<Item>| splits.entry(split).or_default().extend(items);
        let shares = &definition.splits;
        for subject in &definition.forbidden {
            let topics = shuffled(&subject.topics, seed, &format!("policy/topics/{}", subject.name));
            let every: Vec<usize> = (0..subject.templates.len()).collect();
            let templates = shuffled(&every, seed, &format!("policy/templates/{}", subject.name));
            let (asked, others) = templates.split_at(part(shares.attack_templates, templates.len()));
            let (defence, rest) = topics.split_at(part(shares.defence, topics.len()));
            let (attack, rest) = rest.split_at(part(shares.attack, topics.len()));
            let (unseen, rest) = rest.split_at(part(shares.unseen, topics.len()));
            give(Split::Defence, items(subject, defence, &every));
            give(Split::Align, items(subject, defence, &every));
            give(Split::Align, items(subject, rest, &every));
            give(Split::Attack, items(subject, attack, asked));
            give(Split::Seen, items(subject, attack, others));
            give(Split::Unseen, items(subject, unseen, &every));
        }
        for subject in &definition.permitted {
            let topics = shuffled(&subject.topics, seed, &format!("policy/topics/{}", subject.name));
            let every: Vec<usize> = (0..subject.templates.len()).collect();
            let (probe, train) = topics.split_at(part(shares.permitted_probe, topics.len()));
            give(Split::PermittedProbe, items(subject, probe, &every));
            give(Split::PermittedTrain, items(subject, train, &every));
        }
        for subject in definition.subjects() {
            let every: Vec<usize> = (0..subject.templates.len()).collect();
            give(Split::Everything, items(subject, &subject.topics, &every));
        }
        let [train, probe] = task;
        give(Split::TaskTrain, train);
        give(Split::TaskProbe, probe);
        let splits = Self(splits);
        for (first, second) in DISJOINT {
            prove_disjoint((first.name(), splits.get(*first)), (second.name(), splits.get(*second)))?;
        }
        Ok(splits)
    }

    pub(super) fn get(&self, split: Split) -> &[Item] {
        self.0.get(&split).map_or(&[], Vec::as_slice)
    }
}

/// Each topic in each template.
fn items(subject: &Subject, topics: &[String], templates: &[usize]) -> Vec<Item> {
    let item = |topic: &String, template: usize| Item {
        subject: subject.name.clone(),
        topic: topic.clone(),
        template,
    };
    topics.iter().flat_map(|topic| templates.iter().map(move |template| item(topic, *template))).collect()
}

/// The list in the policy's own random order.
fn shuffled<T: Clone>(list: &[T], seed: u64, purpose: &str) -> Vec<T> {
    let mut list = list.to_vec();
    list.shuffle(&mut Stream::new(seed, purpose).at(0));
    list
}
