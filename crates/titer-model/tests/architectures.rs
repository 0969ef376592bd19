//! Each family against Transformers, from its own configurations; what they write and refuse.
#![allow(clippy::unwrap_used)] // a test that panics is a test that fails

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::common::{Case, assert_close, fixture, fixture_text, gradients, logits, model};
use candle_core::{DType, Device, Tensor};
use rand_chacha::rand_core::SeedableRng;
use serde_json::{Map, Value, json};
use titer_model::{Choice, Config, Decoder, FAMILIES, Family, Generate, write_tensors};
use titer_ops::{Activation, Scaling};

#[test]
fn every_family_computes_what_transformers_computes_before_and_after_a_save() {
    let fixture = fixture();
    assert!(fixture.cases.len() >= 38);
    let blocks = fixture_text("blocks.json");
    let names = |family: &&&Family| {
        let named = |case: &Case| case.config["model_type"] == family.name;
        fixture.cases.iter().any(named) || blocks.contains(&format!("\"model_type\": \"{}\"", family.name))
    };
    let dense = FAMILIES.iter().filter(|family| family.name != "mixtral" && !family.name.contains("moe"));
    assert_eq!(dense.clone().filter(names).count(), dense.count(), "a family has no case");
    for case in &fixture.cases {
        let model = model(case);
        let got = logits(&model, &fixture.tokens, &fixture.rows);
        assert_close(&got, &case.logits, 1e-4, &case.name);
        let products = gradients(&model, &fixture.tokens, &fixture.rows);
        assert_eq!(products.len(), case.gradients.len(), "{}", case.name);
        for (at, ((got, norm), expected)) in products.iter().zip(&case.gradients).enumerate() {
            let name = model.parameters().iter().nth(at).unwrap().0;
            let close = (got - expected).abs() < 1e-4 * norm + 1e-5;
            assert!(close, "{}: gradient of {name} of norm {norm}: {got} for {expected}", case.name);
        }
        let folder = tempfile::tempdir().unwrap();
        model.save(folder.path()).unwrap();
        let again = Decoder::open(folder.path(), &Device::Cpu).unwrap();
        assert_eq!(again.config(), model.config(), "{}", case.name);
        // For `tests/peers/transformers_check.py families`.
        if let Ok(peers) = std::env::var("TITER_FAMILIES") {
            let folder = Path::new(&peers).join(&case.name);
            fs::create_dir_all(&folder).unwrap();
            model.save(&folder).unwrap();
            let text = json!({"tokens": fixture.tokens, "rows": fixture.rows, "logits": got});
            fs::write(folder.join("logits.json"), text.to_string()).unwrap();
        }
        assert_eq!(logits(&again, &fixture.tokens, &fixture.rows), got, "{}", case.name);
    }
}

#[test]
fn cached_generation_agrees_with_the_forward_pass_in_every_family() {
    let fixture = fixture();
    for case in &fixture.cases {
        let model = model(case);
        let prompt = fixture.tokens[..9].to_vec();
        let settings = || Generate { max_new_tokens: 6, ends: &[], choice: Choice::Greedy };
        let answer = model.generate(std::slice::from_ref(&prompt), settings()).unwrap().remove(0);
        let mut tokens = prompt.clone();
        for token in &answer {
            let row = logits(&model, &tokens, &[tokens.len() as u32 - 1]).remove(0);
            let highest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            assert!(row[*token as usize] >= highest - 1e-5, "{}", case.name);
            tokens.push(*token);
        }
        let stopped = model.generate(&[prompt], Generate { ends: &[99, answer[2]], ..settings() }).unwrap();
        let first = answer.iter().position(|token| *token == answer[2]).unwrap();
        assert_eq!(stopped[0], answer[..=first], "{}", case.name);
    }
}

fn llama() -> Map<String, Value> {
    let config = json!({
        "model_type": "llama", "vocab_size": 40, "hidden_size": 24, "intermediate_size": 32,
        "num_hidden_layers": 2, "num_attention_heads": 3,
    });
    config.as_object().unwrap().clone()
}

fn with(mut config: Map<String, Value>, changes: Value) -> Map<String, Value> {
    config.extend(changes.as_object().unwrap().clone());
    config
}

#[test]
fn absent_keys_have_the_values_of_transformers() {
    let config = Config::from_json(llama()).unwrap();
    assert_eq!(config.architectures, ["LlamaForCausalLM"]);
    assert_eq!((config.num_key_value_heads, config.heads().dim), (3, 8));
    assert_eq!((config.rms_norm_eps, config.rope_theta, config.max_position_embeddings), (1e-6, 1e4, 2048));
    assert_eq!((config.bos_token_id, config.eos_token_id.as_slice()), (Some(1), &[2][..]));
    assert!(!config.tie_word_embeddings && !config.attention_bias && !config.mlp_bias);
    let null = Config::from_json(with(llama(), json!({"eos_token_id": null, "bos_token_id": null}))).unwrap();
    assert_eq!((null.bos_token_id, null.eos_token_id), (None, vec![]));
    let nulls = json!({"model_type": "mistral", "num_key_value_heads": null});
    assert_eq!(Config::from_json(with(llama(), nulls)).unwrap().num_key_value_heads, 3);
    let mistral = |changes: Value| {
        let config = with(llama(), json!({"model_type": "mistral", "num_key_value_heads": 3}));
        Config::from_json(with(config, changes)).unwrap()
    };
    assert_eq!(mistral(json!({})).sliding_window, Some(4096));
    assert_eq!(mistral(json!({})).windowed, [0, 1]);
    assert_eq!(mistral(json!({"sliding_window": null})).sliding_window, None);
    assert!(mistral(json!({"sliding_window": null})).windowed.is_empty());
    let qwen = |changes: Value| {
        let config =
            with(llama(), json!({"model_type": "qwen3", "num_key_value_heads": 3, "sliding_window": 16}));
        Config::from_json(with(config, changes)).unwrap()
    };
    assert_eq!((qwen(json!({})).heads().dim, qwen(json!({})).sliding_window), (128, None));
    assert_eq!(qwen(json!({"use_sliding_window": true})).sliding_window, Some(16));
    assert!(qwen(json!({"use_sliding_window": true})).windowed.is_empty(), "28 layers have none");
    let late = qwen(json!({"use_sliding_window": true, "max_window_layers": 1}));
    assert_eq!((late.windowed.as_slice(), &late.extra["max_window_layers"]), (&[1][..], &json!(1)));
    let gemma = |changes: Value| {
        let config = with(llama(), json!({"model_type": "gemma3_text", "num_key_value_heads": 3}));
        Config::from_json(with(config, changes)).unwrap()
    };
    let config = gemma(json!({"num_hidden_layers": 7}));
    assert_eq!((config.windowed.as_slice(), config.sliding_window), (&[0, 1, 2, 3, 4, 6][..], Some(4096)));
    assert_eq!((config.rope_theta, config.local_rope.as_ref().map(|rope| rope.theta)), (1e6, Some(1e4)));
    assert_eq!((config.heads().dim, config.query_pre_attn_scalar), (256, Some(256.0)));
    assert_eq!((config.hidden_act, config.tie_word_embeddings), (Activation::GeluTanh, true));
    let gemma2 = gemma(json!({"model_type": "gemma2"}));
    assert_eq!((gemma2.windowed.as_slice(), gemma2.local_rope), (&[0][..], None));
    assert_eq!((gemma2.attn_logit_softcapping, gemma2.final_logit_softcapping), (Some(50.0), Some(30.0)));
    let plain = gemma(json!({"model_type": "gemma2", "attn_logit_softcapping": null}));
    assert_eq!((plain.attn_logit_softcapping, plain.final_logit_softcapping), (None, Some(30.0)));
}

#[test]
fn both_spellings_of_rotary_scaling_are_read_and_what_is_written_is_read_again() {
    let llama3 = json!({"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192, "rope_type": "llama3"});
    let mut five = llama3.clone();
    five["rope_theta"] = json!(5e5);
    let read = |changes| Config::from_json(with(llama(), changes)).unwrap();
    let four = read(json!({"rope_theta": 5e5, "rope_scaling": llama3}));
    let five = read(json!({"rope_parameters": five}));
    assert_eq!(four, five);
    assert!(matches!(four.rope_scaling, Scaling::Llama3 { original_positions: 8192, .. }));
    let linear = read(json!({"rope_scaling": {"type": "linear", "factor": 2.0}}));
    assert_eq!((linear.rope_scaling.clone(), linear.rope_theta), (Scaling::Linear { factor: 2.0 }, 1e4));
    for config in
        [four, linear, read(json!({"eos_token_id": [1, 2], "torch_dtype": "bfloat16", "made_up": [1]}))]
    {
        let text = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<Config>(&text).unwrap(), config, "{text}");
    }
}

#[test]
fn configurations_that_cannot_be_are_refused_by_key_before_anything_is_allocated() {
    let check = |changes: Value, expected: &str| {
        let error = Config::from_json(with(llama(), changes)).expect_err(expected).to_string();
        assert!(error.contains(expected), "{error}");
    };
    check(
        json!({"model_type": "gemma3"}),
        "supported are llama, mistral, qwen2, qwen3, gemma2, gemma3_text, olmo2, olmo3, smollm3, granite, phi3, gpt_neox, mixtral",
    );
    let gemma = |key: &str, value: Value, expected: &str| {
        let config = json!({"model_type": "gemma3_text", "num_key_value_heads": 1, key: value});
        check(config, expected);
    };
    gemma("use_bidirectional_attention", json!(true), "use_bidirectional_attention = true");
    gemma("attn_logit_softcapping", json!(50.0), "attn_logit_softcapping = 50");
    gemma("final_logit_softcapping", json!(0.0), "final_logit_softcapping = 0");
    gemma("query_pre_attn_scalar", json!(-1), "query_pre_attn_scalar = -1");
    gemma("hidden_activation", json!("relu"), "hidden_activation = relu");
    gemma("sliding_window", json!(null), "sliding_window = null");
    gemma("sliding_window", json!(0), "sliding_window = 0");
    gemma("sliding_window_pattern", json!(0), "sliding_window_pattern = 0");
    gemma("layer_types", json!(["full_attention"]), "layer_types = 1 entries");
    gemma("layer_types", json!(["full_attention", "chunked_attention"]), "layer_types = chunked_attention");
    gemma(
        "rope_parameters",
        json!({"rope_theta": 1e4, "rope_type": "default"}),
        "rope_parameters = rope_theta",
    );
    gemma("rope_parameters", json!({"sliding_attention": 3}), "rope_parameters = sliding_attention: 3");
    let local = json!({"sliding_attention": {"rope_type": "linear", "factor": 0.5}});
    gemma("rope_parameters", local, "rope_parameters.sliding_attention.factor = 0.5");
    gemma("rope_scaling", json!({"type": "linear", "factor": 2.0}), "rope_scaling = set without rope_type");
    let unused = json!({"model_type": "qwen3", "num_key_value_heads": 1, "layer_types": ["full_attention",
        "sliding_attention"]});
    check(unused.clone(), "layer_types = sliding_attention");
    let nothing = json!({"use_sliding_window": true, "sliding_window": null});
    check(Value::Object(with(unused.as_object().unwrap().clone(), nothing)), "sliding_window = null");
    let yarn = json!({"rope_type": "yarn", "factor": 2.0, "beta_fast": 1.0, "beta_slow": 2.0});
    check(json!({"rope_scaling": yarn}), "rope_scaling.beta_slow = 2");
    let yarn = json!({"rope_type": "yarn", "factor": 2.0, "attention_factor": 0.0});
    check(json!({"rope_scaling": yarn}), "rope_scaling.attention_factor = 0");
    check(json!({"rope_scaling": {"rope_type": "dynamic"}}), "factor: it is missing");
    check(json!({"rope_parameters": {"rope_type": "longrope"}}), "longrope");
    check(json!({"rope_scaling": {"rope_type": "linear"}}), "factor: it is missing");
    check(json!({"rope_scaling": {"rope_type": "linear", "factor": -1.0}}), "rope_scaling.factor");
    check(
        json!({"rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 4.0, "high_freq_factor": 1.0}}),
        "low_freq_factor",
    );
    check(json!({"rope_parameters": {"full_attention": {"rope_theta": 1e4}}}), "full_attention");
    check(json!({"model_type": "smollm3", "num_key_value_heads": 1, "no_rope_layers": [1]}), "1 entries");
    check(json!({"model_type": "smollm3", "no_rope_layer_interval": 0}), "no_rope_layer_interval = 0");
    check(json!({"model_type": "granite", "logits_scaling": 0.0}), "logits_scaling = 0");
    check(json!({"partial_rotary_factor": 0.5}), "partial_rotary_factor");
    check(json!({"quantization_config": {"quant_method": "gptq"}}), "gptq");
    check(json!({"hidden_act": "relu"}), "hidden_act");
    check(json!({"hidden_size": null}), "hidden_size: it is missing");
    check(json!({"hidden_size": -4}), "hidden_size");
    check(json!({"hidden_size": 1e40}), "hidden_size");
    check(json!({"hidden_size": u64::MAX}), "hidden_size");
    check(json!({"vocab_size": 0}), "vocab_size");
    check(json!({"num_hidden_layers": 1_000_000_000}), "num_hidden_layers");
    check(
        json!({"num_attention_heads": 1 << 24, "head_dim": 1 << 24, "num_key_value_heads": 1}),
        "2^40 weights",
    );
    check(json!({"num_attention_heads": 0}), "num_attention_heads");
    check(json!({"head_dim": 7}), "head_dim");
    check(json!({"max_position_embeddings": 1u64 << 40}), "max_position_embeddings");
    check(json!({"rms_norm_eps": "small"}), "rms_norm_eps");
    check(json!({"rope_theta": 0}), "rope_theta");
    check(json!({"eos_token_id": "</s>"}), "eos_token_id");
}

#[test]
fn a_token_beyond_the_sliding_window_is_not_seen() {
    let fixture = fixture();
    let case = |name: &str| model(fixture.cases.iter().find(|case| case.name == name).unwrap());
    // Two layers of a window of 5 reach 8 tokens back.
    let model = case("mistral-window");
    let last = |tokens: &[u32]| logits(&model, tokens, &[tokens.len() as u32 - 1]);
    let mut tokens = fixture.tokens[..20].to_vec();
    let before = last(&tokens);
    tokens[10] = (tokens[10] + 1) % 40;
    assert_eq!(last(&tokens), before);
    tokens[11] = (tokens[11] + 1) % 40;
    assert_ne!(last(&tokens), before);
    // Of several texts in one batch none is seen by another.
    let packed = titer_ops::Sequences::new(&[0, 7, 20]).unwrap();
    for name in ["mistral-window", "gemma2", "gemma3", "olmo3"] {
        let model = case(name);
        let hidden = model.forward(&fixture.tokens[..20], &packed).unwrap();
        let together: Vec<Vec<f32>> = model.logits(&hidden, &[19]).unwrap().to_vec2().unwrap();
        assert_close(&together, &logits(&model, &fixture.tokens[7..20], &[12]), 1e-6, name);
        let mut checkpointed = model.duplicate().unwrap();
        checkpointed.checkpointing(true);
        let (tokens, rows) = (&fixture.tokens, &fixture.rows);
        assert_eq!(logits(&checkpointed, tokens, rows), logits(&model, tokens, rows), "{name}");
        assert_eq!(gradients(&checkpointed, tokens, rows), gradients(&model, tokens, rows), "{name}");
    }
}

#[test]
fn norms_about_one_begin_at_zero_and_may_stay_there() {
    let fixture = fixture();
    let case = fixture.cases.iter().find(|case| case.name == "gemma3").unwrap();
    let config = Config::from_json(case.config.clone()).unwrap();
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(0);
    let fresh = Decoder::initialize(config, 0.02, &mut rng, &Device::Cpu).unwrap();
    let sum =
        |name: &str| fresh.parameters().get(name).unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap();
    assert_eq!((sum("model.norm.weight"), sum("model.layers.3.self_attn.q_norm.weight")), (0.0, 0.0));
    let folder = tempfile::tempdir().unwrap();
    fresh.save(folder.path()).unwrap();
    let loaded = Decoder::load(folder.path(), &Device::Cpu).unwrap();
    let computed = |model: &Decoder| logits(model, &fixture.tokens, &fixture.rows);
    assert_eq!(computed(&loaded), computed(&fresh));
}

/// Saves a model with its tensors changed.
fn saved(folder: &Path, model: &Decoder, change: impl FnOnce(&mut BTreeMap<String, Tensor>)) {
    model.save_config(&folder.join("config.json")).unwrap();
    let mut tensors = model.parameters().snapshot().unwrap();
    change(&mut tensors);
    write_tensors(&folder.join("model.safetensors"), tensors.iter().map(|(name, t)| (name.as_str(), t)))
        .unwrap();
}

fn zeros(shape: &[usize], dtype: DType) -> Tensor {
    Tensor::zeros(shape, dtype, &Device::Cpu).unwrap()
}

#[test]
fn harmless_tensors_are_passed_over_and_half_types_are_read() {
    let fixture = fixture();
    let case = fixture.cases.iter().find(|case| case.name == "llama-tied").unwrap();
    let model = model(case);
    let folder = tempfile::tempdir().unwrap();
    saved(folder.path(), &model, |tensors| {
        tensors.insert("lm_head.weight".to_owned(), tensors["model.embed_tokens.weight"].clone());
        tensors.insert("model.layers.0.self_attn.rotary_emb.inv_freq".to_owned(), zeros(&[3], DType::F32));
    });
    let expected = logits(&model, &fixture.tokens, &fixture.rows);
    let load = || Decoder::load(folder.path(), &Device::Cpu).unwrap();
    assert_eq!(logits(&load(), &fixture.tokens, &fixture.rows), expected);
    // A base model's names.
    saved(folder.path(), &model, |tensors| {
        *tensors = tensors.iter().map(|(name, t)| (name.replacen("model.", "", 1), t.clone())).collect();
    });
    assert_eq!(logits(&load(), &fixture.tokens, &fixture.rows), expected);
    for dtype in [DType::F16, DType::BF16] {
        saved(folder.path(), &model, |tensors| {
            tensors.values_mut().for_each(|tensor| *tensor = tensor.to_dtype(dtype).unwrap());
        });
        let loaded = load();
        assert_eq!((loaded.dtype(), loaded.config().torch_dtype.as_str()), (DType::F32, "float32"));
        assert_close(&logits(&loaded, &fixture.tokens, &fixture.rows), &expected, 0.1, "half");
        let tensors = model.parameters().snapshot().unwrap();
        let halves =
            tensors.into_iter().map(|(name, tensor)| (name, tensor.to_dtype(dtype).unwrap())).collect();
        let half = Decoder::new(model.config().clone(), &halves).unwrap();
        assert_eq!(half.dtype(), dtype);
        assert!(half.config().torch_dtype.ends_with("16"));
    }
}

#[test]
fn the_head_of_the_files_goes_before_a_configuration_that_says_it_is_the_embedding() {
    let fixture = fixture();
    let case = |name: &str| model(fixture.cases.iter().find(|case| case.name == name).unwrap());
    let computed = |model: &Decoder| logits(model, &fixture.tokens, &fixture.rows);
    for name in ["llama-grouped", "qwen3", "olmo2", "granite"] {
        let untied = case(name);
        let folder = tempfile::tempdir().unwrap();
        saved(folder.path(), &untied, |_| ());
        let path = folder.path().join("config.json");
        let text = fs::read_to_string(&path).unwrap();
        let tied = text.replace("\"tie_word_embeddings\": false", "\"tie_word_embeddings\": true");
        assert_ne!(tied, text);
        fs::write(path, tied).unwrap();
        let loaded = Decoder::load(folder.path(), &Device::Cpu).unwrap();
        assert!(!loaded.config().tie_word_embeddings, "what is saved again says so");
        assert_eq!(computed(&loaded), computed(&untied), "{name}");
    }
    // Of a tied model either of the two is enough.
    for prefix in ["model.", ""] {
        let tied = case("llama-tied");
        let folder = tempfile::tempdir().unwrap();
        saved(folder.path(), &tied, |tensors| {
            let shared = tensors.remove("model.embed_tokens.weight").unwrap();
            tensors.insert("lm_head.weight".to_owned(), shared);
            *tensors =
                tensors.iter().map(|(name, t)| (name.replacen("model.", prefix, 1), t.clone())).collect();
        });
        let loaded = Decoder::load(folder.path(), &Device::Cpu).unwrap();
        assert!(loaded.config().tie_word_embeddings);
        assert_eq!(computed(&loaded), computed(&tied));
    }
}

#[test]
fn numbers_that_json_does_not_know_matter_only_where_they_are_used() {
    let folder = tempfile::tempdir().unwrap();
    let read = |key: &str, value: &str| {
        let text = json!({"x": r#"a "quoted\" NaN"#, "list": [1]}).to_string();
        let llama = Value::Object(llama()).to_string();
        let text = format!("{}, \"{key}\": {value}, {}", &llama[..llama.len() - 1], &text[1..]);
        let path = folder.path().join("config.json");
        fs::write(&path, text).unwrap();
        Config::read(&path)
    };
    for value in ["NaN", "-Infinity", "Infinity"] {
        let config = read("initializer_range", value).unwrap();
        assert_eq!(config.extra.keys().collect::<Vec<_>>(), ["list", "x"]);
        assert_eq!(config.extra["x"], r#"a "quoted\" NaN"#);
        let error = read("rms_norm_eps", value).unwrap_err().to_string();
        assert!(error.contains("rms_norm_eps") && error.contains(value), "{error}");
    }
    assert!(read("rms_norm_eps", "Nan").unwrap_err().to_string().contains("not a model configuration"));
}

#[test]
fn shards_are_joined_by_their_index() {
    let fixture = fixture();
    let model = model(&fixture.cases[0]);
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    model.save_config(&at("config.json")).unwrap();
    let tensors = model.parameters().snapshot().unwrap();
    let mut map = Map::new();
    for shard in 0..3 {
        let file = format!("model-0000{}-of-00003.safetensors", shard + 1);
        let of_shard: Vec<_> = tensors.iter().skip(shard).step_by(3).map(|(n, t)| (n.as_str(), t)).collect();
        map.extend(of_shard.iter().map(|(name, _)| ((*name).to_owned(), json!(file))));
        write_tensors(&at(&file), of_shard).unwrap();
    }
    let index = |map: &Map<String, Value>| {
        fs::write(at("model.safetensors.index.json"), json!({"weight_map": map}).to_string()).unwrap();
        Decoder::load(folder.path(), &Device::Cpu)
    };
    let loaded = index(&map).unwrap();
    let expected = logits(&model, &fixture.tokens, &fixture.rows);
    assert_eq!(logits(&loaded, &fixture.tokens, &fixture.rows), expected);
    let check = |name: &str, file: &str, expected: &str| {
        let mut map = map.clone();
        map.insert(name.to_owned(), json!(file));
        let error = index(&map).expect_err(expected).to_string();
        assert!(error.contains(expected), "{error}");
    };
    check("lm_head.weight", "../model.safetensors", "is no name of a file beside it");
    check("lm_head.weight", "/etc/passwd", "is no name of a file beside it");
    check("lm_head.weight", "model-00009.safetensors", "model-00009.safetensors");
    check("elsewhere", "model-00001-of-00003.safetensors", "tensor elsewhere should be in");
}

#[test]
fn bad_tensors_are_refused_by_file_and_name() {
    let fixture = fixture();
    let model = model(&fixture.cases[0]);
    let folder = tempfile::tempdir().unwrap();
    let check = |change: &dyn Fn(&mut BTreeMap<String, Tensor>), expected: &str| {
        saved(folder.path(), &model, change);
        let error = Decoder::load(folder.path(), &Device::Cpu).expect_err(expected).to_string();
        assert!(error.contains("model.safetensors: tensor") && error.contains(expected), "{error}");
    };
    let name = "model.layers.1.mlp.up_proj.weight";
    check(&|t| drop(t.remove(name)), "tensor model.layers.1.mlp.up_proj.weight of shape [32, 24] is missing");
    check(
        &|t| drop(t.insert(name.to_owned(), zeros(&[24, 32], DType::F32))),
        "up_proj.weight has shape [24, 32]",
    );
    check(
        &|t| drop(t.insert("extra.bias".to_owned(), zeros(&[2], DType::F32))),
        "extra.bias does not belong",
    );
    check(&|t| drop(t.insert(name.to_owned(), zeros(&[32, 24], DType::U8))), "up_proj.weight holds U8");
    for bad in [f32::NAN, f32::INFINITY] {
        let mut values = vec![0f32; 32 * 24];
        values[5] = bad;
        let tensor = Tensor::from_vec(values, (32, 24), &Device::Cpu).unwrap();
        check(&|t| drop(t.insert(name.to_owned(), tensor.clone())), "at place 5");
    }
    let empty = tempfile::tempdir().unwrap();
    model.save_config(&empty.path().join("config.json")).unwrap();
    let load = || Decoder::load(empty.path(), &Device::Cpu).unwrap_err().to_string();
    assert!(load().contains("model.safetensors: cannot read"));
    fs::write(empty.path().join("pytorch_model.bin"), "").unwrap();
    assert!(load().contains("save them as safetensors"));
}
