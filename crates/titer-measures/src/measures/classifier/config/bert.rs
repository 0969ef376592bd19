//! What is read of a BERT, a RoBERTa or an XLM-RoBERTa.

use candle_transformers::models::{bert, xlm_roberta};
use serde::Deserialize;

use super::{Activation, Config, Shape, size, unsupported};
use crate::measures::classifier::ClassifierError;

/// What is read of a BERT or a RoBERTa.
#[derive(Debug, Deserialize)]
pub(super) struct BertKeys {
    #[serde(default)]
    hidden_act: Activation,
    #[serde(default = "two")]
    type_vocab_size: usize,
    #[serde(default = "bert_epsilon")]
    layer_norm_eps: f64,
    pad_token_id: Option<u32>,
    #[serde(default = "absolute")]
    position_embedding_type: String,
    #[serde(default)]
    is_decoder: bool,
}

fn two() -> usize {
    2
}

fn bert_epsilon() -> f64 {
    1e-12
}

fn absolute() -> String {
    "absolute".to_owned()
}

pub(super) fn shape(config: &Config, keys: BertKeys) -> Result<(Shape, usize), ClassifierError> {
    keys.check()?;
    let longest = config.max_position_embeddings;
    let config = bert::Config {
        vocab_size: config.vocab_size,
        hidden_size: config.hidden_size,
        num_hidden_layers: config.num_hidden_layers,
        num_attention_heads: config.num_attention_heads,
        intermediate_size: config.intermediate_size,
        hidden_act: match keys.hidden_act {
            Activation::Gelu => bert::HiddenAct::Gelu,
            Activation::GeluNew => bert::HiddenAct::GeluApproximate,
            Activation::Relu => bert::HiddenAct::Relu,
            Activation::Tanh => return unsupported("hidden_act", "tanh", "gelu, gelu_new and relu are"),
        },
        hidden_dropout_prob: 0.0,
        max_position_embeddings: config.max_position_embeddings,
        type_vocab_size: keys.type_vocab_size,
        layer_norm_eps: keys.layer_norm_eps,
        ..bert::Config::default()
    };
    Ok((Shape::Bert(config), longest))
}

pub(super) fn of_roberta(config: &Config, keys: BertKeys) -> Result<(Shape, usize), ClassifierError> {
    keys.check()?;
    // Positions count from the padding token's number on.
    let pad = keys.pad_token_id.unwrap_or(1);
    let longest = config.max_position_embeddings.saturating_sub(pad as usize + 1);
    if longest == 0 {
        return unsupported("pad_token_id", pad, "a number below max_position_embeddings - 1 is");
    }
    let config = xlm_roberta::Config {
        hidden_size: config.hidden_size,
        layer_norm_eps: keys.layer_norm_eps,
        attention_probs_dropout_prob: 0.0,
        hidden_dropout_prob: 0.0,
        num_attention_heads: config.num_attention_heads,
        position_embedding_type: absolute(),
        intermediate_size: config.intermediate_size,
        hidden_act: match keys.hidden_act {
            Activation::Gelu => candle_nn::Activation::Gelu,
            Activation::GeluNew => candle_nn::Activation::NewGelu,
            Activation::Relu => candle_nn::Activation::Relu,
            Activation::Tanh => return unsupported("hidden_act", "tanh", "gelu, gelu_new and relu are"),
        },
        num_hidden_layers: config.num_hidden_layers,
        vocab_size: config.vocab_size,
        max_position_embeddings: config.max_position_embeddings,
        type_vocab_size: keys.type_vocab_size,
        pad_token_id: pad,
    };
    Ok((Shape::Roberta(config), longest))
}

impl BertKeys {
    fn check(&self) -> Result<(), ClassifierError> {
        size("type_vocab_size", self.type_vocab_size)?;
        if self.position_embedding_type != "absolute" {
            let kind = &self.position_embedding_type;
            return unsupported("position_embedding_type", kind, "absolute is");
        }
        if self.is_decoder { unsupported("is_decoder", "true", "false is") } else { Ok(()) }
    }
}
