//! The load-balancing loss against Transformers', and training of a mixture with it.
#![allow(clippy::unwrap_used)] // a test that panics is a test that fails

use std::ops::ControlFlow;

use candle_core::{Device, Tensor};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;
use titer_data::{Draw, Example, Sampler, Stream};
use titer_model::{Config, Decoder, View};
use titer_ops::Sequences;
use titer_train::{Objective, Supervised, loss};

/// As `uniform` of `tests/peers/architectures.py`.
fn uniform(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let step = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    std::iter::repeat_with(step).take(count).collect()
}

#[test]
fn load_balance_is_that_of_transformers() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/experts.json");
    let fixture: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let tokens: Vec<u32> = serde_json::from_value(fixture["tokens"].clone()).unwrap();
    let cases = fixture["cases"].as_array().unwrap();
    assert!(cases.len() >= 8);
    for case in cases {
        let config = Config::from_json(case["config"].as_object().unwrap().clone()).unwrap();
        let weights = (1..).zip(config.shapes()).map(|(seed, (name, shape))| {
            let mut values = uniform(seed, shape.iter().product());
            let norm = name.ends_with("norm.weight");
            values.iter_mut().for_each(|value| *value = if norm { 1.0 + *value / 8.0 } else { *value / 4.0 });
            (name, Tensor::from_vec(values, shape, &Device::Cpu).unwrap())
        });
        let model = Decoder::new(config, &weights.collect()).unwrap();
        let sequences = Sequences::new(&[0, tokens.len()]).unwrap();
        let trace = model.trace(&tokens, &sequences, View::Tracked, &[]).unwrap();
        let experts = model.config().experts.as_ref().unwrap();
        let got = loss::value(&loss::load_balance(&trace, experts).unwrap()).unwrap();
        let expected = case["balance"].as_f64().unwrap();
        assert!((got - expected).abs() < 1e-5, "{}: {got}, expected {expected}", case["name"]);
    }
}

#[test]
fn a_balanced_objective_adds_the_weighted_loss_and_leaves_dense_models_alone() {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let examples: Vec<Example> = (0..20)
        .map(|_| {
            let length = rng.random_range(4..12);
            Example::new((0..length).map(|_| rng.random_range(0..30)).collect(), 2).unwrap()
        })
        .collect();
    let sampler = Sampler::new(examples, Stream::new(3, "test"), 5, Draw::WithoutReplacement).unwrap();
    let dense = Config::llama(30, 16, 24, 2, 2, 2);
    let made = |config: Config| {
        Decoder::initialize(config, 0.3, &mut ChaCha8Rng::seed_from_u64(1), &Device::Cpu).unwrap()
    };
    let gradient = |model: &Decoder, weight: f64| {
        Supervised::new(sampler.clone()).balanced(weight).gradient(model, 0).unwrap()
    };
    let model = made(dense.clone());
    assert_eq!(gradient(&model, 0.5).terms, gradient(&model, 0.0).terms);

    let model = made(dense.with_experts(4, 2));
    let (plain, half, whole) = (gradient(&model, 0.0), gradient(&model, 0.5), gradient(&model, 1.0));
    assert_eq!(plain.terms.len(), 1);
    // The balance needs all tokens' routes in every layer, and so another pass than the plain loss.
    assert_eq!(half.terms[0].0, plain.terms[0].0);
    assert!((half.terms[0].1 - plain.terms[0].1).abs() < 1e-5);
    assert!(half.terms[1].0 == "load_balance" && half.terms[1].1 >= 1.9);
    assert_eq!(half.cost, plain.cost);
    for (name, plain) in &plain.by_parameter {
        // Linear in the weight.
        let sum = (plain + &whole.by_parameter[name]).unwrap();
        let difference = ((sum * 0.5).unwrap() - &half.by_parameter[name]).unwrap().abs().unwrap();
        let worst = difference.max_all().unwrap().to_scalar::<f32>().unwrap();
        assert!(worst < 1e-5, "{name}: {worst}");
    }
    let router = "model.layers.0.block_sparse_moe.gate.weight";
    assert_ne!(
        plain.by_parameter[router].to_vec2::<f32>().unwrap(),
        whole.by_parameter[router].to_vec2::<f32>().unwrap()
    );
}

#[test]
fn a_mixture_learns_and_a_copy_learns_the_same_bits() {
    let examples: Vec<Example> = (0..12)
        .map(|i| Example::new((0..8).map(|j| (i * 7 + j * (i + 1)) % 30).collect(), 2).unwrap())
        .collect();
    let sampler = Sampler::new(examples, Stream::new(3, "test"), 6, Draw::WithoutReplacement).unwrap();
    let config = Config::llama(30, 16, 24, 2, 2, 2).with_experts(4, 2);
    let model = Decoder::initialize(config, 0.1, &mut ChaCha8Rng::seed_from_u64(1), &Device::Cpu).unwrap();
    let spec = titer_plan::stage::TrainSpec {
        steps: 40,
        batch: 6,
        rate: 1e-2,
        schedule: titer_plan::stage::Schedule::Constant,
        warmup_steps: 0,
        beta1: 0.9,
        beta2: 0.98,
        weight_decay: 0.0,
        clip: Some(1.0),
        optimizer: Default::default(),
    };
    struct Losses(Vec<f64>);
    impl titer_train::Observer for Losses {
        fn between(&mut self, _: &titer_train::Point<'_>) -> titer_train::Result<ControlFlow<()>> {
            Ok(ControlFlow::Continue(()))
        }

        fn stepped(&mut self, record: &titer_train::StepRecord) -> titer_train::Result<()> {
            self.0.push(record.terms[0].1);
            Ok(())
        }
    }
    let run = |model: &Decoder| {
        let mut losses = Losses(Vec::new());
        let mut objective = Supervised::new(sampler.clone()).balanced(0.01);
        titer_train::Trainer::new(spec, model).unwrap().fit(model, &mut objective, &mut losses).unwrap();
        losses.0
    };
    let copy = model.duplicate().unwrap();
    let losses = run(&model);
    assert!(losses[39] < losses[0] / 2.0, "from {} to {}", losses[0], losses[39]);
    assert_eq!(losses, run(&copy));
}
