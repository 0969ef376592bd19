//! Decoders from GGUF files: configuration, names, and the order of rows.

use std::path::Path;

use candle_core::{Device, Tensor};
use serde_json::Map;
use titer_ops::Scaling;

use super::File;
use super::places::{Place, experts, places};
use super::window::CAPS;
use crate::config::unsupported;
use crate::family::{Bias, LLAMA, UNROTATED};
use crate::files::{Zeros, usable};
use crate::{Config, Decoder, Error, Family, Result, Scales};

/// Keys that change the numbers of any architecture that has them, and are not read here. Those of
/// [`Scales`] and [`CAPS`] are refused in families without these.
const UNREAD: [&str; 6] = [
    "rope.scale_linear",
    "rope.dimension_sections",
    "attention.max_alibi_bias",
    "attention.temperature_scale",
    "attention.output_scale",
    "router_logit_softcapping",
];
/// The factors of Llama 3's stretched rotary frequencies, one per frequency.
const ROPE_FACTORS: &str = "rope_freqs.weight";
/// The divisors of Phi's, in short texts and long ones.
const LONG_FACTORS: [&str; 2] = ["rope_factors_short.weight", "rope_factors_long.weight"];
/// Tensors that are no weights.
pub(super) const ROPE_TENSORS: [&str; 3] = [ROPE_FACTORS, LONG_FACTORS[0], LONG_FACTORS[1]];
/// Base of the rotary frequencies of Llama 3 to 3.3.
const LLAMA3_BASE: f64 = 5e5;
/// Positions that all of them were first trained on.
const LLAMA3_POSITIONS: usize = 8192;

impl File {
    /// The shape of the decoder that the file holds.
    ///
    /// # Errors
    /// When the architecture or one of its values is not supported.
    pub fn config(&self) -> Result<Config> {
        config(self).map_err(|error| of_file(error, self.path()))
    }
}

/// Says which file an error is about, unless it does already.
fn of_file(error: Error, path: &Path) -> Error {
    match error {
        error @ (Error::In { .. } | Error::File { .. }) => error,
        error => error.of_file(path),
    }
}

impl Decoder {
    /// Loads a GGUF file of a [`Family`] that says how such files hold it, its weights dequantized to `f32`.
    ///
    /// # Errors
    /// Names the file and what in it is torn, missing, or not supported.
    pub fn load_gguf(path: &Path, device: &Device) -> Result<Self> {
        let file = File::open(path)?;
        let config = file.config()?;
        let places = places(&file, &config).map_err(|error| of_file(error, path))?;
        let (family, heads) = (config.family, config.heads());
        let permuted = family.gguf.as_ref().is_some_and(|gguf| gguf.permuted);
        let mut zeros = Zeros::of(&config);
        let model = Self::build(config, device, |name, _| {
            let Some(Place { tensor, first, shape }) = places.get(name) else {
                return Err(Error::Missing { name: name.to_owned(), shape: Vec::new() });
            };
            let tensor = file.part(tensor, *first, shape)?;
            let tensor = match name.rsplit('.').nth(1) {
                Some("q_proj") if permuted => halves(&tensor, heads.queries)?,
                Some("k_proj") if permuted => halves(&tensor, heads.keys)?,
                _ if family.is_about_one(name) => (tensor - 1.0)?,
                _ => tensor,
            };
            let tensor = usable(name, &tensor, device).map_err(|error| error.of_file(path))?;
            zeros.look_at(name, &tensor).map_err(|error| error.of_file(path))?;
            Ok(tensor)
        })?;
        zeros.warn(path);
        Ok(model)
    }
}

/// Undoes the order of rows that llama.cpp gives the queries and keys of Llama: there the two features
/// that are rotated together lie side by side, here in the two halves of their head.
fn halves(tensor: &Tensor, heads: usize) -> Result<Tensor> {
    let rows = tensor.dim(0)?;
    let width = tensor.elem_count() / rows;
    let apart = tensor.reshape((heads, rows / heads / 2, 2, width))?.transpose(1, 2)?.contiguous()?;
    Ok(apart.reshape(tensor.shape())?)
}

fn config(file: &File) -> Result<Config> {
    if let Some(parts) = file.u64("split.count").filter(|parts| *parts > 1) {
        return unsupported(
            "split.count",
            parts,
            "one file is: join the parts with llama-gguf-split --merge",
        );
    }
    let architecture = file.string("general.architecture").unwrap_or_default();
    let key = |name: &str| format!("{architecture}.{name}");
    let windowed = file.u64(&key("attention.sliding_window")).is_some_and(|window| window > 0);
    let of_experts = file.u64(&key("expert_count")).is_some_and(|experts| experts > 0);
    let (family, _) = Family::of_architecture(architecture, windowed, of_experts)?;
    let missing = |key: String| Error::Key { key, problem: "it is missing or no single number".to_owned() };
    let size = |name: &str| {
        file.u64(&key(name)).and_then(|size| usize::try_from(size).ok()).ok_or_else(|| missing(key(name)))
    };
    let caps = if family.caps.is_some() { &[][..] } else { &CAPS };
    if let Some(name) = UNREAD.iter().chain(caps).find(|name| file.metadata().contains_key(&key(name))) {
        return unsupported(&key(name), "set", "a model without it, or its safetensors, are");
    }
    if file.bool(&key("attention.causal")) == Some(false) {
        return unsupported(&key("attention.causal"), false, "true is");
    }
    let Some(embedding) = file.tensors().get("token_embd.weight") else {
        return Err(Error::Missing { name: "token_embd.weight".to_owned(), shape: Vec::new() });
    };
    let (hidden_size, heads) = (size("embedding_length")?, size("attention.head_count")?);
    let optional = |name: &str| file.metadata().contains_key(&key(name)).then(|| size(name)).transpose();
    let head_dim = optional("attention.key_length")?;
    let default_dim = hidden_size.checked_div(heads).unwrap_or(0);
    let dim = head_dim.unwrap_or(default_dim);
    let rotated = optional("rope.dimension_count")?;
    let whole = if family.rope.partial.is_some() { None } else { rotated };
    for (name, value) in
        [("attention.value_length", optional("attention.value_length")?), ("rope.dimension_count", whole)]
    {
        if let Some(value) = value.filter(|value| *value != dim) {
            return unsupported(&key(name), value, &format!("as many as features of a head ({dim}) are"));
        }
    }
    const CLIP: &str = "attention.clamp_kqv";
    let clip = file.f32(&key(CLIP)).filter(|clip| *clip != 0.0).map(shortest);
    if clip.is_some() && !family.clip {
        return unsupported(&key(CLIP), "set", "a model without it, or its safetensors, are");
    }
    let epsilon =
        if family.layer_norm { "attention.layer_norm_epsilon" } else { "attention.layer_norm_rms_epsilon" };
    // Where an absent key would mean another number, it is there.
    let written = |dim: &usize| *dim != default_dim || family.absent.head_dim.is_some();
    let layers = size("block_count")?;
    let mut config = Config {
        architectures: vec![family.class.to_owned()],
        family,
        head_dim: Some(dim).filter(written),
        unrotated: family.unrotated(layers, UNROTATED),
        scales: scales(file, &key, family, dim)?,
        hidden_act: family.activation.absent,
        max_position_embeddings: size("context_length")?,
        rms_norm_eps: file.f32(&key(epsilon)).map(shortest).ok_or_else(|| missing(key(epsilon)))?,
        rotary_share: rotated.map_or(1.0, |rotated| share(rotated, dim)),
        parallel_residual: family
            .parallel
            .is_some_and(|absent| file.bool(&key("use_parallel_residual")).unwrap_or(absent)),
        clip_qkv: clip,
        experts: experts(file, &key, family, layers)?,
        rope_theta: file.f32(&key("rope.freq_base")).map_or(10_000.0, shortest),
        tie_word_embeddings: !file.tensors().contains_key("output.weight"),
        attention_bias: file.tensors().contains_key("blk.0.attn_output.bias"),
        mlp_bias: file.tensors().contains_key("blk.0.ffn_down.bias") && family.mlp_bias != Bias::Always,
        bos_token_id: token(file, "bos_token_id"),
        eos_token_id: ends(file),
        pad_token_id: token(file, "padding_token_id"),
        extra: Map::new(),
        ..Config::llama(
            embedding.shape.first().copied().unwrap_or(0),
            hidden_size,
            size("feed_forward_length")?,
            layers,
            heads,
            optional("attention.head_count_kv")?.unwrap_or(heads),
        )
    };
    file.windows(&mut config, &key)?;
    config.check()?;
    config.rope_scaling = scaling(file, &key("rope.scaling"), &config)?;
    config.check()?;
    Ok(config)
}

/// The share that makes so many of a head's features rotated.
fn share(rotated: usize, dim: usize) -> f64 {
    let share = rotated as f64 / dim as f64;
    // Rounded down, the product must be the number again.
    if ((dim as f64 * share) as usize) < rotated { share.next_up() } else { share }
}

/// The factors of the families that have them, and a refusal of these in others.
fn scales(
    file: &File,
    key: &dyn Fn(&str) -> String,
    family: &Family,
    head_dim: usize,
) -> Result<Option<Scales>> {
    let names = ["embedding_scale", "attention.scale", "residual_scale", "logit_scale"];
    let [embedding, attention, residual, logits] = names.map(|name| file.f32(&key(name)).map(shortest));
    if family.scales {
        let usual = 1.0 / (head_dim as f64).sqrt();
        return Ok(Some(Scales {
            embedding: embedding.unwrap_or(1.0),
            attention: attention.unwrap_or(usual),
            residual: residual.unwrap_or(1.0),
            logits: logits.unwrap_or(1.0),
        }));
    }
    match names.into_iter().find(|name| file.metadata().contains_key(&key(name))) {
        Some(name) => unsupported(&key(name), "set", "a model without it, or its safetensors, are"),
        None => Ok(None),
    }
}

/// The tokens that end a text and a turn.
fn ends(file: &File) -> Vec<u32> {
    let mut ends: Vec<u32> =
        ["eos_token_id", "eot_token_id"].iter().filter_map(|key| token(file, key)).collect();
    ends.dedup();
    ends
}

/// The token of a key, if the model has a row for it: some programs write 2^32 - 1 for none.
fn token(file: &File, key: &str) -> Option<u32> {
    let rows = file.tensors().get("token_embd.weight")?.shape.first().copied()?;
    file.u32(&format!("tokenizer.ggml.{key}")).filter(|id| (*id as usize) < rows)
}

fn scaling(file: &File, prefix: &str, config: &Config) -> Result<Scaling> {
    if let Some(long) = long(file, prefix, config)? {
        return Ok(long);
    }
    let kind = file.string(&format!("{prefix}.type")).unwrap_or("none");
    let factor = file.f32(&format!("{prefix}.factor")).map(shortest);
    let scaling = match (kind, factor) {
        ("none", _) | ("linear", None | Some(0.0)) => Scaling::None,
        ("linear", Some(factor)) => Scaling::Linear { factor },
        (other, _) => return unsupported(&format!("{prefix}.type"), other, "none and linear are"),
    };
    if !file.tensors().contains_key(ROPE_FACTORS) {
        // Llama 3 has 8192 positions of this base; 3.1 to 3.3 have more of it, and their frequencies stretched.
        let stretched = config.rope_theta == LLAMA3_BASE && config.max_position_embeddings > LLAMA3_POSITIONS;
        let said = file.metadata().contains_key(&format!("{prefix}.type"));
        if stretched && !said && config.family.class == LLAMA.class {
            let problem = format!(
                "is missing, and a Llama of base {LLAMA3_BASE} and {} positions has one: the file was converted by a \
                 program that did not know Llama 3.1, so that its numbers would be others; convert it again or load the \
                 model's folder (where its frequencies are not stretched, {prefix}.type = none says so)",
                config.max_position_embeddings
            );
            return Err(Error::Numbers { name: ROPE_FACTORS.to_owned(), problem });
        }
        return Ok(scaling);
    }
    // The factors are what Llama 3's rule gives; all published models have the same three constants.
    let factors = file.tensor(ROPE_FACTORS)?.flatten_all()?.to_vec1::<f32>()?;
    let largest = factors.iter().copied().fold(1.0, f32::max);
    let llama3 = Scaling::Llama3 {
        factor: shortest(largest),
        low_frequency_factor: 1.0,
        high_frequency_factor: 4.0,
        original_positions: LLAMA3_POSITIONS,
    };
    let half = config.heads().dim / 2;
    let as_ruled = |(i, factor): (usize, &f32)| {
        let of = |scaling: &Scaling| scaling.frequency(i, half, config.rope_theta);
        (of(&Scaling::None) / of(&llama3) / f64::from(*factor) - 1.0).abs() < 1e-4
    };
    if scaling == Scaling::None && factors.len() == half && factors.iter().enumerate().all(as_ruled) {
        Ok(llama3)
    } else {
        unsupported(ROPE_FACTORS, format!("factors up to {largest}"), "those of Llama 3.1 to 3.3 are")
    }
}

/// The divisors of frequencies in short texts and long ones, where a file of a family that knows them has some.
fn long(file: &File, prefix: &str, config: &Config) -> Result<Option<Scaling>> {
    let known = config.family.rope.kinds.contains(&"longrope");
    let original: Option<usize> =
        file.u64(&format!("{prefix}.original_context_length")).and_then(|size| size.try_into().ok());
    match LONG_FACTORS.into_iter().find(|name| file.tensors().contains_key(*name)) {
        Some(name) if !known => return Err(Error::Unexpected { name: name.to_owned() }),
        Some(_) => {}
        // A model of longer texts than it was first trained on has them.
        None if known && original.is_some_and(|first| first < config.max_position_embeddings) => {
            let (name, shape) = (LONG_FACTORS[1].to_owned(), vec![config.rotated_dim() / 2]);
            return Err(Error::Missing { name, shape });
        }
        None => return Ok(None),
    }
    let [short, long] = LONG_FACTORS.map(|name| -> Result<Vec<f64>> {
        Ok(file.tensor(name)?.flatten_all()?.to_vec1::<f32>()?.into_iter().map(shortest).collect())
    });
    let missing = |name: &str| Error::Key {
        key: format!("{prefix}.{name}"),
        problem: "it is missing, beside factors of frequencies".to_owned(),
    };
    let original_positions = original.ok_or_else(|| missing("original_context_length"))?;
    let magnitude = file.f32(&format!("{prefix}.attn_factor")).ok_or_else(|| missing("attn_factor"))?;
    Ok(Some(Scaling::Long {
        short: short?.into(),
        long: long?.into(),
        magnitude: shortest(magnitude),
        original_positions,
    }))
}

/// The number that was meant by an `f32`: 1e-5 and not 9.99999974738e-6.
pub(super) fn shortest(number: f32) -> f64 {
    number.to_string().parse().unwrap_or(f64::from(number))
}
