//! Log-likelihoods of given text: how probable a model finds a continuation of a context.

use std::collections::{BTreeSet, HashMap};

use candle_core::{D, DType, Tensor};
use titer_ops::{Sequences, attention, cross_entropy};

use crate::weights::Scored;
use crate::{Decoder, Error, Result};

/// Tokens that are run at once, so that memory stays bounded.
const TOKENS_AT_ONCE: usize = 1 << 12;
/// Keys that their queries see, those of a context once for each of its branches.
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

/// A context that is run once, and what follows it.
struct Tree<'a> {
    context: &'a [u32],
    branches: Vec<Branch<'a>>,
}

/// What follows a context, perhaps nothing, and the pairs whose texts end there.
struct Branch<'a> {
    tokens: &'a [u32],
    pairs: Vec<(usize, &'a [u32])>,
}

impl Tree<'_> {
    /// Tokens that are run, and keys that are seen.
    fn size(&self) -> (usize, usize) {
        let branches = self.branches.iter().map(|branch| branch.tokens.len()).filter(|tokens| *tokens > 0);
        branches.fold((self.context.len(), self.context.len()), |(run, seen), tokens| {
            (run + tokens, seen + self.context.len() + tokens)
        })
    }
}

/// Trees as one packed batch.
#[derive(Default)]
struct Batch {
    tokens: Vec<u32>,
    /// Of each token that is a key, its row: those of a context for itself and once more before each branch.
    keys: Vec<u32>,
    /// Where the sequences of keys begin.
    offsets: Vec<usize>,
    /// Of each token the place of its own key.
    own: Vec<u32>,
    /// Row of hidden states, its target, and the pair that it is for.
    scored: Vec<(u32, u32, usize)>,
}

impl Batch {
    fn new(trees: &[Tree<'_>]) -> Self {
        let mut batch = Self { offsets: vec![0], ..Self::default() };
        for Tree { context, branches } in trees {
            let context_rows = batch.run(context);
            for Branch { tokens, pairs } in branches {
                let branch_rows = match tokens.is_empty() {
                    true => 0..0,
                    false => {
                        batch.keys.extend(context_rows.clone());
                        batch.run(tokens)
                    }
                };
                let rows: Vec<u32> = context_rows.clone().chain(branch_rows).collect();
                for (pair, targets) in pairs {
                    let last = &rows[rows.len() - targets.len()..];
                    batch
                        .scored
                        .extend(last.iter().zip(*targets).map(|(row, target)| (*row, *target, *pair)));
                }
            }
        }
        batch
    }

    /// Adds tokens that see the keys since the last sequence's end, and ends a sequence.
    fn run(&mut self, tokens: &[u32]) -> std::ops::Range<u32> {
        let rows = self.tokens.len() as u32..(self.tokens.len() + tokens.len()) as u32;
        self.tokens.extend(tokens);
        let first = self.keys.len() as u32;
        self.own.extend(first..first + tokens.len() as u32);
        self.keys.extend(rows.clone());
        self.offsets.push(self.keys.len());
        rows
    }
}

impl Decoder {
    /// Log-likelihoods of the continuations in pairs of (context, continuation), in order. Nothing is
    /// padded and no gradient is tracked. What does not fit into the model's positions is cut from the left
    /// of the context, as in lm-evaluation-harness; the last token is predicted only and takes no position.
    /// A context that several pairs begin with is run once for all of them, as are pairs that differ in their last token
    /// alone (answers A to D of one question).
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
        let trees = self.trees(inputs(&texts));
        let mut results = vec![LogLikelihood { sum: 0.0, greedy: true, tokens: 0 }; pairs.len()];
        let mut left = &trees[..];
        while !left.is_empty() {
            let (mut tokens, mut keys) = (0, 0);
            let fitting = left.iter().map(Tree::size).take_while(|(run, seen)| {
                (tokens, keys) = (tokens + run, keys + seen);
                tokens <= TOKENS_AT_ONCE && keys <= KEYS_AT_ONCE
            });
            let (now, later) = left.split_at(fitting.count().max(1));
            self.score(&Batch::new(now), &mut results)?;
            left = later;
        }
        Ok(results)
    }

    /// The inputs by their contexts. Where a text becomes so long that all its angles are others, it shares nothing.
    fn trees<'a>(&self, inputs: Vec<Input<'a>>) -> Vec<Tree<'a>> {
        let mut groups: Vec<(&[u32], Vec<Input<'_>>)> = Vec::new();
        let mut known = HashMap::new();
        for input in inputs {
            let scored = input.pairs.iter().map(|(_, continuation)| continuation.len()).max().unwrap_or(1);
            let context = &input.tokens[..(input.tokens.len() + 1).saturating_sub(scored).max(1)];
            let turns = (context.len()..input.tokens.len()).any(|length| self.rotary().turns_at(length));
            let context = if turns { input.tokens } else { context };
            let place = *known.entry(context).or_insert_with(|| {
                groups.push((context, Vec::new()));
                groups.len() - 1
            });
            groups[place].1.push(input);
        }
        let mut trees = Vec::new();
        for (context, inputs) in groups {
            let context = if let [only] = &inputs[..] { only.tokens } else { context };
            let mut tree = Tree { context, branches: Vec::new() };
            for Input { tokens, pairs } in inputs {
                let (run, seen) = tree.size();
                let more = tokens.len() - context.len();
                let full = run + more > TOKENS_AT_ONCE || seen + tokens.len() > KEYS_AT_ONCE;
                if full && !tree.branches.is_empty() {
                    trees.push(std::mem::replace(&mut tree, Tree { context, branches: Vec::new() }));
                }
                tree.branches.push(Branch { tokens: &tokens[context.len()..], pairs });
            }
            trees.push(tree);
        }
        trees
    }

    /// Runs a batch and adds what it says of each pair.
    fn score(&self, batch: &Batch, results: &mut [LogLikelihood]) -> Result<()> {
        let rows = &batch.scored;
        let scored: BTreeSet<u32> = rows.iter().map(|(place, _, _)| *place).collect();
        let scored: Vec<u32> = scored.into_iter().collect();
        let sequences = Sequences::new(&batch.offsets)?;
        let angles = self.rotary().rows(&sequences);
        let angles = batch.own.iter().map(|key| angles[*key as usize]).collect();
        let last: Vec<u32> = scored.iter().map(|row| batch.own[*row as usize]).collect();
        let asking = self.asking(sequences.asking(&batch.own)?, Some(sequences.asking(&last)?));
        let shared = batch.keys.len() > batch.tokens.len();
        let keys = shared.then(|| Tensor::new(batch.keys.as_slice(), self.device())).transpose()?;
        let heads = self.config().heads();
        let attend = &mut |layer: usize, (scoring, sinks): Scored<'_>, q: &Tensor, k: &Tensor, v: &Tensor| {
            let seen = |x: &Tensor| keys.as_ref().map_or(Ok(x.clone()), |keys| x.index_select(keys, 0));
            attention(q, &seen(k)?, &seen(v)?, heads, scoring, sinks, asking.of(layer))
        };
        let states = self.run_detached(&batch.tokens, angles, Some(&scored), attend)?;
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
