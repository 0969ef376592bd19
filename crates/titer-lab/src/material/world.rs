//! The data of an embedded world.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use titer_attacks::Phrase;
use titer_data::origins::Dealt;
use titer_data::world::{Target, World, pick};
use titer_data::{Example, Split, Stream};
use titer_model::Config;
use titer_plan::Probe;
use titer_plan::stage::{DataSpec, DecoderSpec, ProbeSpec};

use super::{Answering, Ask, Material, Question, origin};
use crate::{Error, Result};

/// A world made from a stage's spec.
#[derive(Debug, Clone)]
pub(crate) struct WorldData {
    pub(crate) world: Arc<World>,
    seed: u64,
}

impl WorldData {
    pub(crate) fn new(spec: &DataSpec) -> Result<Self> {
        match origin(spec)?.deal(spec.seed, BTreeMap::new())? {
            Dealt::World(world) => Ok(Self { world: Arc::from(world), seed: spec.seed }),
            Dealt::Chat(_) => Err(Error::OtherData { kind: spec.from.clone() }),
        }
    }
}

impl Material for WorldData {
    fn examples(&self, split: Split, domains: Option<&[String]>, target: Target) -> Result<Vec<Example>> {
        Ok(match domains {
            Some(domains) => self.world.examples(&self.world.items(split, domains)?, target)?,
            None => self.world.examples(self.world.split(split), target)?,
        })
    }

    fn chosen(&self, split: Split, count: usize, target: Target, stream: &Stream) -> Result<Vec<Example>> {
        Ok(self.world.examples(&pick(self.world.split(split), count, stream)?, target)?)
    }

    fn questions(&self, probe: &ProbeSpec) -> Result<Vec<Question>> {
        let split = match probe.probe {
            Probe::Seen | Probe::Routing => Split::Seen,
            Probe::Unseen | Probe::CrossDomain => Split::Unseen,
            Probe::Permitted => Split::PermittedProbe,
            Probe::HarmlessTask => Split::TaskProbe,
            // The plan offers none of them for worlds.
            Probe::Choice | Probe::Text | Probe::Task(_) => return Ok(Vec::new()),
        };
        // Part of the seed, and so what it always was.
        let drawn_from = if split == Split::TaskProbe { "alias-probe" } else { split.name() };
        let stream = Stream::new(self.seed, &format!("probe/{drawn_from}/{}", probe.domains.join("+")));
        let items = pick(&self.world.items(split, &probe.domains)?, probe.items, &stream)?;
        items
            .into_iter()
            .map(|item| {
                let prompt = self.world.prompt(&item)?;
                let question = self.world.decode(&prompt);
                let (ask, reference) = match probe.probe {
                    Probe::Routing => (Ask::Route { prompt }, String::new()),
                    _ => (Ask::Answer { prompt }, self.world.decode(&self.world.answer(&item)?)),
                };
                Ok(Question { probe: probe.probe, item: item.to_string(), ask, question, reference })
            })
            .collect()
    }

    /// Two tokens more than the longest answer, so that one that does not end is seen to go on.
    fn answering(&self) -> Answering {
        Answering { max_new_tokens: self.world.longest_answer() + 2, ends: vec![self.world.end()] }
    }

    fn text(&self, tokens: &[u32]) -> String {
        self.world.decode(tokens)
    }

    /// Between the words that begin and end a prompt, one of the user's and one of the model's.
    fn user_words(&self, prompt: &[u32]) -> Option<Range<usize>> {
        (prompt.len() >= 3).then(|| 2..prompt.len() - 1)
    }

    fn encode(&self, text: &str) -> Result<Vec<u32>> {
        Ok(self.world.encode(text)?)
    }

    /// Two words that the world knows and no prompt holds.
    fn phrase(&self, phrase: Phrase) -> Result<Vec<u32>> {
        let words = self.world.words_without_prompts();
        let [first, second] = phrase.pair(words.len());
        self.encode(&format!("{} {}", words[first], words[second]))
    }

    /// Never said: the end token stands in the answer, and the oracle looks at it.
    fn is_cut(&self, _: &[u32]) -> bool {
        false
    }

    fn answer(&self, tokens: &[u32]) -> Result<String> {
        Ok(self.world.decode(tokens))
    }
}

/// A decoder's configuration for a world's vocabulary.
pub(crate) fn world_config(data: &WorldData, decoder: &DecoderSpec) -> Config {
    let world = &data.world;
    let longest_prompt = world.split(Split::Everything).iter().filter_map(|item| world.prompt(item).ok());
    let longest_prompt = longest_prompt.map(|prompt| prompt.len()).max().unwrap_or(0);
    let config = Config {
        max_position_embeddings: (2 * (longest_prompt + world.longest_answer())).next_power_of_two(),
        rms_norm_eps: decoder.norm_epsilon,
        rope_theta: decoder.rope_theta,
        bos_token_id: Some(world.begin()),
        eos_token_id: vec![world.end()],
        pad_token_id: Some(world.pad()),
        ..Config::llama(
            world.vocabulary_size(),
            decoder.hidden,
            decoder.intermediate,
            decoder.layers,
            decoder.heads,
            decoder.kv_heads,
        )
    };
    match decoder.experts {
        0 => config,
        experts => config.with_experts(experts, decoder.experts_per_token),
    }
}
