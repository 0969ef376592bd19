//! The small models of `tests/fixtures/architectures.json`, and a writer of GGUF files.
#![allow(clippy::unwrap_used)] // a test that panics is a test that fails

pub(crate) mod blocks;

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{Device, Tensor};
use serde::Deserialize;
use serde_json::{Map, Value};
use titer_model::{Config, Decoder};
use titer_ops::{Scaling, Sequences};

#[derive(Deserialize)]
pub(crate) struct Fixture {
    pub tokens: Vec<u32>,
    pub rows: Vec<u32>,
    pub cases: Vec<Case>,
}

#[derive(Deserialize)]
pub(crate) struct Case {
    pub name: String,
    pub config: Map<String, Value>,
    pub logits: Vec<Vec<f32>>,
    /// Of each weight, by the place of its name: its gradient's product with numbers of [`uniform`].
    #[serde(default)]
    pub gradients: Vec<f64>,
}

pub(crate) fn fixture_text(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures").join(name);
    std::fs::read_to_string(path).unwrap()
}

pub(crate) fn fixture() -> Fixture {
    serde_json::from_str(&fixture_text("architectures.json")).unwrap()
}

/// As `uniform` of `tests/peers/architectures.py`.
pub(crate) fn uniform(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let step = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    std::iter::repeat_with(step).take(count).collect()
}

/// As `fill` there.
pub(crate) fn weights(config: &Config) -> BTreeMap<String, Tensor> {
    (1..)
        .zip(config.shapes())
        .map(|(seed, (name, shape))| {
            let mut values = uniform(seed, shape.iter().product());
            let norm = name.ends_with("norm.weight");
            values.iter_mut().for_each(|value| *value = if norm { 1.0 + *value / 8.0 } else { *value / 4.0 });
            (name, Tensor::from_vec(values, shape, &Device::Cpu).unwrap())
        })
        .collect()
}

pub(crate) fn model(case: &Case) -> Decoder {
    let config = Config::from_json(case.config.clone()).unwrap();
    let weights = weights(&config);
    Decoder::new(config, &weights).unwrap()
}

pub(crate) fn logits(model: &Decoder, tokens: &[u32], rows: &[u32]) -> Vec<Vec<f32>> {
    let hidden = model.forward(tokens, &Sequences::new(&[0, tokens.len()]).unwrap()).unwrap();
    model.logits(&hidden, rows).unwrap().to_vec2().unwrap()
}

/// Of each weight's gradient, of the sum of log Σ exp over rows of logits: its product as `gradients` has it there, and
/// its norm.
pub(crate) fn gradients(model: &Decoder, tokens: &[u32], rows: &[u32]) -> Vec<(f64, f64)> {
    let hidden = model.forward(tokens, &Sequences::new(&[0, tokens.len()]).unwrap()).unwrap();
    let loss = model.logits(&hidden, rows).unwrap().log_sum_exp(1).unwrap().sum_all().unwrap();
    let gradients = model.backward(&loss).unwrap();
    let product = |(seed, gradient): (u64, &Tensor)| {
        let values = gradient.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let along = uniform(seed + 1000, values.len());
        let product =
            values.iter().zip(along).map(|(value, along)| f64::from(*value) * f64::from(along)).sum();
        (product, values.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt())
    };
    (1..).zip(gradients.values()).map(product).collect()
}

#[track_caller]
pub(crate) fn assert_close(got: &[Vec<f32>], expected: &[Vec<f32>], tolerance: f32, what: &str) {
    assert_eq!(got.len(), expected.len(), "{what}");
    let pairs = got.iter().flatten().zip(expected.iter().flatten());
    let worst = pairs.map(|(got, expected)| (got - expected).abs()).fold(0.0, f32::max);
    assert!(worst <= tolerance, "{what}: logits differ by {worst}");
}

/// A GGUF file in the making.
#[derive(Default, Clone)]
pub(crate) struct Gguf {
    pub pairs: Vec<u8>,
    pub pair_count: u64,
    pub infos: Vec<u8>,
    pub info_count: u64,
    pub data: Vec<u8>,
}

fn put_string(to: &mut Vec<u8>, text: &str) {
    to.extend((text.len() as u64).to_le_bytes());
    to.extend(text.as_bytes());
}

impl Gguf {
    pub(crate) fn pair(&mut self, key: &str, kind: u32, value: &[u8]) -> &mut Self {
        put_string(&mut self.pairs, key);
        self.pairs.extend(kind.to_le_bytes());
        self.pairs.extend(value);
        self.pair_count += 1;
        self
    }

    pub(crate) fn u32(&mut self, key: &str, value: usize) -> &mut Self {
        self.pair(key, 4, &(value as u32).to_le_bytes())
    }

    pub(crate) fn f32(&mut self, key: &str, value: f64) -> &mut Self {
        self.pair(key, 6, &(value as f32).to_le_bytes())
    }

    pub(crate) fn string(&mut self, key: &str, value: &str) -> &mut Self {
        let mut bytes = Vec::new();
        put_string(&mut bytes, value);
        self.pair(key, 8, &bytes)
    }

    pub(crate) fn tensor(&mut self, name: &str, shape: &[usize], kind: u32, bytes: &[u8]) -> &mut Self {
        let at = self.data.len() as u64;
        self.info(name, shape, kind, at);
        self.data.extend(bytes);
        self.data.resize(self.data.len().next_multiple_of(32), 0);
        self
    }

    pub(crate) fn info(&mut self, name: &str, shape: &[usize], kind: u32, offset: u64) -> &mut Self {
        put_string(&mut self.infos, name);
        self.infos.extend((shape.len() as u32).to_le_bytes());
        shape.iter().rev().for_each(|size| self.infos.extend((*size as u64).to_le_bytes()));
        self.infos.extend(kind.to_le_bytes());
        self.infos.extend(offset.to_le_bytes());
        self.info_count += 1;
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = b"GGUF".to_vec();
        bytes.extend(3u32.to_le_bytes());
        bytes.extend(self.info_count.to_le_bytes());
        bytes.extend(self.pair_count.to_le_bytes());
        bytes.extend(&self.pairs);
        bytes.extend(&self.infos);
        bytes.resize(bytes.len().next_multiple_of(32), 0);
        bytes.extend(&self.data);
        bytes
    }

    /// A model as llama.cpp's converter would write it.
    pub(crate) fn of(model: &Decoder, architecture: &str) -> Self {
        Self::of_some(model, architecture, &|_| true)
    }

    /// The same of some of its weights.
    pub(crate) fn of_some(model: &Decoder, architecture: &str, chosen: &dyn Fn(&str) -> bool) -> Self {
        let (config, mut file) = (model.config(), Self::default());
        let key = |name: &str| format!("{architecture}.{name}");
        file.string("general.architecture", architecture)
            .u32(&key("embedding_length"), config.hidden_size)
            .u32(&key("feed_forward_length"), config.intermediate_size)
            .u32(&key("block_count"), config.num_hidden_layers)
            .u32(&key("attention.head_count"), config.num_attention_heads)
            .u32(&key("attention.head_count_kv"), config.num_key_value_heads)
            .u32(&key("attention.key_length"), config.heads().dim)
            .u32(&key("context_length"), config.max_position_embeddings)
            .f32(&key("attention.layer_norm_rms_epsilon"), config.rms_norm_eps)
            .f32(&key("rope.freq_base"), config.rope_theta);
        if let Some(window) = config.sliding_window {
            file.u32(&key("attention.sliding_window"), window);
        }
        for (name, cap) in [
            ("attn_logit_softcapping", config.attn_logit_softcapping),
            ("final_logit_softcapping", config.final_logit_softcapping),
        ] {
            if let Some(cap) = cap {
                file.f32(&key(name), cap);
            }
        }
        if let Scaling::Linear { factor } = config.rope_scaling {
            file.string(&key("rope.scaling.type"), "linear").f32(&key("rope.scaling.factor"), factor);
        }
        if let Some(scales) = config.scales {
            file.f32(&key("embedding_scale"), scales.embedding)
                .f32(&key("attention.scale"), scales.attention)
                .f32(&key("residual_scale"), scales.residual)
                .f32(&key("logit_scale"), scales.logits);
        }
        for (name, var) in model.parameters().iter().filter(|(name, _)| chosen(name)) {
            let short = name
                .replace("model.embed_tokens", "token_embd")
                .replace("model.norm", "output_norm")
                .replace("lm_head", "output")
                .replace("model.layers", "blk")
                .replace("input_layernorm", "attn_norm")
                .replace("pre_feedforward_layernorm", "ffn_norm")
                .replace("post_feedforward_layernorm", "post_ffw_norm")
                .replace(
                    "post_attention_layernorm",
                    if ["olmo2", "gemma2", "gemma3"].contains(&architecture) {
                        "post_attention_norm"
                    } else {
                        "ffn_norm"
                    },
                )
                .replace("self_attn.o_proj", "attn_output")
                .replace("self_attn.", "attn_")
                .replace("mlp.", "ffn_")
                .replace("_proj", "");
            let mut tensor = var.as_tensor().clone();
            if architecture.starts_with("gemma") && name.ends_with("norm.weight") {
                tensor = (tensor + 1.0).unwrap();
            }
            let heads = match short.split('.').nth(2) {
                Some("attn_q") => config.num_attention_heads,
                Some("attn_k") => config.num_key_value_heads,
                _ => 0,
            };
            if ["llama", "smollm3", "granite"].contains(&architecture) && heads > 0 {
                let half = config.heads().dim / 2;
                let width = tensor.elem_count() / tensor.dim(0).unwrap();
                let apart = tensor.reshape((heads, 2, half, width)).unwrap().transpose(1, 2).unwrap();
                tensor = apart.contiguous().unwrap().reshape(tensor.shape()).unwrap();
            }
            let numbers = tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
            file.tensor(&short, tensor.dims(), 0, &bytes);
        }
        file
    }

    /// As llama.cpp's converter writes it: the experts of a layer in three tensors.
    pub(crate) fn of_experts(model: &Decoder) -> Self {
        let config = model.config();
        let architecture = match config.family.name {
            "mixtral" => "llama",
            "qwen2_moe" => "qwen2moe",
            "qwen3_moe" => "qwen3moe",
            other => other,
        };
        let experts = config.experts.as_ref().unwrap();
        let of_experts = |name: &str| {
            name.contains(".experts.") || name.contains("gate.weight") || name.contains("shared")
        };
        let mut file = Self::of_some(model, architecture, &|name| !of_experts(name));
        file.u32(&format!("{architecture}.expert_count"), experts.count)
            .u32(&format!("{architecture}.expert_used_count"), experts.per_token);
        if let Some(clip) = config.clip_qkv {
            file.f32(&format!("{architecture}.attention.clamp_kqv"), clip);
        }
        let mut put = |name: String, tensor: &Tensor| {
            let numbers: Vec<f32> = tensor.flatten_all().unwrap().to_vec1().unwrap();
            let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
            file.tensor(&name, tensor.dims(), 0, &bytes);
        };
        let of = |name: &str| model.parameters().get(name).map(|var| var.as_tensor().clone());
        for layer in 0..config.num_hidden_layers {
            let (prefix, place) = (format!("model.layers.{layer}"), format!("blk.{layer}"));
            for block in ["mlp", "block_sparse_moe"] {
                if let Some(router) = of(&format!("{prefix}.{block}.gate.weight")) {
                    put(format!("{place}.ffn_gate_inp.weight"), &router);
                }
                for (part, there) in [
                    ("gate_proj", "ffn_gate"),
                    ("up_proj", "ffn_up"),
                    ("down_proj", "ffn_down"),
                    ("w1", "ffn_gate"),
                    ("w3", "ffn_up"),
                    ("w2", "ffn_down"),
                ] {
                    let all = |expert: usize| of(&format!("{prefix}.{block}.experts.{expert}.{part}.weight"));
                    if let Some(all) = (0..experts.count).map(all).collect::<Option<Vec<_>>>() {
                        put(format!("{place}.{there}_exps.weight"), &Tensor::stack(&all, 0).unwrap());
                    }
                    if let Some(shared) = of(&format!("{prefix}.{block}.shared_expert.{part}.weight")) {
                        put(format!("{place}.{there}_shexp.weight"), &shared);
                    }
                }
            }
            if let Some(gate) = of(&format!("{prefix}.mlp.shared_expert_gate.weight")) {
                put(format!("{place}.ffn_gate_inp_shexp.weight"), &gate.flatten_all().unwrap());
            }
        }
        file
    }
}
