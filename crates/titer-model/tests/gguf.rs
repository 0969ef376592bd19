//! GGUF files: the models that they hold, the blocks of numbers, and damaged headers.
#![allow(clippy::unwrap_used)] // a test that panics is a test that fails

use std::path::PathBuf;

use crate::common::{Gguf, assert_close, fixture, fixture_text, logits, model};
use candle_core::Device;
use serde::Deserialize;
use serde_json::json;
use titer_model::{Config, Decoder, gguf};
use titer_ops::Scaling;

use crate::common;

struct Written {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

fn written(bytes: &[u8]) -> Written {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    std::fs::write(&path, bytes).unwrap();
    Written { _folder: folder, path }
}

fn load(file: &Gguf) -> titer_model::Result<Decoder> {
    Decoder::open(&written(&file.bytes()).path, &Device::Cpu)
}

#[test]
fn the_models_of_each_architecture_are_what_was_converted() {
    let fixture = fixture();
    let mut loaded = 0;
    for case in &fixture.cases {
        let architecture = match case.name.split('-').next().unwrap() {
            "mistral" => "llama",
            "olmo3" => "olmo2",
            other => other,
        };
        let model = model(case);
        let config = model.config();
        // What llama.cpp's files do not say: which layers do not rotate or slide, other stretchings and scalars.
        let unsaid = [
            "smollm3-layers",
            "smollm3-window",
            "qwen2-window",
            "qwen3-window",
            "gemma2-plain",
            "olmo3-yarn",
        ];
        let stretched = !matches!(config.rope_scaling, Scaling::None | Scaling::Linear { .. });
        let elsewhere = case.name.ends_with("-pattern") || case.name.ends_with("-of-four");
        if stretched || unsaid.contains(&case.name.as_str()) || elsewhere {
            continue;
        }
        let got =
            load(&Gguf::of(&model, architecture)).unwrap_or_else(|error| panic!("{}: {error}", case.name));
        assert_close(&logits(&got, &fixture.tokens, &fixture.rows), &case.logits, 1e-4, &case.name);
        assert_eq!(got.config().tie_word_embeddings, model.config().tie_word_embeddings);
        loaded += 1;
    }
    assert!(loaded >= 22);
}

#[test]
fn a_window_makes_a_llama_a_mistral_and_is_refused_where_the_family_knows_none() {
    let fixture = fixture();
    let case = |name: &str| model(fixture.cases.iter().find(|case| case.name == name).unwrap());
    let windowed = case("mistral-window");
    let loaded = load(&Gguf::of(&windowed, "llama")).unwrap();
    assert_eq!((loaded.config().family.name, loaded.config().sliding_window), ("mistral", Some(5)));
    let folder = tempfile::tempdir().unwrap();
    loaded.save(folder.path()).unwrap();
    let again = Decoder::load(folder.path(), &Device::Cpu).unwrap();
    assert_eq!(again.config().sliding_window, Some(5), "it is still there when saved");
    for (name, architecture) in [("qwen2", "qwen2"), ("smollm3", "smollm3"), ("granite", "granite")] {
        let key = format!("{architecture}.attention.sliding_window");
        let error = load(&Gguf::of(&case(name), architecture).u32(&key, 48).clone()).unwrap_err().to_string();
        assert!(error.contains(&format!("{key} = 48")), "{error}");
    }
}

#[test]
fn the_keys_of_windows_are_read() {
    let fixture = fixture();
    let case = |name: &str| model(fixture.cases.iter().find(|case| case.name == name).unwrap());
    let gemma = case("gemma3");
    let file = || Gguf::of(&gemma, "gemma3");
    let config = load(&file()).unwrap().config().clone();
    assert_eq!((config.family.name, config.windowed.as_slice()), ("gemma3_text", &[0, 1, 2, 3, 4, 6][..]));
    let pattern = load(file().u32("gemma3.attention.sliding_window_pattern", 2)).unwrap();
    assert_eq!(pattern.config().windowed, [0, 2, 4, 6]);
    let local = load(file().f32("gemma3.rope.freq_base_swa", 300.0)).unwrap();
    assert_eq!(local.config().local_rope.as_ref().unwrap().theta, 300.0);
    let listed = |values: &[u8]| {
        let mut array = 7u32.to_le_bytes().to_vec();
        array.extend((values.len() as u64).to_le_bytes());
        array.extend(values);
        load(file().pair("gemma3.attention.sliding_window_pattern", 9, &array))
    };
    assert_eq!(listed(&[1, 0, 0, 1, 0, 0, 0]).unwrap().config().windowed, [0, 3]);
    assert!(listed(&[1, 0]).unwrap_err().to_string().contains("sliding_window_pattern = 2 entries"));
    let error = load(file().u32("gemma3.attention.sliding_window_pattern", 0)).unwrap_err().to_string();
    assert!(error.contains("sliding_window_pattern = set"), "{error}");
    let error = load(file().f32("gemma3.attn_logit_softcapping", 50.0)).unwrap_err().to_string();
    assert!(error.contains("attn_logit_softcapping = 50"), "{error}");
    // Of the largest Gemma 2 a head's share of the width stands in the factor of scores.
    let sizes = json!({"num_hidden_layers": 46, "head_dim": 10, "query_pre_attn_scalar": 8});
    let mut keys = fixture.cases.iter().find(|case| case.name == "gemma2").unwrap().config.clone();
    keys.extend(sizes.as_object().unwrap().clone());
    keys.remove("layer_types");
    let config = Config::from_json(keys).unwrap();
    let tensors = common::weights(&config);
    let large = Decoder::new(config, &tensors).unwrap();
    let loaded = load(&Gguf::of(&large, "gemma2")).unwrap();
    assert_eq!(loaded.config().query_pre_attn_scalar, Some(8.0));
}

#[test]
fn keys_that_change_numbers_are_honoured_or_refused() {
    let fixture = fixture();
    let model = model(&fixture.cases[0]);
    for key in [
        "rope.scale_linear",
        "attention.scale",
        "logit_scale",
        "embedding_scale",
        "residual_scale",
        "attention.clamp_kqv",
        "final_logit_softcapping",
    ] {
        let key = format!("llama.{key}");
        let error = load(&Gguf::of(&model, "llama").f32(&key, 0.5).clone()).unwrap_err().to_string();
        assert!(error.contains(&format!("{key} = set")), "{error}");
    }
    let error = load(&Gguf::of(&model, "llama").pair("llama.attention.causal", 7, &[0]).clone()).unwrap_err();
    assert!(error.to_string().contains("llama.attention.causal = false"), "{error}");
}

#[test]
fn the_stretched_frequencies_of_llama_3_are_recognised() {
    let fixture = fixture();
    let case = fixture.cases.iter().find(|case| case.config["rope_parameters"]["rope_theta"] == 5e5).unwrap();
    let model = model(case);
    let scaling = Scaling::Llama3 {
        factor: 32.0,
        low_frequency_factor: 1.0,
        high_frequency_factor: 4.0,
        original_positions: 8192,
    };
    let factors = |change: f32| -> Vec<u8> {
        let of = |scaling: &Scaling, i| scaling.frequency(i, 4, 5e5);
        let factors = (0..4).map(|i| of(&Scaling::None, i) / of(&scaling, i));
        factors.flat_map(|factor| (factor as f32 * change).to_le_bytes()).collect()
    };
    let file =
        |change| Gguf::of(&model, "llama").tensor("rope_freqs.weight", &[4], 0, &factors(change)).clone();
    assert_eq!(load(&file(1.0)).unwrap().config().rope_scaling, scaling);
    let refused = load(&file(1.5)).unwrap_err().to_string();
    assert!(refused.contains("rope_freqs.weight"), "{refused}");
    // Without them it would be another model, unless its frequencies are said to be plain.
    let long = |kind: Option<&str>| {
        let mut config = model.config().clone();
        (config.max_position_embeddings, config.rope_scaling) = (131_072, Scaling::None);
        let long = Decoder::new(config, &model.parameters().snapshot().unwrap()).unwrap();
        let mut file = Gguf::of(&long, "llama");
        if let Some(kind) = kind {
            file.string("llama.rope.scaling.type", kind);
        }
        load(&file)
    };
    let missing = long(None).unwrap_err().to_string();
    assert!(missing.contains("tensor rope_freqs.weight is missing"), "{missing}");
    assert_eq!(long(Some("none")).unwrap().config().rope_scaling, Scaling::None);
    let linear = Gguf::of(&model, "llama")
        .string("llama.rope.scaling.type", "linear")
        .f32("llama.rope.scaling.factor", 4.0)
        .clone();
    assert_eq!(load(&linear).unwrap().config().rope_scaling, Scaling::Linear { factor: 4.0 });
    let yarn = Gguf::of(&model, "llama").string("llama.rope.scaling.type", "yarn").clone();
    assert!(load(&yarn).unwrap_err().to_string().contains("llama.rope.scaling.type = yarn"));
}

#[test]
fn ids_of_no_token_are_none() {
    let fixture = fixture();
    let model = model(&fixture.cases[0]);
    let rows = model.config().vocab_size;
    let mut file = Gguf::of(&model, "llama");
    file.u32("tokenizer.ggml.bos_token_id", u32::MAX as usize).u32("tokenizer.ggml.eos_token_id", rows);
    file.u32("tokenizer.ggml.eot_token_id", rows - 1).u32("tokenizer.ggml.padding_token_id", rows + 7);
    let config = load(&file).unwrap().config().clone();
    let last = rows as u32 - 1;
    assert_eq!((config.bos_token_id, config.eos_token_id, config.pad_token_id), (None, vec![last], None));
}

#[derive(Deserialize)]
struct Blocks {
    kind: String,
    number: u32,
    bytes: String,
    numbers: Vec<f32>,
}

#[test]
fn blocks_of_every_type_hold_the_numbers_that_gguf_py_finds_in_them() {
    let cases: Vec<Blocks> = serde_json::from_str(&fixture_text("gguf_blocks.json")).unwrap();
    assert_eq!(cases.len(), 12);
    for case in cases {
        let digits = case.bytes.as_bytes().chunks(2);
        let bytes: Vec<u8> =
            digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect();
        let mut file = Gguf::default();
        file.tensor("x", &[1, case.numbers.len()], case.number, &bytes);
        let file = gguf::File::open(&written(&file.bytes()).path).unwrap();
        assert_eq!(file.tensors()["x"].kind, case.kind);
        let got = file.tensor("x").unwrap().to_vec2::<f32>().unwrap().remove(0);
        let largest = case.numbers.iter().fold(0f32, |largest, number| largest.max(number.abs()));
        for (got, expected) in got.iter().zip(&case.numbers) {
            assert!((got - expected).abs() <= 1e-6 * largest, "{}: {got} is not {expected}", case.kind);
        }
    }
}

#[test]
fn metadata_is_read_by_type() {
    let mut file = Gguf::default();
    let mut texts = [8u32.to_le_bytes().to_vec(), 2u64.to_le_bytes().to_vec()].concat();
    for text in ["a", "é"] {
        texts.extend((text.len() as u64).to_le_bytes());
        texts.extend(text.as_bytes());
    }
    let whole = [
        5u32.to_le_bytes().to_vec(),
        2u64.to_le_bytes().to_vec(),
        (-1i32).to_le_bytes().to_vec(),
        7i32.to_le_bytes().to_vec(),
    ];
    file.u32("n", 7).f32("x", 0.5).string("s", "text").pair("b", 7, &[1]).pair("ss", 9, &texts).pair(
        "ii",
        9,
        &whole.concat(),
    );
    let file = gguf::File::open(&written(&file.bytes()).path).unwrap();
    assert_eq!(
        (file.u32("n"), file.f32("x"), file.string("s"), file.bool("b")),
        (Some(7), Some(0.5), Some("text"), Some(true))
    );
    assert_eq!(file.strings("ss").unwrap(), ["a", "é"]);
    assert_eq!(file.i32s("ii").unwrap(), [-1, 7]);
    assert_eq!((file.u32("s"), file.string("absent")), (None, None));
}

#[test]
fn damaged_headers_are_errors_that_name_the_file() {
    let check = |bytes: &[u8], expected: &str| {
        let written = written(bytes);
        let error = gguf::File::open(&written.path).expect_err(expected).to_string();
        assert!(error.contains("model.gguf: ") && error.contains(expected), "{error}");
    };
    let good = Gguf::default().u32("n", 1).tensor("x", &[2, 2], 0, &[0; 16]).clone();
    assert!(gguf::File::open(&written(&good.bytes()).path).is_ok());
    let changed = |change: &dyn Fn(&mut Gguf)| {
        let mut file = good.clone();
        change(&mut file);
        file.bytes()
    };
    check(b"", "at least 24 bytes");
    let mut other = good.bytes();
    other[3] = b'L';
    check(&other, "not a GGUF file");
    let mut old = good.bytes();
    old[4] = 1;
    check(&old, "version 1");
    check(&changed(&|f| f.info_count = u64::MAX), "tensor_count 18446744073709551615 exceeds");
    check(&changed(&|f| f.pair_count = 1 << 60), "metadata_kv_count 1152921504606846976 exceeds");
    check(&changed(&|f| f.info_count = 1 << 29), "536870912 tensors and 1 metadata entries, needs at least");
    check(
        &changed(&|f| {
            f.u32("n", 1);
        }),
        "a key of metadata is there twice",
    );
    check(
        &changed(&|f| {
            f.info("x", &[2], 0, 0);
        }),
        "a tensor is there twice",
    );
    // Found by `cargo xtask fuzz`.
    check(
        &changed(&|f| {
            f.info("y", &[0, 4], 0, 0);
        }),
        "holds no numbers",
    );
    check(
        &changed(&|f| {
            f.info("y", &[1 << 40, 1 << 40], 0, 0);
        }),
        "overflows",
    );
    check(
        &changed(&|f| {
            f.info("y", &[1 << 20, 4], 0, 0);
        }),
        "cut short",
    );
    check(
        &changed(&|f| {
            f.info("y", &[2], 0, u64::MAX - 31);
        }),
        "cut short",
    );
    check(
        &changed(&|f| {
            f.info("y", &[2], 0, 5);
        }),
        "no multiple of 32",
    );
    check(
        &changed(&|f| {
            f.info("y", &[33], 8, 0);
        }),
        "no whole blocks of Q8_0",
    );
    check(
        &changed(&|f| {
            f.info("y", &[256], 16, 0);
        }),
        "IQ2_XXS",
    );
    check(
        &changed(&|f| {
            f.info("y", &[2; 5], 0, 0);
        }),
        "tensor 'y' has 5 dimensions",
    );
    check(
        &changed(&|f| {
            f.info("y", &[], 0, 0);
        }),
        "no dimensions",
    );
    check(
        &changed(&|f| {
            f.info("y", &[288], 15, 0);
        }),
        "numbers of type Q8K are not read",
    );
    check(
        &changed(&|f| {
            f.pair("a", 99, &[]);
        }),
        "unrecognized value-type 0x000063",
    );
    let text = u64::MAX.to_le_bytes();
    check(
        &changed(&|f| {
            f.pair("a", 8, &text);
        }),
        "string length 18446744073709551615 exceeds",
    );
    let array = [4u32.to_le_bytes().to_vec(), (1u64 << 62).to_le_bytes().to_vec()].concat();
    check(
        &changed(&|f| {
            f.pair("a", 9, &array);
        }),
        "array length 4611686018427387904 exceeds",
    );
    let array = [4u32.to_le_bytes().to_vec(), (1u64 << 29).to_le_bytes().to_vec()].concat();
    check(
        &changed(&|f| {
            f.pair("a", 9, &array);
        }),
        "array of 536870912 elements needs at least",
    );
    let deep = [9u32.to_le_bytes().to_vec(), 1u64.to_le_bytes().to_vec()].concat().repeat(70);
    check(
        &changed(&|f| {
            f.pair("a", 9, &deep);
        }),
        "nesting depth exceeds",
    );
    for alignment in [0, 3] {
        check(
            &changed(&|f| {
                f.u32("general.alignment", alignment);
            }),
            "not a power of two",
        );
    }
    check(
        &changed(&|f| {
            f.pair("general.alignment", 10, &64u64.to_le_bytes());
        }),
        "general.alignment is U64(64)",
    );
    let whole = good.bytes();
    for length in 0..whole.len() - 16 {
        check(&whole[..length], "");
    }
}

#[test]
fn files_that_hold_no_such_model_are_refused() {
    let fixture = fixture();
    let model = model(&fixture.cases[0]);
    let check = |file: Gguf, expected: &str| {
        let error = load(&file).expect_err(expected).to_string();
        assert!(error.contains("model.gguf: ") && error.contains(expected), "{error}");
    };
    check(
        Gguf::default().string("general.architecture", "falcon").clone(),
        "supported are llama, qwen2, qwen3, gemma2, gemma3, olmo2, smollm3, granite",
    );
    let mut mixtral = Gguf::of(&model, "llama").u32("llama.expert_count", 8).clone();
    check(mixtral.clone(), "llama.expert_used_count: it is missing");
    check(mixtral.u32("llama.expert_used_count", 2).clone(), "ffn_gate_exps.weight");
    check(Gguf::of(&model, "qwen3").u32("qwen3.expert_count", 8).clone(), "qwen3.expert_count = set");
    check(Gguf::of(&model, "qwen3moe"), "qwen3moe.expert_count = absent");
    check(Gguf::of(&model, "llama").u32("split.count", 3).clone(), "llama-gguf-split");
    check(Gguf::of(&model, "llama").u32("llama.rope.dimension_count", 4).clone(), "rope.dimension_count");
    check(
        Gguf::of(&model, "llama").tensor("extra", &[1], 0, &[0; 4]).clone(),
        "tensor extra does not belong",
    );
    check(Gguf::of(&model, "qwen3"), "attn_k_norm.weight of shape [8] is missing");
    let mut damaged = Gguf::of(&model, "llama");
    let end = damaged.data.len();
    damaged.data[end - 96..].fill(0xff);
    check(damaged, "the file is damaged");
}
