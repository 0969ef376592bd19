//! The shape of a decoder, as `config.json` of a Hugging Face directory says it.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use titer_ops::{Activation, Heads, Scaling};

use crate::experts::Experts;
use crate::family::{self, Bias, QkNorm, SWIGLU};
use crate::{Error, Family, Result};

/// Layers at most: the largest published models have fewer than 200.
pub(crate) const MOST_LAYERS: usize = 4096;
/// Any other size at most; products of two stay far below the address space.
pub(crate) const LARGEST_SIZE: usize = 1 << 24;
/// The embeddings of all tokens.
pub(crate) const EMBEDDING: &str = "model.embed_tokens.weight";
/// The norm before the head.
pub(crate) const FINAL_NORM: &str = "model.norm.weight";
/// Its bias, in families with LayerNorm.
pub(crate) const FINAL_NORM_BIAS: &str = "model.norm.bias";
/// What makes logits of hidden states, where that is not the embedding.
pub(crate) const HEAD: &str = "lm_head.weight";
/// Weights at most: a trillion.
const MOST_WEIGHTS: usize = 1 << 40;

/// The shape of a decoder of some [`Family`]; (de)serializes as Transformers' `config.json`, with
/// Transformers' values for absent keys.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The class of Transformers, such as `LlamaForCausalLM`.
    pub architectures: Vec<String>,
    /// What it differs in from others: its `model_type`.
    pub family: &'static Family,
    /// Number of tokens known.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the MLP.
    pub intermediate_size: usize,
    /// Number of layers.
    pub num_hidden_layers: usize,
    /// Attention heads.
    pub num_attention_heads: usize,
    /// Key and value heads.
    pub num_key_value_heads: usize,
    /// Features of one head, where it is not `hidden_size / num_attention_heads`.
    pub head_dim: Option<usize>,
    /// Positions that have rotary angles.
    pub max_position_embeddings: usize,
    /// Added to the mean square in RMSNorm, to the variance in LayerNorm.
    pub rms_norm_eps: f64,
    /// Base of the rotary embedding.
    pub rope_theta: f64,
    /// The share of a head's features that are rotated, the first ones.
    pub rotary_share: f64,
    /// How the rotary frequencies are stretched.
    pub rope_scaling: Scaling,
    /// Layers whose queries and keys are not rotated (SmolLM3's `no_rope_layers`).
    pub unrotated: Vec<usize>,
    /// Whether the MLP reads the stream before the layer, as the attention does (`use_parallel_residual`).
    pub parallel_residual: bool,
    /// Factors on what layers read and write; none in families without them.
    pub scales: Option<Scales>,
    /// In the layers of `windowed` a token sees at most so many tokens back, itself included.
    pub sliding_window: Option<usize>,
    /// Layers with the sliding window, in order.
    pub windowed: Vec<usize>,
    /// How the layers of `windowed` rotate, where not as the others (Gemma 3, OLMo 3).
    pub local_rope: Option<Rope>,
    /// In place of a head's features in the 1/√ that multiplies scores (Gemma).
    pub query_pre_attn_scalar: Option<f64>,
    /// A score s of the attention becomes cap·tanh(s/cap) (Gemma 2).
    pub attn_logit_softcapping: Option<f64>,
    /// The same of logits.
    pub final_logit_softcapping: Option<f64>,
    /// Whether the head is the embedding.
    pub tie_word_embeddings: bool,
    /// What the MLP's gate passes through, or in families without a gate what is between its projections.
    pub hidden_act: Activation,
    /// Whether all four projections of the attention have biases (those of Qwen2's q, k and v are always
    /// there).
    pub attention_bias: bool,
    /// Whether the projections of the MLP have biases.
    pub mlp_bias: bool,
    /// Queries, keys and values are cut off at plus and minus this (OLMoE).
    pub clip_qkv: Option<f64>,
    /// The experts that layers have in place of an MLP.
    pub experts: Option<Experts>,
    /// Token that begins a text.
    pub bos_token_id: Option<u32>,
    /// Tokens that end an answer; the first is the one to train on.
    pub eos_token_id: Vec<u32>,
    /// Token that pads a batch elsewhere; titer packs.
    pub pad_token_id: Option<u32>,
    /// Type of the weights in this directory.
    pub torch_dtype: String,
    /// Keys that mean nothing to this decoder, kept for who loads the directory next.
    pub extra: Map<String, Value>,
}

/// Base and stretching of rotary frequencies.
#[derive(Debug, Clone, PartialEq)]
pub struct Rope {
    /// Base of the frequencies.
    pub theta: f64,
    /// How they are stretched.
    pub scaling: Scaling,
}

/// Granite's factors.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scales {
    /// Multiplies the embeddings of tokens (`embedding_multiplier`).
    pub embedding: f64,
    /// Multiplies the products of queries and keys, in place of 1/√head_dim (`attention_multiplier`).
    pub attention: f64,
    /// Multiplies what a block adds to the residual stream (`residual_multiplier`).
    pub residual: f64,
    /// Divides the logits (`logits_scaling`).
    pub logits: f64,
}

impl Config {
    /// A Llama of these sizes, with Llama's usual constants (norm 1e-5, rotary base 10000, 64 positions,
    /// untied head); change the fields for others.
    pub fn llama(
        vocab_size: usize,
        hidden_size: usize,
        intermediate_size: usize,
        num_hidden_layers: usize,
        num_attention_heads: usize,
        num_key_value_heads: usize,
    ) -> Self {
        Self {
            architectures: vec![family::LLAMA.class.to_owned()],
            family: &family::LLAMA,
            vocab_size,
            hidden_size,
            intermediate_size,
            num_hidden_layers,
            num_attention_heads,
            num_key_value_heads,
            head_dim: None,
            max_position_embeddings: 64,
            rms_norm_eps: 1e-5,
            rope_theta: 10_000.0,
            rotary_share: 1.0,
            rope_scaling: Scaling::None,
            unrotated: Vec::new(),
            parallel_residual: false,
            scales: None,
            sliding_window: None,
            windowed: Vec::new(),
            local_rope: None,
            query_pre_attn_scalar: None,
            attn_logit_softcapping: None,
            final_logit_softcapping: None,
            tie_word_embeddings: false,
            hidden_act: Activation::Silu,
            attention_bias: false,
            mlp_bias: false,
            clip_qkv: None,
            experts: None,
            bos_token_id: None,
            eos_token_id: Vec::new(),
            pad_token_id: None,
            torch_dtype: "float32".to_owned(),
            extra: Map::new(),
        }
    }

    /// How the attention's features divide into heads.
    pub fn heads(&self) -> Heads {
        Heads {
            queries: self.num_attention_heads,
            keys: self.num_key_value_heads,
            dim: self.head_dim.unwrap_or(self.hidden_size / self.num_attention_heads),
        }
    }

    /// Features of a head that are rotated.
    pub fn rotated_dim(&self) -> usize {
        (self.heads().dim as f64 * self.rotary_share) as usize
    }

    /// Refuses what this decoder cannot be.
    ///
    /// # Errors
    /// Names the first key whose value is not supported.
    pub fn check(&self) -> Result<()> {
        let family = self.family;
        let traits = [
            ("attention_bias", self.attention_bias, family.attention_bias != Bias::Keyed, false),
            ("mlp_bias", self.mlp_bias, family.mlp_bias != Bias::Keyed, false),
            ("use_parallel_residual", self.parallel_residual, family.parallel.is_none(), false),
            ("no_rope_layers", !self.unrotated.is_empty(), !family.unrotated, false),
            ("clip_qkv", self.clip_qkv.is_some(), !family.clip, false),
            ("residual_multiplier", self.scales.is_some(), true, family.scales),
            ("num_experts", self.experts.is_some(), true, family.mixture.is_some()),
        ];
        for (key, set, decided, needed) in traits {
            if decided && set != needed {
                let value = if set { "set" } else { "absent" };
                return unsupported(key, value, &format!("with model_type {} the contrary is", family.name));
            }
        }
        let sizes = [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("num_key_value_heads", self.num_key_value_heads),
            ("max_position_embeddings", self.max_position_embeddings),
            ("head_dim", self.head_dim.unwrap_or(1)),
            ("sliding_window", self.sliding_window.unwrap_or(1)),
        ];
        if let Some((key, value)) = sizes.into_iter().find(|(_, value)| *value == 0) {
            return unsupported(key, value, "at least 1 is");
        }
        if let Some((key, value)) = sizes.into_iter().find(|(_, value)| *value > LARGEST_SIZE) {
            return unsupported(key, value, &format!("at most {LARGEST_SIZE} is"));
        }
        if self.num_hidden_layers > MOST_LAYERS {
            return unsupported(
                "num_hidden_layers",
                self.num_hidden_layers,
                &format!("at most {MOST_LAYERS} are"),
            );
        }
        if let Some(dim) = self.head_dim {
            if !dim.is_multiple_of(2) {
                return unsupported("head_dim", dim, "an even number is");
            }
        } else if !self.hidden_size.is_multiple_of(2 * self.num_attention_heads) {
            return unsupported(
                "hidden_size",
                self.hidden_size,
                "an even number of features per attention head is",
            );
        }
        if !self.num_attention_heads.is_multiple_of(self.num_key_value_heads) {
            return unsupported(
                "num_key_value_heads",
                self.num_key_value_heads,
                "a divisor of num_attention_heads is",
            );
        }
        // Rows of queries, keys and values of one head follow each other: there are as many heads of each.
        let equal = family.naming.joined.iter().any(|joined| joined.by_head);
        if equal && self.num_key_value_heads != self.num_attention_heads {
            let remedy = "for this model_type num_attention_heads is";
            return unsupported("num_key_value_heads", self.num_key_value_heads, remedy);
        }
        if equal && self.heads().dim * self.num_attention_heads != self.hidden_size {
            let remedy = "for this model_type hidden_size / num_attention_heads is";
            return unsupported("head_dim", self.heads().dim, remedy);
        }
        if let (Some(experts), Some(mixture)) = (&self.experts, &family.mixture) {
            experts.check(self, mixture)?;
        }
        if self.layer_size().is_none_or(|size| size > MOST_WEIGHTS / self.num_hidden_layers) {
            return unsupported("hidden_size", self.hidden_size, "a model of at most 2^40 weights is");
        }
        self.check_constants()
    }

    /// An upper bound of a layer's weights, if it can be said.
    fn layer_size(&self) -> Option<usize> {
        let heads = self.heads();
        let attention = heads.queries.checked_mul(heads.dim)?.checked_mul(4)?;
        let mlp = self.intermediate_size.checked_mul(3)?;
        let mlp = self.experts.as_ref().map_or(Some(mlp), |experts| Some(mlp.max(experts.layer_size()?)))?;
        let width = attention.checked_add(mlp)?.checked_add(16)?;
        width.checked_mul(self.hidden_size)
    }

    fn check_constants(&self) -> Result<()> {
        if let Some(clip) = self.clip_qkv.filter(|clip| !(*clip > 0.0 && clip.is_finite())) {
            return unsupported("clip_qkv", clip, "a finite number above 0 is");
        }
        if self.family.qk_norm == QkNorm::Width
            && self.head_dim.is_some_and(|dim| dim * self.num_attention_heads != self.hidden_size)
        {
            let remedy = format!("for {} hidden_size / num_attention_heads is", self.family.name);
            return unsupported("head_dim", self.heads().dim, &remedy);
        }
        self.check_windows()?;
        if let Some(layer) = self.unrotated.iter().find(|layer| **layer >= self.num_hidden_layers) {
            return unsupported("no_rope_layers", layer, "as many entries as layers are");
        }
        if let Some(Scales { embedding, attention, residual, logits }) = self.scales {
            let factors = [
                ("embedding_multiplier", embedding),
                ("attention_multiplier", attention),
                ("residual_multiplier", residual),
                ("logits_scaling", logits),
            ];
            if let Some((key, value)) = factors.into_iter().find(|(_, value)| !value.is_normal()) {
                return unsupported(key, value, "a finite number other than 0 is");
            }
        }
        if !(self.rms_norm_eps >= 0.0 && self.rms_norm_eps.is_finite()) {
            let key = self.family.epsilon_key();
            return unsupported(key, self.rms_norm_eps, "a finite number of at least 0 is");
        }
        self.check_rope()
    }
}

impl Config {
    /// The name and shape of every weight, by name.
    pub fn shapes(&self) -> BTreeMap<String, Vec<usize>> {
        let (d, ffn, heads) = (self.hidden_size, self.intermediate_size, self.heads());
        let (q, kv) = (heads.queries * heads.dim, heads.keys * heads.dim);
        let mut shapes = BTreeMap::from([
            (EMBEDDING.to_owned(), vec![self.vocab_size, d]),
            (FINAL_NORM.to_owned(), vec![d]),
        ]);
        if self.family.layer_norm {
            shapes.insert(FINAL_NORM_BIAS.to_owned(), vec![d]);
        }
        if !self.tie_word_embeddings {
            shapes.insert(HEAD.to_owned(), vec![self.vocab_size, d]);
        }
        let attention = [
            ("self_attn", "q_proj", q, d),
            ("self_attn", "k_proj", kv, d),
            ("self_attn", "v_proj", kv, d),
            ("self_attn", "o_proj", d, q),
        ];
        let [gate, up, down] = SWIGLU;
        let mlp = [("mlp", gate, ffn, d), ("mlp", up, ffn, d), ("mlp", down, d, ffn)];
        let mlp = if self.family.ungated { &mlp[1..] } else { &mlp };
        for layer in 0..self.num_hidden_layers {
            let prefix = format!("model.layers.{layer}");
            for norm in self.family.norms.iter() {
                shapes.insert(format!("{prefix}.{}.weight", norm.name), vec![d]);
                if self.family.layer_norm {
                    shapes.insert(format!("{prefix}.{}.bias", norm.name), vec![d]);
                }
            }
            if self.family.sinks {
                shapes.insert(sinks(layer), vec![heads.queries]);
            }
            for (norm, features) in self.qk_norms().into_iter().flatten() {
                shapes.insert(format!("{prefix}.self_attn.{norm}.weight"), vec![features]);
            }
            let mixture = self.mixture_of(layer);
            if let Some(mixture) = mixture {
                self.expert_shapes(&prefix, mixture, &mut shapes);
            }
            let mlp = if mixture.is_some() { &[][..] } else { mlp };
            for (block, projection, outputs, inputs) in attention.iter().chain(mlp).copied() {
                shapes.insert(format!("{prefix}.{block}.{projection}.weight"), vec![outputs, inputs]);
                if self.has_bias(projection) {
                    shapes.insert(format!("{prefix}.{block}.{projection}.bias"), vec![outputs]);
                }
            }
        }
        shapes
    }

    /// Number of weights.
    pub fn parameter_count(&self) -> usize {
        self.shapes().values().map(|shape| shape.iter().product::<usize>()).sum()
    }
}

/// The name of a layer's sinks: scores, one for each head, that take part in the softmax and add nothing.
pub(crate) fn sinks(layer: usize) -> String {
    format!("model.layers.{layer}.self_attn.sinks")
}

pub(crate) fn unsupported<T>(key: &str, value: impl std::fmt::Display, remedy: &str) -> Result<T> {
    Err(Error::Unsupported { key: key.to_owned(), value: value.to_string(), remedy: remedy.to_owned() })
}
