//! Special tokens that stand beside a `tokenizer.json` have the ids that Transformers gives them.
//!
//! Expected values: `tests/peers/special_tokens.py`.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use serde_json::{Value, json};
use titer_data::text::TokenizerFiles;

fn fixture(name: &str) -> Value {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures").join(name);
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// The vocabulary of the fixture, with these tokens recognised whole by the file itself.
fn tokenizer_json(kept: &Value) -> Vec<u8> {
    let mut json = fixture("vocabularies.json")["byte_level"]["tokenizer_json"].take();
    json["added_tokens"] = kept.clone();
    json.to_string().into_bytes()
}

#[test]
fn ids_and_texts_are_those_of_transformers() {
    let fixture = fixture("special_tokens.json");
    let cases = fixture["cases"].as_array().unwrap();
    assert!(cases.len() >= 15);
    for case in cases {
        let name = &case["name"];
        let tokenizer = tokenizer_json(&case["kept"]);
        let file = |name: &str| case["files"].get(name).map(|file| file.to_string().into_bytes());
        let (config, map, added) =
            (file("tokenizer_config.json"), file("special_tokens_map.json"), file("added_tokens.json"));
        let files = TokenizerFiles {
            tokenizer: &tokenizer,
            config: config.as_deref(),
            special_tokens_map: map.as_deref(),
            added_tokens: added.as_deref(),
        };
        let (tokenizer, config) = files.read().unwrap();
        assert_eq!(json!(config.special.eos), case["eos"], "{name}");
        for (at, text) in fixture["texts"].as_array().unwrap().iter().enumerate() {
            let ids = tokenizer.encode(text.as_str().unwrap()).unwrap();
            assert_eq!(json!(ids), case["ids"][at], "{name}: {text}");
            assert_eq!(json!(tokenizer.decode(&ids).unwrap()), case["decoded"][at], "{name}: {text}");
        }
        // What is saved is read again without the files beside it.
        let saved = tokenizer.to_json().unwrap();
        let again = TokenizerFiles { tokenizer: &saved, ..TokenizerFiles::default() }.read().unwrap().0;
        let text = fixture["texts"][0].as_str().unwrap();
        if name != "split" {
            assert_eq!(again.encode(text).unwrap(), tokenizer.encode(text).unwrap(), "{name}, saved");
        }
    }
}

#[test]
fn files_of_another_shape_are_refused_by_name_and_key() {
    let tokenizer = tokenizer_json(&json!([]));
    let check = |name: &str, text: Value, expected: &str| {
        let text = text.to_string().into_bytes();
        let of = |wanted: &str| (name == wanted).then_some(text.as_slice());
        let files = TokenizerFiles {
            tokenizer: &tokenizer,
            config: of("tokenizer_config.json"),
            special_tokens_map: of("special_tokens_map.json"),
            added_tokens: of("added_tokens.json"),
        };
        let error = files.read().expect_err(expected).to_string();
        assert!(error.contains(name) && error.contains(expected), "{error}");
    };
    let config = "tokenizer_config.json";
    check(config, json!([]), "no object");
    check(config, json!({"added_tokens_decoder": []}), "added_tokens_decoder");
    check(config, json!({"added_tokens_decoder": {"x": {"content": "a"}}}), "\"x\" is no id");
    check(config, json!({"added_tokens_decoder": {"1": 7}}), "added_tokens_decoder");
    check(config, json!({"additional_special_tokens": "<a>"}), "additional_special_tokens");
    check(config, json!({"extra_special_tokens": [7]}), "extra_special_tokens");
    check(config, json!({"eos_token": 7}), "eos_token");
    check("special_tokens_map.json", json!(7), "no object");
    check("added_tokens.json", json!({"<a>": "7"}), "<a>");
}
