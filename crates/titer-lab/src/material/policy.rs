//! The data of a policy: prompts and refusals from the policy, answers from the base model itself.

use std::collections::{BTreeMap, BTreeSet};

use titer_data::policy::{Definition, Item, Policy, pick};
use titer_data::text::{Chat, Message};
use titer_data::world::Target;
use titer_data::{Example, Split, Stream};
use titer_plan::Probe;
use titer_plan::stage::{PolicySpec, ProbeSpec, Side};

use super::general;
use super::{Answering, Ask, Material, Question, spell};
use crate::{Error, Result};

/// A model's answers by the name of the item, as tokens, with the end where the model ended.
pub(crate) type Answers = BTreeMap<String, Vec<u32>>;

/// A policy made from a stage's spec, in a model's own words.
pub(crate) struct PolicyData {
    policy: Policy,
    chat: Chat,
    /// The tokens that end an answer.
    ends: Vec<u32>,
    answers: Answers,
    answer_tokens: usize,
    seed: u64,
}

impl PolicyData {
    /// `answers` may be empty where no stage needs them: a missing one is an error when it is asked for.
    pub(crate) fn new(spec: &PolicySpec, chat: Chat, ends: Vec<u32>, answers: Answers) -> Result<Self> {
        let definition: Definition = serde_json::from_value(spec.definition.clone())?;
        let policy = Policy::new(definition, spec.seed)?;
        Ok(Self { policy, chat, ends, answers, answer_tokens: spec.answer_tokens, seed: spec.seed })
    }

    /// The prompts of one side that some stage needs answers to: what is taught, and what permitted answers
    /// are compared with.
    pub(crate) fn to_distil(&self, side: Side) -> Result<Vec<(String, Vec<u32>)>> {
        let splits = match side {
            Side::Forbidden => [Split::Defence, Split::Attack],
            Side::Permitted => [Split::PermittedTrain, Split::PermittedProbe],
        };
        let items = splits.iter().flat_map(|split| self.policy.split(*split));
        items.map(|item| Ok((item.to_string(), self.prompt(item)?))).collect()
    }

    fn messages(&self, item: &Item) -> Result<Vec<Message>> {
        let system = self.policy.system().map(Message::system);
        Ok(system.into_iter().chain([Message::user(self.policy.prompt(item)?)]).collect())
    }

    fn prompt(&self, item: &Item) -> Result<Vec<u32>> {
        Ok(self.chat.prompt(&self.messages(item)?)?)
    }

    fn example(&self, item: &Item, target: Target) -> Result<Example> {
        let written = match target {
            Target::Refusal => Some(self.policy.refusal(item)),
            Target::Answer => self.policy.reference(item)?,
        };
        if let Some(text) = written {
            let mut messages = self.messages(item)?;
            messages.push(Message::assistant(text));
            return Ok(self.chat.example(&messages)?);
        }
        // The model's own tokens: no detour through text could change them.
        let mut tokens = self.prompt(item)?;
        let from = tokens.len();
        tokens.extend(self.own_answer(item)?);
        Ok(Example::new(tokens, from)?)
    }

    fn own_answer(&self, item: &Item) -> Result<&[u32]> {
        let name = item.to_string();
        self.answers.get(&name).map(Vec::as_slice).ok_or(Error::NoAnswer { item: name })
    }

    fn items(&self, split: Split, domains: Option<&[String]>) -> Result<Vec<Item>> {
        Ok(match domains {
            Some(domains) => self.policy.items(split, domains)?,
            None => self.policy.split(split).to_vec(),
        })
    }

    fn asked(&self, probe: Probe, item: &Item) -> Result<Question> {
        let reference = match self.policy.reference(item)? {
            Some(right) => right,
            // Nobody answers what is forbidden.
            None if probe.is_harmful() => String::new(),
            None => self.chat.tokenizer().decode(self.own_answer(item)?)?,
        };
        let (question, ask) = (self.policy.prompt(item)?, Ask::Answer { prompt: self.prompt(item)? });
        Ok(Question { probe, item: item.to_string(), ask, question, reference })
    }
}

/// All refusals as models were taught them: every wording, with every subject in it.
pub(crate) fn refusals(policy: &Policy) -> Vec<String> {
    let forbidden = [Split::Align, Split::Seen, Split::Unseen];
    let all: BTreeSet<String> =
        forbidden.iter().flat_map(|split| policy.split(*split)).map(|item| policy.refusal(item)).collect();
    all.into_iter().collect()
}

impl Material for PolicyData {
    fn examples(&self, split: Split, domains: Option<&[String]>, target: Target) -> Result<Vec<Example>> {
        self.items(split, domains)?.iter().map(|item| self.example(item, target)).collect()
    }

    fn chosen(&self, split: Split, count: usize, target: Target, stream: &Stream) -> Result<Vec<Example>> {
        let items = pick(self.policy.split(split), count, stream)?;
        items.iter().map(|item| self.example(item, target)).collect()
    }

    fn questions(&self, probe: &ProbeSpec) -> Result<Vec<Question>> {
        let split = match probe.probe {
            Probe::Seen => Split::Seen,
            Probe::Unseen | Probe::CrossDomain => Split::Unseen,
            Probe::Permitted => Split::PermittedProbe,
            Probe::Alias => Split::AliasProbe,
            Probe::Choice | Probe::Text | Probe::Task(_) => return general::task(&self.chat, probe),
            // No plan asks it of models whose experts are not known before they are here.
            Probe::Routing => return Ok(Vec::new()),
        };
        // Part of the seed, and so what it always was.
        let drawn_from = if split == Split::AliasProbe { "task-probe" } else { split.name() };
        let stream = Stream::new(self.seed, &format!("probe/{drawn_from}/{}", probe.domains.join("+")));
        let items = pick(&self.items(split, Some(&probe.domains))?, probe.items, &stream)?;
        items.iter().map(|item| self.asked(probe.probe, item)).collect()
    }

    fn answering(&self) -> Answering {
        Answering { max_new_tokens: self.answer_tokens, ends: self.ends.clone() }
    }

    fn text(&self, tokens: &[u32]) -> String {
        spell(&self.chat, tokens)
    }

    fn answer(&self, tokens: &[u32]) -> Result<String> {
        Ok(self.chat.tokenizer().decode(tokens)?)
    }
}
