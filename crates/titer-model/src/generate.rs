//! Batched generation with a key-value cache: prompts of any lengths advance together, finished rows are
//! dropped.

use candle_core::Tensor;
use rand::{Rng, RngExt};
use titer_ops::{Sequences, cache::LayerCache};

use crate::run::Run;
use crate::weights::Scored;
use crate::{Decoder, Error, Result};

/// Rows times cache capacity that are computed at once, so that memory stays bounded.
const TOKENS_AT_ONCE: usize = 1 << 16;

/// A source of draws of its own.
pub type Draws = Box<dyn Rng>;

/// How the next token is chosen.
pub enum Choice<'a> {
    /// The most likely one; the lowest id among equals.
    Greedy,
    /// At random by softmax(logits / temperature).
    Sample {
        /// Above 0.
        temperature: f64,
        /// Source of the draws.
        rng: &'a mut dyn Rng,
    },
    /// The same among the likeliest tokens alone, with a source of draws for each prompt: what one is answered does
    /// not depend on the others.
    Nucleus {
        /// Above 0.
        temperature: f64,
        /// The smallest set of tokens with at least this probability is drawn from, the likeliest first (arXiv
        /// 1904.09751); 1 for all.
        top_p: f64,
        /// Sources of the draws, one for each prompt.
        rngs: &'a mut [Draws],
    },
}

/// How far and how to generate.
pub struct Generate<'a> {
    /// New tokens at most.
    pub max_new_tokens: usize,
    /// The tokens that end an answer, each of which is then its last: chat models have more than one.
    pub ends: &'a [u32],
    /// How the next token is chosen.
    pub choice: Choice<'a>,
}

impl Decoder {
    /// Continues each prompt; the answers are in the order of the prompts, without them.
    ///
    /// # Errors
    /// When a prompt is empty, too long, or has a token outside the vocabulary.
    pub fn generate(&self, prompts: &[Vec<u32>], mut settings: Generate<'_>) -> Result<Vec<Vec<u32>>> {
        self.generate_with(prompts, &mut settings, &mut |_, _| ())
    }

    /// The same, calling `on_token(prompt, token)` for each new token as it comes.
    ///
    /// # Errors
    /// As [`Decoder::generate`].
    pub fn generate_with(
        &self,
        prompts: &[Vec<u32>],
        settings: &mut Generate<'_>,
        on_token: &mut dyn FnMut(usize, u32),
    ) -> Result<Vec<Vec<u32>>> {
        let mut answers = vec![Vec::new(); prompts.len()];
        if prompts.is_empty() || settings.max_new_tokens == 0 {
            return Ok(answers);
        }
        if let Some(index) = prompts.iter().position(Vec::is_empty) {
            return Err(Error::EmptyPrompt { index });
        }
        let longest = prompts.iter().map(Vec::len).max().unwrap_or(0);
        let capacity = longest + settings.max_new_tokens;
        if capacity > self.config().max_position_embeddings {
            return Err(Error::TooLong {
                tokens: longest,
                new: settings.max_new_tokens,
                positions: self.config().max_position_embeddings,
            });
        }
        let rows = (TOKENS_AT_ONCE / capacity).max(1);
        for (chunk, prompts) in prompts.chunks(rows).enumerate() {
            let first = chunk * rows;
            let answers = &mut answers[first..first + prompts.len()];
            self.generate_chunk(prompts, first, capacity, settings, answers, &mut |row, token| {
                on_token(first + row, token)
            })?;
        }
        Ok(answers)
    }

    fn generate_chunk(
        &self,
        prompts: &[Vec<u32>],
        first: usize,
        capacity: usize,
        settings: &mut Generate<'_>,
        answers: &mut [Vec<u32>],
        on_token: &mut dyn FnMut(usize, u32),
    ) -> Result<()> {
        let heads = self.config().heads();
        let mut caches = (0..self.config().num_hidden_layers)
            .map(|_| LayerCache::new(prompts.len(), capacity, heads, self.dtype(), self.device()))
            .collect::<candle_core::Result<Vec<_>>>()?;
        let mut logits = self.prefill(prompts, &caches)?;
        // Which prompt each live row answers, and how many tokens it has seen.
        let mut live: Vec<usize> = (0..prompts.len()).collect();
        let mut lengths: Vec<usize> = prompts.iter().map(Vec::len).collect();
        loop {
            let tokens = settings.choice.choose(&logits, &live, first)?;
            for (prompt, token) in live.iter().zip(&tokens) {
                answers[*prompt].push(*token);
                on_token(*prompt, *token);
            }
            let going: Vec<usize> = (0..live.len())
                .filter(|row| {
                    !settings.ends.contains(&tokens[*row])
                        && answers[live[*row]].len() < settings.max_new_tokens
                })
                .collect();
            if going.is_empty() {
                return Ok(());
            }
            if going.len() < live.len() {
                caches =
                    caches.iter().map(|cache| cache.select(&going)).collect::<candle_core::Result<_>>()?;
                live = going.iter().map(|row| live[*row]).collect();
                lengths = going.iter().map(|row| lengths[*row]).collect();
            }
            let next: Vec<u32> = going.iter().map(|row| tokens[*row]).collect();
            // Where a text becomes so long that all its angles are others, what was kept of it is of no use.
            logits = if lengths.iter().any(|length| self.rotary().turns_at(*length)) {
                let texts = live.iter().map(|prompt| [&*prompts[*prompt], &*answers[*prompt]].concat());
                self.prefill(&texts.collect::<Vec<_>>(), &caches)?
            } else {
                self.advance(&next, &lengths, &caches)?
            };
            lengths.iter_mut().for_each(|length| *length += 1);
        }
    }

    /// Runs the prompts, keeps their keys and values, returns the logits after each prompt.
    fn prefill(&self, prompts: &[Vec<u32>], caches: &[LayerCache]) -> Result<Tensor> {
        let mut offsets = vec![0];
        offsets.extend(prompts.iter().scan(0, |end, prompt| {
            *end += prompt.len();
            Some(*end)
        }));
        let sequences = Sequences::new(&offsets)?;
        let places: Vec<(usize, usize)> = prompts
            .iter()
            .enumerate()
            .flat_map(|(row, prompt)| (0..prompt.len()).map(move |position| (row, position)))
            .collect();
        let tokens = prompts.concat();
        let run = Run::shared(&tokens, self.rotary().rows(&sequences), &sequences);
        let last: Vec<u32> = offsets[1..].iter().map(|end| (end - 1) as u32).collect();
        let reading = run.reading(&last, self.device())?;
        let attending = run.attend(self, Some(&reading.rows))?;
        let attend = &mut |layer: usize, scored: Scored<'_>, q: &_, k: &_, v: &_| {
            let (k, v) = (attending.of_texts(k)?, attending.of_texts(v)?);
            caches[layer].keep(&k, &v, &places)?;
            attending.to_texts(layer, scored, q, &k, &v)
        };
        let states = self.run_detached(&run.tokens, run.angles.clone(), Some(&reading.rows), attend)?;
        self.detached_head(&reading.spread(states)?)
    }

    /// Runs one new token per row, at position `lengths[row]`, and returns its logits.
    fn advance(&self, tokens: &[u32], lengths: &[usize], caches: &[LayerCache]) -> Result<Tensor> {
        let places: Vec<(usize, usize)> = lengths.iter().copied().enumerate().collect();
        let seen: Vec<usize> = lengths.iter().map(|length| length + 1).collect();
        let angles = lengths.iter().map(|length| self.rotary().row_of(*length as u32, length + 1)).collect();
        let attend = &mut |layer: usize, (scoring, sinks): Scored<'_>, q: &_, k: &_, v: &_| {
            caches[layer].keep(k, v, &places)?;
            caches[layer].attend(q, scoring, sinks, &seen)
        };
        self.detached_head(&self.run_detached(tokens, angles, None, attend)?)
    }
}

impl Choice<'_> {
    /// A token for each row of logits; the rows are of these prompts, counted from `first`.
    fn choose(&mut self, logits: &Tensor, prompts: &[usize], first: usize) -> Result<Vec<u32>> {
        let rows = logits.to_dtype(candle_core::DType::F32)?.to_vec2::<f32>()?;
        let chosen = prompts.iter().zip(&rows).map(|(prompt, row)| match self {
            Self::Greedy => Ok(likeliest(row)),
            Self::Sample { temperature, rng } => Ok(draw(row, *temperature, 1.0, *rng)),
            Self::Nucleus { temperature, top_p, rngs } => {
                let (prompt, sources) = (first + prompt, rngs.len());
                let rng = rngs.get_mut(prompt).ok_or(Error::NoDraws { prompt, sources })?;
                Ok(draw(row, *temperature, *top_p, rng.as_mut()))
            }
        });
        chosen.collect()
    }
}

/// The likeliest token by its logit; the lowest id among equals.
pub fn likeliest(logits: &[f32]) -> u32 {
    let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    logits.iter().position(|logit| *logit == highest).unwrap_or(0) as u32
}

fn draw(logits: &[f32], temperature: f64, top_p: f64, rng: &mut dyn Rng) -> u32 {
    let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weight = |logit: &f32| (f64::from(logit - highest) / temperature).exp();
    let mut weights: Vec<f64> = logits.iter().map(weight).collect();
    if top_p < 1.0 {
        keep_likeliest(&mut weights, top_p);
    }
    let mut left = rng.random::<f64>() * weights.iter().sum::<f64>();
    let chosen = weights.iter().position(|weight| {
        left -= weight;
        left <= 0.0 && *weight > 0.0
    });
    let last = || weights.iter().rposition(|weight| *weight > 0.0);
    chosen.or_else(last).unwrap_or(0) as u32
}

/// Sets all but the smallest set of weights with that share of their sum to zero; of equals the first stay.
fn keep_likeliest(weights: &mut [f64], share: f64) {
    let enough = share * weights.iter().sum::<f64>();
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by(|a, b| weights[*b].total_cmp(&weights[*a]));
    let mut so_far = 0.0;
    for (rank, at) in order.into_iter().enumerate() {
        let kept = rank == 0 || so_far < enough;
        so_far += weights[at];
        if !kept {
            weights[at] = 0.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_likely_set_is_kept() {
        let kept = |share| {
            let mut weights = [1.0, 5.0, 0.0, 3.0, 1.0];
            keep_likeliest(&mut weights, share);
            weights
        };
        assert_eq!(kept(0.0), [0.0, 5.0, 0.0, 0.0, 0.0]);
        assert_eq!(kept(0.5), [0.0, 5.0, 0.0, 0.0, 0.0]);
        assert_eq!(kept(0.51), [0.0, 5.0, 0.0, 3.0, 0.0]);
        assert_eq!(kept(0.9), [1.0, 5.0, 0.0, 3.0, 0.0]);
        assert_eq!(kept(0.95), [1.0, 5.0, 0.0, 3.0, 1.0]);
    }
}
