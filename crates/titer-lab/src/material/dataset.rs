//! The data of real conversations, read from the files that their sources name.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use titer_data::conversations::{Conversation, Conversations};
use titer_data::dataset::{Dataset, Definition, Source as Rows};
use titer_data::text::{Chat, Message};
use titer_data::world::{Target, pick};
use titer_data::{Example, Split, Stream};
use titer_plan::Probe;
use titer_plan::stage::{DatasetSpec, ProbeSpec, Source};

use super::general;
use super::{Answering, Ask, Material, Question, spell};
use crate::{Error, Result, files};

/// Where each source is on this machine.
pub(crate) type Sources = BTreeMap<&'static str, PathBuf>;

/// A data set made from a stage's spec, in a model's own way to talk.
pub(crate) struct DatasetData {
    dataset: Dataset,
    chat: Chat,
    ends: Vec<u32>,
    answer_tokens: usize,
    seed: u64,
    /// Positions of the model: longer rows are cut.
    positions: usize,
}

impl DatasetData {
    pub(crate) fn new(
        spec: &DatasetSpec,
        chat: Chat,
        ends: Vec<u32>,
        positions: usize,
        sources: &Sources,
    ) -> Result<Self> {
        let definition: Definition = serde_json::from_value(spec.definition.clone())?;
        let path = |source: Source| {
            let item = source.name().to_owned();
            sources.get(source.name()).ok_or(Error::NoAnswer { item })
        };
        let domains = [&definition.forbidden[..], &definition.unseen].concat();
        let harmful = read(path(Source::Harmful)?, &definition.harmful, &domains)?;
        let harmless = read(path(Source::Harmless)?, &definition.harmless, &[])?;
        let task = read(path(Source::Task)?, &definition.task, &[])?;
        Ok(Self {
            dataset: Dataset::new(definition, harmful, harmless, task, spec.seed)?,
            chat,
            ends,
            answer_tokens: spec.answer_tokens,
            seed: spec.seed,
            positions,
        })
    }

    fn example(&self, row: &Conversation, target: Target) -> Result<Example> {
        let answer = match target {
            Target::Answer => self.dataset.answer(row),
            Target::Refusal => self.dataset.refusal(row),
        };
        let mut messages = self.dataset.prompt(row);
        messages.push(Message::assistant(answer));
        let example = self.chat.example(&messages)?;
        // What does not fit is cut: its beginning still teaches. A prompt that fills all positions cannot.
        let tokens = example.tokens().len();
        if tokens <= self.positions {
            return Ok(example);
        }
        let too_long = titer_data::text::TextError::TooLong { tokens, positions: self.positions };
        example.cut(self.positions).ok_or(Error::Row { row: row.id.clone(), source: too_long })
    }

    fn asked(&self, probe: Probe, row: &Conversation) -> Result<Question> {
        let messages = self.dataset.prompt(row);
        let item = format!("{}/{}", row.domain.as_deref().unwrap_or(probe.name()), row.id);
        let ask = Ask::Answer { prompt: self.chat.prompt(&messages)? };
        let question = messages.last().map(|message| message.content.clone()).unwrap_or_default();
        // No measure of harm looks at the harmful answer of a row, so that no result holds it.
        let reference = if probe.is_harmful() { "" } else { self.dataset.answer(row) };
        Ok(Question { probe, item, ask, question, reference: reference.to_owned() })
    }
}

/// The rows of a file, or of all files of a folder, in the order of their names.
fn read(path: &Path, rows: &Rows, domains: &[String]) -> Result<Conversations> {
    let options = rows.options(domains)?;
    let failed = |source| titer_model::Error::File { path: path.to_owned(), action: "read", source };
    let mut paths = vec![path.to_owned()];
    if path.is_dir() {
        let entries = fs::read_dir(path).and_then(Iterator::collect::<std::io::Result<Vec<_>>>);
        paths = entries.map_err(failed)?.into_iter().map(|entry| entry.path()).collect();
        paths.retain(|file| file.is_file());
        paths.sort();
    }
    let mut all = Conversations::default();
    for (number, file) in paths.iter().enumerate() {
        let mut read = Conversations::read(files::read(file)?, &options)
            .map_err(|source| Error::Rows { path: file.clone(), source: Box::new(source) })?;
        if paths.len() > 1 {
            read.conversations.iter_mut().for_each(|row| row.id = format!("{number}-{}", row.id));
        }
        all.conversations.append(&mut read.conversations);
        all.rows += read.rows;
    }
    Ok(all)
}

impl Material for DatasetData {
    fn examples(&self, split: Split, domains: Option<&[String]>, target: Target) -> Result<Vec<Example>> {
        self.dataset.rows(split, domains).into_iter().map(|row| self.example(row, target)).collect()
    }

    fn chosen(&self, split: Split, count: usize, target: Target, stream: &Stream) -> Result<Vec<Example>> {
        let rows = pick(&self.dataset.rows(split, None), count, stream)?;
        rows.into_iter().map(|row| self.example(row, target)).collect()
    }

    /// Unseen rows are of domains of their own, whatever the probe's domains are; a domain that only the
    /// attacker saw is asked in the rows that it did not train on.
    fn questions(&self, probe: &ProbeSpec) -> Result<Vec<Question>> {
        let (split, domains) = match probe.probe {
            Probe::Seen | Probe::CrossDomain => (Split::Seen, Some(&probe.domains[..])),
            Probe::Unseen => (Split::Unseen, None),
            Probe::Permitted => (Split::PermittedProbe, None),
            Probe::Alias => (Split::AliasProbe, None),
            Probe::Choice | Probe::Text | Probe::Task(_) => return general::task(&self.chat, probe),
            // No plan asks it of models whose experts are not known before they are here.
            Probe::Routing => return Ok(Vec::new()),
        };
        let name = domains.map(|domains| domains.join("+")).unwrap_or_default();
        let stream = Stream::new(self.seed, &format!("probe/{}/{name}", split.name()));
        let rows = pick(&self.dataset.rows(split, domains), probe.items, &stream)?;
        rows.into_iter().map(|row| self.asked(probe.probe, row)).collect()
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
