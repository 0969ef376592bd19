//! The shape of a DeBERTa classifier, as `config.json` of a Hugging Face directory says it.

use std::collections::BTreeMap;

use candle_core::Tensor;
use serde::Deserialize;

use super::ClassifierError;

/// What is read of `config.json`; the defaults are those of Transformers' `DebertaV2Config`.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Config {
    #[serde(default)]
    pub(super) architectures: Option<Vec<String>>,
    #[serde(default)]
    pub(super) model_type: String,
    pub(super) vocab_size: usize,
    pub(super) hidden_size: usize,
    pub(super) num_hidden_layers: usize,
    pub(super) num_attention_heads: usize,
    pub(super) intermediate_size: usize,
    #[serde(default)]
    pub(super) hidden_act: Activation,
    #[serde(default = "positions")]
    pub(super) max_position_embeddings: usize,
    #[serde(default)]
    pub(super) type_vocab_size: usize,
    #[serde(default = "epsilon")]
    pub(super) layer_norm_eps: f64,
    #[serde(default)]
    pub(super) relative_attention: bool,
    #[serde(default = "none")]
    max_relative_positions: i64,
    #[serde(default = "yes")]
    pub(super) position_biased_input: bool,
    #[serde(default)]
    pos_att_type: Option<Kinds>,
    #[serde(default = "none")]
    position_buckets: i64,
    #[serde(default)]
    pub(super) share_att_key: bool,
    #[serde(default)]
    attention_head_size: Option<usize>,
    #[serde(default)]
    embedding_size: Option<usize>,
    #[serde(default)]
    norm_rel_ebd: String,
    #[serde(default)]
    conv_kernel_size: usize,
    #[serde(default)]
    pooler_hidden_size: Option<usize>,
    #[serde(default)]
    pub(super) pooler_hidden_act: Activation,
    #[serde(default)]
    pub(super) problem_type: Option<String>,
    #[serde(default)]
    pub(super) id2label: Option<BTreeMap<usize, String>>,
}

/// `"p2c|c2p"` or `["p2c", "c2p"]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Kinds {
    Joined(String),
    List(Vec<String>),
}

/// The non-linearities that such checkpoints use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Activation {
    /// x·Φ(x).
    #[default]
    Gelu,
    /// Its approximation by tanh.
    #[serde(alias = "gelu_pytorch_tanh", alias = "gelu_fast")]
    GeluNew,
    Relu,
    Tanh,
}

fn positions() -> usize {
    512
}

fn epsilon() -> f64 {
    1e-7
}

fn none() -> i64 {
    -1
}

fn yes() -> bool {
    true
}

impl Activation {
    pub(super) fn forward(self, x: &Tensor) -> candle_core::Result<Tensor> {
        match self {
            Self::Gelu => x.gelu_erf(),
            Self::GeluNew => x.gelu(),
            Self::Relu => x.relu(),
            Self::Tanh => x.tanh(),
        }
    }
}

impl Config {
    /// Refuses what this encoder cannot be.
    pub(super) fn check(&self) -> Result<(), ClassifierError> {
        let unsupported =
            |key, value: String, remedy| Err(ClassifierError::Unsupported { key, value, remedy });
        if self.model_type != "deberta-v2" {
            return unsupported("model_type", self.model_type.clone(), "deberta-v2 is (DeBERTa v2 and v3)");
        }
        let architectures = self.architectures.clone().unwrap_or_default();
        if architectures.iter().all(|name| name != "DebertaV2ForSequenceClassification") {
            let remedy = "DebertaV2ForSequenceClassification is";
            return unsupported("architectures", architectures.join(", "), remedy);
        }
        if self.conv_kernel_size > 0 {
            return unsupported("conv_kernel_size", self.conv_kernel_size.to_string(), "0 is");
        }
        let sizes = [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("max_position_embeddings", self.max_position_embeddings),
            ("attention_head_size", self.attention_head_size.unwrap_or(1)),
            ("embedding_size", self.embedding_size()),
        ];
        if let Some((key, value)) = sizes.into_iter().find(|(_, size)| !(1..1 << 24).contains(size)) {
            return unsupported(key, value.to_string(), "a number from 1 to 16777215 is");
        }
        if !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            let remedy = "a multiple of num_attention_heads is";
            return unsupported("hidden_size", self.hidden_size.to_string(), remedy);
        }
        if self.pooler_hidden_size.is_some_and(|size| size != self.hidden_size) {
            let size = self.pooler_hidden_size.unwrap_or_default().to_string();
            return unsupported("pooler_hidden_size", size, "hidden_size is");
        }
        if self.relative_attention && !(2..1 << 24).contains(&self.span()) {
            let remedy = "a number from 2 to 16777215 is, for relative attention";
            return unsupported("position_buckets", self.span().to_string(), remedy);
        }
        if self.position_buckets > 0 && self.furthest() <= self.position_buckets as usize / 2 + 1 {
            let remedy = "more than half of position_buckets is";
            return unsupported("max_relative_positions", self.furthest().to_string(), remedy);
        }
        Ok(())
    }

    /// Width of the word vectors.
    pub(super) fn embedding_size(&self) -> usize {
        self.embedding_size.unwrap_or(self.hidden_size)
    }

    /// Width of all heads together.
    pub(super) fn heads_size(&self) -> usize {
        let head = self.attention_head_size.unwrap_or(self.hidden_size / self.num_attention_heads);
        self.num_attention_heads * head
    }

    /// From `(n, heads · d)` to `(heads, n, d)`.
    pub(super) fn split(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let (n, all) = x.dims2()?;
        let heads = self.num_attention_heads;
        x.reshape((n, heads, all / heads))?.transpose(0, 1)?.contiguous()
    }

    /// Whether `c2p` (content to position) or `p2c` is part of the attention.
    pub(super) fn attends(&self, kind: &str) -> bool {
        match &self.pos_att_type {
            None => false,
            Some(Kinds::Joined(kinds)) => kinds.split('|').any(|k| k.trim().eq_ignore_ascii_case(kind)),
            Some(Kinds::List(kinds)) => kinds.iter().any(|k| k == kind),
        }
    }

    /// Whether position vectors are normed.
    pub(super) fn norms_positions(&self) -> bool {
        self.norm_rel_ebd.split('|').any(|part| part.trim().eq_ignore_ascii_case("layer_norm"))
    }

    fn furthest(&self) -> usize {
        if self.max_relative_positions < 1 {
            self.max_position_embeddings
        } else {
            self.max_relative_positions as usize
        }
    }

    /// Buckets on each side of distance 0.
    pub(super) fn span(&self) -> usize {
        if self.position_buckets > 0 { self.position_buckets as usize } else { self.furthest() }
    }

    /// The bucket of each query and key of a text of `n` tokens, row by row, in `0..2 · span`.
    pub(super) fn buckets(&self, n: usize) -> Vec<u32> {
        let span = self.span() as i64;
        let distances: Vec<i64> = (0..n as i64).map(|distance| self.bucket(distance)).collect();
        let bucket = |i: usize, j: usize| {
            let bucket = if i >= j { distances[i - j] } else { -distances[j - i] };
            (bucket + span).clamp(0, 2 * span - 1) as u32
        };
        (0..n).flat_map(|i| (0..n).map(move |j| bucket(i, j))).collect()
    }

    /// A distance itself up to half of the buckets, beyond that by its logarithm, in `f32` as PyTorch does.
    fn bucket(&self, distance: i64) -> i64 {
        let middle = self.position_buckets / 2;
        if self.position_buckets <= 0 || distance <= middle {
            return distance;
        }
        let middle = middle as f32;
        let furthest = ((self.furthest() - 1) as f32 / middle).ln();
        ((distance as f32 / middle).ln() / furthest * (middle - 1.0)).ceil() as i64 + middle as i64
    }
}
