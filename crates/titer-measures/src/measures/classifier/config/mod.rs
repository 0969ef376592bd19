//! The shape of a classifier, as `config.json` of a Hugging Face directory says it: read and checked before candle's
//! models are built of it, which take what they are given.

mod bert;
mod deberta;
mod modern_bert;

use std::collections::BTreeMap;

use candle_core::Tensor;
use candle_transformers::models;
use serde::Deserialize;
use serde_json::Value;

use super::ClassifierError;

/// Tokens of a text at most where positions are relative or computed: attention takes memory for their square.
const MOST_TOKENS: usize = 2048;

/// What every classifier's configuration has.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Config {
    #[serde(default)]
    pub(super) architectures: Option<Vec<String>>,
    #[serde(default)]
    pub(super) model_type: String,
    pub(super) vocab_size: usize,
    pub(super) hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    #[serde(default = "positions")]
    max_position_embeddings: usize,
    #[serde(default)]
    pub(super) problem_type: Option<String>,
    #[serde(default)]
    pub(super) id2label: Option<BTreeMap<usize, String>>,
    /// All keys, of which each kind reads its own.
    #[serde(skip)]
    keys: serde_json::Map<String, Value>,
}

/// A checked configuration, as candle's model takes it.
#[derive(Debug)]
pub(super) enum Shape {
    /// DeBERTa v2 or v3, and what its pooler computes.
    Deberta(Box<models::debertav2::Config>, Activation),
    Bert(models::bert::Config),
    /// RoBERTa and XLM-RoBERTa.
    Roberta(models::xlm_roberta::Config),
    /// ModernBERT, and whether it classifies by the mean of all tokens.
    ModernBert(models::modernbert::Config, bool),
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

fn unsupported<T>(
    key: &'static str,
    value: impl ToString,
    remedy: &'static str,
) -> Result<T, ClassifierError> {
    Err(ClassifierError::Unsupported { key, value: value.to_string(), remedy })
}

/// A size of a tensor: such that products of two stay far below the address space.
fn size(key: &'static str, size: usize) -> Result<(), ClassifierError> {
    if (1..1 << 24).contains(&size) {
        Ok(())
    } else {
        unsupported(key, size, "a number from 1 to 16777215 is")
    }
}

impl Config {
    /// From the object that `config.json` holds.
    pub(super) fn from_json(keys: serde_json::Map<String, Value>) -> serde_json::Result<Self> {
        let config: Self = serde_json::from_value(Value::Object(keys.clone()))?;
        Ok(Self { keys, ..config })
    }

    /// Checks what the model cannot be, and says it as candle takes it; with it the tokens of a text at most.
    pub(super) fn shape(&self) -> Result<(Shape, usize), ClassifierError> {
        let classes = match self.model_type.as_str() {
            "deberta-v2" => "DebertaV2ForSequenceClassification",
            "bert" => "BertForSequenceClassification",
            "roberta" => "RobertaForSequenceClassification",
            "xlm-roberta" => "XLMRobertaForSequenceClassification",
            "modernbert" => "ModernBertForSequenceClassification",
            other => {
                let remedy = "deberta-v2 (DeBERTa v2 and v3), bert, roberta, xlm-roberta and modernbert are";
                return unsupported("model_type", other, remedy);
            }
        };
        let architectures = self.architectures.clone().unwrap_or_default();
        if architectures.iter().all(|name| name != classes) {
            return unsupported(
                "architectures",
                architectures.join(", "),
                "the …ForSequenceClassification is",
            );
        }
        for (key, value) in [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("max_position_embeddings", self.max_position_embeddings),
        ] {
            size(key, value)?;
        }
        if !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            return unsupported("hidden_size", self.hidden_size, "a multiple of num_attention_heads is");
        }
        match self.model_type.as_str() {
            "deberta-v2" => deberta::shape(self, self.of_kind()?),
            "modernbert" => modern_bert::shape(self, self.of_kind()?),
            "bert" => bert::shape(self, self.of_kind()?),
            _ => bert::of_roberta(self, self.of_kind()?),
        }
    }

    fn of_kind<T: serde::de::DeserializeOwned>(&self) -> Result<T, ClassifierError> {
        // A null key is an absent one, as Transformers has it.
        let present = self.keys.iter().filter(|(_, value)| !value.is_null());
        let object = Value::Object(present.map(|(key, value)| (key.clone(), value.clone())).collect());
        serde_json::from_value(object).map_err(|source| ClassifierError::Key { source })
    }
}
