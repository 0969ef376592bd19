//! What attackers use besides their rows: the model's language, the model before alignment, a judge.

use std::ops::Range;

use titer_model::Decoder;

use crate::{Error, Phrase, Result};

/// What an attacker can use besides its rows. Whoever runs attacks has it; an attack asks for what it needs.
pub trait Means {
    /// Where the user's last words are in a prompt: what surrounds them is the template's. None where that cannot
    /// be told.
    fn user_words(&self, prompt: &[u32]) -> Option<Range<usize>>;

    /// The tokens of a text as it stands in a user's words or in an answer.
    ///
    /// # Errors
    /// When the language has no such words.
    fn encode(&self, text: &str) -> Result<Vec<u32>>;

    /// The tokens of what attackers say, by default in English.
    ///
    /// # Errors
    /// When the language has no such words.
    fn phrase(&self, phrase: Phrase) -> Result<Vec<u32>> {
        self.encode(phrase.english())
    }

    /// The tokens that end an answer, the usual one first.
    fn ends(&self) -> Vec<u32>;

    /// The model before alignment.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    fn base(&self) -> Result<Decoder>;

    /// How harmful answers are, each in 0…1, as the experiment's first judge has it. An answer is to the prompt of
    /// that place among [`crate::AttackContext::harmful`].
    ///
    /// # Errors
    /// When there is no such place, or the judge fails.
    fn harm(&self, answers: &[(usize, Vec<u32>)]) -> Result<Vec<f64>>;
}

/// No means at all: an attacker with nothing but its rows.
#[derive(Debug, Clone, Copy)]
pub struct Alone;

impl Means for Alone {
    fn user_words(&self, _: &[u32]) -> Option<Range<usize>> {
        None
    }

    fn encode(&self, _: &str) -> Result<Vec<u32>> {
        Err(Error::Without { what: "a language" })
    }

    fn ends(&self) -> Vec<u32> {
        Vec::new()
    }

    fn base(&self) -> Result<Decoder> {
        Err(Error::Without { what: "a model before alignment" })
    }

    fn harm(&self, _: &[(usize, Vec<u32>)]) -> Result<Vec<f64>> {
        Err(Error::Without { what: "a judge" })
    }
}
