//! Small models, as checkpoints and GGUF files of every family.

use std::fs;
use std::path::Path;

use candle_core::Device;
use serde_json::{Value, json};
use titer_model::{Config, Decoder};

use crate::{Seeds, repository};

// The writer of GGUF files that the crate's own tests use.
#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../../crates/titer-model/tests/common/mod.rs"]
mod common;

const CHATML: &str = "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] \
     }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

fn fixture(name: &str) -> Value {
    let text = fs::read(repository("tests/fixtures").join(name)).expect("a fixture");
    serde_json::from_slice(&text).expect("JSON")
}

/// The configurations of all families, by name.
pub fn configs() -> Vec<(String, String)> {
    let fixtures = ["architectures.json", "blocks.json", "experts.json", "gemma3.json"].map(fixture);
    let cases = fixtures.iter().flat_map(|fixture| fixture["cases"].as_array().into_iter().flatten());
    let named = |case: &Value| Some((case["name"].as_str()?.to_owned(), case.get("config")?.to_string()));
    cases.filter_map(named).collect()
}

/// The model of that name of `tests/fixtures/architectures.json`.
pub fn model(name: &str) -> Decoder {
    common::model(&case(name))
}

fn case(name: &str) -> common::Case {
    let fixture = fixture("architectures.json");
    let found = fixture["cases"].as_array().into_iter().flatten().find(|case| case["name"] == name);
    serde_json::from_value(found.expect("a case").clone()).expect("a case")
}

/// A GGUF file of each of some families, one with a vocabulary and a template.
pub fn gguf() -> Seeds {
    let names =
        ["llama-grouped", "llama-tied", "qwen2", "qwen3", "mistral", "gemma2", "gemma3", "olmo2", "granite"];
    let file = |name: &&str| {
        let architecture = match name.split('-').next().unwrap_or_default() {
            "mistral" => "llama",
            other => other,
        };
        common::Gguf::of(&model(name), architecture)
    };
    let mut seeds: Seeds = names.iter().map(|name| ((*name).to_owned(), file(name).bytes())).collect();
    for kind in ["byte_level", "sentence_piece"] {
        let vocabulary = &fixture("vocabularies.json")[kind]["vocabulary"];
        let mut spoken = file(&"llama-grouped");
        vocabulary_of(&mut spoken, vocabulary);
        seeds.push((kind.to_owned(), spoken.bytes()));
    }
    seeds
}

fn vocabulary_of(file: &mut common::Gguf, vocabulary: &Value) {
    let of = |key: &str, kind: u32, write: &dyn Fn(&Value, &mut Vec<u8>)| {
        let values = vocabulary[key].as_array()?;
        let mut bytes = kind.to_le_bytes().to_vec();
        bytes.extend((values.len() as u64).to_le_bytes());
        values.iter().for_each(|value| write(value, &mut bytes));
        Some(bytes)
    };
    let text = |value: &Value, bytes: &mut Vec<u8>| {
        let text = value.as_str().unwrap_or_default();
        bytes.extend((text.len() as u64).to_le_bytes());
        bytes.extend(text.as_bytes());
    };
    let number = |value: &Value, bytes: &mut Vec<u8>| {
        bytes.extend((value.as_i64().unwrap_or_default() as i32).to_le_bytes());
    };
    let float = |value: &Value, bytes: &mut Vec<u8>| {
        bytes.extend((value.as_f64().unwrap_or_default() as f32).to_le_bytes());
    };
    for (key, there, bytes) in [
        ("tokens", "tokens", of("tokens", 8, &text)),
        ("merges", "merges", of("merges", 8, &text)),
        ("scores", "scores", of("scores", 6, &float)),
        ("token_types", "token_type", of("token_types", 5, &number)),
    ] {
        if let Some(bytes) = bytes.filter(|_| !vocabulary[key].as_array().is_none_or(Vec::is_empty)) {
            file.pair(&format!("tokenizer.ggml.{there}"), 9, &bytes);
        }
    }
    for (key, there) in [("model", "model"), ("pre", "pre")] {
        if let Some(text) = vocabulary[key].as_str() {
            file.string(&format!("tokenizer.ggml.{there}"), text);
        }
    }
    for (key, there) in [("bos", "bos_token_id"), ("eos", "eos_token_id"), ("unk", "unknown_token_id")] {
        if let Some(id) = vocabulary[key].as_u64() {
            file.u32(&format!("tokenizer.ggml.{there}"), id as usize);
        }
    }
    file.string("tokenizer.chat_template", CHATML);
}

/// A `tokenizer.json`.
pub fn tokenizer_json() -> String {
    fixture("vocabularies.json")["byte_level"]["tokenizer_json"].to_string()
}

/// Files that stand beside a `tokenizer.json`: its own added tokens, `tokenizer_config.json`, `special_tokens_map.json`
/// and `added_tokens.json`, the last three empty where there is none.
pub fn beside_tokenizers() -> Vec<(String, [String; 3])> {
    let fixture = fixture("special_tokens.json");
    let mut all = Vec::new();
    for case in fixture["cases"].as_array().into_iter().flatten() {
        let mut tokenizer: Value = serde_json::from_str(&tokenizer_json()).expect("JSON");
        tokenizer["added_tokens"] = case["kept"].clone();
        let file = |name: &str| case["files"].get(name).map(Value::to_string).unwrap_or_default();
        let files = ["tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"].map(file);
        all.push((tokenizer.to_string(), files));
    }
    all
}

/// Writes a chat model with a handful of weights into a folder.
pub fn chat(folder: &Path) {
    fs::create_dir_all(folder).expect("a folder");
    let config = Config { max_position_embeddings: 512, ..Config::llama(421, 8, 8, 1, 1, 1) };
    let weights = common::weights(&config);
    let model = Decoder::new(config, &weights).expect("a model");
    model.save(folder).expect("a saved model");
    fs::write(folder.join("tokenizer.json"), tokenizer_json()).expect("written");
    let config = json!({ "eos_token": "<|im_end|>", "chat_template": CHATML });
    fs::write(folder.join("tokenizer_config.json"), config.to_string()).expect("written");
}

/// The device on which everything is read.
pub const DEVICE: Device = Device::Cpu;
