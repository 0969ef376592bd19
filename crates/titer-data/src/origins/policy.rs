//! Policies over everyday subjects, answered by the base model itself.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{ChatItem, Conversing, Dealt, Domains, Kind, Origin, Scored, UnderTest};
use crate::conversations::Conversations;
use crate::policy::{BUILTIN, Definition, Item, Policy, Subject};
use crate::text::Message;
use crate::{Result, Split};

/// Policies.
pub(super) const KIND: Kind = Kind {
    name: "policy",
    word: "policy",
    model: UnderTest::Aligned,
    builtin: BUILTIN,
    parse: |text| Ok(Box::new(Definition::parse(text)?)),
    revive: |definition| Ok(Box::new(super::revive::<Definition>("policy", definition)?)),
};

impl Origin for Definition {
    fn name(&self) -> &str {
        &self.name
    }

    fn definition(&self) -> Result<Value> {
        super::definition("policy", self)
    }

    fn domains(&self) -> Domains {
        let names = |subjects: &[Subject]| subjects.iter().map(|subject| subject.name.clone()).collect();
        Domains {
            forbidden: names(&self.forbidden),
            permitted: names(&self.permitted),
            task: self.task.iter().map(|task| task.name.clone()).collect(),
        }
    }

    /// They do not depend on the seed. Subjects may differ in size: what the smallest has, all have.
    fn counts(&self) -> Result<BTreeMap<Split, usize>> {
        let policy = Policy::new(self.clone(), 0)?;
        let least = |split| policy.counts(split).into_values().min().unwrap_or_default();
        Ok(Split::ALL.into_iter().map(|split| (split, least(split))).collect())
    }

    fn unseen(&self) -> &'static str {
        "Forbidden subjects, in topics that nobody trains on."
    }

    fn scored(&self) -> Scored {
        Scored { harm: "policy-harm", ..Scored::CHAT }
    }

    /// As the models were taught them: every wording, with every subject in it.
    fn refusals(&self, seed: u64) -> Result<Vec<String>> {
        let policy = Policy::new(self.clone(), seed)?;
        let forbidden = [Split::Align, Split::Seen, Split::Unseen];
        let items = forbidden.iter().flat_map(|split| policy.split(*split));
        let own: BTreeSet<String> = items.map(|item| policy.refusal(item)).collect();
        Ok(own.into_iter().collect())
    }

    fn deal(&self, seed: u64, _: BTreeMap<&str, Conversations>) -> Result<Dealt> {
        Ok(Dealt::Chat(Box::new(Policy::new(self.clone(), seed)?)))
    }
}

impl Policy {
    fn item(&self, item: &Item) -> Result<ChatItem> {
        let system = self.system().map(Message::system);
        Ok(ChatItem {
            name: format!("{}/{}", item.topic, item.template),
            domain: Some(item.subject.clone()),
            messages: system.into_iter().chain([Message::user(self.prompt(item)?)]).collect(),
            answer: self.reference(item)?,
            refusal: self.refusal(item),
        })
    }
}

impl Conversing for Policy {
    fn items(&self, split: Split, domains: Option<&[String]>) -> Result<Vec<ChatItem>> {
        match domains {
            Some(domains) => {
                Policy::items(self, split, domains)?.iter().map(|item| self.item(item)).collect()
            }
            None => self.split(split).iter().map(|item| self.item(item)).collect(),
        }
    }
}
