//! How a policy's prompts are dealt out: topics and templates, by the seed.

use rand::seq::SliceRandom;

use super::{Definition, Item, Subject};
use crate::items::part;
use crate::split::{Split, Splits};
use crate::{Result, Stream};

/// Deals them out, and proves that no split may see what it must not. Alignment gets the defender's topics and those
/// that no share takes, in every template: neither the attacker's topics nor a probe's.
///
/// `task`: the items of the harmless task, those to train on and those held out.
pub(super) fn deal(definition: &Definition, seed: u64, task: [Vec<Item>; 2]) -> Result<Splits<Item>> {
    let mut splits = Splits::default();
    let shares = &definition.splits;
    for subject in &definition.forbidden {
        let topics = shuffled(&subject.topics, seed, &format!("policy/topics/{}", subject.name));
        let every: Vec<usize> = (0..subject.templates.len()).collect();
        let templates = shuffled(&every, seed, &format!("policy/templates/{}", subject.name));
        let (asked, others) = templates.split_at(part(shares.attack_templates, templates.len()));
        let (defence, rest) = topics.split_at(part(shares.defence, topics.len()));
        let (attack, rest) = rest.split_at(part(shares.attack, topics.len()));
        let (unseen, rest) = rest.split_at(part(shares.unseen, topics.len()));
        splits.give(Split::Defence, items(subject, defence, &every));
        splits.give(Split::Align, items(subject, defence, &every));
        splits.give(Split::Align, items(subject, rest, &every));
        splits.give(Split::Attack, items(subject, attack, asked));
        splits.give(Split::Seen, items(subject, attack, others));
        splits.give(Split::Unseen, items(subject, unseen, &every));
    }
    for subject in &definition.permitted {
        let topics = shuffled(&subject.topics, seed, &format!("policy/topics/{}", subject.name));
        let every: Vec<usize> = (0..subject.templates.len()).collect();
        let (probe, train) = topics.split_at(part(shares.permitted_probe, topics.len()));
        splits.give(Split::PermittedProbe, items(subject, probe, &every));
        splits.give(Split::PermittedTrain, items(subject, train, &every));
    }
    for subject in definition.subjects() {
        let every: Vec<usize> = (0..subject.templates.len()).collect();
        splits.give(Split::Everything, items(subject, &subject.topics, &every));
    }
    let [train, probe] = task;
    splits.give(Split::TaskTrain, train);
    splits.give(Split::TaskProbe, probe);
    splits.prove_disjoint()?;
    splits.prove(Split::Align, Split::Attack)?;
    Ok(splits)
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
