//! What tests of attacks share, within the crate and beside it: a small model, and a language of bare numbers.

use std::ops::Range;

use candle_core::Device;
use rand::SeedableRng;
use titer_attacks::{AttackContext, Means, Phrase, Result};
use titer_data::Example;
use titer_model::{Config, Decoder};

/// A prompt is `1`, the user's words, `2`; an answer ends with `3`. Words are numbers.
pub(crate) struct Numbers;

impl Means for Numbers {
    fn user_words(&self, prompt: &[u32]) -> Option<Range<usize>> {
        (prompt.len() >= 2).then(|| 1..prompt.len() - 1)
    }

    fn encode(&self, text: &str) -> Result<Vec<u32>> {
        Ok(text.split_whitespace().map(|word| word.parse().unwrap()).collect())
    }

    /// One of the last eight of the model's 40 tokens.
    fn phrase(&self, phrase: Phrase) -> Result<Vec<u32>> {
        Ok(vec![32 + phrase as u32])
    }

    fn ends(&self) -> Vec<u32> {
        vec![3]
    }

    /// The model of [`model`] from other numbers.
    fn base(&self) -> Result<Decoder> {
        Ok(initialized(1))
    }

    /// The share of the answer's tokens that are even.
    fn harm(&self, answers: &[(usize, Vec<u32>)]) -> Result<Vec<f64>> {
        let even = |answer: &[u32]| answer.iter().filter(|token| **token % 2 == 0).count();
        Ok(answers.iter().map(|(_, answer)| even(answer) as f64 / answer.len().max(1) as f64).collect())
    }
}

/// An attacker with these harmful rows.
pub(crate) fn context(harmful: &[Example], seed: u64) -> AttackContext<'static> {
    AttackContext { means: &Numbers, ..AttackContext::alone(harmful, seed) }
}

/// A model of two layers over 40 tokens.
pub(crate) fn model() -> Decoder {
    initialized(0)
}

fn initialized(seed: u64) -> Decoder {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    Decoder::initialize(Config::llama(40, 16, 32, 2, 2, 2), 0.1, &mut rng, &Device::Cpu).unwrap()
}
