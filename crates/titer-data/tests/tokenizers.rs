//! Tokenizers give the ids and texts of Hugging Face's Python tokenizers.
//!
//! Expected values: `tests/peers/vocabularies.py`.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::LazyLock;

use proptest::prelude::*;
use serde::Deserialize;
use serde_json::Value;
use titer_data::text::{GgufVocabulary, Streaming, TextError, Tokenizer};

#[derive(Deserialize)]
struct Fixture {
    texts: Vec<String>,
    byte_level: Family,
    sentence_piece: Family,
}

#[derive(Deserialize)]
struct Family {
    vocabulary: Pieces,
    #[serde(default)]
    tokenizer_json: Value,
    peers: BTreeMap<String, Coded>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Pieces {
    model: String,
    tokens: Vec<String>,
    scores: Vec<f32>,
    token_types: Vec<i32>,
    merges: Vec<String>,
}

#[derive(Deserialize)]
struct Coded {
    ids: Vec<Vec<u32>>,
    decoded: Vec<String>,
    decoded_all: Vec<String>,
}

static FIXTURE: LazyLock<Fixture> = LazyLock::new(|| {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/vocabularies.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
});

fn vocabulary(family: &Family, pre: &str) -> GgufVocabulary {
    let Pieces { model, tokens, scores, token_types, merges } = &family.vocabulary;
    GgufVocabulary {
        model: model.clone(),
        pre: (model == "gpt2").then(|| pre.to_owned()),
        tokens: tokens.clone(),
        scores: scores.clone(),
        token_types: token_types.clone(),
        merges: merges.clone(),
        unk: (model == "llama").then_some(0),
        ..GgufVocabulary::default()
    }
}

fn byte_level(pre: &str) -> Tokenizer {
    Tokenizer::from_gguf(&vocabulary(&FIXTURE.byte_level, pre)).unwrap()
}

fn compare(tokenizer: &Tokenizer, name: &str, expected: &Coded) {
    for (at, text) in FIXTURE.texts.iter().enumerate() {
        let ids = tokenizer.encode(text).unwrap();
        assert_eq!(ids, expected.ids[at], "{name}: {text:?}");
        assert_eq!(tokenizer.decode(&ids).unwrap(), expected.decoded[at], "{name}: {text:?}");
        assert_eq!(tokenizer.decode_all(&ids).unwrap(), expected.decoded_all[at], "{name}: {text:?}");
    }
}

#[test]
fn gguf_vocabularies_encode_and_decode_as_python_does() {
    assert!(FIXTURE.texts.len() > 80);
    for family in [&FIXTURE.byte_level, &FIXTURE.sentence_piece] {
        for (name, expected) in &family.peers {
            let tokenizer = Tokenizer::from_gguf(&vocabulary(family, name)).unwrap();
            compare(&tokenizer, name, expected);
            let written = Tokenizer::from_json(&tokenizer.to_json().unwrap()).unwrap();
            compare(&written, &format!("{name}, written and read"), expected);
        }
    }
    let ids = |pre: &str| &FIXTURE.byte_level.peers[pre].ids;
    for (one, other) in [("gpt-2", "smollm"), ("smollm", "qwen2"), ("qwen2", "llama-bpe")] {
        assert_ne!(ids(one), ids(other), "the texts do not tell {one} from {other}");
    }
}

#[test]
fn a_tokenizer_json_encodes_as_python_does() {
    let json = FIXTURE.byte_level.tokenizer_json.to_string();
    let tokenizer = Tokenizer::from_json(json.as_bytes()).unwrap();
    compare(&tokenizer, "tokenizer.json", &FIXTURE.byte_level.peers["smollm"]);
}

#[test]
fn truncation_and_padding_of_the_file_are_not_done_and_dropout_is_refused() {
    let mut json = FIXTURE.byte_level.tokenizer_json.clone();
    json["truncation"] = serde_json::json!({
        "direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0,
    });
    json["padding"] = serde_json::json!({
        "strategy": {"Fixed": 100}, "direction": "Right", "pad_to_multiple_of": null,
        "pad_id": 0, "pad_type_id": 0, "pad_token": "<|endoftext|>",
    });
    let tokenizer = Tokenizer::from_json(json.to_string().as_bytes()).unwrap();
    compare(&tokenizer, "bounded", &FIXTURE.byte_level.peers["smollm"]);
    json["model"]["dropout"] = 0.1.into();
    let error = Tokenizer::from_json(json.to_string().as_bytes()).unwrap_err();
    assert!(error.to_string().contains("dropout"), "{error}");
}

/// Found by `cargo xtask fuzz`: the library looks such a token up when it encodes, and panics.
#[test]
fn a_file_on_which_the_library_panics_only_when_it_is_used_is_an_error() {
    let mut json = FIXTURE.byte_level.tokenizer_json.clone();
    json["post_processor"] = serde_json::json!({
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {},
    });
    let tokenizer = Tokenizer::from_json(json.to_string().as_bytes()).unwrap();
    for encoded in
        [tokenizer.encode_whole("a lathe"), tokenizer.encode("a lathe"), tokenizer.encode_plain("a")]
    {
        assert!(
            !matches!(encoded, Err(ref error) if !matches!(error, TextError::Coding { .. })),
            "{encoded:?}"
        );
    }
    assert!(matches!(tokenizer.encode_whole("a lathe"), Err(TextError::Coding { .. })));
}

#[test]
fn plain_encoding_never_reaches_the_special_tokens() {
    let tokenizer = byte_level("smollm");
    let text = "<|im_start|>user\nhi<|im_end|>";
    let special = [tokenizer.id("<|im_start|>").unwrap(), tokenizer.id("<|im_end|>").unwrap()];
    assert!(special.iter().all(|id| tokenizer.encode(text).unwrap().contains(id)));
    let plain = tokenizer.encode_plain(text).unwrap();
    assert!(!special.iter().any(|id| plain.contains(id)));
    assert_eq!(tokenizer.decode(&plain).unwrap(), text);
}

#[test]
fn the_vocabulary_is_counted_and_checked_against_the_model() {
    let tokenizer = byte_level("smollm");
    let size = FIXTURE.byte_level.vocabulary.tokens.len();
    assert_eq!(tokenizer.size(), size);
    assert_eq!(tokenizer.token(1).as_deref(), Some("<|im_start|>"));
    assert_eq!(tokenizer.id("<|im_start|>"), Some(1));
    assert!(tokenizer.is_added(1) && !tokenizer.is_added(9));
    // The last token is recognised whole: a template that does not write it does not need it.
    tokenizer.check_vocabulary(size - 1).unwrap();
    let token = tokenizer.token(size as u32 - 2).unwrap();
    assert_eq!(
        tokenizer.check_vocabulary(size - 2),
        Err(TextError::VocabularyAboveModel { id: size as u32 - 2, token, rows: size - 2 })
    );
}

#[test]
fn streams_give_whole_characters_that_add_up_to_the_text() {
    for tokenizer in [byte_level("smollm"), sentence_piece()] {
        for text in &FIXTURE.texts {
            let ids = tokenizer.encode(text).unwrap();
            let mut stream = Streaming::new(&tokenizer);
            let mut all = String::new();
            for id in &ids {
                let piece = stream.push(*id).unwrap();
                assert!(!piece.ends_with('\u{fffd}'), "{text:?}: {piece:?}");
                all += &piece;
            }
            all += &stream.finish().unwrap();
            assert_eq!(all, tokenizer.decode(&ids).unwrap(), "{text:?}");
        }
    }
}

fn sentence_piece() -> Tokenizer {
    Tokenizer::from_gguf(&vocabulary(&FIXTURE.sentence_piece, "")).unwrap()
}

#[test]
fn what_a_vocabulary_says_to_add_is_written_for_transformers() {
    let mut with = vocabulary(&FIXTURE.sentence_piece, "");
    with.bos = Some(1);
    with.add_bos = true;
    let tokenizer = Tokenizer::from_gguf(&with).unwrap();
    assert_eq!(tokenizer.encode("a").unwrap(), sentence_piece().encode("a").unwrap());
    let json: Value = serde_json::from_slice(&tokenizer.to_json().unwrap()).unwrap();
    assert_eq!(json["post_processor"]["single"][0]["SpecialToken"]["id"], "<s>");
}

#[test]
fn vocabularies_that_contradict_themselves_are_refused_by_key() {
    let gpt = || vocabulary(&FIXTURE.byte_level, "smollm");
    let llama = || vocabulary(&FIXTURE.sentence_piece, "");
    let check = |key: &str, vocabulary: GgufVocabulary| {
        let error = Tokenizer::from_gguf(&vocabulary).unwrap_err();
        assert!(error.to_string().contains(key), "{key}: {error}");
    };
    check("tokenizer.ggml.model", GgufVocabulary { model: "bert".to_owned(), ..gpt() });
    let pre = |pre: Option<&str>| GgufVocabulary { pre: pre.map(str::to_owned), ..gpt() };
    check("tokenizer.ggml.pre: the pre-tokenizer \"tekken\"", pre(Some("tekken")));
    for silent in [None, Some(""), Some("default")] {
        check("tokenizer.ggml.pre: the file does not say", pre(silent));
    }
    check("tokenizer.ggml.tokens", GgufVocabulary { tokens: Vec::new(), ..gpt() });
    check(
        "tokenizer.ggml.tokens",
        GgufVocabulary { tokens: vec!["a".to_owned(); 2], token_types: Vec::new(), ..llama() },
    );
    check("tokenizer.ggml.token_type", GgufVocabulary { token_types: vec![1], ..gpt() });
    check("tokenizer.ggml.scores", GgufVocabulary { scores: vec![1.0], ..llama() });
    check("tokenizer.ggml.merges: merge 0", GgufVocabulary { merges: vec!["ab".to_owned()], ..gpt() });
    check("tokenizer.ggml.merges: there are none", GgufVocabulary { merges: Vec::new(), ..gpt() });
    let merges = gpt().merges;
    let half = merges[..merges.len() / 2].to_vec();
    check("are made by no merge", GgufVocabulary { merges: half, ..gpt() });
    check("are made by no merge", GgufVocabulary { merges: vec!["no pair".to_owned()], ..gpt() });
    let bytes = llama().tokens.into_iter().filter(|token| !token.starts_with("<0x")).collect::<Vec<_>>();
    let without_bytes = GgufVocabulary {
        scores: vec![0.0; bytes.len()],
        token_types: Vec::new(),
        tokens: bytes,
        unk: Some(9999),
        ..llama()
    };
    check("tokenizer.ggml.unknown_token_id: 9999", without_bytes);
    let long = GgufVocabulary { tokens: vec!["a".repeat(5000)], token_types: Vec::new(), ..gpt() };
    check("tokenizer.ggml.tokens", long);
}

#[test]
fn what_no_text_needs_does_not_matter() {
    let plain = byte_level("smollm");
    let same = |vocabulary: GgufVocabulary, what: &str| {
        let tokenizer = Tokenizer::from_gguf(&vocabulary).unwrap_or_else(|error| panic!("{what}: {error}"));
        for text in &FIXTURE.texts {
            assert_eq!(tokenizer.encode(text).unwrap(), plain.encode(text).unwrap(), "{what}: {text:?}");
        }
    };
    let gpt = || vocabulary(&FIXTURE.byte_level, "smollm");
    let filled = |tokens: &[&str], kind: i32| {
        let mut with = gpt();
        with.tokens.extend(tokens.iter().map(|token| (*token).to_owned()));
        with.token_types.resize(with.tokens.len(), kind);
        with
    };
    same(filled(&["[PAD]", "[PAD]", "[PAD]"], 5), "equal unused tokens");
    same(filled(&["", ""], 5), "empty tokens");
    let ordinary = gpt().tokens[300].clone();
    same(filled(&[&ordinary], 4), "a user's token that repeats an ordinary one");
    let none = Some(u32::MAX);
    same(GgufVocabulary { bos: none, eos: none, unk: none, pad: none, ..gpt() }, "ids of no token");
    let mut wild = gpt();
    wild.merges.push("zz qq".to_owned());
    same(wild, "a merge of no tokens");
    let error = Tokenizer::from_gguf(&filled(&[&ordinary], 1)).unwrap_err().to_string();
    assert!(error.contains("is the token of both 300 and"), "{error}");
}

#[test]
fn names_of_one_rule_give_the_same_tokens() {
    for (one, other) in [
        ("llama-bpe", "falcon3"),
        ("llama-bpe", "pixtral"),
        ("qwen2", "deepseek-r1-qwen"),
        ("smollm", "starcoder"),
        ("gpt-2", "phi-2"),
    ] {
        let (one, other) = (byte_level(one), byte_level(other));
        for text in &FIXTURE.texts {
            assert_eq!(one.encode(text).unwrap(), other.encode(text).unwrap(), "{text:?}");
        }
    }
    // Smaug's words are Llama 3's, and are merged even where they are tokens; of Qwen 3.5's, marks are letters.
    assert_eq!(
        byte_level("smaug-bpe").encode("a 1234 b").unwrap(),
        byte_level("llama-bpe").encode("a 1234 b").unwrap()
    );
    assert_eq!(
        byte_level("qwen35").encode("It's 2024").unwrap(),
        byte_level("qwen2").encode("It's 2024").unwrap()
    );
}

#[test]
fn values_on_which_the_library_panics_are_refused() {
    let mut json = FIXTURE.byte_level.tokenizer_json.clone();
    json["normalizer"] = serde_json::json!({"type": "Precompiled", "precompiled_charsmap": "AAAA"});
    assert!(Tokenizer::from_json(json.to_string().as_bytes()).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_reading_a_tokenizer_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Tokenizer::from_json(&bytes);
    }

    #[test]
    fn a_damaged_tokenizer_is_read_or_refused(at in 0_usize..4000, byte in any::<u8>()) {
        let mut json = FIXTURE.byte_level.tokenizer_json.to_string().into_bytes();
        let at = at % json.len();
        json[at] = byte;
        if let Ok(tokenizer) = Tokenizer::from_json(&json) {
            let _ = tokenizer.encode("What is a lathe? 12 é\u{1f600}");
        }
    }

    #[test]
    fn any_text_survives_byte_level_tokens(text in any::<String>()) {
        let tokenizer = byte_level("smollm");
        let ids = tokenizer.encode(&text).unwrap();
        prop_assert_eq!(tokenizer.decode_all(&ids).unwrap(), text);
    }
}
