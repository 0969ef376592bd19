//! What a pass runs of packed texts: what several begin with is run once, since no token sees what comes after it.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use candle_core::{Device, Result, Tensor};
use titer_ops::{Heads, Sequences, attention};

use crate::Decoder;
use crate::weights::Scored;

/// Of how many tokens one must be spared, from where on beginnings are run once: each key and value is copied for it.
const SPARED_OF: usize = 16;

/// Tokens that are run, and the texts whose keys they see.
pub(crate) struct Run<'a> {
    pub(crate) tokens: Cow<'a, [u32]>,
    /// Of each, the row of its angles.
    pub(crate) angles: Arc<[u32]>,
    /// The texts, with all their tokens.
    sequences: &'a Sequences,
    shared: Option<Shared>,
}

/// Texts that have tokens in common.
struct Shared {
    /// Of each token of the texts, the one that is run for it.
    run: Vec<u32>,
    /// Of each that is run, its first place in the texts; they ascend.
    first: Vec<u32>,
}

impl<'a> Run<'a> {
    /// All tokens, each for itself.
    pub(crate) fn whole(tokens: &'a [u32], angles: Arc<[u32]>, sequences: &'a Sequences) -> Self {
        Self { tokens: tokens.into(), angles, sequences, shared: None }
    }

    /// Tokens that follow the same ones at the same angles once, where that spares enough.
    pub(crate) fn shared(tokens: &'a [u32], angles: Arc<[u32]>, sequences: &'a Sequences) -> Self {
        if sequences.tokens() != tokens.len() {
            // Attention says what does not fit.
            return Self::whole(tokens, angles, sequences);
        }
        let (mut known, mut first) = (HashMap::with_capacity(tokens.len()), Vec::with_capacity(tokens.len()));
        let mut run = Vec::with_capacity(tokens.len());
        for text in sequences.ranges() {
            let mut before = None;
            for place in text {
                let row = *known.entry((before, tokens[place], angles[place])).or_insert_with(|| {
                    first.push(place as u32);
                    first.len() as u32 - 1
                });
                run.push(row);
                before = Some(row);
            }
        }
        if (tokens.len() - first.len()) * SPARED_OF < tokens.len() {
            return Self::whole(tokens, angles, sequences);
        }
        let of = |all: &[u32]| -> Vec<u32> { first.iter().map(|place| all[*place as usize]).collect() };
        let (tokens, angles) = (of(tokens), of(&angles));
        Self { tokens: tokens.into(), angles: angles.into(), sequences, shared: Some(Shared { run, first }) }
    }

    /// The rows of what is run for tokens of the texts.
    pub(crate) fn reading(&self, places: &[u32], device: &Device) -> Result<Reading> {
        let run = self.shared.as_ref().map(|shared| &shared.run);
        let of: Vec<u32> =
            places.iter().map(|place| run.map_or(*place, |run| run[*place as usize])).collect();
        if of.windows(2).all(|pair| pair[0] < pair[1]) {
            return Ok(Reading { rows: of, spread: None });
        }
        let rows: Vec<u32> = of.iter().copied().collect::<BTreeSet<_>>().into_iter().collect();
        let at = of.iter().map(|row| rows.partition_point(|read| read < row) as u32);
        Ok(Reading { spread: Some(Tensor::from_iter(at, device)?), rows })
    }

    /// Attention of what is run over the texts; of the last layer only `read` asks.
    pub(crate) fn attend(&self, model: &Decoder, read: Option<&[u32]>) -> Result<Attending> {
        let last = model.config().num_hidden_layers - 1;
        let (all, of_last, keys) = match &self.shared {
            None => (self.sequences.clone(), read.map(|read| self.sequences.asking(read)), None),
            Some(Shared { run, first }) => {
                let places = |read: &[u32]| read.iter().map(|row| first[*row as usize]).collect::<Vec<u32>>();
                let of_last = read.map(|read| self.sequences.asking(&places(read)));
                (self.sequences.asking(first)?, of_last, Some(Tensor::new(&**run, model.device())?))
            }
        };
        let last = of_last.transpose()?.map(|of_last| (last, of_last));
        Ok(Attending { heads: model.config().heads(), all, last, keys })
    }
}

/// Rows of what is run, each once and ascending.
pub(crate) struct Reading {
    pub(crate) rows: Vec<u32>,
    /// Which of them each place has, where that is not one after the other.
    spread: Option<Tensor>,
}

impl Reading {
    /// A row for each place, of rows that were read.
    pub(crate) fn spread(&self, read: Tensor) -> Result<Tensor> {
        self.spread.as_ref().map_or(Ok(read.clone()), |at| read.index_select(at, 0))
    }
}

/// See [`Run::attend`].
#[derive(Clone)]
pub(crate) struct Attending {
    heads: Heads,
    all: Sequences,
    /// The last layer's number, and who asks there.
    last: Option<(usize, Sequences)>,
    /// Of each token of the texts, the row of its key and value.
    keys: Option<Tensor>,
}

impl Attending {
    /// A row for each token of the texts, of keys or values of what is run.
    pub(crate) fn of_texts(&self, x: &Tensor) -> Result<Tensor> {
        self.keys.as_ref().map_or(Ok(x.clone()), |keys| x.index_select(keys, 0))
    }

    /// Attention of queries of what is run to keys and values of the texts.
    pub(crate) fn to_texts(
        &self,
        layer: usize,
        (scoring, sinks): Scored<'_>,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
    ) -> Result<Tensor> {
        let of_last = self.last.as_ref().filter(|(last, _)| *last == layer);
        let asking = of_last.map_or(&self.all, |(_, asking)| asking);
        attention(q, k, v, self.heads, scoring, sinks, asking)
    }

    /// The same to keys and values of what is run.
    pub(crate) fn attend(
        &self,
        layer: usize,
        scored: Scored<'_>,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
    ) -> Result<Tensor> {
        self.to_texts(layer, scored, q, &self.of_texts(k)?, &self.of_texts(v)?)
    }
}
