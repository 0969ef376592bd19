//! The forward pass over packed sequences.

use std::collections::BTreeSet;
use std::sync::Arc;

use candle_core::Tensor;
use titer_ops::{Rotary, Sequences, attention, composed, cross_entropy, linear, linear_cross_entropy};

use crate::norm::RowNorm;
use crate::recompute::recomputed;
use crate::run::Run;
use crate::soft::soft_row;
use crate::weights::{Attend, Pass, Read, Rows, Scored, Weights};
use crate::{Decoder, Error, Result, Trace, View};

/// How often tokens come in a batch on average, from where on what depends on the token alone is computed once for each.
const LEAST_REPEATED: usize = 2;

/// What a pass over a packed batch leaves: final hidden states before the last norm.
#[derive(Debug, Clone)]
pub struct Hidden {
    /// Shape `(tokens, hidden_size)`.
    pub states: Tensor,
}

impl Decoder {
    /// Runs the decoder over a packed batch, tracking gradients.
    ///
    /// # Errors
    /// When a token is outside the vocabulary or a sequence is longer than the model's positions.
    pub fn forward(&self, tokens: &[u32], sequences: &Sequences) -> Result<Hidden> {
        let run = Run::whole(tokens, self.rotary.rows(sequences), sequences);
        Ok(Hidden { states: self.states(View::Tracked, &run, None)? })
    }

    /// Logits at the tokens `rows` of a packed batch, shape `(rows, vocab_size)`: those that [`forward`](Self::forward) and
    /// then [`logits`](Self::logits) give, but of the last layer no more is computed than they need. Gradients are tracked
    /// in that view alone.
    ///
    /// # Errors
    /// When a token is outside the vocabulary, a sequence is longer than the model's positions, or a row does not exist.
    pub fn logits_at(
        &self,
        view: View,
        tokens: &[u32],
        sequences: &Sequences,
        rows: &[u32],
    ) -> Result<Tensor> {
        self.head(self.weights(view), &self.states_at(view, tokens, sequences, rows)?)
    }

    /// The cross-entropy in nats of those logits against a target for each row, shape `(rows)`: what
    /// [`titer_ops::cross_entropy`] says of them, with less in memory.
    ///
    /// # Errors
    /// As [`Decoder::logits_at`], and when there is not one target in the vocabulary for each row.
    pub fn losses_at(
        &self,
        view: View,
        tokens: &[u32],
        sequences: &Sequences,
        rows: &[u32],
        targets: &[u32],
    ) -> Result<Tensor> {
        let states = self.states_at(view, tokens, sequences, rows)?;
        let weights = self.weights(view);
        if self.config.scales.is_some() || self.config.final_logit_softcapping.is_some() {
            return Ok(cross_entropy(&self.head(weights, &states)?, targets)?);
        }
        let normed = weights.norm.apply(&states, RowNorm::new(&self.config))?;
        Ok(linear_cross_entropy(&normed, &weights.head, targets)?)
    }

    /// Hidden states of the tokens `rows`, in whatever order, before the last norm.
    fn states_at(&self, view: View, tokens: &[u32], sequences: &Sequences, rows: &[u32]) -> Result<Tensor> {
        let highest: Vec<u32> = rows.iter().copied().max().into_iter().collect();
        sequences.asking(&highest)?;
        let run = Run::shared(tokens, self.rotary.rows(sequences), sequences);
        let reading = run.reading(rows, &self.device)?;
        Ok(reading.spread(self.states(view, &run, Some(&reading.rows))?)?)
    }

    /// Hidden states of all that is run before the last norm, or of the rows `read` of it, which ascend.
    fn states(&self, view: View, run: &Run<'_>, read: Option<&[u32]>) -> Result<Tensor> {
        let (tokens, angles) = (&*run.tokens, run.angles.clone());
        let attending = run.attend(self, read)?;
        let attend =
            move |layer, scored: Scored<'_>, q: &_, k: &_, v: &_| attending.attend(layer, scored, q, k, v);
        if !self.recompute || view == View::Detached {
            return self.run(self.weights(view), tokens, angles, read, &mut { attend });
        }
        let pass = self.pass(tokens, angles)?;
        let (mut x, mut rows) = self.rows(&self.tracked, tokens, &pass, read)?;
        for (index, (tracked, detached)) in self.tracked.layers.iter().zip(&self.detached.layers).enumerate()
        {
            let (layers, pass, attend) = ([detached.clone(), tracked.clone()], pass.clone(), attend.clone());
            let rows = std::mem::take(&mut rows[index]);
            let rerun = move |x: &Tensor, track: bool| {
                layers[usize::from(track)].forward(index, x, &pass, &rows, &mut attend.clone())
            };
            x = recomputed(&x, Box::new(rerun), tracked.variables(), &self.aside)?;
        }
        Ok(x)
    }

    /// Runs the decoder over a packed batch and keeps what its layers computed. `added`, one tensor of shape
    /// `(tokens, hidden_size)` per layer or none at all, is added to the outputs of the attention blocks;
    /// variables among them receive gradients in either view.
    ///
    /// # Errors
    /// When a token is outside the vocabulary, a sequence is longer than the model's positions, or `added`
    /// does not fit.
    pub fn trace(
        &self,
        tokens: &[u32],
        sequences: &Sequences,
        view: View,
        added: &[Tensor],
    ) -> Result<Trace> {
        let weights = self.weights(view);
        if !added.is_empty() && added.len() != weights.layers.len() {
            let (got, expected) = (vec![added.len()], vec![weights.layers.len()]);
            return Err(Error::Shape { name: "added to attention, per layer".to_owned(), expected, got });
        }
        let heads = self.config.heads();
        let pass = self.pass(tokens, self.rotary.rows(sequences))?;
        let mut x = weights.embed(tokens)?;
        let mut layers = Vec::with_capacity(weights.layers.len());
        for (index, layer) in weights.layers.iter().enumerate() {
            let attend = &mut |_, (scoring, sinks): Scored<'_>, q: &_, k: &_, v: &_| {
                attention(q, k, v, heads, scoring, sinks, sequences)
            };
            let trace = layer.trace(index, &x, &pass, &Rows::default(), attend, added.get(index))?;
            x = trace.output.clone();
            layers.push(trace);
        }
        Ok(Trace { layers, hidden: Hidden { states: x } })
    }

    fn weights(&self, view: View) -> &Weights {
        match view {
            View::Tracked => &self.tracked,
            View::Detached => &self.detached,
        }
    }

    /// Logits of the chosen rows of hidden states: shape `(rows, vocab_size)`. Tracks gradients.
    ///
    /// # Errors
    /// When a row does not exist.
    pub fn logits(&self, hidden: &Hidden, rows: &[u32]) -> Result<Tensor> {
        self.head(&self.tracked, &self.picked(hidden, rows)?)
    }

    /// The same through weights that track no gradients.
    ///
    /// # Errors
    /// When a row does not exist.
    pub fn detached_logits(&self, hidden: &Hidden, rows: &[u32]) -> Result<Tensor> {
        self.head(&self.detached, &self.picked(hidden, rows)?)
    }

    /// The hidden states after the last norm, which [`Decoder::logits`] would apply once more. Tracks
    /// gradients.
    ///
    /// # Errors
    /// When the states are not of the model's size.
    pub fn normed(&self, hidden: &Hidden) -> Result<Hidden> {
        let states = self.tracked.norm.apply(&hidden.states, RowNorm::new(&self.config))?;
        Ok(Hidden { states })
    }

    /// The angles by position.
    pub(crate) fn rotary(&self) -> &Rotary {
        &self.rotary
    }

    /// Runs without gradients, with the caller's attention and the rows of the tokens' angles: hidden states of all tokens,
    /// or of the tokens `read`, which ascend and alone have queries in the last layer.
    pub(crate) fn run_detached(
        &self,
        tokens: &[u32],
        angles: Arc<[u32]>,
        read: Option<&[u32]>,
        attend: &mut Attend<'_>,
    ) -> Result<Tensor> {
        self.run(&self.detached, tokens, angles, read, attend)
    }

    fn picked(&self, hidden: &Hidden, rows: &[u32]) -> Result<Tensor> {
        Ok(hidden.states.index_select(&Tensor::new(rows, &self.device)?, 0)?)
    }

    /// Logits of hidden states, without gradients.
    pub(crate) fn detached_head(&self, states: &Tensor) -> Result<Tensor> {
        self.head(&self.detached, states)
    }

    fn head(&self, weights: &Weights, states: &Tensor) -> Result<Tensor> {
        let logits = linear(&weights.norm.apply(states, RowNorm::new(&self.config))?, &weights.head)?;
        let logits = match self.config.scales {
            Some(scales) => (logits / scales.logits)?,
            None => logits,
        };
        Ok(composed::capped(&logits, self.config.final_logit_softcapping)?)
    }

    fn run(
        &self,
        weights: &Weights,
        tokens: &[u32],
        angles: Arc<[u32]>,
        read: Option<&[u32]>,
        attend: &mut Attend<'_>,
    ) -> Result<Tensor> {
        let pass = self.pass(tokens, angles)?;
        let (mut x, rows) = self.rows(weights, tokens, &pass, read)?;
        for (index, (layer, rows)) in weights.layers.iter().zip(&rows).enumerate() {
            x = layer.forward(index, &x, &pass, rows, attend)?;
        }
        Ok(x)
    }

    /// What the first layer reads, and which rows each layer has. The first one's norm and projections depend on the token
    /// alone: where tokens come again and again, they are computed once for each. The last one's queries and MLP are
    /// computed for what is read.
    fn rows(
        &self,
        weights: &Weights,
        tokens: &[u32],
        pass: &Pass,
        read: Option<&[u32]>,
    ) -> Result<(Tensor, Vec<Rows>)> {
        let mut rows = vec![Rows::default(); weights.layers.len()];
        let last = rows.len() - 1;
        if let Some(read) = read {
            let angles = read.iter().map(|row| pass.rows[*row as usize]).collect();
            rows[last].read = Some(Read { rows: Tensor::new(read, &self.device)?, angles });
        }
        let distinct: BTreeSet<u32> = tokens.iter().copied().collect();
        if last == 0 || distinct.len() * LEAST_REPEATED > tokens.len() {
            return Ok((weights.embed(tokens)?, rows));
        }
        let distinct: Vec<u32> = distinct.into_iter().collect();
        let of = tokens.iter().map(|token| distinct.partition_point(|other| other < token) as u32);
        rows[0].spread = Some(Tensor::from_iter(of, &self.device)?);
        Ok((weights.embed(&distinct)?, rows))
    }

    /// What all layers of one pass share, if tokens and the rows of their angles are the model's.
    pub(crate) fn pass(&self, tokens: &[u32], angles: Arc<[u32]>) -> Result<Pass> {
        let vocabulary = self.config.vocab_size;
        let rows = self.tracked.prompt_rows();
        let known =
            |token: u32| (token as usize) < vocabulary || soft_row(token).is_some_and(|row| row < rows);
        if let Some(token) = tokens.iter().find(|token| !known(**token)) {
            return Err(Error::Token { token: *token, vocabulary });
        }
        let config = &self.config;
        let positions = config.max_position_embeddings;
        let longest = angles.iter().map(|row| self.rotary.position_of(*row) as usize + 1).max();
        if let Some(tokens) = longest.filter(|tokens| *tokens > positions) {
            return Err(Error::TooLong { tokens, new: 0, positions });
        }
        Ok(Pass {
            rotary: self.rotary.clone(),
            local: self.local.clone(),
            rows: angles,
            norm: RowNorm::new(config),
            clip: config.clip_qkv,
            queries: config.query_scale(),
            residual: config.scales.map(|scales| scales.residual),
            parallel: config.parallel_residual,
        })
    }
}
