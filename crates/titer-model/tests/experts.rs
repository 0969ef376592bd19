//! Families with experts against Transformers, and what is particular to them: gradients of experts without
//! tokens, adapters, costs, refusals.
#![allow(clippy::unwrap_used)] // a test that panics is a test that fails

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::common::{Case, Gguf, assert_close, fixture_text, logits, model};
use candle_core::{D, DType, Device, Tensor};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use titer_model::{Choice, Config, Decoder, Error, Experts, Generate, LoraSpec, Trace, View, write_tensors};
use titer_ops::{Sequences, composed};

#[derive(Deserialize)]
struct Fixture {
    tokens: Vec<u32>,
    rows: Vec<u32>,
    cases: Vec<Mixture>,
}

#[derive(Deserialize)]
struct Mixture {
    #[serde(flatten)]
    case: Case,
    routers: Vec<Router>,
}

#[derive(Deserialize)]
struct Router {
    logits: Vec<Vec<f32>>,
    weights: Vec<Vec<f32>>,
    experts: Vec<Vec<u32>>,
}

fn fixture() -> Fixture {
    serde_json::from_str(&fixture_text("experts.json")).unwrap()
}

fn named(name: &str) -> Decoder {
    model(&fixture().cases.iter().find(|mixture| mixture.case.name == name).unwrap().case)
}

fn trace(model: &Decoder, tokens: &[u32], view: View) -> Trace {
    model.trace(tokens, &Sequences::new(&[0, tokens.len()]).unwrap(), view, &[]).unwrap()
}

/// A loss that weighs all logits of all tokens.
fn loss(model: &Decoder, tokens: &[u32]) -> Tensor {
    let hidden = model.forward(tokens, &Sequences::new(&[0, tokens.len()]).unwrap()).unwrap();
    let rows: Vec<u32> = (0..tokens.len() as u32).collect();
    model.logits(&hidden, &rows).unwrap().sin().unwrap().mean_all().unwrap()
}

#[test]
fn every_family_routes_and_computes_what_transformers_does_before_and_after_a_save() {
    let Fixture { tokens, rows, cases } = fixture();
    assert!(cases.len() >= 8);
    for Mixture { case, routers } in &cases {
        let model = model(case);
        let got = logits(&model, &tokens, &rows);
        assert_close(&got, &case.logits, 1e-4, &case.name);
        for view in [View::Tracked, View::Detached] {
            let trace = trace(&model, &tokens, view);
            assert_eq!(model.logits(&trace.hidden, &rows).unwrap().to_vec2::<f32>().unwrap(), got);
            let found: Vec<&Tensor> = trace.layers.iter().filter_map(|layer| layer.router.as_ref()).collect();
            assert_eq!(found.len(), routers.len(), "{}", case.name);
            for (found, router) in found.iter().zip(routers) {
                let at = Tensor::new(&*rows, &Device::Cpu).unwrap();
                let found = found.index_select(&at, 0).unwrap();
                assert_close(&found.to_vec2().unwrap(), &router.logits, 1e-4, &case.name);
                let (routes, weights) = model.config().experts.as_ref().unwrap().route(&found).unwrap();
                assert_close(&weights.to_vec2().unwrap(), &router.weights, 1e-4, &case.name);
                assert_eq!(routes.chosen(), router.experts.concat(), "{}", case.name);
                let sums = Experts::probabilities(&found).unwrap().sum(D::Minus1).unwrap();
                assert!(sums.to_vec1::<f32>().unwrap().iter().all(|sum| (sum - 1.0).abs() < 1e-6));
            }
        }
        let folder = tempfile::tempdir().unwrap();
        model.save(folder.path()).unwrap();
        let again = Decoder::open(folder.path(), &Device::Cpu).unwrap();
        assert_eq!(again.config(), model.config(), "{}", case.name);
        assert_eq!(logits(&again, &tokens, &rows), got, "{}", case.name);
        assert_eq!(logits(&again.duplicate().unwrap(), &tokens, &rows), got, "{}", case.name);
        // For `tests/peers/transformers_check.py families`.
        if let Ok(peers) = std::env::var("TITER_FAMILIES") {
            let folder = Path::new(&peers).join(&case.name);
            fs::create_dir_all(&folder).unwrap();
            model.save(&folder).unwrap();
            let text = json!({"tokens": tokens, "rows": rows, "logits": got});
            fs::write(folder.join("logits.json"), text.to_string()).unwrap();
        }
        let halves = model.parameters().snapshot().unwrap().into_iter();
        let halves = halves.map(|(name, tensor)| (name, tensor.to_dtype(DType::BF16).unwrap())).collect();
        let half = Decoder::new(model.config().clone(), &halves).unwrap();
        let hidden = half.forward(&tokens, &Sequences::new(&[0, tokens.len()]).unwrap()).unwrap();
        let half = half.logits(&hidden, &rows).unwrap().to_dtype(DType::F32).unwrap();
        assert!(half.to_vec2::<f32>().unwrap().concat().iter().all(|logit| logit.is_finite()));
    }
}

#[test]
fn generation_and_likelihoods_agree_with_the_forward_pass() {
    let Fixture { tokens, cases, .. } = fixture();
    for Mixture { case, .. } in &cases {
        let model = model(case);
        let prompts = [tokens[..9].to_vec(), tokens[20..24].to_vec()];
        let settings = Generate { max_new_tokens: 5, ends: &[], choice: Choice::Greedy };
        let answers = model.generate(&prompts, settings).unwrap();
        let likelihoods = model.log_likelihoods(&[(&prompts[0], &answers[0])]).unwrap();
        let mut sum = 0.0;
        for (prompt, answer) in prompts.iter().zip(&answers) {
            let mut text = prompt.clone();
            for token in answer {
                let row = logits(&model, &text, &[text.len() as u32 - 1]).remove(0);
                let highest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                assert!(row[*token as usize] >= highest - 1e-5, "{}", case.name);
                if prompt == &prompts[0] {
                    let total: f64 = row.iter().map(|logit| f64::from(*logit).exp()).sum();
                    sum += f64::from(row[*token as usize]) - total.ln();
                }
                text.push(*token);
            }
        }
        assert!((likelihoods[0].sum - sum).abs() < 1e-4 && likelihoods[0].greedy, "{}", case.name);
    }
}

#[test]
fn experts_without_tokens_have_gradient_zero_where_the_loss_reaches_their_layer() {
    let Fixture { tokens, cases, .. } = fixture();
    for Mixture { case, .. } in &cases {
        let mut model = model(case);
        let few = &tokens[..1];
        let trace = trace(&model, few, View::Detached);
        let gradients = model.backward(&loss(&model, few)).unwrap();
        let mut silent = 0;
        for (name, var) in model.parameters().iter() {
            let gradient = gradients.get(name).unwrap_or_else(|| panic!("{}: {name}", case.name));
            assert_eq!(gradient.dims(), var.dims());
            let zero = gradient.abs().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap() == 0.0;
            if name.contains(".experts.") {
                assert_eq!(trace.input_of(name).is_none(), zero, "{}: {name}", case.name);
                silent += usize::from(zero);
            }
        }
        let experts = model.config().experts.clone().unwrap();
        let layers = (0..2).filter(|layer| experts.in_layer(*layer)).count();
        assert_eq!(silent, 3 * layers * (experts.count - experts.per_token), "{}", case.name);
        // A loss on the first layer's output says nothing of the second.
        let first = self::trace(&model, few, View::Tracked).layers[0].output.sum_all().unwrap();
        let cut = model.backward(&first).unwrap();
        assert!(cut.keys().all(|name| !name.starts_with("model.layers.1.")), "{}", case.name);
        // Computed again in the backward pass: the same.
        let kept = model.backward(&loss(&model, &tokens)).unwrap();
        model.checkpointing(true);
        let again = model.backward(&loss(&model, &tokens)).unwrap();
        assert_eq!(kept.len(), again.len());
        for (name, gradient) in &kept {
            let difference = (gradient - &again[name]).unwrap().abs().unwrap().flatten_all().unwrap();
            let difference = difference.max(0).unwrap().to_scalar::<f32>().unwrap();
            assert!(difference < 1e-6, "{}: {name} differs by {difference}", case.name);
        }
    }
}

#[test]
fn a_trace_holds_what_each_projection_reads() {
    let Fixture { tokens, .. } = fixture();
    for name in ["mixtral", "olmoe", "qwen2-moe", "qwen2-moe-step"] {
        let model = named(name);
        let trace = trace(&model, &tokens, View::Detached);
        for (weight, var) in model.parameters().iter().filter(|(_, var)| var.dims().len() == 2) {
            if !weight.starts_with("model.layers.") {
                assert!(trace.input_of(weight).is_none(), "{weight}");
            } else if let Some(input) = trace.input_of(weight) {
                assert_eq!(input.dim(1).unwrap(), var.dim(1).unwrap(), "{name}: {weight}");
            } else {
                assert!(weight.contains(".experts."), "{name}: {weight}");
            }
        }
        for layer in &trace.layers {
            let routed: usize = layer.experts.iter().map(|expert| expert.tokens.len()).sum();
            let per_token = model.config().experts.as_ref().unwrap().per_token;
            assert_eq!(routed, if layer.router.is_some() { tokens.len() * per_token } else { 0 });
            for expert in &layer.experts {
                let rows = layer.mlp_input.to_vec2::<f32>().unwrap();
                let rows: Vec<Vec<f32>> =
                    expert.tokens.iter().map(|token| rows[*token as usize].clone()).collect();
                assert_eq!(expert.input.to_vec2::<f32>().unwrap(), rows);
            }
        }
    }
}

#[test]
fn adapters_may_be_on_attention_alone_or_on_every_expert() {
    let Fixture { tokens, rows, .. } = fixture();
    for (name, of_experts) in [("mixtral", 4), ("olmoe", 8), ("qwen2-moe", 6)] {
        let plain = logits(&named(name), &tokens, &rows);
        for (targets, modules) in [(vec!["q_proj", "v_proj"], 2), (vec![], 4 + 3 * of_experts)] {
            let mut spec = LoraSpec::everywhere(2, 4.0);
            if !targets.is_empty() {
                spec.targets = targets.iter().map(|target| (*target).to_owned()).collect();
            }
            let mut model = named(name);
            model.attach(&spec, &mut ChaCha8Rng::seed_from_u64(1)).unwrap();
            assert_eq!(model.parameters().len(), 2 * 2 * modules, "{name}");
            assert_eq!(logits(&model, &tokens, &rows), plain, "{name}: B is zero");
            // What SafeMoE differentiates: the routers' logits at one token, by adapters of the attention.
            let at = Tensor::new(&[tokens.len() as u32 - 1], &Device::Cpu).unwrap();
            let trace = trace(&model, &tokens, View::Tracked);
            let routers = trace.layers.iter().map(|layer| {
                let last = layer.router.as_ref().unwrap().index_select(&at, 0).unwrap();
                composed::log_softmax(&last, D::Minus1).unwrap().sum_all().unwrap()
            });
            let sum = routers.reduce(|a, b| (a + b).unwrap()).unwrap();
            let gradients = model.backward(&sum).unwrap();
            for (name, _) in model.parameters().iter().filter(|(name, _)| name.contains("_proj.lora_B")) {
                if name.contains("self_attn") {
                    let norm = gradients[name].sqr().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap();
                    assert!(norm > 0.0, "{name}");
                }
            }
            // Few tokens, and each adapter has its gradient.
            let gradients = model.backward(&loss(&model, &tokens[..1])).unwrap();
            assert_eq!(gradients.len(), model.parameters().len(), "{name}");
            let moved = model.parameters().iter().map(|(name, var)| {
                let moved = (var.as_tensor() - (&gradients[name] * 30.0).unwrap()).unwrap();
                (name.to_owned(), moved)
            });
            let moved: BTreeMap<String, Tensor> = moved.collect();
            model.parameters().assign(&moved).unwrap();
            let got = logits(&model, &tokens, &rows);
            assert_ne!(got, plain);
            let folder = tempfile::tempdir().unwrap();
            model.save_adapter(folder.path()).unwrap();
            let text = fs::read_to_string(folder.path().join("adapter_config.json")).unwrap();
            assert_eq!(text.contains("\"w1\""), name == "mixtral" && targets.is_empty(), "{text}");
            let mut again = named(name);
            again.load_adapter(folder.path()).unwrap();
            let targets = |model: &Decoder| -> BTreeSet<String> {
                model.adapter().unwrap().targets.iter().cloned().collect()
            };
            assert_eq!(targets(&again), targets(&model));
            assert_eq!(logits(&again, &tokens, &rows), got);
            assert_close(&logits(&model.merge().unwrap(), &tokens, &rows), &got, 1e-4, name);
        }
    }
}

#[test]
fn counts_and_costs_are_of_the_experts_that_a_token_meets() {
    // Embedding and head 2·40·24, last norm 24; per layer two norms of 24, attention 24·(24 + 8 + 8 + 24);
    // router 4·24, an expert 3·24·32.
    let (outside, attention, router, expert) = (2 * 40 * 24, 24 * 64, 4 * 24, 3 * 24 * 32);
    let model = named("mixtral");
    let config = model.config();
    assert_eq!(config.parameter_count(), outside + 24 + 2 * (48 + attention + router + 4 * expert));
    let active = 2 * (attention + router + 2 * expert);
    assert_eq!(model.training_flops(10, 3), 6.0 * (active as f64 * 10.0 + (40 * 24) as f64 * 3.0));
    let dense = Config::llama(40, 24, 32, 2, 3, 1);
    let made = dense.with_experts(4, 2);
    assert_eq!(made.shapes(), config.shapes());
    let fresh = Decoder::initialize(made, 0.1, &mut ChaCha8Rng::seed_from_u64(1), &Device::Cpu).unwrap();
    let gradients = fresh.backward(&loss(&fresh, &[1, 2, 3])).unwrap();
    assert_eq!(gradients.len(), fresh.parameters().len());
}

#[test]
fn configurations_of_experts_that_cannot_be_are_refused_by_key() {
    let base = |model_type: &str, changes: Value| {
        let config = json!({
            "model_type": model_type, "vocab_size": 40, "hidden_size": 24, "intermediate_size": 32,
            "num_hidden_layers": 2, "num_attention_heads": 3, "num_key_value_heads": 1,
        });
        let mut config: Map<String, Value> = config.as_object().unwrap().clone();
        config.extend(changes.as_object().unwrap().clone());
        Config::from_json(config)
    };
    let defaults = |model_type: &str| base(model_type, json!({})).unwrap();
    let mixtral = defaults("mixtral");
    assert_eq!((mixtral.rope_theta, mixtral.rms_norm_eps, mixtral.sliding_window), (1e6, 1e-5, None));
    assert_eq!(mixtral.experts.as_ref().map(|e| (e.count, e.per_token, e.width)), Some((8, 2, 32)));
    let olmoe = defaults("olmoe");
    assert_eq!(
        (olmoe.eos_token_id.as_slice(), olmoe.pad_token_id, olmoe.clip_qkv),
        (&[50279][..], Some(1), None)
    );
    assert_eq!(olmoe.experts.map(|e| (e.count, e.per_token, e.normalized)), Some((64, 8, false)));
    let qwen2 = defaults("qwen2_moe").experts.unwrap();
    assert_eq!((qwen2.count, qwen2.per_token, qwen2.width, qwen2.shared_width), (60, 4, 1408, Some(5632)));
    let qwen3 = defaults("qwen3_moe");
    assert_eq!(qwen3.heads().dim, 8);
    assert_eq!(qwen3.experts.map(|e| (e.count, e.per_token, e.width, e.step)), Some((128, 8, 768, 1)));

    let check = |model_type: &str, changes: Value, expected: &str| {
        let error = base(model_type, changes).expect_err(expected).to_string();
        assert!(error.contains(expected), "{error}");
    };
    check("mixtral", json!({"num_local_experts": 0}), "num_experts = 0");
    check("olmoe", json!({"num_experts": 1u64 << 40}), "num_experts");
    check("olmoe", json!({"num_experts": 64_000, "num_hidden_layers": 4000}), "num_experts");
    check("olmoe", json!({"num_experts": -3}), "num_experts");
    check("olmoe", json!({"num_experts": "many"}), "num_experts");
    check("mixtral", json!({"num_experts_per_tok": 9}), "num_experts_per_tok = 9");
    check("mixtral", json!({"num_experts_per_tok": 0}), "num_experts_per_tok = 0");
    check("qwen3_moe", json!({"moe_intermediate_size": 0}), "moe_intermediate_size = 0");
    check("qwen3_moe", json!({"moe_intermediate_size": u64::MAX}), "moe_intermediate_size");
    check(
        "qwen3_moe",
        json!({"moe_intermediate_size": 1 << 24, "hidden_size": 1 << 20, "num_attention_heads": 1}),
        "2^40 weights",
    );
    check("qwen2_moe", json!({"shared_expert_intermediate_size": 0}), "shared_expert_intermediate_size = 0");
    check("qwen2_moe", json!({"qkv_bias": false}), "qkv_bias");
    check("qwen3_moe", json!({"decoder_sparse_step": 0}), "decoder_sparse_step = 0");
    check("qwen3_moe", json!({"mlp_only_layers": [2]}), "mlp_only_layers = 2");
    check("olmoe", json!({"clip_qkv": -1.0}), "clip_qkv");
    check("olmoe", json!({"head_dim": 16}), "head_dim = 16");
    let dense = Config { experts: mixtral.experts.clone(), ..Config::llama(40, 24, 32, 2, 3, 1) };
    assert!(matches!(dense.check(), Err(Error::Unsupported { .. })));
    assert!(Config { experts: None, ..mixtral }.check().is_err());
}

#[test]
fn experts_that_are_missing_or_one_too_many_are_named() {
    let model = named("olmoe");
    let folder = tempfile::tempdir().unwrap();
    model.save_config(&folder.path().join("config.json")).unwrap();
    let check = |change: &dyn Fn(&mut BTreeMap<String, Tensor>), expected: &str| {
        let mut tensors = model.parameters().snapshot().unwrap();
        change(&mut tensors);
        let path = folder.path().join("model.safetensors");
        write_tensors(&path, tensors.iter().map(|(name, t)| (name.as_str(), t))).unwrap();
        let error = Decoder::load(folder.path(), &Device::Cpu).expect_err(expected).to_string();
        assert!(error.contains(expected), "{error}");
    };
    let expert = |index: usize| format!("model.layers.1.mlp.experts.{index}.up_proj.weight");
    check(&|t| drop(t.remove(&expert(7))), "experts.7.up_proj.weight of shape [32, 24] is missing");
    check(&|t| drop(t.insert(expert(8), t[&expert(7)].clone())), "experts.8.up_proj.weight does not belong");
    check(
        &|t| drop(t.insert(expert(0), t["model.layers.1.mlp.experts.0.down_proj.weight"].clone())),
        "experts.0.up_proj.weight has shape [24, 32]",
    );
    check(
        &|t| drop(t.remove("model.layers.0.mlp.gate.weight")),
        "mlp.gate.weight of shape [8, 24] is missing",
    );
}

#[test]
fn gguf_files_hold_the_same_experts() {
    let Fixture { tokens, rows, cases } = fixture();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    let open = |file: &Gguf| {
        fs::write(&path, file.bytes()).unwrap();
        Decoder::open(&path, &Device::Cpu)
    };
    for Mixture { case, .. } in cases.iter().filter(|mixture| mixture.case.name != "mixtral-window") {
        let model = model(case);
        let (config, mut file) = (model.config(), Gguf::of_experts(&model));
        let normalized = config.experts.as_ref().unwrap().normalized;
        let usual = !["olmoe", "qwen2_moe"].contains(&config.family.name);
        let architecture = match config.family.name {
            "mixtral" => "llama".to_owned(),
            other => other.replace('_', ""),
        };
        if normalized != usual {
            file.pair(&format!("{architecture}.expert_weights_norm"), 7, &[u8::from(normalized)]);
        }
        let loaded = open(&file).unwrap_or_else(|error| panic!("{}: {error}", case.name));
        assert_close(&logits(&loaded, &tokens, &rows), &case.logits, 1e-4, &case.name);
        assert_eq!(loaded.config().family.name, config.family.name);
    }
    let check = |name: &str, change: &dyn Fn(&mut Gguf), expected: &str| {
        let mut file = Gguf::of_experts(&named(name));
        change(&mut file);
        let error = open(&file).expect_err(expected).to_string();
        assert!(error.contains(expected), "{error}");
    };
    check(
        "olmoe",
        &|file| {
            file.u32("olmoe.expert_gating_func", 2);
        },
        "olmoe.expert_gating_func = 2",
    );
    check(
        "olmoe",
        &|file| {
            file.f32("olmoe.expert_weights_scale", 2.5);
        },
        "expert_weights_scale = 2.5",
    );
    check(
        "olmoe",
        &|file| {
            file.tensor("blk.0.ffn_gate.weight", &[1], 0, &[0; 4]);
        },
        "does not belong",
    );
    let odd = |file: &mut Gguf| {
        file.pair("llama.expert_weights_norm", 7, &[0]);
    };
    check("mixtral", &odd, "norm_topk_prob = false");
}
