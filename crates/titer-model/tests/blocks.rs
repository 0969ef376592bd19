//! Families whose files or blocks are not Llama's against Transformers: names, joined modules, norms, rotations;
//! logits, gradients, generation, files.
#![allow(clippy::unwrap_used)] // a test that panics is a test that fails

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::common::blocks::{Case, Fixture, fixture};
use crate::common::{Gguf, assert_close, logits, uniform};
use candle_core::{DType, Device, Tensor};
use serde_json::{Map, Value, json};
use titer_model::{Choice, Clamp, Config, Decoder, Generate, View, read_tensors, write_tensors};
use titer_ops::{Activation, Scaling, Sequences};

#[test]
fn logits_and_gradients_are_those_of_transformers_before_and_after_a_save() {
    let Fixture { tokens, rows, cases } = fixture();
    for case in &cases {
        let mut model = case.load();
        let got = logits(&model, &tokens, &rows);
        assert_close(&got, &case.logits, 1e-4, &case.name);
        let folder = tempfile::tempdir().unwrap();
        let folder = std::env::var("TITER_FAMILIES")
            .map_or_else(|_| folder.path().to_owned(), |peers| Path::new(&peers).join(&case.name));
        fs::create_dir_all(&folder).unwrap();
        model.save(&folder).unwrap();
        // For `tests/peers/transformers_check.py families`.
        let text = json!({"tokens": tokens, "rows": rows, "logits": got});
        fs::write(folder.join("logits.json"), text.to_string()).unwrap();
        let saved = read_tensors(&folder.join("model.safetensors"), &Device::Cpu).unwrap();
        let shapes: BTreeMap<_, _> =
            saved.iter().map(|(name, tensor)| (name.clone(), tensor.dims().to_vec())).collect();
        // Blocks of mxfp4 are saved as numbers.
        let plain = case.config.get("quantization_config").is_none();
        assert!(shapes == case.shapes || !plain, "{}", case.name);
        let again = Decoder::open(&folder, &Device::Cpu).unwrap();
        assert_eq!(again.config(), model.config(), "{}", case.name);
        assert_eq!(logits(&again, &tokens, &rows), got, "{}", case.name);
        for recomputed in [false, true] {
            model.checkpointing(recomputed);
            gradients(case, &model, &tokens);
        }
    }
}

/// Compares a gradient with the peer's numbers, by way of a file that holds it under the family's names.
fn gradients(case: &Case, model: &Decoder, tokens: &[u32]) {
    let hidden = model.forward(tokens, &Sequences::new(&[0, tokens.len()]).unwrap()).unwrap();
    let all: Vec<u32> = (0..tokens.len() as u32).collect();
    let loss = model.logits(&hidden, &all).unwrap().sin().unwrap().sum_all().unwrap();
    let gradients = model.backward(&loss).unwrap();
    let folder = tempfile::tempdir().unwrap();
    Decoder::new(model.config().clone(), &gradients).unwrap().save(folder.path()).unwrap();
    let filed = read_tensors(&folder.path().join("model.safetensors"), &Device::Cpu).unwrap();
    assert_eq!(filed.len(), case.gradients.len());
    for (place, (name, expected)) in case.gradients.iter().enumerate() {
        let gradient: Vec<f32> = filed[name].flatten_all().unwrap().to_vec1().unwrap();
        let other = uniform(1000 + place as u64, gradient.len());
        let product = |(a, b): (&f32, &f32)| f64::from(*a) * f64::from(*b);
        let got: f64 = gradient.iter().zip(&other).map(product).sum();
        let norm = gradient.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
        let far = (got - expected).abs() / (1.0 + norm);
        assert!(far < 1e-4, "{}: gradient of {name}: {got} is not {expected}", case.name);
    }
}

#[test]
fn cached_generation_agrees_with_the_forward_pass_and_where_angles_change() {
    let Fixture { tokens, cases, .. } = fixture();
    for case in &cases {
        let model = case.load();
        // Of the cases with other angles for long texts, the first passes over the border.
        let prompts = [tokens[..28].to_vec(), tokens[20..23].to_vec()];
        let settings = Generate { max_new_tokens: 8, ends: &[], choice: Choice::Greedy };
        let answers = model.generate(&prompts, settings).unwrap();
        let scored: Vec<(&[u32], &[u32])> =
            prompts.iter().zip(&answers).map(|(prompt, answer)| (&prompt[..], &answer[..])).collect();
        assert_eq!(model.log_likelihoods(&scored).unwrap().len(), 2);
        for (prompt, answer) in prompts.iter().zip(&answers) {
            let mut text = prompt.clone();
            for token in answer {
                let row = logits(&model, &text, &[text.len() as u32 - 1]).remove(0);
                let highest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                assert!(row[*token as usize] >= highest - 1e-5, "{}: {}", case.name, text.len());
                text.push(*token);
            }
        }
    }
}

#[test]
fn angles_depend_on_a_sequence_s_own_length_and_not_on_its_neighbours() {
    let model = Case::named("phi3-long").load();
    let tokens = fixture().tokens;
    let alone = logits(&model, &tokens[..20], &[19]);
    let both = [&tokens[..20], &tokens[..40]].concat();
    let hidden = model.forward(&both, &Sequences::new(&[0, 20, 60]).unwrap()).unwrap();
    let packed: Vec<Vec<f32>> = model.logits(&hidden, &[19, 59]).unwrap().to_vec2().unwrap();
    assert_close(&packed[..1], &alone, 1e-5, "the short one");
    assert_close(&packed[1..], &logits(&model, &tokens, &[39]), 1e-5, "the long one");
}

#[test]
fn joined_modules_are_read_from_shards_in_half_types_and_without_the_base_s_prefix() {
    for name in ["phi3", "gpt-neox"] {
        let case = Case::named(name);
        let tensors = case.tensors();
        let folder = tempfile::tempdir().unwrap();
        let mut map = Map::new();
        case.write(folder.path(), &tensors);
        fs::remove_file(folder.path().join("model.safetensors")).unwrap();
        for shard in 0..3 {
            let file = format!("model-{shard}.safetensors");
            let of_shard: Vec<_> =
                tensors.iter().skip(shard).step_by(3).map(|(name, tensor)| (name.as_str(), tensor)).collect();
            map.extend(of_shard.iter().map(|(name, _)| ((*name).to_owned(), json!(file))));
            write_tensors(&folder.path().join(&file), of_shard).unwrap();
        }
        let index = json!({"weight_map": map}).to_string();
        fs::write(folder.path().join("model.safetensors.index.json"), index).unwrap();
        let sharded = Decoder::load(folder.path(), &Device::Cpu).unwrap();
        let Fixture { tokens, rows, .. } = fixture();
        let expected = logits(&case.load(), &tokens, &rows);
        assert_eq!(logits(&sharded, &tokens, &rows), expected);

        let halves: BTreeMap<String, Tensor> =
            tensors.iter().map(|(name, t)| (name.clone(), t.to_dtype(DType::BF16).unwrap())).collect();
        assert_close(&logits(&case.loaded(&halves).unwrap(), &tokens, &rows), &expected, 0.1, name);

        let bare = |name: &str| match name.split_once('.') {
            Some(("model" | "gpt_neox", rest)) => rest.to_owned(),
            _ => name.to_owned(),
        };
        let bared = tensors.iter().map(|(name, tensor)| (bare(name), tensor.clone())).collect();
        assert_eq!(logits(&case.loaded(&bared).unwrap(), &tokens, &rows), expected);
    }
}

#[test]
fn what_files_hold_beside_and_what_they_lack_is_told_by_their_names() {
    let case = Case::named("gpt-neox");
    let Fixture { tokens, rows, .. } = fixture();
    let expected = logits(&case.load(), &tokens, &rows);
    let with = |change: &dyn Fn(&mut BTreeMap<String, Tensor>)| {
        let mut tensors = case.tensors();
        change(&mut tensors);
        case.loaded(&tensors)
    };
    let zeros = || Tensor::zeros((1, 1, 4, 4), DType::U8, &Device::Cpu).unwrap();
    let buffers = with(&|tensors| {
        for end in ["attention.bias", "attention.masked_bias", "attention.rotary_emb.inv_freq"] {
            tensors.insert(format!("gpt_neox.layers.0.{end}"), zeros());
        }
        let head = tensors.remove("embed_out.weight").unwrap();
        tensors.insert("lm_head.weight".to_owned(), head);
    });
    assert_eq!(logits(&buffers.unwrap(), &tokens, &rows), expected);
    let check = |change: &dyn Fn(&mut BTreeMap<String, Tensor>), expected: &str| {
        let error = with(change).expect_err(expected).to_string();
        assert!(error.contains(expected), "{error}");
    };
    const QKV: &str = "gpt_neox.layers.1.attention.query_key_value";
    check(
        &|t| drop(t.remove(&format!("{QKV}.weight"))),
        &format!("{QKV}.weight of shape [72, 24] is missing"),
    );
    check(&|t| drop(t.remove(&format!("{QKV}.bias"))), &format!("{QKV}.bias of shape [72] is missing"));
    check(&|t| drop(t.remove("embed_out.weight")), "tensor embed_out.weight is missing");
    check(
        &|t| {
            let short = t[&format!("{QKV}.weight")].narrow(0, 0, 71).unwrap().contiguous().unwrap();
            t.insert(format!("{QKV}.weight"), short);
        },
        &format!("{QKV}.weight has shape [71, 24], the configuration says [72, 24]"),
    );
    check(
        &|t| {
            let head = t["embed_out.weight"].clone();
            t.insert("lm_head.weight".to_owned(), head);
        },
        "tensor embed_out.weight is there twice",
    );
    check(
        &|t| *t = t.iter().map(|(name, tensor)| (format!("module.{name}"), tensor.clone())).collect(),
        "rename it to embed_out.weight",
    );
}

#[test]
fn configurations_that_cannot_be_are_refused_by_key() {
    let base = |model_type: &str, changes: Value| {
        let config = json!({
            "model_type": model_type, "vocab_size": 40, "hidden_size": 24, "intermediate_size": 32,
            "num_hidden_layers": 2, "num_attention_heads": 3,
        });
        let mut config: Map<String, Value> = config.as_object().unwrap().clone();
        config.extend(changes.as_object().unwrap().clone());
        Config::from_json(config)
    };
    let neox = base("gpt_neox", json!({})).unwrap();
    assert_eq!((neox.rotated_dim(), neox.parallel_residual, neox.attention_bias), (2, true, true));
    assert_eq!((neox.rms_norm_eps, neox.rope_theta, neox.hidden_act), (1e-5, 1e4, Activation::Gelu));
    let old =
        base("gpt_neox", json!({"rotary_pct": 1.0, "rotary_emb_base": 2e4, "rope_theta": 7.0})).unwrap();
    assert_eq!((old.rotated_dim(), old.rope_theta), (8, 2e4));
    let phi = base("phi3", json!({"num_key_value_heads": null})).unwrap();
    assert_eq!((phi.num_key_value_heads, phi.rotated_dim(), phi.sliding_window), (3, 8, None));
    let four = json!([1.0, 1.0, 1.0, 2.0]);
    let long = json!({"type": "su", "short_factor": four, "long_factor": four});
    assert!(base("phi3", json!({"rope_scaling": long})).is_ok());
    let check = |model_type: &str, changes: Value, expected: &str| {
        let error = base(model_type, changes).expect_err(expected).to_string();
        assert!(error.contains(expected), "{error}");
    };
    check("gpt_neox", json!({"rotary_pct": 0.4}), "rotary_pct = 0.4");
    check("gpt_neox", json!({"rotary_pct": 0.0}), "rotary_pct = 0");
    check("gpt_neox", json!({"rotary_pct": 1.5}), "rotary_pct = 1.5");
    check("gpt_neox", json!({"hidden_act": "relu"}), "supported are silu, gelu_pytorch_tanh, gelu");
    check("gpt_neox", json!({"num_key_value_heads": 1}), "num_key_value_heads = 1");
    check("gpt_neox", json!({"head_dim": 6}), "head_dim = 6");
    check("gpt_neox", json!({"layer_norm_eps": -1.0}), "layer_norm_eps = -1");
    check("phi3", json!({"partial_rotary_factor": 0.4}), "partial_rotary_factor = 0.4");
    check("phi3", json!({"rope_scaling": {"type": "linear", "factor": 2.0}}), "default, longrope are");
    check("phi3", json!({"rope_scaling": {"type": "longrope", "short_factor": four}}), "long_factor");
    let three = json!([1.0, 2.0, 3.0]);
    let long = json!({"type": "longrope", "short_factor": four, "long_factor": three});
    check("phi3", json!({"rope_scaling": long}), "rope_scaling.long_factor = 3 numbers");
    let long = json!({"type": "longrope", "short_factor": [1.0, 1.0, 0.0, 1.0], "long_factor": four});
    check("phi3", json!({"rope_scaling": long}), "rope_scaling.short_factor = 0");
    check("llama", json!({"rope_scaling": {"type": "longrope"}}), "rope_scaling.rope_type = longrope");

    let oss = base("gpt_oss", json!({"num_attention_heads": 8, "tie_word_embeddings": true})).unwrap();
    let experts = oss.experts.as_ref().unwrap();
    assert_eq!((experts.count, experts.per_token, experts.width, oss.head_dim), (128, 4, 32, Some(64)));
    assert_eq!(experts.clamp, Some(Clamp { limit: 7.0, alpha: 1.702 }));
    assert!(matches!(oss.rope_scaling, Scaling::Yarn { truncate: false, original_positions: 4096, .. }));
    let eight = |changes: Value| {
        let mut keys = json!({"num_attention_heads": 8});
        keys.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        keys
    };
    assert!(base("gpt_oss", eight(json!({"quantization_config": {"quant_method": "mxfp4"}}))).is_ok());
    check("gpt_oss", eight(json!({"quantization_config": {"quant_method": "fp8"}})), "fp8");
    check("llama", json!({"quantization_config": {"quant_method": "mxfp4"}}), "mxfp4");
    check("gpt_oss", eight(json!({"swiglu_limit": 0.0})), "swiglu_limit = 0");
    check("gpt_oss", eight(json!({"swiglu_alpha": -1.0})), "swiglu_alpha = -1");
}

#[test]
fn blocks_of_mxfp4_that_are_not_whole_are_refused() {
    let case = Case::named("gpt-oss-mxfp4");
    const DOWN: &str = "model.layers.0.mlp.experts.down_proj";
    let check = |change: &dyn Fn(&mut BTreeMap<String, Tensor>), expected: &str| {
        let mut tensors = case.tensors();
        change(&mut tensors);
        let error = case.loaded(&tensors).expect_err(expected).to_string();
        assert!(error.contains(expected), "{error}");
    };
    check(
        &|t| drop(t.remove(&format!("{DOWN}_scales"))),
        "down_proj: numbers, or blocks and scales of mxfp4",
    );
    check(&|t| drop(t.remove(&format!("{DOWN}_bias"))), "experts.0.down_proj.bias of shape [32] is missing");
    let zeros = |shape: &[usize], dtype| Tensor::zeros(shape, dtype, &Device::Cpu).unwrap();
    check(
        &|t| drop(t.insert(format!("{DOWN}_scales"), zeros(&[2, 32, 2], DType::F32))),
        "down_proj: numbers, or blocks and scales of mxfp4",
    );
    check(
        &|t| drop(t.insert(format!("{DOWN}_blocks"), zeros(&[2, 32, 1, 16], DType::U8))),
        "down_proj_blocks has shape [2, 32, 1, 16]",
    );
    let infinite = Tensor::full(255u8, (2, 32, 2), &Device::Cpu).unwrap();
    check(&|t| drop(t.insert(format!("{DOWN}_scales"), infinite.clone())), "the file is damaged");
}

#[test]
fn what_writes_into_the_stream_is_all_of_it_with_biases_and_in_parallel() {
    let tokens = fixture().tokens;
    for name in ["phi3", "gpt-neox", "gpt-neox-one-after-the-other", "gpt-oss"] {
        let model = Case::named(name).load();
        let width = model.config().hidden_size;
        let r = Tensor::from_vec(uniform(7, width), width, &Device::Cpu).unwrap();
        let r = r.broadcast_div(&r.sqr().unwrap().sum_all().unwrap().sqrt().unwrap()).unwrap();
        for (name, var) in model.parameters().iter() {
            let Some(writer) = model.config().writer(name) else { continue };
            let weight = var.as_tensor().copy().unwrap();
            let rows = if writer.along == 1 || weight.rank() == 1 { weight } else { weight.t().unwrap() };
            let rows = rows.reshape(((), width)).unwrap();
            let along =
                rows.matmul(&r.unsqueeze(1).unwrap()).unwrap().matmul(&r.unsqueeze(0).unwrap()).unwrap();
            let rows = (rows - along).unwrap();
            let rows = if writer.along == 1 || var.rank() == 1 { rows } else { rows.t().unwrap() };
            var.set(&rows.reshape(var.dims()).unwrap().contiguous().unwrap()).unwrap();
        }
        let sequences = Sequences::new(&[0, tokens.len()]).unwrap();
        let trace = model.trace(&tokens, &sequences, View::Detached, &[]).unwrap();
        for state in trace.states() {
            let along = state.matmul(&r.unsqueeze(1).unwrap()).unwrap().abs().unwrap().max_all().unwrap();
            assert!(along.to_scalar::<f32>().unwrap() < 1e-4, "{name}");
        }
    }
}

/// As llama.cpp's converter writes it.
fn converted(case: &Case) -> Gguf {
    let model = case.load();
    let (config, mut file) = (model.config(), Gguf::default());
    let neox = case.config["model_type"] == "gpt_neox";
    let architecture = if neox { "gptneox" } else { "phi3" };
    let key = |name: &str| format!("{architecture}.{name}");
    file.string("general.architecture", architecture)
        .u32(&key("embedding_length"), config.hidden_size)
        .u32(&key("feed_forward_length"), config.intermediate_size)
        .u32(&key("block_count"), config.num_hidden_layers)
        .u32(&key("attention.head_count"), config.num_attention_heads)
        .u32(&key("context_length"), config.max_position_embeddings)
        .u32(&key("rope.dimension_count"), config.rotated_dim())
        .f32(&key("rope.freq_base"), config.rope_theta);
    if neox {
        file.f32(&key("attention.layer_norm_epsilon"), config.rms_norm_eps).pair(
            &key("use_parallel_residual"),
            7,
            &[u8::from(config.parallel_residual)],
        );
    } else {
        file.f32(&key("attention.layer_norm_rms_epsilon"), config.rms_norm_eps)
            .u32(&key("attention.head_count_kv"), config.num_key_value_heads)
            .u32(&key("attention.sliding_window"), 0);
    }
    let put = |file: &mut Gguf, name: &str, tensor: &Tensor| {
        let numbers: Vec<f32> = tensor.flatten_all().unwrap().to_vec1().unwrap();
        let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        file.tensor(name, tensor.dims(), 0, &bytes);
    };
    if let Scaling::Long { short, long, magnitude, original_positions } = &config.rope_scaling {
        file.f32(&key("rope.scaling.attn_factor"), *magnitude)
            .u32(&key("rope.scaling.original_context_length"), *original_positions);
        for (name, factors) in [("rope_factors_short.weight", short), ("rope_factors_long.weight", long)] {
            let factors: Vec<f32> = factors.iter().map(|factor| *factor as f32).collect();
            put(&mut file, name, &Tensor::new(factors, &Device::Cpu).unwrap());
        }
    }
    for (name, mut tensor) in case.tensors() {
        if name.contains("query_key_value") {
            let (heads, dim) = (config.num_attention_heads, config.heads().dim);
            let apart = tensor.reshape((heads, 3, dim, ())).unwrap().transpose(0, 1).unwrap();
            tensor = apart.contiguous().unwrap().reshape(tensor.shape()).unwrap();
        }
        const NAMES: [(&str, &str); 16] = [
            ("gpt_neox.embed_in", "token_embd"),
            ("model.embed_tokens", "token_embd"),
            ("gpt_neox.final_layer_norm", "output_norm"),
            ("model.norm", "output_norm"),
            ("embed_out", "output"),
            ("lm_head", "output"),
            ("gpt_neox.layers", "blk"),
            ("model.layers", "blk"),
            ("input_layernorm", "attn_norm"),
            ("post_attention_layernorm", "ffn_norm"),
            ("attention.query_key_value", "attn_qkv"),
            ("self_attn.qkv_proj", "attn_qkv"),
            ("attention.dense", "attn_output"),
            ("self_attn.o_proj", "attn_output"),
            ("mlp.dense_h_to_4h", "ffn_up"),
            ("mlp.gate_up_proj", "ffn_up"),
        ];
        let name = NAMES.iter().fold(name, |name, (there, here)| name.replace(there, here));
        let name = name.replace("mlp.dense_4h_to_h", "ffn_down").replace("mlp.down_proj", "ffn_down");
        put(&mut file, &name, &tensor);
    }
    file
}

fn opened(file: &Gguf) -> titer_model::Result<Decoder> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    fs::write(&path, file.bytes()).unwrap();
    Decoder::open(&path, &Device::Cpu)
}

#[test]
fn gguf_files_hold_the_same_models() {
    let Fixture { tokens, rows, cases } = fixture();
    let mut read = 0;
    for case in &cases {
        let model = case.load();
        let config = model.config();
        // llama.cpp knows one way to write each of these.
        let plain = matches!(config.rope_scaling, Scaling::None | Scaling::Long { .. });
        if !plain || config.hidden_act == Activation::GeluTanh || config.head_dim.is_some() {
            continue;
        }
        let loaded = opened(&converted(case)).unwrap_or_else(|error| panic!("{}: {error}", case.name));
        assert_close(&logits(&loaded, &tokens, &rows), &case.logits, 1e-4, &case.name);
        assert_eq!(loaded.config().rotated_dim(), config.rotated_dim());
        read += 1;
    }
    assert!(read >= 6);
    let check = |file: &Gguf, expected: &str| {
        let error = opened(file).expect_err(expected).to_string();
        assert!(error.contains(expected), "{error}");
    };
    let clipped = converted(&Case::named("phi3")).f32("phi3.attention.clamp_kqv", 4.0).clone();
    check(&clipped, "phi3.attention.clamp_kqv = set");
    let first = converted(&Case::named("phi3")).u32("phi3.rope.scaling.original_context_length", 64).clone();
    check(&first, "rope_factors_long.weight of shape [4] is missing");
    let mut without = converted(&Case::named("phi3"));
    without.tensor("rope_factors_short.weight", &[4], 0, &[0; 16]);
    check(&without, "phi3.rope.scaling.original_context_length: it is missing");
}
