//! What is read of a ModernBERT.

use std::collections::BTreeMap;

use candle_transformers::models::modernbert;
use serde::Deserialize;

use super::{Activation, Config, MOST_TOKENS, Shape, size, unsupported};
use crate::measures::classifier::ClassifierError;

/// What is read of a ModernBERT.
#[derive(Debug, Deserialize)]
pub(super) struct ModernKeys {
    #[serde(default)]
    hidden_activation: Activation,
    #[serde(default)]
    classifier_activation: Activation,
    #[serde(default = "modern_epsilon")]
    norm_eps: f64,
    #[serde(default)]
    norm_bias: bool,
    #[serde(default)]
    attention_bias: bool,
    #[serde(default)]
    mlp_bias: bool,
    #[serde(default)]
    classifier_bias: bool,
    #[serde(default = "window")]
    local_attention: usize,
    #[serde(default = "every")]
    global_attn_every_n_layers: usize,
    layer_types: Option<Vec<String>>,
    rope_parameters: Option<BTreeMap<String, Rope>>,
    #[serde(default = "global")]
    global_rope_theta: f64,
    #[serde(default = "local")]
    local_rope_theta: f64,
    #[serde(default = "cls")]
    classifier_pooling: String,
}

/// A rotary embedding, as Transformers 5 says it.
#[derive(Debug, Clone, Deserialize)]
struct Rope {
    rope_theta: Option<f64>,
    rope_type: Option<String>,
}

fn modern_epsilon() -> f64 {
    1e-5
}

fn window() -> usize {
    128
}

fn every() -> usize {
    3
}

fn global() -> f64 {
    160_000.0
}

fn local() -> f64 {
    10_000.0
}

fn cls() -> String {
    "cls".to_owned()
}

pub(super) fn shape(config: &Config, keys: ModernKeys) -> Result<(Shape, usize), ClassifierError> {
    let flags = [
        ("norm_bias", keys.norm_bias),
        ("attention_bias", keys.attention_bias),
        ("mlp_bias", keys.mlp_bias),
        ("classifier_bias", keys.classifier_bias),
    ];
    if let Some((key, _)) = flags.into_iter().find(|(_, set)| *set) {
        return unsupported(key, "true", "false is");
    }
    for (key, activation) in
        [("hidden_activation", keys.hidden_activation), ("classifier_activation", keys.classifier_activation)]
    {
        if activation != Activation::Gelu {
            return unsupported(key, format!("{activation:?}").to_lowercase(), "gelu is");
        }
    }
    if !(config.hidden_size / config.num_attention_heads).is_multiple_of(2) {
        return unsupported("hidden_size", config.hidden_size, "an even number of features per head is");
    }
    let global = |layer: usize, every: usize| layer.is_multiple_of(every);
    let every = match &keys.layer_types {
        None => keys.global_attn_every_n_layers,
        Some(kinds) => {
            let second = kinds.iter().skip(1).position(|kind| kind == "full_attention");
            let every = second.map_or(config.num_hidden_layers, |at| at + 1);
            let told = |(layer, kind): (usize, &String)| {
                *kind == if global(layer, every) { "full_attention" } else { "sliding_attention" }
            };
            if kinds.len() != config.num_hidden_layers || !kinds.iter().enumerate().all(told) {
                let remedy = "full_attention in every n-th layer from the first, of all layers, is";
                return unsupported("layer_types", kinds.join(", "), remedy);
            }
            every
        }
    };
    size("global_attn_every_n_layers", every)?;
    size("local_attention", keys.local_attention)?;
    let theta = |kind: &str, key: &'static str, default: f64| {
        let rope = keys.rope_parameters.as_ref().and_then(|parameters| parameters.get(kind));
        let scaled = rope.and_then(|rope| rope.rope_type.as_deref()).filter(|kind| *kind != "default");
        if let Some(scaled) = scaled {
            return unsupported("rope_parameters", scaled, "default is");
        }
        let theta = rope.and_then(|rope| rope.rope_theta).unwrap_or(default);
        if theta > 1.0 && theta.is_finite() { Ok(theta) } else { unsupported(key, theta, "above 1 is") }
    };
    let mean = match keys.classifier_pooling.as_str() {
        "cls" => false,
        "mean" => true,
        other => return unsupported("classifier_pooling", other, "cls and mean are"),
    };
    // Angles are computed for each position: no more than texts can have.
    let longest = config.max_position_embeddings.min(MOST_TOKENS);
    let config = modernbert::Config {
        vocab_size: config.vocab_size,
        hidden_size: config.hidden_size,
        num_hidden_layers: config.num_hidden_layers,
        num_attention_heads: config.num_attention_heads,
        intermediate_size: config.intermediate_size,
        max_position_embeddings: longest,
        layer_norm_eps: keys.norm_eps,
        pad_token_id: 0,
        global_attn_every_n_layers: every,
        global_rope_theta: theta("full_attention", "global_rope_theta", keys.global_rope_theta)?,
        local_attention: keys.local_attention,
        local_rope_theta: theta("sliding_attention", "local_rope_theta", keys.local_rope_theta)?,
        classifier_config: None,
    };
    Ok((Shape::ModernBert(config, mean), longest))
}
