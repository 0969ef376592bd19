//! Data for chat models, whatever they come from: items in a model's own way to talk, with the base model's answers
//! where an item has none.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;

use titer_attacks::Phrase;
use titer_data::origins::{ChatItem, Conversing, Origin};
use titer_data::text::{Chat, Message};
use titer_data::world::{Target, pick};
use titer_data::{Example, Split, Stream};
use titer_plan::Probe;
use titer_plan::stage::{DataSpec, ProbeSpec, Side};

use super::{Answering, Ask, Material, Question, general, spell};
use crate::{Error, Result};

/// A model's answers by the name of the item, as tokens, with the end where the model ended.
pub(crate) type Answers = BTreeMap<String, Vec<u32>>;

/// Where each source of an origin is on this machine, by its role.
pub(crate) type Places = BTreeMap<String, PathBuf>;

/// How a model talks.
pub(crate) struct Speech {
    pub(crate) chat: Chat,
    /// The tokens that end an answer.
    pub(crate) ends: Vec<u32>,
    /// Positions of the model: longer examples are cut.
    pub(crate) positions: usize,
}

/// Items for a chat model.
pub(crate) struct ChatData {
    items: Box<dyn Conversing>,
    cross_domain: Split,
    speech: Speech,
    /// Of items without one. A missing one is an error when it is asked for.
    answers: Answers,
    answer_tokens: usize,
    seed: u64,
}

impl ChatData {
    pub(crate) fn new(
        origin: &dyn Origin,
        spec: &DataSpec,
        speech: Speech,
        answers: Answers,
        places: &Places,
    ) -> Result<Self> {
        Ok(Self {
            items: super::dealt(origin, spec, places)?,
            cross_domain: origin.cross_domain(),
            speech,
            answers,
            answer_tokens: spec.answer_tokens.ok_or_else(|| Error::OtherData { kind: spec.from.clone() })?,
            seed: spec.seed,
        })
    }

    /// The prompts of one side that some stage needs the base model's answers to: what is taught, and what
    /// answers are compared with.
    pub(crate) fn to_distil(&self, side: Side) -> Result<Vec<(String, Vec<u32>)>> {
        let mut prompts = Vec::new();
        for split in distilled(side, self.cross_domain) {
            // Harm is measured against the model's own answer, whether there is a right one or not.
            let asked = |item: &ChatItem| side == Side::Probed || item.answer.is_none();
            for item in self.items.items(split, None)?.into_iter().filter(asked) {
                prompts.push((item.label(split.name()), self.speech.chat.prompt(&item.messages)?));
            }
        }
        Ok(prompts)
    }

    fn example(&self, item: &ChatItem, target: Target, split: Split) -> Result<Example> {
        let written = match target {
            Target::Refusal => Some(&item.refusal),
            Target::Answer => item.answer.as_ref(),
        };
        let example = match written {
            Some(text) => {
                let mut messages = item.messages.clone();
                messages.push(Message::assistant(text));
                self.speech.chat.example(&messages)?
            }
            // The model's own tokens: no detour through text could change them.
            None => {
                let mut tokens = self.speech.chat.prompt(&item.messages)?;
                let from = tokens.len();
                tokens.extend(self.answer_to(&item.label(split.name()))?);
                Example::new(tokens, from)?
            }
        };
        // What does not fit is cut: its beginning still teaches. A prompt that fills all positions cannot.
        let tokens = example.tokens().len();
        if tokens <= self.speech.positions {
            return Ok(example);
        }
        let too_long = titer_data::text::TextError::TooLong { tokens, positions: self.speech.positions };
        let row = item.label(split.name());
        example.cut(self.speech.positions).ok_or(Error::Row { row, source: too_long })
    }

    fn answer_to(&self, item: &str) -> Result<&[u32]> {
        let none = || Error::NoAnswer { item: item.to_owned() };
        self.answers.get(item).map(Vec::as_slice).ok_or_else(none)
    }

    fn asked(&self, probe: Probe, item: &ChatItem) -> Result<Question> {
        let label = item.label(probe.name());
        let reference = match &item.answer {
            // A result holds no harmful answer but the model's under test: what it is compared with stays in the
            // artifact of whoever gave it.
            _ if probe.is_harmful() => String::new(),
            Some(answer) => answer.clone(),
            None => self.speech.chat.tokenizer().decode(self.answer_to(&label)?)?,
        };
        let ask = Ask::Answer { prompt: self.speech.chat.prompt(&item.messages)? };
        let question = item.messages.last().map(|message| message.content.clone()).unwrap_or_default();
        Ok(Question { probe, item: label, ask, question, reference })
    }
}

/// The splits whose prompts the base model answers for others to use. `cross_domain` is the one that such probes ask.
pub(crate) fn distilled(side: Side, cross_domain: Split) -> Vec<Split> {
    match side {
        Side::Forbidden => vec![Split::Defence, Split::Attack],
        Side::Permitted => vec![Split::PermittedTrain, Split::PermittedProbe],
        Side::Probed => {
            let mut splits = vec![Split::Seen, Split::Unseen];
            splits.extend((!splits.contains(&cross_domain)).then_some(cross_domain));
            splits
        }
    }
}

impl Material for ChatData {
    fn examples(&self, split: Split, domains: Option<&[String]>, target: Target) -> Result<Vec<Example>> {
        self.items.items(split, domains)?.iter().map(|item| self.example(item, target, split)).collect()
    }

    fn chosen(&self, split: Split, count: usize, target: Target, stream: &Stream) -> Result<Vec<Example>> {
        let items = pick(&self.items.items(split, None)?, count, stream)?;
        items.iter().map(|item| self.example(item, target, split)).collect()
    }

    fn questions(&self, probe: &ProbeSpec) -> Result<Vec<Question>> {
        let split = match probe.probe {
            Probe::Seen => Split::Seen,
            Probe::Unseen => Split::Unseen,
            Probe::CrossDomain => self.cross_domain,
            Probe::Permitted => Split::PermittedProbe,
            Probe::HarmlessTask => Split::TaskProbe,
            Probe::Choice | Probe::Text | Probe::Task(_) => return general::task(&self.speech.chat, probe),
            // No plan asks it of models whose experts are not known before they are here.
            Probe::Routing => return Ok(Vec::new()),
        };
        let stream = Stream::new(self.seed, &self.items.draw(split, &probe.domains));
        let items = pick(&self.items.items(split, Some(&probe.domains))?, probe.items, &stream)?;
        items.iter().map(|item| self.asked(probe.probe, item)).collect()
    }

    fn answering(&self) -> Answering {
        Answering { max_new_tokens: self.answer_tokens, ends: self.speech.ends.clone() }
    }

    fn text(&self, tokens: &[u32]) -> String {
        spell(&self.speech.chat, tokens)
    }

    fn user_words(&self, prompt: &[u32]) -> Option<Range<usize>> {
        self.speech.chat.last_user_words(prompt)
    }

    fn encode(&self, text: &str) -> Result<Vec<u32>> {
        Ok(self.speech.chat.tokenizer().encode_plain(text)?)
    }

    /// In English, whatever else the model speaks.
    fn phrase(&self, phrase: Phrase) -> Result<Vec<u32>> {
        self.encode(phrase.english())
    }

    fn is_cut(&self, answer: &[u32]) -> bool {
        answer.last().is_none_or(|last| !self.speech.ends.contains(last))
    }

    fn answer(&self, tokens: &[u32]) -> Result<String> {
        Ok(self.speech.chat.tokenizer().decode(tokens)?)
    }
}
