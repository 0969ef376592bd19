//! Log-likelihoods of given text: how probable a model finds a continuation of a context.

use std::collections::{BTreeSet, HashMap};

use candle_core::{D, DType, Tensor};
use titer_ops::{Sequences, cross_entropy};

use crate::{Decoder, Error, Result, View};

/// Tokens that are run at once, so that memory stays bounded.
const TOKENS_AT_ONCE: usize = 1 << 12;
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

/// Tokens that are run once for all pairs that need them.
struct Input<'a> {
    tokens: &'a [u32],
    /// Which pairs, and how many tokens of each are scored: the last ones.
    pairs: Vec<(usize, &'a [u32])>,
}

impl Decoder {
    /// Log-likelihoods of the continuations in pairs of (context, continuation), in order. Nothing is
    /// padded and no gradient is tracked. What does not fit into the model's positions is cut from the left
    /// of the context, as in lm-evaluation-harness; the last token is predicted only and takes no position.
    /// Pairs that differ in their last token alone (answers A to D of one question) are run once.
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
        let inputs = inputs(&texts);
        let mut results = vec![LogLikelihood { sum: 0.0, greedy: true, tokens: 0 }; pairs.len()];
        let mut batch = &inputs[..];
        while !batch.is_empty() {
            let mut tokens = 0;
            let fitting = batch.iter().take_while(|input| {
                tokens += input.tokens.len();
                tokens <= TOKENS_AT_ONCE
            });
            let (now, later) = batch.split_at(fitting.count().max(1));
            self.score(now, &mut results)?;
            batch = later;
        }
        Ok(results)
    }

    /// Runs the inputs as one packed batch and adds what it says of each pair.
    fn score(&self, inputs: &[Input<'_>], results: &mut [LogLikelihood]) -> Result<()> {
        let mut offsets = vec![0];
        offsets.extend(inputs.iter().scan(0, |end, input| {
            *end += input.tokens.len();
            Some(*end)
        }));
        let sequences = Sequences::new(&offsets)?;
        let tokens: Vec<u32> = inputs.iter().flat_map(|input| input.tokens).copied().collect();
        // Row of hidden states, its target, and the pair that it is for.
        let rows: Vec<(u32, u32, usize)> = inputs
            .iter()
            .zip(&offsets[1..])
            .flat_map(|(input, end)| input.pairs.iter().map(move |(pair, targets)| (*pair, *targets, *end)))
            .flat_map(|(pair, targets, end)| {
                let first = end - targets.len();
                targets.iter().enumerate().map(move |(i, target)| ((first + i) as u32, *target, pair))
            })
            .collect();
        let scored: BTreeSet<u32> = rows.iter().map(|(place, _, _)| *place).collect();
        let scored: Vec<u32> = scored.into_iter().collect();
        let states = self.states(View::Detached, &tokens, &sequences, Some(&scored))?;
        for rows in rows.chunks((LOGITS_AT_ONCE / self.config().vocab_size).max(1)) {
            let places =
                rows.iter().map(|(place, _, _)| scored.partition_point(|scored| scored < place) as u32);
            let places = Tensor::from_iter(places, self.device())?;
            let targets: Vec<u32> = rows.iter().map(|(_, target, _)| *target).collect();
            let logits = self.detached_head(&states.index_select(&places, 0)?)?.to_dtype(DType::F32)?;
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

/// What must be run for each text and its scored end: the text without its last token. Each is there once.
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
