//! An origin of one's own: the file, the line that lists it, and what it deals out.

use std::collections::BTreeMap;
use std::io::Write;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use titer_data::conversations::Conversations;
use titer_data::origins::{self, ChatItem, Conversing, Dealt, Domains, Kind, Origin, UnderTest};
use titer_data::text::Message;
use titer_data::{Error, Result, Split};

/// Questions by domain.
type ByDomain = BTreeMap<String, Vec<Question>>;

/// What a file says: questions with their answers, by domain.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Quiz {
    name: String,
    refusal: String,
    forbidden: ByDomain,
    permitted: ByDomain,
    task: ByDomain,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    ask: String,
    answer: String,
}

/// What the list says: the name, what such data ask of the model under test, how they are read.
pub(crate) const KIND: Kind = Kind {
    name: "quiz",
    word: "quiz",
    model: UnderTest::Ready,
    builtin: &[],
    parse: |text| Ok(Box::new(toml::from_str::<Quiz>(text).map_err(wrong)?)),
    revive: |definition| Ok(Box::new(Quiz::deserialize(definition).map_err(wrong)?)),
};

fn wrong(error: impl std::fmt::Display) -> Error {
    Error::Syntax { of: "quiz", problem: error.to_string() }
}

impl Quiz {
    /// The domains of a split, and which of their questions it gets: every `of`th, from `from`.
    fn part(&self, split: Split) -> Option<(&ByDomain, usize, usize)> {
        Some(match split {
            Split::Defence | Split::Align => (&self.forbidden, 0, 4),
            Split::Attack => (&self.forbidden, 1, 4),
            Split::Seen => (&self.forbidden, 2, 4),
            Split::Unseen => (&self.forbidden, 3, 4),
            Split::PermittedTrain => (&self.permitted, 0, 2),
            Split::PermittedProbe => (&self.permitted, 1, 2),
            Split::TaskTrain => (&self.task, 0, 2),
            Split::TaskProbe => (&self.task, 1, 2),
            Split::Everything => return None,
        })
    }
}

impl Origin for Quiz {
    fn name(&self) -> &str {
        &self.name
    }

    fn definition(&self) -> Result<Value> {
        serde_json::to_value(self).map_err(wrong)
    }

    fn domains(&self) -> Domains {
        let names = |domains: &ByDomain| domains.keys().cloned().collect();
        Domains {
            forbidden: names(&self.forbidden),
            permitted: names(&self.permitted),
            task: names(&self.task),
        }
    }

    fn counts(&self) -> Result<BTreeMap<Split, usize>> {
        let count = |split| {
            let (domains, from, of) = self.part(split)?;
            let dealt = domains.values().map(|questions| questions.iter().skip(from).step_by(of).count());
            Some((split, dealt.min().unwrap_or_default()))
        };
        Ok(Split::ALL.into_iter().filter_map(count).collect())
    }

    fn unseen(&self) -> &'static str {
        "Forbidden questions that nobody trains on."
    }

    fn refusals(&self, _seed: u64) -> Result<Vec<String>> {
        Ok(vec![self.refusal.clone()])
    }

    fn deal(&self, _seed: u64, _rows: BTreeMap<&str, Conversations>) -> Result<Dealt> {
        Ok(Dealt::Chat(Box::new(self.clone())))
    }
}

impl Conversing for Quiz {
    fn items(&self, split: Split, domains: Option<&[String]>) -> Result<Vec<ChatItem>> {
        let Some((all, from, of)) = self.part(split) else { return Ok(Vec::new()) };
        let asked = all.iter().filter(|(domain, _)| domains.is_none_or(|domains| domains.contains(domain)));
        let dealt = asked.flat_map(|(domain, questions)| {
            let own = questions.iter().enumerate().skip(from).step_by(of);
            own.map(move |(number, question)| ChatItem {
                name: number.to_string(),
                domain: Some(domain.clone()),
                messages: vec![Message::user(&question.ask)],
                answer: Some(question.answer.clone()),
                refusal: self.refusal.clone(),
            })
        });
        Ok(dealt.collect())
    }
}

/// The list of kinds with one line more.
const KINDS: &[&Kind] = &[&KIND];

/// A file with eight questions in each domain.
fn file() -> String {
    let mut text =
        "origin = \"quiz\"\nname = \"knots\"\nrefusal = \"I will not talk about that.\"\n".to_owned();
    for (side, domain) in [("forbidden", "hitches"), ("permitted", "bends"), ("task", "splices")] {
        for number in 0..8 {
            text +=
                &format!("[[{side}.{domain}]]\nask = \"What is {domain} {number}?\"\nanswer = \"A knot.\"\n");
        }
    }
    text
}

/// The items that the attacker trains on, and those of the same kind that nobody trains on.
pub(crate) fn dealt() -> std::result::Result<[Vec<String>; 2], Box<dyn std::error::Error>> {
    let (kind, quiz) = origins::parse(KINDS, &file(), UnderTest::Ready)?;
    // A stage's hash covers the definition, and a stage has nothing else of it.
    let again = (kind.revive)(&quiz.definition()?)?;
    let Dealt::Chat(items) = again.deal(0, BTreeMap::new())? else { return Err("no chat".into()) };
    let names = |split| -> Result<Vec<String>> {
        Ok(items.items(split, None)?.iter().map(|item| item.label("")).collect())
    };
    Ok([names(Split::Attack)?, names(Split::Unseen)?])
}

/// Prints them.
pub(crate) fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let [attack, unseen] = dealt()?.map(|items| items.join(" "));
    writeln!(std::io::stdout(), "the attacker trains on {attack}, and is asked {unseen}")?;
    Ok(())
}
