//! What is read of a DeBERTa v2 or v3.

use candle_transformers::models::debertav2;
use serde::Deserialize;

use super::{Activation, Config, MOST_TOKENS, Shape, size, unsupported};
use crate::measures::classifier::ClassifierError;

/// What is read of a DeBERTa; the defaults are those of Transformers' `DebertaV2Config`.
#[derive(Debug, Deserialize)]
pub(super) struct DebertaKeys {
    #[serde(default)]
    hidden_act: Activation,
    #[serde(default)]
    type_vocab_size: usize,
    #[serde(default = "deberta_epsilon")]
    layer_norm_eps: f64,
    #[serde(default)]
    relative_attention: bool,
    #[serde(default = "none")]
    max_relative_positions: i64,
    #[serde(default = "yes")]
    position_biased_input: bool,
    #[serde(default)]
    pos_att_type: Option<Kinds>,
    #[serde(default = "none")]
    position_buckets: i64,
    #[serde(default)]
    share_att_key: bool,
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
    pooler_hidden_act: Activation,
}

/// `"p2c|c2p"` or `["p2c", "c2p"]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Kinds {
    Joined(String),
    List(Vec<String>),
}

fn deberta_epsilon() -> f64 {
    1e-7
}

fn none() -> i64 {
    -1
}

fn yes() -> bool {
    true
}

pub(super) fn shape(config: &Config, keys: DebertaKeys) -> Result<(Shape, usize), ClassifierError> {
    let hidden = config.hidden_size;
    if keys.conv_kernel_size > 0 {
        return unsupported("conv_kernel_size", keys.conv_kernel_size, "0 is");
    }
    let embedding = keys.embedding_size.unwrap_or(hidden);
    size("embedding_size", embedding)?;
    if embedding != hidden && keys.type_vocab_size > 0 {
        return unsupported("type_vocab_size", keys.type_vocab_size, "0 is, beside another embedding_size");
    }
    if keys.attention_head_size.is_some_and(|head| head != hidden / config.num_attention_heads) {
        let head = keys.attention_head_size.unwrap_or_default();
        return unsupported("attention_head_size", head, "hidden_size / num_attention_heads is");
    }
    if keys.pooler_hidden_size.is_some_and(|size| size != hidden) {
        let size = keys.pooler_hidden_size.unwrap_or_default();
        return unsupported("pooler_hidden_size", size, "hidden_size is");
    }
    let furthest = match keys.max_relative_positions {
        ..1 => config.max_position_embeddings as i64,
        furthest => furthest,
    };
    let span = if keys.position_buckets > 0 { keys.position_buckets } else { furthest };
    if keys.relative_attention && !(2..1 << 24).contains(&span) {
        let remedy = "a number from 2 to 16777215 is, for relative attention";
        return unsupported("position_buckets", span, remedy);
    }
    if keys.position_buckets > 0 && furthest <= keys.position_buckets / 2 + 1 {
        return unsupported("max_relative_positions", furthest, "more than half of position_buckets is");
    }
    if furthest >= 1 << 24 {
        return unsupported("max_relative_positions", furthest, "a number below 16777216 is");
    }
    let kinds: Vec<String> = match keys.pos_att_type {
        None => Vec::new(),
        Some(Kinds::Joined(kinds)) => kinds.split('|').map(|kind| kind.trim().to_ascii_lowercase()).collect(),
        Some(Kinds::List(kinds)) => kinds,
    };
    let normed = keys.norm_rel_ebd.split('|').any(|part| part.trim().eq_ignore_ascii_case("layer_norm"));
    // Without vectors for positions any text may be as long as memory allows.
    let longest = match keys.position_biased_input {
        true => config.max_position_embeddings,
        false => MOST_TOKENS,
    };
    let config = debertav2::Config {
        vocab_size: config.vocab_size,
        hidden_size: hidden,
        num_hidden_layers: config.num_hidden_layers,
        num_attention_heads: config.num_attention_heads,
        intermediate_size: config.intermediate_size,
        hidden_act: match keys.hidden_act {
            Activation::Gelu => debertav2::HiddenAct::Gelu,
            Activation::GeluNew => debertav2::HiddenAct::GeluApproximate,
            Activation::Relu => debertav2::HiddenAct::Relu,
            Activation::Tanh => return unsupported("hidden_act", "tanh", "gelu, gelu_new and relu are"),
        },
        hidden_dropout_prob: 0.0,
        attention_probs_dropout_prob: 0.0,
        max_position_embeddings: longest,
        type_vocab_size: keys.type_vocab_size,
        initializer_range: 0.0,
        layer_norm_eps: keys.layer_norm_eps,
        relative_attention: keys.relative_attention,
        max_relative_positions: furthest as isize,
        pad_token_id: None,
        position_biased_input: keys.position_biased_input,
        pos_att_type: kinds,
        position_buckets: Some(keys.position_buckets as isize),
        share_att_key: Some(keys.share_att_key),
        attention_head_size: None,
        embedding_size: Some(embedding),
        norm_rel_ebd: Some(if normed { "layer_norm" } else { "none" }.to_owned()),
        conv_kernel_size: None,
        conv_groups: None,
        conv_act: None,
        id2label: None,
        label2id: None,
        pooler_dropout: None,
        pooler_hidden_act: None,
        pooler_hidden_size: None,
        cls_dropout: None,
    };
    Ok((Shape::Deberta(Box::new(config), keys.pooler_hidden_act), longest))
}
