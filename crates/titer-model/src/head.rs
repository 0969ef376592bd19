//! Decoders whose head classifies a text by its last token, as Transformers' `…ForSequenceClassification`.

use std::path::Path;

use candle_core::{DType, Device, Tensor};
use serde_json::Value;
use titer_ops::linear;

use crate::checkpoint::Checkpoint;
use crate::files::usable;
use crate::{Config, Decoder, Error, Hidden, Result};

/// The names that such heads have: Transformers', and that of safe-rlhf's models.
const NAMES: [&str; 2] = ["score", "score_head"];

/// A linear head with a label for each row.
#[derive(Debug, Clone)]
pub struct Head {
    weight: Tensor,
    bias: Option<Tensor>,
    labels: Vec<String>,
}

impl Head {
    /// From its weight of shape `(labels, hidden_size)`, a bias where it has one, and the labels' names.
    ///
    /// # Errors
    /// When the shapes do not fit each other or the labels.
    pub fn new(weight: Tensor, bias: Option<Tensor>, labels: Vec<String>) -> Result<Self> {
        let (rows, _) = weight.dims2()?;
        let misfit = |name: &str, got: &Tensor| {
            let (name, expected) = (name.to_owned(), vec![labels.len()]);
            Err(Error::Shape { name, expected, got: got.dims().to_vec() })
        };
        if rows != labels.len() {
            return misfit("score.weight", &weight);
        }
        match &bias {
            Some(bias) if bias.dims() != [rows] => misfit("score.bias", bias),
            _ => Ok(Self { weight, bias, labels }),
        }
    }

    /// The names of the labels: `LABEL_<number>` for one that the configuration does not name.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }
}

impl Decoder {
    /// Loads a directory whose model has a head that classifies in place of one that writes, weights as `f32`.
    ///
    /// # Errors
    /// As [`Decoder::load`], and when there is no such head.
    pub fn load_with_head(folder: &Path, device: &Device) -> Result<(Self, Head)> {
        let mut config = Config::of_folder(folder)?;
        // There are no logits over the vocabulary, and so nothing that they would be made by.
        config.tie_word_embeddings = true;
        let mut checkpoint = Checkpoint::open(folder)?;
        let mut take = |name: String| -> Result<Option<Tensor>> {
            let Some((tensor, path)) = checkpoint.take(&name)? else { return Ok(None) };
            usable(&name, &tensor, device).map(Some).map_err(|error| error.of_file(&path))
        };
        let (mut weight, mut bias) = (None, None);
        for name in NAMES {
            weight = weight.or(take(format!("{name}.weight"))?);
            bias = bias.or(take(format!("{name}.bias"))?);
        }
        let Some(weight) = weight else {
            return Err(Error::Missing { name: format!("{}.weight", NAMES[0]), shape: Vec::new() });
        };
        let expected = config.hidden_size;
        let rows = match weight.dims() {
            [rows, columns] if *columns == expected => *rows,
            got => {
                let name = format!("{}.weight", NAMES[0]);
                return Err(Error::Shape { name, expected: vec![expected], got: got.to_vec() });
            }
        };
        let names = config.extra.get("id2label").and_then(Value::as_object).cloned().unwrap_or_default();
        let label = |number: usize| {
            let named = names.get(&number.to_string()).and_then(Value::as_str).map(str::to_owned);
            named.unwrap_or_else(|| format!("LABEL_{number}"))
        };
        let head = Head::new(weight, bias, (0..rows).map(label).collect())?;
        Ok((Self::from_checkpoint(config, checkpoint, folder, device)?, head))
    }

    /// Logits of each label for each row of hidden states: shape `(rows, labels)`, without gradient.
    ///
    /// # Errors
    /// When the head is not of the model's size.
    pub fn classify(&self, hidden: &Hidden, head: &Head) -> Result<Tensor> {
        let states = self.normed(hidden)?.states.detach();
        let logits = linear(&states, &head.weight)?;
        let logits = match &head.bias {
            Some(bias) => logits.broadcast_add(bias)?,
            None => logits,
        };
        Ok(logits.to_dtype(DType::F32)?)
    }
}
