//! Log-likelihoods of given text: how probable a model finds a continuation of a context.

use std::collections::HashMap;

use candle_core::{D, DType};
use titer_ops::{Sequences, cross_entropy};

use crate::run::Run;
use crate::weights::Scored;
use crate::{Decoder, Error, Result};

/// Tokens that are run at once, so that memory stays bounded.
const TOKENS_AT_ONCE: usize = 1 << 12;
/// Tokens of the texts whose keys these see, counted in each text.
const KEYS_AT_ONCE: usize = 1 << 14;
/// Logits that are computed at once.
const LOGITS_AT_ONCE: usize = 1 << 24;

/// How probable a continuation is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LogLikelihood {
    /// In nats, summed over its tokens.
    pub sum: f64,
    /// Whether greedy decoding would have written it: each token is the most likely one (the lowest id among
    /// equals).
    pub greedy: bool,
    /// Number of its tokens.
    pub tokens: usize,
}

/// A text without its last token, and the pairs that need it: of each the continuation.
struct Input<'a> {
    tokens: &'a [u32],
    pairs: Vec<(usize, &'a [u32])>,
}

impl Decoder {
    /// Log-likelihoods of the continuations in pairs of (context, continuation), in order. Nothing is
    /// padded and no gradient is tracked. What does not fit into the model's positions is cut from the left
    /// of the context, as in lm-evaluation-harness; the last token is predicted only and takes no position.
    /// What several of them begin with (examples, a question) is run once for all, and pairs that differ in their last
    /// token alone (answers A to D of one question) are one text.
    ///
    /// # Errors
    /// When a context or continuation is empty, a continuation is longer than the model's positions, or a
    /// token is outside the vocabulary.
    pub fn log_likelihoods<T: AsRef<[u32]>>(&self, pairs: &[(T, T)]) -> Result<Vec<LogLikelihood>> {
        let positions = self.config().max_position_embeddings;
        let vocabulary = self.config().vocab_size;
        let mut texts = Vec::with_capacity(pairs.len());
        for (index, (context, continuation)) in pairs.iter().enumerate() {
            let (context, continuation) = (context.as_ref(), continuation.as_ref());
            if context.is_empty() {
                return Err(Error::EmptyPrompt { index });
            }
            if continuation.is_empty() {
                return Err(Error::EmptyContinuation { index });
            }
            if continuation.len() > positions {
                return Err(Error::TooLong { tokens: context.len(), new: continuation.len(), positions });
            }
            if let Some(token) = continuation.iter().find(|token| **token as usize >= vocabulary) {
                return Err(Error::Token { token: *token, vocabulary });
            }
            let mut text = [context, continuation].concat();
            text.drain(..text.len().saturating_sub(positions + 1));
            texts.push((text, continuation));
        }
        // Side by side, those that begin alike are run together.
        let mut inputs = inputs(&texts);
        inputs.sort_by_key(|input| input.tokens);
        let mut results = vec![LogLikelihood { sum: 0.0, greedy: true, tokens: 0 }; pairs.len()];
        let mut left = &inputs[..];
        while !left.is_empty() {
            let (mut run, mut seen, mut before) = (0, 0, &[][..]);
            let fitting = left.iter().take_while(|input| {
                let shared = before.iter().zip(input.tokens).take_while(|(a, b)| a == b).count();
                (run, seen) = (run + input.tokens.len() - shared, seen + input.tokens.len());
                before = input.tokens;
                run <= TOKENS_AT_ONCE && seen <= KEYS_AT_ONCE
            });
            let (now, later) = left.split_at(fitting.count().max(1));
            self.score(now, &mut results)?;
            left = later;
        }
        Ok(results)
    }

    /// Runs texts together and adds what they say of each pair.
    fn score(&self, inputs: &[Input<'_>], results: &mut [LogLikelihood]) -> Result<()> {
        let (mut tokens, mut offsets, mut scored) = (Vec::new(), vec![0], Vec::new());
        for Input { tokens: own, pairs } in inputs {
            tokens.extend_from_slice(own);
            offsets.push(tokens.len());
            for (pair, targets) in pairs {
                let first = (tokens.len() - targets.len()) as u32;
                scored.extend((first..).zip(*targets).map(|(place, target)| (place, *target, *pair)));
            }
        }
        let sequences = Sequences::new(&offsets)?;
        let run = Run::shared(&tokens, self.rotary().rows(&sequences), &sequences);
        let places: Vec<u32> = scored.iter().map(|(place, _, _)| *place).collect();
        let reading = run.reading(&places, self.device())?;
        let attending = run.attend(self, Some(&reading.rows))?;
        let attend = &mut |layer: usize, scored: Scored<'_>, q: &_, k: &_, v: &_| {
            attending.attend(layer, scored, q, k, v)
        };
        let states = self.run_detached(&run.tokens, run.angles.clone(), Some(&reading.rows), attend)?;
        let states = reading.spread(states)?;
        let at_once = (LOGITS_AT_ONCE / self.config().vocab_size).max(1);
        for (chunk, rows) in scored.chunks(at_once).enumerate() {
            let targets: Vec<u32> = rows.iter().map(|(_, target, _)| *target).collect();
            let states = states.narrow(0, chunk * at_once, rows.len())?;
            let logits = self.detached_head(&states)?.to_dtype(DType::F32)?;
            let best: Vec<u32> = logits.argmax(D::Minus1)?.to_vec1()?;
            let losses: Vec<f32> = cross_entropy(&logits, &targets)?.to_vec1()?;
            for (((_, target, pair), best), loss) in rows.iter().zip(best).zip(losses) {
                let result = &mut results[*pair];
                result.sum -= f64::from(loss);
                result.greedy &= best == *target;
                result.tokens += 1;
            }
        }
        Ok(())
    }
}

/// What must be run for each text: all but its last token. Each is there once.
fn inputs<'a>(texts: &'a [(Vec<u32>, &'a [u32])]) -> Vec<Input<'a>> {
    let mut inputs: Vec<Input<'_>> = Vec::new();
    let mut known = HashMap::new();
    for (pair, (text, continuation)) in texts.iter().enumerate() {
        let tokens = &text[..text.len() - 1];
        let place = *known.entry(tokens).or_insert_with(|| {
            inputs.push(Input { tokens, pairs: Vec::new() });
            inputs.len() - 1
        });
        inputs[place].pairs.push((pair, continuation));
    }
    inputs
}
