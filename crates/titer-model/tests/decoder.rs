//! Files, generation and refusals of the decoder.
#![allow(clippy::unwrap_used)] // a test that panics is a test that fails

use std::collections::BTreeMap;
use std::fs;

use candle_core::{Device, Tensor};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use titer_model::{Choice, Config, Decoder, Draws, Error, Family, Generate};
use titer_ops::Sequences;

fn config(kv_heads: usize, tied: bool) -> Config {
    Config { tie_word_embeddings: tied, ..Config::llama(40, 24, 32, 2, 4, kv_heads) }
}

fn decoder(kv_heads: usize, tied: bool) -> Decoder {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    Decoder::initialize(config(kv_heads, tied), 0.3, &mut rng, &Device::Cpu).unwrap()
}

/// Greedy continuation by running the whole sequence again for each token.
fn slow_greedy(model: &Decoder, prompt: &[u32], new: usize, end: u32) -> Vec<u32> {
    let mut tokens = prompt.to_vec();
    for _ in 0..new {
        let hidden = model.forward(&tokens, &Sequences::new(&[0, tokens.len()]).unwrap()).unwrap();
        let logits = model.logits(&hidden, &[tokens.len() as u32 - 1]).unwrap().to_vec2::<f32>().unwrap();
        let highest = logits[0].iter().copied().fold(f32::NEG_INFINITY, f32::max);
        tokens.push(logits[0].iter().position(|logit| *logit == highest).unwrap() as u32);
        if tokens.last() == Some(&end) {
            break;
        }
    }
    tokens.split_off(prompt.len())
}

#[test]
fn cached_generation_of_a_ragged_batch_equals_running_each_sequence_again() {
    let prompts = vec![vec![1, 2, 3, 4, 5, 6, 7], vec![9], vec![3, 3, 3], vec![11, 12, 13, 14]];
    for (kv_heads, tied) in [(4, false), (2, true), (1, false)] {
        let model = decoder(kv_heads, tied);
        // An end that the second prompt's answer reaches early, so that a row is dropped midway.
        let end = slow_greedy(&model, &prompts[1], 3, u32::MAX)[2];
        let generate = Generate { max_new_tokens: 12, ends: &[end], choice: Choice::Greedy };
        let answers = model.generate(&prompts, generate).unwrap();
        for (prompt, answer) in prompts.iter().zip(&answers) {
            assert_eq!(*answer, slow_greedy(&model, prompt, 12, end), "prompt {prompt:?}");
        }
    }
}

#[test]
fn sampling_follows_its_seed_and_its_temperature() {
    let model = decoder(4, false);
    let sample = |seed, temperature| {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let choice = Choice::Sample { temperature, rng: &mut rng };
        model.generate(&[vec![1, 2]], Generate { max_new_tokens: 20, ends: &[], choice }).unwrap()
    };
    assert_eq!(sample(1, 1.0), sample(1, 1.0));
    assert_ne!(sample(1, 1.0), sample(2, 1.0));
    let greedy = Generate { max_new_tokens: 20, ends: &[], choice: Choice::Greedy };
    assert_eq!(sample(1, 1e-6), model.generate(&[vec![1, 2]], greedy).unwrap());
}

#[test]
fn draws_of_a_prompt_do_not_depend_on_the_others() {
    let model = decoder(4, false);
    let drawn = |prompts: &[(u64, Vec<u32>)], temperature, top_p| {
        let mut rngs: Vec<Draws> =
            prompts.iter().map(|(seed, _)| Box::new(ChaCha8Rng::seed_from_u64(*seed)) as Draws).collect();
        let prompts: Vec<Vec<u32>> = prompts.iter().map(|(_, prompt)| prompt.clone()).collect();
        let choice = Choice::Nucleus { temperature, top_p, rngs: &mut rngs };
        model.generate(&prompts, Generate { max_new_tokens: 12, ends: &[7], choice }).unwrap()
    };
    let prompts = [(1, vec![1, 2]), (2, vec![3]), (3, vec![1, 2]), (4, vec![5, 6, 1])];
    let together = drawn(&prompts, 1.0, 0.9);
    for (at, prompt) in prompts.iter().enumerate() {
        assert_eq!(drawn(std::slice::from_ref(prompt), 1.0, 0.9)[0], together[at]);
    }
    assert_ne!(together[0], together[2], "another seed draws otherwise");
    assert_ne!(together, drawn(&prompts, 1.0, 0.3));
    let greedy = Generate { max_new_tokens: 12, ends: &[7], choice: Choice::Greedy };
    let prompts_alone: Vec<Vec<u32>> = prompts.iter().map(|(_, prompt)| prompt.clone()).collect();
    assert_eq!(drawn(&prompts, 1.0, 0.0), model.generate(&prompts_alone, greedy).unwrap());
    let choice = Choice::Nucleus { temperature: 1.0, top_p: 1.0, rngs: &mut [] };
    let error =
        model.generate(&prompts_alone, Generate { max_new_tokens: 1, ends: &[], choice }).unwrap_err();
    assert!(matches!(error, titer_model::Error::NoDraws { prompt: 0, sources: 0 }), "{error}");
}

#[test]
fn packing_does_not_change_what_a_sequence_computes() {
    let model = decoder(2, false);
    let logits = |tokens: &[u32], offsets: &[usize], rows: &[u32]| {
        let hidden = model.forward(tokens, &Sequences::new(offsets).unwrap()).unwrap();
        model.logits(&hidden, rows).unwrap().to_vec2::<f32>().unwrap()
    };
    let packed = logits(&[1, 2, 3, 4, 5, 6, 7], &[0, 3, 7], &[2, 6]);
    let alone = [logits(&[1, 2, 3], &[0, 3], &[2]), logits(&[4, 5, 6, 7], &[0, 4], &[3])].concat();
    for (packed, alone) in packed.iter().flatten().zip(alone.iter().flatten()) {
        assert!((packed - alone).abs() < 1e-5);
    }
}

#[test]
fn a_saved_directory_loads_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let model = decoder(2, true);
    model.save(folder.path()).unwrap();
    let loaded = Decoder::load(folder.path(), &Device::Cpu).unwrap();
    assert_eq!(loaded.config(), model.config());
    for ((name, a), (other, b)) in model.parameters().iter().zip(loaded.parameters().iter()) {
        assert_eq!(name, other);
        let bits = |t: &Tensor| -> Vec<u32> {
            t.flatten_all().unwrap().to_vec1::<f32>().unwrap().iter().map(|v| v.to_bits()).collect()
        };
        assert_eq!(bits(a), bits(b), "{name}");
    }
    let again = tempfile::tempdir().unwrap();
    loaded.save(again.path()).unwrap();
    let bytes = |folder: &std::path::Path| fs::read(folder.join("model.safetensors")).unwrap();
    assert_eq!(bytes(folder.path()), bytes(again.path()));
}

#[test]
fn a_file_torn_at_any_length_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    decoder(2, true).save(folder.path()).unwrap();
    let path = folder.path().join("model.safetensors");
    let whole = fs::read(&path).unwrap();
    for length in (0..whole.len()).step_by(whole.len() / 50 + 1).chain([1, 7, 8, 9, whole.len() - 1]) {
        fs::write(&path, &whole[..length]).unwrap();
        let error = Decoder::load(folder.path(), &Device::Cpu).expect_err("a torn file").to_string();
        assert!(error.contains("model.safetensors"), "{length}: {error}");
    }
}

#[test]
fn tensors_that_do_not_fit_the_configuration_are_named() {
    let model = decoder(2, false);
    let tensors = model.parameters().snapshot().unwrap();
    let check = |change: &dyn Fn(&mut BTreeMap<String, Tensor>), expected: &str| {
        let mut tensors = tensors.clone();
        change(&mut tensors);
        let error = Decoder::new(config(2, false), &tensors).expect_err(expected).to_string();
        assert!(error.contains(expected), "{error}");
    };
    let name = "model.layers.1.mlp.up_proj.weight";
    let zeros = |shape: (usize, usize)| Tensor::zeros(shape, candle_core::DType::F32, &Device::Cpu).unwrap();
    check(&|t| drop(t.remove(name)), "model.layers.1.mlp.up_proj.weight of shape [32, 24] is missing");
    check(&|t| drop(t.insert("extra".to_owned(), zeros((1, 1)))), "extra does not belong");
    check(&|t| drop(t.insert(name.to_owned(), zeros((24, 32)))), "has shape [24, 32]");
}

#[test]
fn unsupported_configurations_are_refused_by_key() {
    let check = |change: &dyn Fn(&mut Config), key: &str| {
        let mut config = config(2, false);
        change(&mut config);
        let error = config.check().expect_err(key).to_string();
        assert!(error.contains(key), "{error}");
    };
    let qwen2 = Family::named("qwen2").unwrap();
    check(&|c| (c.family, c.attention_bias) = (qwen2, true), "attention_bias = set");
    check(&|c| c.family = Family::named("mixtral").unwrap(), "num_experts = absent");
    check(&|c| c.family = Family::named("granite").unwrap(), "residual_multiplier = absent");
    check(&|c| c.unrotated = vec![0], "no_rope_layers = set");
    check(&|c| c.num_hidden_layers = 0, "num_hidden_layers");
    check(&|c| c.num_attention_heads = 5, "hidden_size");
    check(&|c| c.num_key_value_heads = 3, "num_key_value_heads");
}

#[test]
fn prompts_that_cannot_be_answered_are_errors() {
    let model = decoder(4, false);
    let generate = |prompts: &[Vec<u32>], max_new_tokens| {
        model.generate(prompts, Generate { max_new_tokens, ends: &[], choice: Choice::Greedy })
    };
    assert!(matches!(generate(&[vec![1], vec![]], 1), Err(Error::EmptyPrompt { index: 1 })));
    assert!(matches!(generate(&[vec![99]], 1), Err(Error::Token { token: 99, .. })));
    assert!(matches!(generate(&[vec![1; 60]], 5), Err(Error::TooLong { .. })));
    let positions = model.config().max_position_embeddings;
    // The second text of the batch is so long; the first has three tokens.
    let forward = |second: usize| {
        let sequences = Sequences::new(&[0, 3, 3 + second]).unwrap();
        model.forward(&vec![1; 3 + second], &sequences).map(|_| ())
    };
    forward(positions).unwrap();
    assert!(matches!(forward(positions + 1), Err(Error::TooLong { tokens, .. }) if tokens == positions + 1));
    assert_eq!(generate(&[], 5).unwrap(), Vec::<Vec<u32>>::new());
    assert_eq!(generate(&[vec![1]], 0).unwrap(), [Vec::<u32>::new()]);
}
