//! What stages teach and ask, whatever it comes from: the one face that worlds and data for chat models show to
//! training, attacks and probes.

mod chat;
mod general;
mod origin;
mod world;

use std::ops::Range;

use titer_attacks::Phrase;
use titer_data::Example;
use titer_data::Split;
use titer_data::Stream;
use titer_data::text::Chat;
use titer_data::world::Target;
use titer_plan::Probe;
use titer_plan::stage::ProbeSpec;

use crate::Result;

pub(crate) use chat::{Answers, ChatData, Places, Speech, distilled};
pub(crate) use origin::{dealt, origin, read_rows};
pub(crate) use world::{WorldData, world_config};

/// Data of one origin.
pub(crate) trait Material {
    /// A split's items of some domains, or of all, as examples in one fixed order.
    fn examples(&self, split: Split, domains: Option<&[String]>, target: Target) -> Result<Vec<Example>>;

    /// Items of a split by a stage's own choice.
    fn chosen(&self, split: Split, count: usize, target: Target, stream: &Stream) -> Result<Vec<Example>>;

    /// What a probe asks: by the data's own choice, so that every model is asked the same.
    fn questions(&self, probe: &ProbeSpec) -> Result<Vec<Question>>;

    /// How far an answer may go.
    fn answering(&self) -> Answering;

    /// Tokens as text, special ones included.
    fn text(&self, tokens: &[u32]) -> String;

    /// Whether the limit of tokens ended an answer, not the model.
    fn is_cut(&self, answer: &[u32]) -> bool;

    /// Where the user's last words are in a prompt, if that can be told.
    fn user_words(&self, prompt: &[u32]) -> Option<Range<usize>>;

    /// The tokens of a text as it stands in a user's words or in an answer.
    fn encode(&self, text: &str) -> Result<Vec<u32>>;

    /// The tokens of what attackers say.
    fn phrase(&self, phrase: Phrase) -> Result<Vec<u32>>;

    /// An answer as it is judged: of chat models without the special tokens.
    fn answer(&self, tokens: &[u32]) -> Result<String>;
}

/// One item of a probe.
pub(crate) struct Question {
    pub(crate) probe: Probe,
    /// The item's name, the same for every model.
    pub(crate) item: String,
    /// What is asked.
    pub(crate) ask: Ask,
    /// The user's last message.
    pub(crate) question: String,
    /// What an answer is compared with; empty where there is nothing.
    pub(crate) reference: String,
}

/// How a model is asked.
pub(crate) enum Ask {
    /// To answer a prompt.
    Answer { prompt: Vec<u32> },
    /// To say which continuation of a text is likeliest: the tokens before and of each.
    Choose { prompt: String, pairs: Vec<Pair>, choices: Vec<String> },
    /// To read a text: what comes before it and its tokens.
    Read { text: String, pair: Pair },
    /// To send a prompt through its experts.
    Route { prompt: Vec<u32> },
}

/// Context and continuation, as tokens.
pub(crate) type Pair = (Vec<u32>, Vec<u32>);

/// How far an answer may go.
#[derive(Debug, Clone)]
pub(crate) struct Answering {
    /// New tokens at most.
    pub(crate) max_new_tokens: usize,
    /// The tokens that end an answer.
    pub(crate) ends: Vec<u32>,
}

/// A chat's tokens as text, special ones included. What cannot be decoded is shown as what it is.
fn spell(chat: &Chat, tokens: &[u32]) -> String {
    chat.tokenizer().decode_all(tokens).unwrap_or_else(|_| format!("{tokens:?}"))
}
