//! Folders as they come: fused experts, weights that say nothing, adapters in the way, names from within wrappers.
#![allow(clippy::unwrap_used)] // a test that panics is a test that fails

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::common::{Fixture, fixture, fixture_text, logits, model};
use candle_core::{Device, Tensor};
use serde_json::json;
use titer_model::{Decoder, write_tensors};

/// Saves a model with its tensors changed.
fn saved(folder: &Path, model: &Decoder, change: impl FnOnce(&mut BTreeMap<String, Tensor>)) {
    model.save_config(&folder.join("config.json")).unwrap();
    let mut tensors = model.parameters().snapshot().unwrap();
    change(&mut tensors);
    let all = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor));
    write_tensors(&folder.join("model.safetensors"), all).unwrap();
}

fn load(folder: &Path) -> Result<Decoder, String> {
    Decoder::load(folder, &Device::Cpu).map_err(|error| error.to_string())
}

/// As `save_pretrained(…, save_original_format=False)` of Transformers 5: the experts of a layer in two tensors.
fn fuse(model: &Decoder, tensors: &mut BTreeMap<String, Tensor>) {
    let mixtral = tensors.keys().any(|name| name.contains("block_sparse_moe"));
    let (block, [gate, up, down]) = match mixtral {
        true => ("block_sparse_moe", ["w1", "w3", "w2"]),
        false => ("mlp", ["gate_proj", "up_proj", "down_proj"]),
    };
    for layer in 0..model.config().num_hidden_layers {
        let Some(experts) = model.config().experts_of(layer) else { continue };
        let prefix = format!("model.layers.{layer}");
        let mut take = |expert: usize, part: &str| {
            tensors.remove(&format!("{prefix}.{block}.experts.{expert}.{part}.weight")).unwrap()
        };
        let (mut wide, mut narrow) = (Vec::new(), Vec::new());
        for expert in 0..experts.count {
            wide.push(Tensor::cat(&[take(expert, gate), take(expert, up)], 0).unwrap());
            narrow.push(take(expert, down));
        }
        let router = tensors.remove(&format!("{prefix}.{block}.gate.weight")).unwrap();
        tensors.insert(format!("{prefix}.mlp.gate.weight"), router);
        tensors.insert(format!("{prefix}.mlp.experts.gate_up_proj"), Tensor::stack(&wide, 0).unwrap());
        tensors.insert(format!("{prefix}.mlp.experts.down_proj"), Tensor::stack(&narrow, 0).unwrap());
    }
}

#[test]
fn experts_that_transformers_5_fused_are_those_that_were_saved_one_by_one() {
    let fixture: Fixture = serde_json::from_str(&fixture_text("experts.json")).unwrap();
    let mut fused = 0;
    for case in &fixture.cases {
        let model = model(case);
        let folder = tempfile::tempdir().unwrap();
        saved(folder.path(), &model, |tensors| fuse(&model, tensors));
        let loaded = load(folder.path()).unwrap_or_else(|error| panic!("{}: {error}", case.name));
        let computed = |model: &Decoder| logits(model, &fixture.tokens, &fixture.rows);
        assert_eq!(computed(&loaded), computed(&model), "{}", case.name);
        fused += 1;
        saved(folder.path(), &model, |tensors| {
            fuse(&model, tensors);
            let name = tensors.keys().find(|name| name.ends_with("gate_up_proj")).unwrap().clone();
            let rows = tensors[&name].dim(1).unwrap();
            let short = tensors[&name].narrow(1, 0, rows - 1).unwrap().contiguous().unwrap();
            tensors.insert(name, short);
        });
        let error = load(folder.path()).unwrap_err();
        assert!(error.contains("experts.gate_up_proj has shape"), "{error}");
    }
    assert!(fused >= 4);
}

#[test]
fn weights_that_say_nothing_are_refused_where_every_prompt_would_get_the_same_logits() {
    let fixture = fixture();
    let model = model(&fixture.cases[0]);
    let folder = tempfile::tempdir().unwrap();
    let with_zero = |zeroed: &dyn Fn(&str) -> bool| {
        saved(folder.path(), &model, |tensors| {
            for (name, tensor) in tensors.iter_mut().filter(|(name, _)| zeroed(name)) {
                assert!(!name.is_empty());
                *tensor = tensor.zeros_like().unwrap();
            }
        });
        load(folder.path())
    };
    for name in ["model.embed_tokens.weight", "lm_head.weight", "model.norm.weight"] {
        let error = with_zero(&|other| other == name).unwrap_err();
        assert!(error.contains(&format!("tensor {name} is zero throughout")), "{error}");
    }
    assert!(with_zero(&|_| true).is_err());
    // A pruned layer is a model still.
    assert!(with_zero(&|name| name.contains("layers.1.mlp")).is_ok());
}

#[test]
fn a_folder_with_an_adapter_in_it_is_no_model() {
    let fixture = fixture();
    let model = model(&fixture.cases[0]);
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let adapter = json!({"peft_type": "LORA", "base_model_name_or_path": "owner/base"}).to_string();
    fs::write(at("adapter_config.json"), adapter).unwrap();
    let alone = load(folder.path()).unwrap_err();
    assert!(alone.contains("adapter_config.json") && alone.contains("owner/base"), "{alone}");
    saved(folder.path(), &model, |_| ());
    let both = load(folder.path()).unwrap_err();
    assert!(both.contains("adapter_config.json: lies in one folder with a model"), "{both}");
    fs::remove_file(at("adapter_config.json")).unwrap();
    assert!(load(folder.path()).is_ok());
}

#[test]
fn names_from_within_a_wrapper_are_refused_with_what_they_should_be() {
    let fixture = fixture();
    let model = model(&fixture.cases[0]);
    let folder = tempfile::tempdir().unwrap();
    for prefix in ["_orig_mod.", "module.", "language_model.", "base_model.model."] {
        saved(folder.path(), &model, |tensors| {
            *tensors = tensors.iter().map(|(name, t)| (format!("{prefix}{name}"), t.clone())).collect();
        });
        let error = load(folder.path()).unwrap_err();
        assert!(error.contains("wrapper") && error.contains("rename it to lm_head.weight"), "{error}");
    }
    saved(folder.path(), &model, |tensors| {
        let inner = |name: &str| name.replace("q_proj.", "q_proj.base_layer.");
        *tensors = tensors.iter().map(|(name, t)| (inner(name), t.clone())).collect();
    });
    let error = load(folder.path()).unwrap_err();
    assert!(error.contains("rename it to model.layers.0.self_attn.q_proj.weight"), "{error}");
}

#[test]
fn an_index_that_names_nothing_is_no_model() {
    let fixture = fixture();
    let model = model(&fixture.cases[0]);
    let folder = tempfile::tempdir().unwrap();
    model.save_config(&folder.path().join("config.json")).unwrap();
    let index = json!({"metadata": {"total_size": 30008}, "weight_map": {}}).to_string();
    fs::write(folder.path().join("model.safetensors.index.json"), index).unwrap();
    let error = load(folder.path()).unwrap_err();
    assert!(error.contains("model.safetensors.index.json: it names no tensor"), "{error}");
}
