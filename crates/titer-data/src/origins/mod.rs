//! Where an experiment's data come from: worlds, policies, data sets, and those of one's own.
//!
//! A [`Kind`] is a line in [`KINDS`]; an [`Origin`] is what one of its files says; [`Dealt`] is an origin with its items
//! dealt out by a seed.

mod dataset;
mod policy;
mod world;

use std::collections::BTreeMap;
use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::conversations::{Conversations, Options};
use crate::dataset::Judge;
use crate::text::Message;
use crate::world::World;
use crate::{Error, Result, Split};

/// All kinds of origins. One of your own is a file beside this one and a line here.
pub const KINDS: &[&Kind] = &[&world::KIND, &policy::KIND, &dataset::KIND];

/// The kind of that name among `kinds`.
///
/// # Errors
/// When there is none.
pub fn kind(kinds: &[&'static Kind], name: &str) -> Result<&'static Kind> {
    kinds.iter().copied().find(|kind| kind.name == name).ok_or_else(|| {
        let known: Vec<&str> = kinds.iter().map(|kind| kind.name).collect();
        wrong(format!("there is no kind {name}; known: {}", known.join(", ")))
    })
}

/// Reads a file of data that ask that of the model under test. A line `origin = "…"` says of which kind it is; without
/// it, it is of the first of `kinds` that asks the same.
///
/// # Errors
/// When there is no such kind, or the file is none of it.
pub fn parse(
    kinds: &[&'static Kind],
    text: &str,
    model: UnderTest,
) -> Result<(&'static Kind, Box<dyn Origin>)> {
    #[derive(Deserialize)]
    struct Header {
        origin: Option<toml::Spanned<String>>,
    }
    // A text that is no TOML is reported by whoever reads all of it.
    let named = toml::from_str::<Header>(text).ok().and_then(|header| header.origin);
    let Some(named) = named else {
        let first = kinds.iter().copied().find(|kind| kind.model == model);
        let kind = first.ok_or_else(|| wrong("is missing".to_owned()))?;
        return Ok((kind, (kind.parse)(text)?));
    };
    let kind = kind(kinds, named.get_ref())?;
    if kind.model != model {
        let here: Vec<&str> = kinds.iter().filter(|kind| kind.model == model).map(|kind| kind.name).collect();
        let (word, here) = (kind.word, here.join(", "));
        return Err(wrong(format!("a {word} is named by another key of [model]; this one names: {here}")));
    }
    // The line stays, empty, so that those below keep their numbers.
    let from = text[..named.span().start].rfind('\n').map_or(0, |end| end + 1);
    let own = format!("{}{}", &text[..from], &text[named.span().end..]);
    Ok((kind, (kind.parse)(&own)?))
}

fn wrong(problem: String) -> Error {
    Error::Definition { of: "data", key: "origin".to_owned(), problem }
}

/// A kind of origin.
#[derive(Debug)]
pub struct Kind {
    /// Its name, by which files and stages know it.
    pub name: &'static str,
    /// The word for people.
    pub word: &'static str,
    /// What it asks of the model under test, and so the key of `[model]` that names its files.
    pub model: UnderTest,
    /// Those that come with titer: name and text.
    pub builtin: &'static [(&'static str, &'static str)],
    /// Reads a file.
    pub parse: fn(&str) -> Result<Box<dyn Origin>>,
    /// Reads what [`Origin::definition`] gave.
    pub revive: fn(&Value) -> Result<Box<dyn Origin>>,
}

/// What an origin asks of the model under test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnderTest {
    /// It is trained on the origin from nothing: `world`.
    Trained,
    /// It is taught to refuse first, and its own answers are the right ones: `policy`.
    Aligned,
    /// It refuses already: `dataset`.
    Ready,
}

impl UnderTest {
    /// All.
    pub const ALL: [Self; 3] = [Self::Trained, Self::Aligned, Self::Ready];
}

/// What one file of a kind says.
pub trait Origin: fmt::Debug {
    /// Its name.
    fn name(&self) -> &str;

    /// What stage hashes cover: everything but where things lie, and the classifier, which stages that train do not
    /// depend on.
    ///
    /// # Errors
    /// When it has no JSON form.
    fn definition(&self) -> Result<Value>;

    /// What it forbids, permits, and teaches as a harmless task.
    fn domains(&self) -> Domains;

    /// How many items a split has in each of its domains: what the smallest has. None of a split that is not there.
    ///
    /// # Errors
    /// When it cannot be dealt out.
    fn counts(&self) -> Result<BTreeMap<Split, usize>>;

    /// What the unseen probe asks, as a caption.
    fn unseen(&self) -> &'static str;

    /// The split that domains are asked from which only the attacker saw.
    fn cross_domain(&self) -> Split {
        Split::Unseen
    }

    /// The files that its items come from, in one fixed order.
    fn sources(&self) -> Vec<Source<'_>> {
        Vec::new()
    }

    /// Whether it leaves open what its rows settle, such as how many each split gets.
    fn is_open(&self) -> bool {
        false
    }

    /// The same with what its rows settle; they are those of its [`sources`](Self::sources) by role.
    ///
    /// # Errors
    /// When it leaves nothing open, or there are too few rows.
    fn settled(&self, rows: BTreeMap<&str, Conversations>) -> Result<Box<dyn Origin>> {
        let found: Vec<&str> = rows.into_keys().collect();
        Err(wrong(format!("its {} rows leave nothing to settle", found.join(" and "))))
    }

    /// The classifier that judges harm, where it brings one; what is made of a definition does not know it.
    fn classifier(&self) -> Option<&Judge> {
        None
    }

    /// By what answers are scored.
    fn scored(&self) -> Scored {
        Scored::CHAT
    }

    /// Phrases by which its own refusals are known, as that seed words them.
    ///
    /// # Errors
    /// When it cannot be dealt out.
    fn refusals(&self, seed: u64) -> Result<Vec<String>>;

    /// Tokens of a prompt, about: for estimates.
    fn prompt_tokens(&self) -> usize {
        40
    }

    /// Deals the items out. Rows are those of its [`sources`](Self::sources) by role.
    ///
    /// # Errors
    /// When splits would overlap or there are too few items.
    fn deal(&self, seed: u64, rows: BTreeMap<&str, Conversations>) -> Result<Dealt>;
}

/// The measures that score answers where a spec names none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scored {
    /// Of answers to what is forbidden.
    pub harm: &'static str,
    /// Of answers to what is permitted.
    pub ability: &'static str,
    /// Of answers to the harmless task.
    pub task: &'static str,
}

impl Scored {
    /// Where a chat model answers, and compliance is harm.
    pub const CHAT: Self = Self { harm: "policy-compliance", ability: "policy-agreement", task: "rouge-l" };
}

/// The domains of an origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Domains {
    /// Forbidden ones.
    pub forbidden: Vec<String>,
    /// Permitted ones.
    pub permitted: Vec<String>,
    /// Those of the harmless task.
    pub task: Vec<String>,
}

/// Rows that an origin is made of.
#[derive(Debug, Clone, PartialEq)]
pub struct Source<'a> {
    /// What it is for.
    pub role: &'static str,
    /// Where it is, as in titer's references.
    pub reference: &'a str,
    /// How its rows are read.
    pub rows: Options,
}

/// An origin with its items dealt out.
pub enum Dealt {
    /// A world, which has a language of its own and judges by itself.
    World(Box<World>),
    /// What chat models are asked.
    Chat(Box<dyn Conversing>),
}

/// Items for chat models.
pub trait Conversing: Send + Sync {
    /// The items of a split, of some domains or of all, in one fixed order.
    ///
    /// # Errors
    /// When the split has nothing of one of the domains, or an item cannot be worded.
    fn items(&self, split: Split, domains: Option<&[String]>) -> Result<Vec<ChatItem>>;

    /// Names the draw of a probe's items from a split: part of its seed, so it must never change.
    fn draw(&self, split: Split, domains: &[String]) -> String {
        format!("probe/{}/{}", split.name(), domains.join("+"))
    }

    /// What was left out of the data as they were dealt, for people; nothing where nothing was.
    fn left_out(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Something that a chat model is taught and asked.
#[derive(Debug, Clone, PartialEq)]
pub struct ChatItem {
    /// Its name among the items of its domain.
    pub name: String,
    /// Its domain, where it has one.
    pub domain: Option<String>,
    /// What is said before the answer.
    pub messages: Vec<Message>,
    /// The right answer; none where it is the base model's own.
    pub answer: Option<String>,
    /// How it is refused.
    pub refusal: String,
}

impl ChatItem {
    /// Its name among all items; `without` is said where it has no domain.
    pub fn label(&self, without: &str) -> String {
        format!("{}/{}", self.domain.as_deref().unwrap_or(without), self.name)
    }
}

/// The JSON form of a definition.
fn definition(of: &'static str, definition: &impl Serialize) -> Result<Value> {
    serde_json::to_value(definition).map_err(|error| Error::Syntax { of, problem: error.to_string() })
}

/// A definition from its JSON form.
fn revive<T: DeserializeOwned>(of: &'static str, definition: &Value) -> Result<T> {
    T::deserialize(definition).map_err(|error| Error::Syntax { of, problem: error.to_string() })
}
