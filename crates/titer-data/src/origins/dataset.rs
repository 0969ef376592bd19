//! Data sets of real conversations.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{ChatItem, Conversing, Dealt, Domains, Kind, Origin, Scored, Source, UnderTest};
use crate::conversations::{Conversation, Conversations, Options};
use crate::dataset::{BUILTIN, Dataset, Definition, Judge, LeftOut};
use crate::{Error, Result, Split};

/// Data sets.
pub(super) const KIND: Kind = Kind {
    name: "dataset",
    word: "data set",
    model: UnderTest::Ready,
    builtin: BUILTIN,
    parse: |text| Ok(Box::new(Definition::parse(text)?)),
    revive: |definition| Ok(Box::new(super::revive::<Definition>("data set", definition)?)),
};

impl Origin for Definition {
    fn name(&self) -> &str {
        &self.name
    }

    fn definition(&self) -> Result<Value> {
        super::definition("data set", &Self { judge: None, ..self.without_references() })
    }

    /// Plans count per domain: harmless and task rows have one domain each.
    fn domains(&self) -> Domains {
        let one = |name: &str, source: &Option<_>| source.iter().map(|_| name.to_owned()).collect();
        Domains {
            forbidden: self.forbidden_domains(),
            permitted: one("harmless", &self.harmless),
            task: one("task", &self.task),
        }
    }

    fn counts(&self) -> Result<BTreeMap<Split, usize>> {
        let counts = self.counts.unwrap_or_default();
        Ok(BTreeMap::from([
            (Split::Everything, counts.defence + counts.attack + counts.seen),
            (Split::Align, counts.defence),
            (Split::Defence, counts.defence),
            (Split::Attack, counts.attack),
            (Split::Seen, counts.seen),
            (Split::Unseen, self.unseen_rows() / self.forbidden_domains().len()),
            (Split::PermittedTrain, counts.harmless_train),
            (Split::PermittedProbe, counts.harmless_probe),
            (Split::TaskTrain, counts.task_train),
            (Split::TaskProbe, counts.task_probe),
        ]))
    }

    fn unseen(&self) -> &'static str {
        "Domains that nobody trains on."
    }

    /// Unseen domains are nobody's: the attacker's own are asked in rows that it did not train on.
    fn cross_domain(&self) -> Split {
        Split::Seen
    }

    fn sources(&self) -> Vec<Source<'_>> {
        let all: Options = Options::default();
        let rows = self.sources().into_iter().map(|(role, source)| {
            let domains = if role == "harmful" { self.domains_read() } else { Vec::new() };
            Source {
                role,
                reference: &source.reference,
                // A definition whose columns say nothing was refused when it was read.
                rows: source.options(&domains).unwrap_or_else(|_| all.clone()),
            }
        });
        rows.collect()
    }

    fn is_open(&self) -> bool {
        self.counts.is_none()
    }

    fn settled(&self, mut rows: BTreeMap<&str, Conversations>) -> Result<Box<dyn Origin>> {
        let mut take = |role: &str| rows.remove(role).unwrap_or_default();
        let (harmful, harmless, task) = (take("harmful"), take("harmless"), take("task"));
        Ok(Box::new(self.clone().settled(&harmful, &harmless, &task)?))
    }

    fn classifier(&self) -> Option<&Judge> {
        self.judge.as_ref()
    }

    fn scored(&self) -> Scored {
        let harm = if self.judge.is_some() { "classifier" } else { "refusal" };
        Scored { harm, ..Scored::CHAT }
    }

    fn refusals(&self, _seed: u64) -> Result<Vec<String>> {
        Ok(self.refusals.clone())
    }

    /// About as BeaverTails' are.
    fn prompt_tokens(&self) -> usize {
        60
    }

    fn deal(&self, seed: u64, mut rows: BTreeMap<&str, Conversations>) -> Result<Dealt> {
        let sources = self.sources();
        let mut take = |role: &'static str| {
            let none = || Error::TooFewRows { of: role.to_owned(), wanted: 1, available: 0, repeated: 0 };
            let needed = sources.iter().any(|(other, _)| *other == role);
            rows.remove(role).or_else(|| (!needed).then(Conversations::default)).ok_or_else(none)
        };
        let (harmful, harmless, task) = (take("harmful")?, take("harmless")?, take("task")?);
        Ok(Dealt::Chat(Box::new(Dataset::new(self.clone(), harmful, harmless, task, seed)?)))
    }
}

impl Dataset {
    fn item(&self, row: &Conversation) -> ChatItem {
        ChatItem {
            name: row.id.clone(),
            domain: row.domain.clone(),
            messages: self.prompt(row),
            answer: self.answer(row).map(str::to_owned),
            refusal: self.refusal(row).to_owned(),
        }
    }

    /// Unseen, harmless and task rows are of domains of their own, whatever a probe's domains are.
    fn own(split: Split, domains: Option<&[String]>) -> Option<&[String]> {
        let shared = matches!(split, Split::Defence | Split::Attack | Split::Seen);
        domains.filter(|_| shared)
    }
}

impl Conversing for Dataset {
    fn left_out(&self) -> Vec<String> {
        let LeftOut { repeated, mixed } = self.left_out();
        let said = [
            (repeated, "repeat another row's prompt, but for case, spacing, punctuation and Unicode form"),
            (mixed, "are of a forbidden and an unseen domain"),
        ];
        let told = said.into_iter().filter(|(count, _)| *count > 0);
        told.map(|(count, what)| format!("{count} rows are left out: they {what}")).collect()
    }

    fn items(&self, split: Split, domains: Option<&[String]>) -> Result<Vec<ChatItem>> {
        let rows = self.rows(split, Self::own(split, domains));
        Ok(rows.into_iter().map(|row| self.item(row)).collect())
    }

    fn draw(&self, split: Split, domains: &[String]) -> String {
        // Part of the seed, and so what it always was.
        let from = if split == Split::TaskProbe { "alias-probe" } else { split.name() };
        let domains = Self::own(split, Some(domains)).unwrap_or_default();
        format!("probe/{from}/{}", domains.join("+"))
    }
}
