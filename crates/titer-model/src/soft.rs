//! What is trained beside a model whose every weight is held fixed, other than adapters: a soft prompt (arXiv
//! 2402.09063), or a vector for each layer that is added to the residual stream (arXiv 2502.05209).

use std::collections::BTreeMap;

use candle_core::Tensor;

use crate::config::EMBEDDING;
use crate::{Base, Config, Decoder, Error, Parameters, Result};

/// The name of a soft prompt's embeddings.
pub(crate) const PROMPT: &str = "soft_prompt.weight";
/// The first token that stands for a row of a soft prompt: beyond every vocabulary.
const FIRST: u32 = 1 << 31;

/// What is trained beside weights that are held fixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Soft {
    /// So many embeddings. The tokens of [`soft_token`] are read as these.
    Prompt {
        /// Number of embeddings.
        rows: usize,
    },
    /// A vector for each layer, added to its output at every token.
    Shift,
}

/// The token that is read as this row of the model's soft prompt.
pub fn soft_token(row: u32) -> u32 {
    FIRST.saturating_add(row)
}

/// Which row of a soft prompt a token stands for, if it does.
pub(crate) fn soft_row(token: u32) -> Option<usize> {
    token.checked_sub(FIRST).map(|row| row as usize)
}

/// The name of the vector that is added to a layer's output.
pub(crate) fn shift(layer: usize) -> String {
    format!("shift.layers.{layer}.weight")
}

impl Soft {
    /// Tokens that it adds to each example.
    pub fn tokens(self) -> usize {
        match self {
            Self::Prompt { rows } => rows,
            Self::Shift => 0,
        }
    }

    /// Numbers that are trained.
    pub fn parameter_count(self, config: &Config) -> usize {
        let vectors = match self {
            Self::Prompt { rows } => rows,
            Self::Shift => config.num_hidden_layers,
        };
        vectors * config.hidden_size
    }
}

impl Decoder {
    /// Holds the weights fixed and gives the model a soft prompt of as many rows as `tokens`, each of which begins as
    /// the embedding of its token; [`Decoder::parameters`] are then these rows.
    ///
    /// # Errors
    /// When there are no tokens, one is outside the vocabulary, or something else is trained beside the model already.
    pub fn attach_prompt(&mut self, tokens: &[u32]) -> Result<()> {
        let vocabulary = self.config().vocab_size;
        if let Some(token) = tokens.iter().find(|token| **token as usize >= vocabulary) {
            return Err(Error::Token { token: *token, vocabulary });
        }
        let embedding = self.weight(EMBEDDING).filter(|_| !tokens.is_empty());
        let Some(embedding) = embedding else {
            return Err(Error::Adapter { problem: "a soft prompt needs at least one row".to_owned() });
        };
        let rows = embedding.index_select(&Tensor::new(tokens, self.device())?, 0)?;
        self.train_beside(BTreeMap::from([(PROMPT.to_owned(), rows)]))
    }

    /// Holds the weights fixed and adds a vector to the output of each layer, zero at first;
    /// [`Decoder::parameters`] are then these vectors, in the order of their layers as [`Decoder::shift`] names them.
    ///
    /// # Errors
    /// When something else is trained beside the model already.
    pub fn attach_shifts(&mut self) -> Result<()> {
        let (layers, hidden) = (self.config().num_hidden_layers, self.config().hidden_size);
        let zeros =
            (0..layers).map(|layer| Ok((shift(layer), Tensor::zeros(hidden, self.dtype(), self.device())?)));
        let zeros = zeros.collect::<Result<_>>()?;
        self.train_beside(zeros)
    }

    /// The vector that is added to the output of this layer, if there is one.
    pub fn shift(&self, layer: usize) -> Option<&candle_core::Var> {
        self.parameters().get(&shift(layer))
    }

    /// What is trained beside the weights, other than adapters, if something is.
    pub fn soft(&self) -> Option<Soft> {
        match self.parameters().get(PROMPT) {
            Some(prompt) => prompt.dims().first().map(|rows| Soft::Prompt { rows: *rows }),
            None => self.shift(0).map(|_| Soft::Shift),
        }
    }

    fn train_beside(&mut self, tensors: BTreeMap<String, Tensor>) -> Result<()> {
        self.hold(Base::F32, None, Parameters::new(&tensors)?)
    }
}
