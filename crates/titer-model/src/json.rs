//! `config.json` of Transformers 4 and 5, read and written.
//!
//! Transformers 5 reads what 4 wrote, so that form is written: `rope_theta` and `rope_scaling` where 5
//! would write `rope_parameters`, `torch_dtype` where 5 would write `dtype`.

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value, json};
use titer_ops::Scaling;

use crate::config::{BIASED, check_family, unsupported};
use crate::{Config, Error, Experts, Result};

impl Config {
    /// From the object that `config.json` holds.
    ///
    /// # Errors
    /// Names the first key that is missing, of a wrong type, or whose value is not supported.
    pub fn from_json(object: Map<String, Value>) -> Result<Self> {
        let mut keys = Keys(object);
        let model_type: String = keys.required("model_type")?;
        check_family(&model_type)?;
        if let Some(quantization) = keys.0.get("quantization_config").filter(|value| !value.is_null()) {
            let method = quantization.get("quant_method").unwrap_or(quantization);
            return unsupported("quantization_config", method, "weights in f32, f16 or bf16 are; or a GGUF");
        }
        let family = Defaults::of(&model_type);
        let num_attention_heads = keys.required("num_attention_heads")?;
        let max_position_embeddings = keys.or("max_position_embeddings", family.positions)?;
        let (rope_theta, rope_scaling) = keys.rope(max_position_embeddings, family.theta)?;
        let sliding_window = keys.window(&model_type, max_position_embeddings)?;
        let biased = BIASED.contains(&model_type.as_str());
        let intermediate_size = keys.required("intermediate_size")?;
        let experts = keys.experts(&model_type, intermediate_size)?;
        let torch_dtype: Option<String> = keys.take("torch_dtype")?;
        let dtype: Option<String> = keys.take("dtype")?;
        let config = Self {
            architectures: keys
                .take("architectures")?
                .unwrap_or_else(|| vec![family.architecture.to_owned()]),
            vocab_size: keys.required("vocab_size")?,
            hidden_size: keys.required("hidden_size")?,
            intermediate_size,
            num_hidden_layers: keys.required("num_hidden_layers")?,
            num_attention_heads,
            num_key_value_heads: keys
                .take("num_key_value_heads")?
                .unwrap_or(family.key_heads.unwrap_or(num_attention_heads)),
            head_dim: keys.take("head_dim")?.or(family.head_dim),
            max_position_embeddings,
            rms_norm_eps: keys.or("rms_norm_eps", family.epsilon)?,
            rope_theta,
            rope_scaling,
            sliding_window,
            tie_word_embeddings: keys.or("tie_word_embeddings", false)?,
            hidden_act: keys.or("hidden_act", "silu".to_owned())?,
            attention_bias: keys.or("attention_bias", false)? && biased,
            mlp_bias: keys.or("mlp_bias", false)? && model_type == "llama",
            clip_qkv: if model_type == "olmoe" { keys.take("clip_qkv")? } else { None },
            experts,
            bos_token_id: keys.token("bos_token_id", family.begin)?.first().copied(),
            eos_token_id: keys.token("eos_token_id", family.end)?,
            pad_token_id: keys.token("pad_token_id", family.pad)?.first().copied(),
            torch_dtype: dtype.or(torch_dtype).unwrap_or_else(|| "float32".to_owned()),
            model_type,
            extra: keys.0,
        };
        config.check()?;
        Ok(config)
    }
}

/// What Transformers takes for absent keys where the families differ.
struct Defaults {
    architecture: &'static str,
    positions: usize,
    key_heads: Option<usize>,
    head_dim: Option<usize>,
    theta: f64,
    epsilon: f64,
    begin: Option<u32>,
    end: Option<u32>,
    pad: Option<u32>,
}

impl Defaults {
    fn of(model_type: &str) -> Self {
        let llama = Self {
            architecture: "LlamaForCausalLM",
            positions: 2048,
            key_heads: None,
            head_dim: None,
            theta: 10_000.0,
            epsilon: 1e-6,
            begin: Some(1),
            end: Some(2),
            pad: None,
        };
        let qwen = Self { positions: 32768, begin: None, end: None, ..llama };
        match model_type {
            "mistral" => {
                Self { architecture: "MistralForCausalLM", positions: 4096 * 32, key_heads: Some(8), ..llama }
            }
            "qwen2" => Self { architecture: "Qwen2ForCausalLM", key_heads: Some(32), ..qwen },
            "qwen3" => {
                Self { architecture: "Qwen3ForCausalLM", key_heads: Some(32), head_dim: Some(128), ..qwen }
            }
            "mixtral" => Self {
                architecture: "MixtralForCausalLM",
                positions: 4096 * 32,
                key_heads: Some(8),
                theta: 1e6,
                epsilon: 1e-5,
                ..llama
            },
            "olmoe" => Self {
                architecture: "OlmoeForCausalLM",
                positions: 4096,
                epsilon: 1e-5,
                begin: None,
                end: Some(50279),
                pad: Some(1),
                ..llama
            },
            "qwen2_moe" => Self { architecture: "Qwen2MoeForCausalLM", key_heads: Some(16), ..qwen },
            "qwen3_moe" => Self { architecture: "Qwen3MoeForCausalLM", key_heads: Some(4), ..qwen },
            _ => llama,
        }
    }
}

/// The keys not yet taken.
pub(crate) struct Keys(pub(crate) Map<String, Value>);

impl Keys {
    /// The key's value; `None` when it is absent or null.
    pub(crate) fn take<T: DeserializeOwned>(&mut self, key: &str) -> Result<Option<T>> {
        let value = self.0.remove(key).filter(|value| !value.is_null());
        value.map(|value| convert(key, value)).transpose()
    }

    pub(crate) fn or<T: DeserializeOwned>(&mut self, key: &str, default: T) -> Result<T> {
        Ok(self.take(key)?.unwrap_or(default))
    }

    pub(crate) fn required<T: DeserializeOwned>(&mut self, key: &str) -> Result<T> {
        self.take(key)?.ok_or_else(|| Error::Key { key: key.to_owned(), problem: "it is missing".to_owned() })
    }

    /// One token, several, or none; `default` only where the key is absent.
    fn token(&mut self, key: &str, default: Option<u32>) -> Result<Vec<u32>> {
        match self.0.remove(key) {
            None => Ok(default.into_iter().collect()),
            Some(Value::Null) => Ok(Vec::new()),
            Some(Value::Array(tokens)) => tokens.into_iter().map(|token| convert(key, token)).collect(),
            // Some tools write -1 for none.
            Some(Value::Number(number)) if number.as_i64() == Some(-1) => Ok(Vec::new()),
            Some(token) => Ok(vec![convert(key, token)?]),
        }
    }

    fn rope(&mut self, positions: usize, default: f64) -> Result<(f64, Scaling)> {
        let theta: Option<f64> = self.take("rope_theta")?;
        let scaling: Option<Map<String, Value>> = self.take("rope_scaling")?;
        let parameters: Option<Map<String, Value>> = self.take("rope_parameters")?;
        let mut rope = Self(parameters.or(scaling).unwrap_or_default());
        let theta = rope.take("rope_theta")?.or(theta).unwrap_or(default);
        let partial = [self.take("partial_rotary_factor")?, rope.take("partial_rotary_factor")?];
        if let Some(factor) = partial.into_iter().flatten().find(|factor: &f64| *factor != 1.0) {
            return unsupported("partial_rotary_factor", factor, "1 is");
        }
        let new_name: Option<String> = rope.take("rope_type")?;
        let old_name: Option<String> = rope.take("type")?;
        let scaling = match new_name.or(old_name).as_deref() {
            None | Some("default") => Scaling::None,
            Some("linear") => Scaling::Linear { factor: rope.required("factor")? },
            Some("llama3") => Scaling::Llama3 {
                factor: rope.required("factor")?,
                low_frequency_factor: rope.required("low_freq_factor")?,
                high_frequency_factor: rope.required("high_freq_factor")?,
                original_positions: rope.or("original_max_position_embeddings", positions)?,
            },
            Some(other) => {
                return unsupported("rope_scaling.rope_type", other, "default, linear and llama3 are");
            }
        };
        Ok((theta, scaling))
    }

    /// The experts of the families that have them.
    fn experts(&mut self, model_type: &str, intermediate_size: usize) -> Result<Option<Experts>> {
        let (count, per_token) = match model_type {
            "mixtral" => (8, 2),
            "olmoe" => (64, 8),
            "qwen2_moe" => (60, 4),
            "qwen3_moe" => (128, 8),
            _ => return Ok(None),
        };
        let (qwen, qwen2) = (model_type.starts_with("qwen"), model_type == "qwen2_moe");
        if qwen2 && !self.or("qkv_bias", true)? {
            return unsupported("qkv_bias", false, "true is");
        }
        // Transformers 5 writes the second for Qwen3-MoE.
        let (named, renamed) = (self.take("num_experts")?, self.take("num_local_experts")?);
        let width = if qwen2 { 1408 } else { 768 };
        Ok(Some(Experts {
            count: named.or(renamed).unwrap_or(count),
            per_token: self.or("num_experts_per_tok", per_token)?,
            width: if qwen { self.or("moe_intermediate_size", width)? } else { intermediate_size },
            normalized: if model_type == "mixtral" { true } else { self.or("norm_topk_prob", false)? },
            shared_width: if qwen2 { Some(self.or("shared_expert_intermediate_size", 5632)?) } else { None },
            step: if qwen { self.or("decoder_sparse_step", 1)? } else { 1 },
            dense_layers: if qwen { self.or("mlp_only_layers", Vec::new())? } else { Vec::new() },
        }))
    }

    /// The window where it has an effect.
    fn window(&mut self, model_type: &str, positions: usize) -> Result<Option<usize>> {
        if model_type == "llama" {
            return Ok(None);
        }
        let always = ["mistral", "mixtral", "olmoe"].contains(&model_type);
        let absent = !self.0.contains_key("sliding_window") && !["mixtral", "olmoe"].contains(&model_type);
        let window: Option<usize> = self.take("sliding_window")?;
        let window = if absent { Some(4096) } else { window };
        let used = self.or("use_sliding_window", false)?;
        let layers: Option<Vec<String>> = self.take("layer_types")?;
        let kinds = layers.unwrap_or_default();
        if let Some(kind) =
            kinds.iter().find(|kind| !["full_attention", "sliding_attention"].contains(&kind.as_str()))
        {
            return unsupported("layer_types", kind, "full_attention and sliding_attention are");
        }
        let effective = always || used || kinds.iter().any(|kind| kind == "sliding_attention");
        let window = window.filter(|window| effective && *window < positions);
        if window.is_some() && !kinds.is_empty() {
            self.0.insert("layer_types".to_owned(), json!(kinds));
        }
        Ok(window)
    }
}

fn convert<T: DeserializeOwned>(key: &str, value: Value) -> Result<T> {
    serde_json::from_value(value)
        .map_err(|error| Error::Key { key: key.to_owned(), problem: error.to_string() })
}

impl<'de> Deserialize<'de> for Config {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        Self::from_json(Map::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// `config.json` in the order in which it is written.
#[derive(Serialize)]
struct Written<'a> {
    architectures: &'a [String],
    model_type: &'a str,
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    head_dim: Option<usize>,
    max_position_embeddings: usize,
    rms_norm_eps: f64,
    rope_theta: f64,
    #[serde(skip_serializing_if = "Value::is_null")]
    rope_scaling: Value,
    tie_word_embeddings: bool,
    hidden_act: &'a str,
    attention_bias: bool,
    mlp_bias: bool,
    bos_token_id: Option<u32>,
    eos_token_id: Value,
    pad_token_id: Option<u32>,
    torch_dtype: &'a str,
    #[serde(flatten)]
    experts: Map<String, Value>,
    #[serde(flatten)]
    window: Map<String, Value>,
    #[serde(flatten)]
    extra: &'a Map<String, Value>,
}

impl Serialize for Config {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let rope_scaling = match self.rope_scaling {
            Scaling::None => Value::Null,
            Scaling::Linear { factor } => json!({"rope_type": "linear", "type": "linear", "factor": factor}),
            Scaling::Llama3 { factor, low_frequency_factor, high_frequency_factor, original_positions } => {
                json!({
                    "rope_type": "llama3",
                    "factor": factor,
                    "low_freq_factor": low_frequency_factor,
                    "high_freq_factor": high_frequency_factor,
                    "original_max_position_embeddings": original_positions,
                })
            }
        };
        let mut experts = Map::new();
        let mut put = |key: &str, value: Value| drop(experts.insert(key.to_owned(), value));
        if let Some(of) = &self.experts {
            put("num_experts_per_tok", json!(of.per_token));
            if self.model_type == "mixtral" {
                put("num_local_experts", json!(of.count));
            } else {
                put("num_experts", json!(of.count));
                put("norm_topk_prob", json!(of.normalized));
            }
            if self.model_type == "olmoe" {
                put("clip_qkv", json!(self.clip_qkv));
            }
            if self.model_type.starts_with("qwen") {
                put("moe_intermediate_size", json!(of.width));
                put("decoder_sparse_step", json!(of.step));
                put("mlp_only_layers", json!(of.dense_layers));
            }
            if let Some(width) = of.shared_width {
                put("shared_expert_intermediate_size", json!(width));
            }
        }
        // Absent keys would mean a window of 4096.
        let mut window = Map::new();
        if self.model_type != "llama" {
            window.insert("sliding_window".to_owned(), json!(self.sliding_window));
        }
        if self.model_type.starts_with("qwen") {
            window.insert("use_sliding_window".to_owned(), json!(self.sliding_window.is_some()));
        }
        let eos_token_id = match self.eos_token_id.as_slice() {
            [] => Value::Null,
            [one] => json!(one),
            several => json!(several),
        };
        Written {
            architectures: &self.architectures,
            model_type: &self.model_type,
            vocab_size: self.vocab_size,
            hidden_size: self.hidden_size,
            intermediate_size: self.intermediate_size,
            num_hidden_layers: self.num_hidden_layers,
            num_attention_heads: self.num_attention_heads,
            num_key_value_heads: self.num_key_value_heads,
            head_dim: self.head_dim,
            max_position_embeddings: self.max_position_embeddings,
            rms_norm_eps: self.rms_norm_eps,
            rope_theta: self.rope_theta,
            rope_scaling,
            tie_word_embeddings: self.tie_word_embeddings,
            hidden_act: &self.hidden_act,
            attention_bias: self.attention_bias,
            mlp_bias: self.mlp_bias,
            bos_token_id: self.bos_token_id,
            eos_token_id,
            pad_token_id: self.pad_token_id,
            torch_dtype: &self.torch_dtype,
            experts,
            window,
            extra: &self.extra,
        }
        .serialize(serializer)
    }
}
