//! The shape of a decoder, as `config.json` of a Hugging Face directory says it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use titer_ops::Heads;

use crate::{Error, Result};

/// The shape of a Llama-family decoder; (de)serializes as Transformers' `config.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// `LlamaForCausalLM`.
    pub architectures: Vec<String>,
    /// `llama`.
    pub model_type: String,
    /// Number of tokens known.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the SwiGLU.
    pub intermediate_size: usize,
    /// Number of layers.
    pub num_hidden_layers: usize,
    /// Attention heads.
    pub num_attention_heads: usize,
    /// Key and value heads.
    pub num_key_value_heads: usize,
    /// Positions that have rotary angles.
    pub max_position_embeddings: usize,
    /// Added to the mean square in RMSNorm.
    pub rms_norm_eps: f64,
    /// Base of the rotary embedding.
    pub rope_theta: f64,
    /// Whether the head is the embedding.
    pub tie_word_embeddings: bool,
    /// `silu`.
    pub hidden_act: String,
    /// Biases of the attention's projections: not supported.
    #[serde(default)]
    pub attention_bias: bool,
    /// Biases of the MLP's projections: not supported.
    #[serde(default)]
    pub mlp_bias: bool,
    /// Token that begins a text.
    pub bos_token_id: Option<u32>,
    /// Token that ends an answer.
    pub eos_token_id: Option<u32>,
    /// Token that pads a batch elsewhere; titer packs.
    #[serde(default)]
    pub pad_token_id: Option<u32>,
    /// Type of the saved weights.
    pub torch_dtype: String,
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
            architectures: vec!["LlamaForCausalLM".to_owned()],
            model_type: "llama".to_owned(),
            vocab_size,
            hidden_size,
            intermediate_size,
            num_hidden_layers,
            num_attention_heads,
            num_key_value_heads,
            max_position_embeddings: 64,
            rms_norm_eps: 1e-5,
            rope_theta: 10_000.0,
            tie_word_embeddings: false,
            hidden_act: "silu".to_owned(),
            attention_bias: false,
            mlp_bias: false,
            bos_token_id: None,
            eos_token_id: None,
            pad_token_id: None,
            torch_dtype: "float32".to_owned(),
        }
    }

    /// How the attention's features divide into heads.
    pub fn heads(&self) -> Heads {
        Heads {
            queries: self.num_attention_heads,
            keys: self.num_key_value_heads,
            dim: self.hidden_size / self.num_attention_heads,
        }
    }

    /// Refuses what this decoder cannot be.
    ///
    /// # Errors
    /// Names the first key whose value is not supported.
    pub fn check(&self) -> Result<()> {
        let unsupported = |key, value: &dyn std::fmt::Display, remedy: &str| {
            Err(Error::Unsupported { key, value: value.to_string(), remedy: remedy.to_owned() })
        };
        if self.model_type != "llama" {
            return unsupported("model_type", &self.model_type, "llama is");
        }
        if self.hidden_act != "silu" {
            return unsupported("hidden_act", &self.hidden_act, "silu is");
        }
        if self.attention_bias || self.mlp_bias {
            return unsupported("attention_bias or mlp_bias", &true, "projections without biases are");
        }
        let sizes = [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("num_key_value_heads", self.num_key_value_heads),
            ("max_position_embeddings", self.max_position_embeddings),
        ];
        if let Some((key, value)) = sizes.into_iter().find(|(_, value)| *value == 0) {
            return unsupported(key, &value, "at least 1 is");
        }
        if !self.hidden_size.is_multiple_of(2 * self.num_attention_heads) {
            return unsupported(
                "hidden_size",
                &self.hidden_size,
                "an even number of features per attention head is",
            );
        }
        if !self.num_attention_heads.is_multiple_of(self.num_key_value_heads) {
            return unsupported(
                "num_key_value_heads",
                &self.num_key_value_heads,
                "a divisor of num_attention_heads is",
            );
        }
        Ok(())
    }

    /// The name and shape of every weight, by name.
    pub fn shapes(&self) -> BTreeMap<String, Vec<usize>> {
        let (d, ffn, heads) = (self.hidden_size, self.intermediate_size, self.heads());
        let (q, kv) = (heads.queries * heads.dim, heads.keys * heads.dim);
        let mut shapes = BTreeMap::from([
            ("model.embed_tokens.weight".to_owned(), vec![self.vocab_size, d]),
            ("model.norm.weight".to_owned(), vec![d]),
        ]);
        if !self.tie_word_embeddings {
            shapes.insert("lm_head.weight".to_owned(), vec![self.vocab_size, d]);
        }
        for layer in 0..self.num_hidden_layers {
            let of_layer = [
                ("input_layernorm", vec![d]),
                ("self_attn.q_proj", vec![q, d]),
                ("self_attn.k_proj", vec![kv, d]),
                ("self_attn.v_proj", vec![kv, d]),
                ("self_attn.o_proj", vec![d, q]),
                ("post_attention_layernorm", vec![d]),
                ("mlp.gate_proj", vec![ffn, d]),
                ("mlp.up_proj", vec![ffn, d]),
                ("mlp.down_proj", vec![d, ffn]),
            ];
            shapes
                .extend(of_layer.map(|(name, shape)| (format!("model.layers.{layer}.{name}.weight"), shape)));
        }
        shapes
    }

    /// Number of weights.
    pub fn parameter_count(&self) -> usize {
        self.shapes().values().map(|shape| shape.iter().product::<usize>()).sum()
    }

    /// Floating-point operations of one training step over `tokens` tokens of which `supervised` have
    /// logits: two per weight and token forward, four backward. Matrix products only.
    pub fn training_flops(&self, tokens: usize, supervised: usize) -> f64 {
        let in_layers: usize = self
            .shapes()
            .iter()
            .filter(|(name, shape)| name.starts_with("model.layers.") && shape.len() == 2)
            .map(|(_, shape)| shape.iter().product::<usize>())
            .sum();
        6.0 * (in_layers as f64 * tokens as f64
            + (self.vocab_size * self.hidden_size) as f64 * supervised as f64)
    }
}
