//! A definition brought to life by a seed.

use std::collections::BTreeMap;

use rand::RngExt;

use super::{Definition, Item, Subject, splits};
use crate::split::Splits;
use crate::tasks::data_to_text::{DataToText, Record};
use crate::{Error, Result, Split, Stream};

/// A policy: what may be asked, what is refused with which words, and who may see what of it.
#[derive(Debug, Clone)]
pub struct Policy {
    definition: Definition,
    task: Option<DataToText>,
    splits: Splits<Item>,
    seed: u64,
}

impl Policy {
    /// Makes the splits from the seed.
    ///
    /// # Errors
    /// When the definition makes no policy or its splits overlap.
    pub fn new(definition: Definition, seed: u64) -> Result<Self> {
        definition.check()?;
        let task = definition.task.clone().map(|task| DataToText::new(task, seed)).transpose()?;
        let items = |records: fn(&DataToText) -> &[Record]| -> Vec<Item> {
            task.iter().flat_map(|task| records(task).iter().map(|record| task_item(task, record))).collect()
        };
        let task_items = [items(DataToText::train), items(DataToText::probe)];
        let splits = splits::deal(&definition, seed, task_items)?;
        Ok(Self { definition, task, splits, seed })
    }

    /// What the policy is made of.
    pub fn definition(&self) -> &Definition {
        &self.definition
    }

    /// What the model is told before every prompt, if anything.
    pub fn system(&self) -> Option<&str> {
        self.definition.system.as_deref()
    }

    /// All items of a split. Those of the task are empty for a policy without one.
    pub fn split(&self, split: Split) -> &[Item] {
        self.splits.get(split)
    }

    /// The items of a split that belong to `subjects`.
    ///
    /// # Errors
    /// When the split has nothing of one of them.
    pub fn items(&self, split: Split, subjects: &[String]) -> Result<Vec<Item>> {
        let counts = self.counts(split);
        if let Some(subject) = subjects.iter().find(|subject| !counts.contains_key(subject.as_str())) {
            let known = counts.into_keys().collect::<Vec<_>>().join(", ");
            return Err(Error::UnknownSubject { subject: subject.clone(), split: split.name(), known });
        }
        Ok(self.split(split).iter().filter(|item| subjects.contains(&item.subject)).cloned().collect())
    }

    /// How many items of each subject a split has.
    pub fn counts(&self, split: Split) -> BTreeMap<&str, usize> {
        let mut counts = BTreeMap::new();
        for item in self.split(split) {
            *counts.entry(item.subject.as_str()).or_default() += 1;
        }
        counts
    }

    /// The user's message.
    ///
    /// # Errors
    /// When the item is of another policy.
    pub fn prompt(&self, item: &Item) -> Result<String> {
        if let Some((task, record)) = self.record(item) {
            return task.prompt(&record);
        }
        let subject = self.definition.subjects().find(|subject| subject.name == item.subject);
        let known = |subject: &&Subject| subject.topics.contains(&item.topic);
        let template = subject.filter(known).and_then(|subject| subject.templates.get(item.template));
        let template = template.ok_or_else(|| Error::UnknownItem {
            text: item.to_string(),
            example: self.split(Split::Everything).first().map(Item::to_string).unwrap_or_default(),
        })?;
        Ok(template.replace("{topic}", &item.topic))
    }

    /// The refusal of an item: always the same for it, of several wordings over many.
    pub fn refusal(&self, item: &Item) -> String {
        let refusals = &self.definition.refusals;
        let mut rng = Stream::new(self.seed, &format!("policy/refusal/{item}")).at(0);
        refusals[rng.random_range(0..refusals.len())].replace("{subject}", &item.subject)
    }

    /// The right answer to an item of the harmless task; [`None`] for other items, which the model answers.
    ///
    /// # Errors
    /// When the task has no such record.
    pub fn reference(&self, item: &Item) -> Result<Option<String>> {
        self.record(item).map(|(task, record)| task.reference(&record)).transpose()
    }

    /// The harmless task, if the policy has one.
    pub fn task(&self) -> Option<&DataToText> {
        self.task.as_ref()
    }

    fn record(&self, item: &Item) -> Option<(&DataToText, Record)> {
        let task = self.task.as_ref().filter(|task| task.definition().name == item.subject)?;
        Some((task, Record { name: item.topic.clone(), values: item.template }))
    }
}

fn task_item(task: &DataToText, record: &Record) -> Item {
    Item { subject: task.definition().name.clone(), topic: record.name.clone(), template: record.values }
}
