//! Adapters: PEFT's files, merging, copies, refusals.
#![allow(clippy::unwrap_used)] // a test that panics is a test that fails

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::common::blocks::{self, Case, Fixture};
use crate::common::{assert_close, fixture, fixture_text, logits, model, uniform};
use candle_core::{Device, Tensor};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde_json::{Value, json};
use titer_model::{Choice, Decoder, Generate, LoraSpec, read_tensors, write_tensors};
use titer_ops::Sequences;

fn base() -> Decoder {
    model(&fixture().cases[0])
}

fn peft() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/peft")
}

fn adapted() -> Decoder {
    let mut model = base();
    model.load_adapter(&peft()).unwrap();
    model
}

#[test]
fn an_adapter_of_peft_computes_what_it_computes_there() {
    let fixture = fixture();
    let text: Value = serde_json::from_str(&fixture_text("peft/logits.json")).unwrap();
    let expected: Vec<Vec<f32>> = serde_json::from_value(text["logits"].clone()).unwrap();
    let model = adapted();
    assert_eq!((model.adapter().unwrap().rank, model.adapter().unwrap().alpha), (2, 6.0));
    assert_eq!(model.parameters().len(), 2 * 7 * 2);
    let got = logits(&model, &fixture.tokens, &fixture.rows);
    assert_close(&got, &expected, 1e-5, "adapted");
    let plain = logits(&base(), &fixture.tokens, &fixture.rows);
    assert!((plain[0][0] - got[0][0]).abs() > 1e-2, "the adapter has an effect");
    // Saved whole, the adapters are folded in; saved alone, they come back.
    let folder = tempfile::tempdir().unwrap();
    model.save(folder.path()).unwrap();
    let whole = Decoder::load(folder.path(), &Device::Cpu).unwrap();
    assert_close(&logits(&whole, &fixture.tokens, &fixture.rows), &got, 1e-5, "saved");
    model.save_adapter(folder.path()).unwrap();
    let mut again = base();
    again.load_adapter(folder.path()).unwrap();
    assert_eq!(again.adapter(), model.adapter());
    assert_eq!(logits(&again, &fixture.tokens, &fixture.rows), got);
    assert_eq!(logits(&model.duplicate().unwrap(), &fixture.tokens, &fixture.rows), got);
    let prompts = [fixture.tokens[..7].to_vec()];
    let greedy = || Generate { max_new_tokens: 8, ends: &[], choice: Choice::Greedy };
    let answer = model.generate(&prompts, greedy()).unwrap();
    let merged = model.merge().unwrap();
    assert!(merged.adapter().is_none() && merged.parameters().get("lm_head.weight").is_some());
    assert_close(&logits(&merged, &fixture.tokens, &fixture.rows), &got, 1e-5, "merged");
    assert_eq!(merged.generate(&prompts, greedy()).unwrap(), answer);
}

#[test]
fn a_fresh_adapter_changes_nothing_and_alone_receives_gradients() {
    let fixture = fixture();
    let (plain, mut model) = (base(), base());
    let spec = LoraSpec {
        targets: vec!["q_proj".to_owned(), "down_proj".to_owned()],
        ..LoraSpec::everywhere(3, 6.0)
    };
    model.attach(&spec, &mut ChaCha8Rng::seed_from_u64(1)).unwrap();
    let got = logits(&model, &fixture.tokens, &fixture.rows);
    assert_close(&got, &logits(&plain, &fixture.tokens, &fixture.rows), 1e-6, "fresh");
    let names: Vec<&str> = model.parameters().iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), 8);
    assert_eq!(names[0], "base_model.model.model.layers.0.mlp.down_proj.lora_A.weight");
    let a = model.parameters().get(names[0]).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let bound = 1.0 / 32f32.sqrt();
    assert!(a.iter().all(|value| value.abs() <= bound) && a.iter().any(|value| value.abs() > 0.8 * bound));
    let hidden =
        model.forward(&fixture.tokens, &Sequences::new(&[0, fixture.tokens.len()]).unwrap()).unwrap();
    let loss = model.logits(&hidden, &[3]).unwrap().sqr().unwrap().sum_all().unwrap();
    let store = loss.backward().unwrap();
    // Beside the adapters, two inputs of the first layer's operators, and none of the weights.
    assert_eq!(store.get_ids().count(), 8 + 2);
    assert_eq!(model.backward(&loss).unwrap().len(), 8);
    assert!(model.training_flops(10, 2) < plain.training_flops(10, 2));
    assert!(
        model
            .attach(&spec, &mut ChaCha8Rng::seed_from_u64(1))
            .unwrap_err()
            .to_string()
            .contains("merge it first")
    );
    assert!(plain.save_adapter(Path::new("/nowhere")).unwrap_err().to_string().contains("none to save"));
}

#[test]
fn what_is_more_than_plain_lora_is_refused_by_key() {
    let original: Value = serde_json::from_str(&fixture_text("peft/adapter_config.json")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::copy(peft().join("adapter_model.safetensors"), folder.path().join("adapter_model.safetensors"))
        .unwrap();
    let check = |key: &str, value: Value, expected: &str| {
        let mut config = original.clone();
        config[key] = value;
        fs::write(folder.path().join("adapter_config.json"), config.to_string()).unwrap();
        let error = base().load_adapter(folder.path()).expect_err(expected).to_string();
        assert!(error.contains(expected), "{error}");
    };
    check("peft_type", json!("IA3"), "peft_type = IA3");
    check("use_dora", json!(true), "use_dora");
    check("bias", json!("all"), "bias");
    check("modules_to_save", json!(["lm_head"]), "modules_to_save");
    check("rank_pattern", json!({"q_proj": 4}), "rank_pattern");
    check("alpha_pattern", json!({"q_proj": 4}), "alpha_pattern");
    check("layers_to_transform", json!([1]), "layers_to_transform");
    check("fan_in_fan_out", json!(true), "fan_in_fan_out");
    check("init_lora_weights", json!("pissa"), "init_lora_weights");
    check("target_modules", json!(["lm_head"]), "lm_head");
    check("target_modules", json!("model.*q_proj"), "target_modules");
    check("some_later_invention", json!(3), "some_later_invention");
    check("r", json!(0), "rank");
    check("r", json!(1u64 << 60), "rank");
    check("r", json!(3), "adapter_model.safetensors: tensor");
    check("lora_alpha", json!("big"), "lora_alpha");
    check("target_modules", json!(["q_proj"]), "does not belong");
    check("target_modules", json!(["0.self_attn.q_proj"]), "all but model.layers.1.self_attn.q_proj");
    check("target_modules", json!(["model.norm"]), "model.norm");
}

/// The adapter of the fixture with its configuration changed.
fn changed(change: impl FnOnce(&mut Value)) -> Decoder {
    let folder = tempfile::tempdir().unwrap();
    let weights = "adapter_model.safetensors";
    fs::copy(peft().join(weights), folder.path().join(weights)).unwrap();
    let mut config = serde_json::from_str(&fixture_text("peft/adapter_config.json")).unwrap();
    change(&mut config);
    fs::write(folder.path().join("adapter_config.json"), config.to_string()).unwrap();
    let mut model = base();
    model.load_adapter(folder.path()).unwrap();
    model
}

#[test]
fn keys_that_are_absent_and_other_spellings_mean_what_they_mean_in_peft() {
    // PEFT: `scaling = lora_alpha / r`, or `/ sqrt(r)` where `use_rslora`; `lora_alpha` is 8 where absent.
    let scale = |model: &Decoder| model.adapter().unwrap().scale();
    let absent = changed(|config| drop(config.as_object_mut().unwrap().remove("lora_alpha")));
    assert!((scale(&absent) - 8.0 / 2.0).abs() < 1e-12);
    let stabilised = changed(|config| config["use_rslora"] = json!(true));
    assert!((scale(&stabilised) - 6.0 / 2f64.sqrt()).abs() < 1e-12);
    // What is saved is the same function.
    let folder = tempfile::tempdir().unwrap();
    stabilised.save_adapter(folder.path()).unwrap();
    let mut again = base();
    again.load_adapter(folder.path()).unwrap();
    let fixture = fixture();
    let computed = |model: &Decoder| logits(model, &fixture.tokens, &fixture.rows);
    assert_close(&computed(&again), &computed(&stabilised), 1e-6, "saved");
    assert!((computed(&again)[0][0] - computed(&adapted())[0][0]).abs() > 1e-3);
    // `all-linear`, as PEFT writes it: every module by its whole name.
    let modules = base().config().shapes().into_keys().filter(|name| name.contains("_proj"));
    let modules: Vec<String> = modules.map(|name| name.trim_end_matches(".weight").to_owned()).collect();
    assert_eq!(modules.len(), 2 * 7);
    let all = changed(|config| config["target_modules"] = json!(modules));
    assert_eq!(computed(&all), computed(&adapted()));
}

#[test]
fn a_file_without_the_adapters_tensors_says_what_it_holds() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::copy(peft().join("adapter_config.json"), at("adapter_config.json")).unwrap();
    let original =
        titer_model::read_tensors(&peft().join("adapter_model.safetensors"), &Device::Cpu).unwrap();
    let check = |rename: &dyn Fn(&str) -> Option<String>, expected: &str| {
        let tensors: Vec<_> =
            original.iter().filter_map(|(name, tensor)| Some((rename(name)?, tensor))).collect();
        let all = tensors.iter().map(|(name, tensor)| (name.as_str(), *tensor));
        titer_model::write_tensors(&at("adapter_model.safetensors"), all).unwrap();
        let error = base().load_adapter(folder.path()).expect_err(expected).to_string();
        assert!(error.contains("adapter_model.safetensors: ") && error.contains(expected), "{error}");
    };
    check(&|_| None, "holds no tensors");
    check(&|name| Some(format!("_orig_mod.{name}")), "_orig_mod.base_model.model.model.layers.0");
    check(&|name| Some(name.replace(".weight", ".default.weight")), "default.weight is there");
    check(&|name| name.contains("layers.0").then(|| name.to_owned()), "layers.1");
    fs::rename(at("adapter_model.safetensors"), at("adapter_model.bin")).unwrap();
    let error = base().load_adapter(folder.path()).unwrap_err().to_string();
    assert!(error.contains("adapter_model.bin: pickled weights are not read"), "{error}");
}

/// The model of a case of the fixture of architectures.
fn case(name: &str) -> Decoder {
    model(fixture().cases.iter().find(|case| case.name == name).unwrap())
}

#[test]
fn adapters_of_every_form_are_folded_in_as_by_peft() {
    let fixture = fixture();
    let folds: Value = serde_json::from_str(&fixture_text("peft/folds.json")).unwrap();
    let folds = folds.as_object().unwrap();
    assert_eq!(folds.len(), 7);
    for (name, fold) in folds {
        let expected: Vec<Vec<f32>> = serde_json::from_value(fold["logits"].clone()).unwrap();
        let base = case(fold["case"].as_str().unwrap());
        let folded = base.fold_adapter(&peft().join("folds").join(name)).unwrap();
        assert!(!folded.config().tie_word_embeddings, "{name}");
        assert_close(&logits(&folded, &fixture.tokens, &fixture.rows), &expected, 1e-5, name);
        // Saved and read again it is the same: an untied head is a weight of its own.
        let folder = tempfile::tempdir().unwrap();
        folded.save(folder.path()).unwrap();
        let again = Decoder::load(folder.path(), &Device::Cpu).unwrap();
        assert_close(&logits(&again, &fixture.tokens, &fixture.rows), &expected, 1e-5, name);
    }
    // The plain one is the same folded in as beside the weights.
    let beside = logits(&adapted(), &fixture.tokens, &fixture.rows);
    let folded = base().fold_adapter(&peft()).unwrap();
    assert_close(&logits(&folded, &fixture.tokens, &fixture.rows), &beside, 1e-5, "plain");
}

#[test]
fn what_cannot_be_folded_in_is_refused_by_key_or_tensor() {
    let folder = tempfile::tempdir().unwrap();
    let check = |fold: &str, change: &dyn Fn(&mut Value), expected: &str| {
        let from = peft().join("folds").join(fold);
        let weights = "adapter_model.safetensors";
        fs::copy(from.join(weights), folder.path().join(weights)).unwrap();
        let config = fs::read_to_string(from.join("adapter_config.json")).unwrap();
        let mut config = serde_json::from_str(&config).unwrap();
        change(&mut config);
        fs::write(folder.path().join("adapter_config.json"), config.to_string()).unwrap();
        let error = case("llama-grouped").fold_adapter(folder.path()).expect_err(expected).to_string();
        assert!(error.contains(expected), "{error}");
    };
    check("dora", &|config| config["use_dora"] = json!(false), "lora_magnitude_vector");
    check("patterns", &|config| config["use_dora"] = json!(true), "lora_magnitude_vector");
    check("patterns", &|config| config["rank_pattern"] = json!({}), "lora_A.weight");
    check("patterns", &|config| config["rank_pattern"] = json!({"(": 3}), "rank_pattern");
    check("patterns", &|config| config["alpha_pattern"] = json!({"q_proj": "big"}), "alpha_pattern");
    check("patterns", &|config| config["target_modules"] = json!(["q_proj"]), "target_modules");
    check("some-layers", &|config| config["layers_to_transform"] = json!(null), "layers.0.self_attn.k_proj");
    check("head", &|config| config["modules_to_save"] = json!(null), "lm_head.weight");
    check("head", &|config| config["lora_bias"] = json!(true), "lora_bias");
    check("head", &|config| config["target_parameters"] = json!(["mlp.experts"]), "target_parameters");
    check("head", &|config| config["trainable_token_indices"] = json!([1]), "trainable_token_indices");
    let other = case("smollm3").fold_adapter(&peft()).expect_err("another shape").to_string();
    assert!(other.contains("adapter_model.safetensors"), "{other}");
}

/// A model with adapters that are no zeros.
fn with_adapters(case: &Case, targets: &[&str]) -> Decoder {
    let mut model = case.load();
    let targets = targets.iter().map(|target| (*target).to_owned()).collect();
    model
        .attach(&LoraSpec { targets, ..LoraSpec::everywhere(2, 6.0) }, &mut ChaCha8Rng::seed_from_u64(1))
        .unwrap();
    let moved: BTreeMap<String, Tensor> = (50..)
        .zip(model.parameters().iter())
        .map(|(seed, (name, var))| {
            let moved = uniform(seed, var.elem_count());
            (name.to_owned(), Tensor::from_vec(moved, var.dims(), &Device::Cpu).unwrap())
        })
        .collect();
    model.parameters().assign(&moved).unwrap();
    model
}

#[test]
fn adapters_are_saved_for_the_modules_that_peft_knows_and_come_back_as_they_were() {
    let Fixture { tokens, rows, .. } = blocks::fixture();
    for (name, targets, modules) in [
        ("phi3", &["q_proj", "v_proj", "o_proj"][..], &["o_proj", "qkv_proj"][..]),
        ("phi3", &["k_proj", "up_proj", "down_proj"], &["down_proj", "gate_up_proj", "qkv_proj"]),
        ("gpt-neox", &["k_proj", "v_proj", "up_proj"], &["dense_h_to_4h", "query_key_value"]),
        ("gpt-neox", &["o_proj", "down_proj"], &["dense", "dense_4h_to_h"]),
    ] {
        let case = Case::named(name);
        let model = with_adapters(&case, targets);
        let got = logits(&model, &tokens, &rows);
        let folder = tempfile::tempdir().unwrap();
        model.save_adapter(folder.path()).unwrap();
        let text = fs::read_to_string(folder.path().join("adapter_config.json")).unwrap();
        let keys: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(keys["target_modules"], json!(modules));
        let mut again = case.load();
        again.load_adapter(folder.path()).unwrap();
        let names = |model: &Decoder| -> BTreeSet<String> {
            model.adapter().unwrap().targets.iter().cloned().collect()
        };
        assert_eq!(names(&again), names(&model));
        for (name, var) in model.parameters().iter() {
            let back = again.parameters().get(name).unwrap();
            assert_eq!(
                back.flatten_all().unwrap().to_vec1::<f32>().unwrap(),
                var.flatten_all().unwrap().to_vec1::<f32>().unwrap()
            );
        }
        // As PEFT computes them: W + alpha / rank · B·A of the whole modules, which are files' tensors.
        let factors = read_tensors(&folder.path().join("adapter_model.safetensors"), &Device::Cpu).unwrap();
        let mut tensors = case.tensors();
        for (name, a) in factors.iter().filter(|(name, _)| name.contains("lora_A")) {
            let b = &factors[&name.replace("lora_A", "lora_B")];
            let module = name.trim_start_matches("base_model.model.").trim_end_matches(".lora_A.weight");
            let short = module.rsplit('.').next().unwrap();
            let or = |pattern: &str, usual: f64| keys[pattern][short].as_f64().unwrap_or(usual);
            let scale = or("alpha_pattern", 6.0) / or("rank_pattern", 2.0);
            assert_eq!(a.dim(0).unwrap() as f64, or("rank_pattern", 2.0));
            let weight = tensors.get_mut(&format!("{module}.weight")).unwrap();
            *weight = (&*weight + (b.matmul(a).unwrap() * scale).unwrap()).unwrap();
        }
        assert_close(&logits(&case.loaded(&tensors).unwrap(), &tokens, &rows), &got, 1e-3, name);
        assert_close(&logits(&model.merge().unwrap(), &tokens, &rows), &got, 1e-3, name);
    }
}

#[test]
fn an_adapter_that_peft_trained_on_joined_modules_is_divided() {
    let Fixture { tokens, rows, .. } = blocks::fixture();
    for (name, module, outputs) in [
        ("phi3", "model.layers.0.self_attn.qkv_proj", 40),
        ("gpt-neox", "gpt_neox.layers.0.attention.query_key_value", 72),
    ] {
        let case = Case::named(name);
        let folder = tempfile::tempdir().unwrap();
        let short = module.rsplit('.').next().unwrap();
        let config = |patterns: Value| {
            let mut keys = json!({"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": [short]});
            keys.as_object_mut().unwrap().extend(patterns.as_object().unwrap().clone());
            fs::write(folder.path().join("adapter_config.json"), keys.to_string()).unwrap();
        };
        config(json!({"rank_pattern": {}, "alpha_pattern": {}}));
        let (mut factors, mut tensors) = (BTreeMap::new(), case.tensors());
        for layer in ["0", "1"] {
            let module = module.replace("layers.0", &format!("layers.{layer}"));
            let seed = 70 + layer.parse::<u64>().unwrap();
            let a = Tensor::from_vec(uniform(seed, 48), (2, 24), &Device::Cpu).unwrap();
            let b = Tensor::from_vec(uniform(9 * seed, 2 * outputs), (outputs, 2), &Device::Cpu).unwrap();
            let weight = tensors.get_mut(&format!("{module}.weight")).unwrap();
            *weight = (&*weight + (b.matmul(&a).unwrap() * 2.0).unwrap()).unwrap();
            factors.insert(format!("base_model.model.{module}.lora_A.weight"), a);
            factors.insert(format!("base_model.model.{module}.lora_B.weight"), b);
        }
        let path = folder.path().join("adapter_model.safetensors");
        write_tensors(&path, factors.iter().map(|(name, tensor)| (name.as_str(), tensor))).unwrap();
        let mut model = case.load();
        model.load_adapter(folder.path()).unwrap();
        assert_eq!(model.adapter().unwrap().targets, ["k_proj", "q_proj", "v_proj"]);
        let expected = logits(&case.loaded(&tensors).unwrap(), &tokens, &rows);
        assert_close(&logits(&model, &tokens, &rows), &expected, 1e-4, name);
        config(json!({"rank_pattern": {short: 4}}));
        let error = case.load().load_adapter(folder.path()).unwrap_err().to_string();
        assert!(error.contains("rank_pattern"), "{error}");
    }
}
