//! `config.json` of Transformers 4 and 5, read and written.
//!
//! Transformers 5 reads what 4 wrote, so that form is written: `rope_theta` and `rope_scaling` where 5
//! would write `rope_parameters`, `torch_dtype` where 5 would write `dtype`.

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value, json};
use titer_ops::{Activation, Scaling};

use crate::config::unsupported;
use crate::family::{Bias, LLAMA, UNROTATED};
use crate::rope::{self, Ropes};
use crate::{Clamp, Config, Error, Experts, Family, Result, Scales};

impl Config {
    /// From the object that `config.json` holds.
    ///
    /// # Errors
    /// Names the first key that is missing, of a wrong type, or whose value is not supported.
    pub fn from_json(object: Map<String, Value>) -> Result<Self> {
        let mut keys = Keys(object);
        let family = Family::named(&keys.required::<String>("model_type")?)?;
        if let Some(quantization) = keys.0.get("quantization_config").filter(|value| !value.is_null()) {
            let method = quantization.get("quant_method").unwrap_or(quantization);
            if !(family.packed() && method == "mxfp4") {
                return unsupported(
                    "quantization_config",
                    method,
                    "weights in f32, f16 or bf16 are; or a GGUF",
                );
            }
            // Read from its blocks, and saved without them.
            keys.0.remove("quantization_config");
        }
        for (switch, supported) in family.switches {
            if keys.or(switch, *supported)? != *supported {
                return unsupported(switch, !*supported, &format!("{supported} is"));
            }
        }
        let absent = &family.absent;
        let num_attention_heads = keys.required("num_attention_heads")?;
        let num_hidden_layers = keys.required("num_hidden_layers")?;
        let max_position_embeddings = keys.or("max_position_embeddings", absent.positions)?;
        let Ropes { rope, local, share } = keys.ropes(max_position_embeddings, family)?;
        let parallel = |absent| keys.or("use_parallel_residual", absent);
        let parallel_residual = family.parallel.map_or(Ok(false), parallel)?;
        let unrotated = keys.unrotated(family, num_hidden_layers)?;
        let (sliding_window, windowed) = keys.window(family, num_hidden_layers, &unrotated)?;
        let [query_pre_attn_scalar, attn_logit_softcapping, final_logit_softcapping] = keys.scores(family)?;
        let intermediate_size = keys.required("intermediate_size")?;
        let experts = keys.experts(family, intermediate_size)?;
        let torch_dtype: Option<String> = keys.take("torch_dtype")?;
        let dtype: Option<String> = keys.take("dtype")?;
        let mut config = Self {
            family,
            architectures: keys.take("architectures")?.unwrap_or_else(|| vec![family.class.to_owned()]),
            vocab_size: keys.required("vocab_size")?,
            hidden_size: keys.required("hidden_size")?,
            intermediate_size,
            num_hidden_layers,
            num_attention_heads,
            num_key_value_heads: match keys.0.contains_key("num_key_value_heads") {
                true => keys.or("num_key_value_heads", num_attention_heads)?,
                false => absent.key_heads.unwrap_or(num_attention_heads),
            },
            head_dim: keys.take("head_dim")?.or(absent.head_dim),
            max_position_embeddings,
            rms_norm_eps: keys.or(family.epsilon_key(), absent.epsilon)?,
            rope_theta: rope.theta,
            rotary_share: share,
            rope_scaling: rope.scaling,
            parallel_residual,
            unrotated,
            scales: keys.scales(family)?,
            sliding_window,
            windowed,
            local_rope: local,
            query_pre_attn_scalar,
            attn_logit_softcapping,
            final_logit_softcapping,
            tie_word_embeddings: keys.or("tie_word_embeddings", absent.tied)?,
            hidden_act: keys.activation(family)?,
            attention_bias: keys.or("attention_bias", absent.attention_bias)?
                && family.attention_bias == Bias::Keyed,
            mlp_bias: keys.or("mlp_bias", false)? && family.mlp_bias == Bias::Keyed,
            clip_qkv: if family.clip { keys.take("clip_qkv")? } else { None },
            experts,
            bos_token_id: keys.token("bos_token_id", absent.begin)?.first().copied(),
            eos_token_id: keys.token("eos_token_id", absent.end)?,
            pad_token_id: keys.token("pad_token_id", absent.pad)?.first().copied(),
            torch_dtype: dtype.or(torch_dtype).unwrap_or_else(|| "float32".to_owned()),
            extra: Map::new(),
        };
        // Numbers that JSON does not know, in keys that mean nothing here, cannot be written again.
        keys.0.retain(|_, value| !value.as_str().is_some_and(|text| text.ends_with(NO_NUMBER)));
        config.extra = keys.0;
        config.check()?;
        Ok(config)
    }
}

/// Marks what Python writes and JSON does not know: `NaN`, `Infinity`, `-Infinity`.
const NO_NUMBER: &str = " (no number)";

/// The object that a file holds, as Python reads it: a number that JSON does not know becomes a text, which
/// is refused where a key's number is asked for.
pub(crate) fn object(text: &[u8]) -> serde_json::Result<Map<String, Value>> {
    serde_json::from_slice(text).or_else(|error| {
        let (mut strict, mut rest, mut quoted, mut escaped) = (Vec::new(), text, false, false);
        while let Some((&byte, after)) = rest.split_first() {
            let words: [&[u8]; 3] = [b"NaN", b"Infinity", b"-Infinity"];
            if let Some(word) = words.into_iter().find(|word| !quoted && rest.starts_with(word)) {
                strict.extend([b"\"", word, NO_NUMBER.as_bytes(), b"\""].concat());
                rest = &rest[word.len()..];
                continue;
            }
            quoted ^= byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            strict.push(byte);
            rest = after;
        }
        // What is wrong otherwise is told of the text as it is.
        serde_json::from_slice(&strict).map_err(|_| error)
    })
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

    /// The layers that do not rotate.
    fn unrotated(&mut self, family: &Family, layers: usize) -> Result<Vec<usize>> {
        if !family.unrotated {
            return Ok(Vec::new());
        }
        let rotated: Option<Vec<usize>> = self.take("no_rope_layers")?;
        let interval = self.or("no_rope_layer_interval", UNROTATED)?;
        if interval == 0 {
            return unsupported("no_rope_layer_interval", interval, "at least 1 is");
        }
        match rotated {
            None => Ok(family.unrotated(layers, interval)),
            // It names, for each layer, whether it rotates; there may be more than layers.
            Some(rotated) if rotated.len() >= layers => {
                Ok((0..layers).filter(|layer| rotated[*layer] == 0).collect())
            }
            Some(rotated) => {
                unsupported("no_rope_layers", format!("{} entries", rotated.len()), "one for each layer is")
            }
        }
    }

    /// The factors of the families that have them.
    fn scales(&mut self, family: &Family) -> Result<Option<Scales>> {
        let mut factor = |key: &str| self.or(key, 1.0);
        let scales = || -> Result<Scales> {
            Ok(Scales {
                embedding: factor("embedding_multiplier")?,
                attention: factor("attention_multiplier")?,
                residual: factor("residual_multiplier")?,
                logits: factor("logits_scaling")?,
            })
        };
        family.scales.then(scales).transpose()
    }

    /// The experts of the families that have them.
    fn experts(&mut self, family: &Family, intermediate_size: usize) -> Result<Option<Experts>> {
        let Some(of) = &family.mixture else { return Ok(None) };
        // Transformers 5 writes the second for Qwen3-MoE.
        let (named, renamed) = (self.take("num_experts")?, self.take("num_local_experts")?);
        let mut size =
            |key: &str, absent: Option<usize>| absent.map(|absent| self.or(key, absent)).transpose();
        Ok(Some(Experts {
            width: size("moe_intermediate_size", of.width)?.unwrap_or(intermediate_size),
            shared_width: size("shared_expert_intermediate_size", of.shared_width)?,
            count: named.or(renamed).unwrap_or(of.count),
            per_token: self.or("num_experts_per_tok", of.per_token)?,
            normalized: of.normalized.map_or(Ok(true), |absent| self.or("norm_topk_prob", absent))?,
            step: if of.sparse { self.or("decoder_sparse_step", 1)? } else { 1 },
            dense_layers: if of.sparse { self.or("mlp_only_layers", Vec::new())? } else { Vec::new() },
            clamp: of.clamp.map(|absent| self.clamp(absent)).transpose()?,
        }))
    }

    fn clamp(&mut self, absent: Clamp) -> Result<Clamp> {
        Ok(Clamp {
            limit: self.or("swiglu_limit", absent.limit)?,
            alpha: self.or("swiglu_alpha", absent.alpha)?,
        })
    }

    /// What an MLP's gate passes through.
    fn activation(&mut self, family: &Family) -> Result<Activation> {
        let key = family.activation.key;
        let Some(name) = self.take::<String>(key)? else { return Ok(family.activation.absent) };
        let usual = match name.as_str() {
            // Other names of the same.
            "swish" => "silu",
            "gelu_new" | "gelu_fast" => written(Activation::GeluTanh),
            name => name,
        };
        match ACTIVATIONS.iter().find(|activation| written(**activation) == usual) {
            Some(activation) => Ok(*activation),
            None => {
                let names = ACTIVATIONS.map(written).join(", ");
                unsupported(key, name, &format!("supported are {names}"))
            }
        }
    }
}

/// What an MLP's gate may pass through, or in families without one what its first projection makes.
const ACTIVATIONS: [Activation; 3] = [Activation::Silu, Activation::GeluTanh, Activation::Gelu];

/// Transformers' name.
fn written(activation: Activation) -> &'static str {
    match activation {
        Activation::Silu => "silu",
        Activation::GeluTanh => "gelu_pytorch_tanh",
        Activation::Gelu => "gelu",
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
    #[serde(skip_serializing_if = "Option::is_none")]
    rms_norm_eps: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rope_theta: Option<f64>,
    #[serde(skip_serializing_if = "Value::is_null")]
    rope_scaling: Value,
    tie_word_embeddings: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    hidden_act: Option<&'a str>,
    attention_bias: bool,
    mlp_bias: bool,
    bos_token_id: Option<u32>,
    eos_token_id: Value,
    pad_token_id: Option<u32>,
    torch_dtype: &'a str,
    #[serde(flatten)]
    own: Map<String, Value>,
    #[serde(flatten)]
    extra: &'a Map<String, Value>,
}

impl Serialize for Config {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let (family, mut own) = (self.family, Map::new());
        let mut put = |key: &str, value: Value| drop(own.insert(key.to_owned(), value));
        if let (Some(experts), Some(of)) = (&self.experts, &family.mixture) {
            put("num_experts_per_tok", json!(experts.per_token));
            put(of.count_key, json!(experts.count));
            if of.normalized.is_some() {
                put("norm_topk_prob", json!(experts.normalized));
            }
            if of.width.is_some() {
                put("moe_intermediate_size", json!(experts.width));
            }
            if of.sparse {
                put("decoder_sparse_step", json!(experts.step));
                put("mlp_only_layers", json!(experts.dense_layers));
            }
            if let Some(clamp) = experts.clamp {
                put("swiglu_limit", json!(clamp.limit));
                put("swiglu_alpha", json!(clamp.alpha));
            }
            if let Some(width) = experts.shared_width {
                put("shared_expert_intermediate_size", json!(width));
            }
        }
        if family.clip {
            put("clip_qkv", json!(self.clip_qkv));
        }
        if family.unrotated {
            let rotated = (0..self.num_hidden_layers).map(|layer| u8::from(!self.unrotated.contains(&layer)));
            put("no_rope_layers", json!(rotated.collect::<Vec<_>>()));
        }
        if let Some(scales) = &self.scales {
            put("embedding_multiplier", json!(scales.embedding));
            put("attention_multiplier", json!(scales.attention));
            put("residual_multiplier", json!(scales.residual));
            put("logits_scaling", json!(scales.logits));
        }
        if family.layer_norm {
            put(family.epsilon_key(), json!(self.rms_norm_eps));
        }
        if family.rope.theta != LLAMA.rope.theta {
            put(family.rope.theta, json!(self.rope_theta));
        }
        if let Some((key, _)) = family.rope.partial {
            put(key, json!(self.rotary_share));
        }
        if let Scaling::Long { original_positions, .. } = self.rope_scaling {
            put(rope::ORIGINAL, json!(original_positions));
        }
        if family.parallel.is_some() {
            put("use_parallel_residual", json!(self.parallel_residual));
        }
        let hidden_act = Some(written(self.hidden_act)).filter(|_| family.activation.key == "hidden_act");
        if hidden_act.is_none() {
            put(family.activation.key, json!(written(self.hidden_act)));
        }
        self.write_windows(&mut own);
        let rope_scaling = rope::written(self, &mut own);
        let eos_token_id = match self.eos_token_id.as_slice() {
            [] => Value::Null,
            [one] => json!(one),
            several => json!(several),
        };
        Written {
            architectures: &self.architectures,
            model_type: family.name,
            vocab_size: self.vocab_size,
            hidden_size: self.hidden_size,
            intermediate_size: self.intermediate_size,
            num_hidden_layers: self.num_hidden_layers,
            num_attention_heads: self.num_attention_heads,
            num_key_value_heads: self.num_key_value_heads,
            head_dim: self.head_dim,
            max_position_embeddings: self.max_position_embeddings,
            rms_norm_eps: (!family.layer_norm).then_some(self.rms_norm_eps),
            rope_theta: (family.rope.theta == LLAMA.rope.theta).then_some(self.rope_theta),
            rope_scaling,
            tie_word_embeddings: self.tie_word_embeddings,
            hidden_act,
            attention_bias: self.attention_bias,
            mlp_bias: self.mlp_bias,
            bos_token_id: self.bos_token_id,
            eos_token_id,
            pad_token_id: self.pad_token_id,
            torch_dtype: &self.torch_dtype,
            own,
            extra: &self.extra,
        }
        .serialize(serializer)
    }
}
