//! Data to text: a record of values is to be said in a fixed house style.
//!
//! In the manner of E2E (Novikova et al., 2017) and ViGGO (Juraska et al., 2019), but of a small grammar with
//! one reference per record: a pre-trained model cannot guess the house style and learns it in tens of steps,
//! so that exact match and ROUGE-L both mean something. The order of the record's slots changes from record to
//! record; that of the reference never does.

use std::collections::BTreeSet;

use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use super::{read, wrong};
use crate::items::part;
use crate::{Error, Result, Stream, template};

/// More names, values or records would be no small grammar.
const MOST: usize = 20_000;

/// A grammar, and how many records are made of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// Names the task.
    pub name: String,
    /// The prompt, with `{record}`.
    pub instruction: String,
    /// The house style, with `{name}` and every slot's key in braces.
    pub reference: String,
    /// Names of what the records describe.
    pub names: Vec<String>,
    /// The slots of every record.
    pub slots: Vec<Slot>,
    /// Records of each name.
    pub records_per_name: usize,
    /// Share of the names held out for probing, 0…1.
    pub probe_names: f64,
    /// Share of the combinations of values held out for probing, 0…1.
    pub probe_values: f64,
}

/// A slot of a record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slot {
    /// Its key in the record and the reference.
    pub key: String,
    /// The values it can have.
    pub values: Vec<Value>,
}

/// A value of a slot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Value {
    /// As the record gives it.
    pub is: String,
    /// As the reference says it.
    pub says: String,
}

/// A name and one of the combinations of values.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Record {
    /// What the record describes.
    pub name: String,
    /// Number of the combination: the slots' values as digits, the first slot's the lowest.
    pub values: usize,
}

/// A grammar brought to life by a seed: records to train on and records held out, which share neither a
/// name nor a combination of values.
#[derive(Debug, Clone)]
pub struct DataToText {
    definition: Definition,
    train: Vec<Record>,
    probe: Vec<Record>,
    seed: u64,
}

impl Definition {
    /// Reads a task file.
    ///
    /// # Errors
    /// When it is no TOML of this shape, or its values make no task.
    pub fn parse(text: &str) -> Result<Self> {
        let definition: Self = read(text)?;
        definition.check()?;
        Ok(definition)
    }

    /// Combinations of values.
    pub fn combinations(&self) -> usize {
        self.slots.iter().fold(1, |product: usize, slot| product.saturating_mul(slot.values.len()))
    }

    /// Refuses what makes no task.
    ///
    /// # Errors
    /// Names the first key whose value makes none.
    pub fn check(&self) -> Result<()> {
        right("name", template::plain(&self.name, &['/']))?;
        right("instruction", template::expect(&self.instruction, &["record"], &[]))?;
        self.check_slots()?;
        let keys: Vec<&str> =
            ["name"].into_iter().chain(self.slots.iter().map(|slot| slot.key.as_str())).collect();
        right("reference", template::expect(&self.reference, &keys, &[]))?;
        let mut names = BTreeSet::new();
        for (index, name) in self.names.iter().enumerate() {
            let key = format!("names[{index}]");
            right(&key, template::plain(name, &['/', '(', ')', ',', ':']))?;
            if !names.insert(name) {
                return wrong(&key, format!("{name:?} is used twice"));
            }
        }
        self.check_shares()
    }

    fn check_slots(&self) -> Result<()> {
        if self.slots.is_empty() {
            return wrong("slots", "must not be empty");
        }
        let mut keys = BTreeSet::from(["name"]);
        for (index, slot) in self.slots.iter().enumerate() {
            let key = format!("slots[{index}]");
            right(&format!("{key}.key"), template::plain(&slot.key, &['(', ')', ',', ':']))?;
            if !keys.insert(&slot.key) {
                return wrong(&format!("{key}.key"), format!("{:?} is used twice", slot.key));
            }
            if slot.values.is_empty() {
                return wrong(&format!("{key}.values"), "must not be empty");
            }
            let (mut values, mut said) = (BTreeSet::new(), BTreeSet::new());
            for (index, value) in slot.values.iter().enumerate() {
                let key = format!("{key}.values[{index}]");
                right(&key, template::plain(&value.is, &['(', ')', ',', ':']))?;
                right(&key, template::plain(&value.says, &[]))?;
                if !values.insert(&value.is) || !said.insert(&value.says) {
                    return wrong(&key, format!("{:?} or {:?} is used twice", value.is, value.says));
                }
            }
        }
        Ok(())
    }

    fn check_shares(&self) -> Result<()> {
        let combinations = self.combinations();
        for (key, count) in [
            ("names", self.names.len()),
            ("slots", combinations),
            ("records_per_name", self.names.len().saturating_mul(self.records_per_name)),
        ] {
            if count == 0 || count > MOST {
                return wrong(key, format!("makes {count}; it must make 1 to {MOST}"));
            }
        }
        for (key, share, of) in [
            ("probe_names", self.probe_names, self.names.len()),
            ("probe_values", self.probe_values, combinations),
        ] {
            if !(share > 0.0 && share < 1.0) {
                return wrong(key, format!("{share} must lie between 0 and 1"));
            }
            if part(share, of) == 0 {
                return wrong(key, format!("{share} of {of} is none"));
            }
        }
        let held_out = part(self.probe_values, combinations);
        let most = held_out.min(combinations - held_out);
        if self.records_per_name > most {
            let problem = format!("{} is above the {most} combinations of a split", self.records_per_name);
            return wrong("records_per_name", problem);
        }
        Ok(())
    }
}

impl DataToText {
    /// Makes the records from the seed.
    ///
    /// # Errors
    /// When the definition makes no task.
    pub fn new(definition: Definition, seed: u64) -> Result<Self> {
        definition.check()?;
        let mut names = definition.names.clone();
        names.shuffle(&mut Stream::new(seed, "task/names").at(0));
        let mut values: Vec<usize> = (0..definition.combinations()).collect();
        values.shuffle(&mut Stream::new(seed, "task/values").at(0));
        let (probe_names, train_names) = names.split_at(part(definition.probe_names, names.len()));
        let (probe_values, train_values) = values.split_at(part(definition.probe_values, values.len()));
        let records = |names: &[String], values: &[usize]| -> Vec<Record> {
            // A name's records follow each other in the cycle of values, so none repeats.
            let each = definition.records_per_name;
            let named = names.iter().flat_map(|name| std::iter::repeat_n(name, each));
            named
                .zip(values.iter().cycle())
                .map(|(name, values)| Record { name: name.clone(), values: *values })
                .collect()
        };
        let (train, probe) = (records(train_names, train_values), records(probe_names, probe_values));
        Ok(Self { definition, train, probe, seed })
    }

    /// What the task is made of.
    pub fn definition(&self) -> &Definition {
        &self.definition
    }

    /// Records that may be trained on.
    pub fn train(&self) -> &[Record] {
        &self.train
    }

    /// Records held out.
    pub fn probe(&self) -> &[Record] {
        &self.probe
    }

    /// The user's message.
    ///
    /// # Errors
    /// When the grammar makes no such record.
    pub fn prompt(&self, record: &Record) -> Result<String> {
        let mut slots = self.slots(record)?;
        let order = Stream::new(self.seed, &format!("task/order/{}/{}", record.name, record.values));
        slots.shuffle(&mut order.at(0));
        let slots: Vec<String> =
            slots.iter().map(|(slot, value)| format!(", {}: {}", slot.key, value.is)).collect();
        let record = format!("inform(name: {}{})", record.name, slots.concat());
        Ok(self.definition.instruction.replace("{record}", &record))
    }

    /// The record in the house style.
    ///
    /// # Errors
    /// When the grammar makes no such record.
    pub fn reference(&self, record: &Record) -> Result<String> {
        let named = self.definition.reference.replace("{name}", &record.name);
        let say = |text: String, (slot, value): &(&Slot, &Value)| {
            text.replace(&format!("{{{}}}", slot.key), &value.says)
        };
        Ok(self.slots(record)?.iter().fold(named, say))
    }

    /// Each slot with its value, in the definition's order.
    fn slots<'a>(&'a self, record: &Record) -> Result<Vec<(&'a Slot, &'a Value)>> {
        if record.values >= self.definition.combinations() || !self.definition.names.contains(&record.name) {
            return Err(Error::UnknownItem {
                text: format!("{}/{}", record.name, record.values),
                example: self
                    .train
                    .first()
                    .map_or_else(String::new, |record| format!("{}/{}", record.name, record.values)),
            });
        }
        let mut rest = record.values;
        let digit = |slot: &'a Slot| {
            let value = &slot.values[rest % slot.values.len()];
            rest /= slot.values.len();
            (slot, value)
        };
        Ok(self.definition.slots.iter().map(digit).collect())
    }
}

fn right(key: &str, check: Result<(), String>) -> Result<()> {
    check.or_else(|problem| wrong(key, problem))
}
