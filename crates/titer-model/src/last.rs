//! What a decoder computes at the last token of each text, where many texts begin alike: the beginning is run once.

use std::sync::Arc;

use candle_core::{Result as CandleResult, Tensor};
use titer_ops::{Scaling, Sequences, attention};

use crate::weights::Scored;
use crate::{Decoder, Error, Hidden, Result};

/// Tokens that are run at once, so that memory stays bounded.
const TOKENS_AT_ONCE: usize = 1 << 12;
/// The same of tokens whose keys and values are looked at.
const WHOLE_AT_ONCE: usize = 1 << 14;

/// A beginning of texts: its tokens, and each layer's keys and values for them.
#[derive(Debug, Clone)]
pub struct Beginning {
    tokens: Vec<u32>,
    layers: Vec<(Tensor, Tensor)>,
}

impl Beginning {
    /// Its tokens.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }
}

impl Decoder {
    /// Runs the beginning of texts, so that [`last_states`](Self::last_states) runs only what follows it. Nothing is
    /// shared, and none is given, where there is no token, or where angles depend on how long the whole text is.
    ///
    /// # Errors
    /// When a token is outside the vocabulary or there are more than the model's positions.
    pub fn begin(&self, tokens: &[u32]) -> Result<Option<Beginning>> {
        let by_position = matches!(
            self.config().rope_scaling,
            Scaling::None | Scaling::Linear { .. } | Scaling::Llama3 { .. } | Scaling::Yarn { .. }
        );
        if tokens.is_empty() || !by_position {
            return Ok(None);
        }
        self.room(tokens.len())?;
        let heads = self.config().heads();
        let sequences = Sequences::new(&[0, tokens.len()])?;
        let mut layers = Vec::with_capacity(self.config().num_hidden_layers);
        self.run_detached(
            tokens,
            self.rotary().rows(&sequences),
            None,
            &mut |_, (scoring, sinks), q, k, v| {
                layers.push((k.detach(), v.detach()));
                attention(q, k, v, heads, scoring, sinks, &sequences)
            },
        )?;
        Ok(Some(Beginning { tokens: tokens.to_vec(), layers }))
    }

    /// The hidden states at the last token of each text, one row for each, in order: what [`Decoder::logits`] makes
    /// logits of. Texts are packed without padding, as many as memory holds; those that begin with `beginning` are run
    /// from its end on. No gradient is tracked. What one text gets does not depend on the others but by rounding.
    ///
    /// # Errors
    /// When a text is empty or longer than the model's positions, or a token is outside the vocabulary.
    pub fn last_states(&self, beginning: Option<&Beginning>, texts: &[Vec<u32>]) -> Result<Hidden> {
        for (index, text) in texts.iter().enumerate() {
            if text.is_empty() {
                return Err(Error::EmptyPrompt { index });
            }
            self.room(text.len())?;
        }
        let shared = |text: &[u32]| {
            // At least one token must be run, so that there is a state.
            beginning.filter(|beginning| {
                text.len() > beginning.tokens.len() && text.starts_with(&beginning.tokens)
            })
        };
        let (mut rows, mut states, mut next) = (vec![0u32; texts.len()], Vec::new(), 0);
        for begun in [true, false] {
            let places: Vec<usize> =
                (0..texts.len()).filter(|place| shared(&texts[*place]).is_some() == begun).collect();
            let beginning = beginning.filter(|_| begun);
            let skipped = beginning.map_or(0, |beginning| beginning.tokens.len());
            let mut left = &places[..];
            while !left.is_empty() {
                let (mut own, mut whole) = (0, 0);
                let fitting = left.iter().take_while(|place| {
                    own += texts[**place].len() - skipped;
                    whole += texts[**place].len();
                    own <= TOKENS_AT_ONCE && whole <= WHOLE_AT_ONCE
                });
                let (now, later) = left.split_at(fitting.count().max(1));
                let rests: Vec<&[u32]> = now.iter().map(|place| &texts[*place][skipped..]).collect();
                states.push(self.ends_of(beginning, &rests)?);
                for place in now {
                    rows[*place] = next;
                    next += 1;
                }
                left = later;
            }
        }
        if states.is_empty() {
            let shape = (0, self.config().hidden_size);
            return Ok(Hidden { states: Tensor::zeros(shape, self.dtype(), self.device())? });
        }
        let rows = Tensor::new(rows, self.device())?;
        Ok(Hidden { states: Tensor::cat(&states, 0)?.index_select(&rows, 0)? })
    }

    /// One packed pass: the states at the end of each rest.
    fn ends_of(&self, beginning: Option<&Beginning>, rests: &[&[u32]]) -> Result<Tensor> {
        let skipped = beginning.map_or(0, |beginning| beginning.tokens.len());
        let offsets = |before: usize| {
            let mut offsets = vec![0];
            offsets.extend(rests.iter().scan(0, |end, rest| {
                *end += before + rest.len();
                Some(*end)
            }));
            offsets
        };
        let own = offsets(0);
        let whole = Sequences::new(&offsets(skipped))?;
        let rows: Arc<[u32]> = match beginning {
            None => self.rotary().rows(&whole),
            // Angles by position alone, as a beginning asks for.
            Some(_) => {
                rests.iter().flat_map(|rest| (skipped..skipped + rest.len()).map(|at| at as u32)).collect()
            }
        };
        let last: Vec<u32> = own[1..].iter().map(|end| (end - 1) as u32).collect();
        // The beginning asks nothing again, and in the last layer only the ends are read.
        let places: Vec<u32> =
            whole.ranges().flat_map(|range| (range.start + skipped..range.end).map(|at| at as u32)).collect();
        let ends: Vec<u32> = last.iter().map(|row| places[*row as usize]).collect();
        let (all, of_last) = (whole.asking(&places)?, whole.asking(&ends)?);
        let last_layer = self.config().num_hidden_layers - 1;
        let heads = self.config().heads();
        let attend = &mut |layer: usize, (scoring, sinks): Scored<'_>, q: &_, k: &_, v: &_| {
            let asking = if layer == last_layer { &of_last } else { &all };
            let Some(beginning) = beginning else { return attention(q, k, v, heads, scoring, sinks, asking) };
            let (keys, values) = &beginning.layers[layer];
            let (k, v) = (behind(keys, k, &own)?, behind(values, v, &own)?);
            attention(q, &k, &v, heads, scoring, sinks, asking)
        };
        self.run_detached(&rests.concat(), rows, Some(&last), attend)
    }

    /// Refuses a text of so many tokens where the model has fewer positions.
    fn room(&self, tokens: usize) -> Result<()> {
        let positions = self.config().max_position_embeddings;
        if tokens > positions { Err(Error::TooLong { tokens, new: 0, positions }) } else { Ok(()) }
    }
}

/// Each sequence of `rows`, which `offsets` bound, behind the rows of a beginning.
fn behind(beginning: &Tensor, rows: &Tensor, offsets: &[usize]) -> CandleResult<Tensor> {
    let mut parts = Vec::with_capacity(2 * offsets.len());
    for bounds in offsets.windows(2) {
        parts.push(beginning.clone());
        parts.push(rows.narrow(0, bounds[0], bounds[1] - bounds[0])?);
    }
    Tensor::cat(&parts, 0)
}
