//! Decoder, training and defences against PyTorch: the values of `tests/fixtures/decoder.json`, made by
//! `tests/peers/fixtures.py`. Weights and tokens come from the same generator on both sides.
#![allow(clippy::unwrap_used)] // a test that panics is a test that fails

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::{Device, Tensor};
use serde_json::Value;
use titer_data::{Draw, Example, Packed, Sampler, Stream};
use titer_defences::{AdversarialLoss, DefenceContext, Immunizer, Tar};
use titer_model::{Config, Decoder};
use titer_plan::stage::{Schedule, TrainSpec};
use titer_train::loss::{mean_cross_entropy, supervised_logits, value};
use titer_train::{Cost, Gradient, Observer, Point, StepRecord, Supervised, Trainer};

const VOCABULARY: usize = 120;

/// Numbers in [−1, 1): `uniform` of fixtures.py.
fn uniform(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    (0..count)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

fn decoder() -> Decoder {
    let config = Config::llama(VOCABULARY, 96, 256, 3, 4, 4);
    let tensors: BTreeMap<String, Tensor> = config
        .shapes()
        .into_iter()
        .zip(1..)
        .map(|((name, shape), seed)| {
            let values = uniform(seed, shape.iter().product()).into_iter();
            let values: Vec<f32> = if shape.len() == 1 {
                values.map(|value| 1.0 + value / 8.0).collect()
            } else {
                values.map(|value| value / 16.0).collect()
            };
            (name, Tensor::from_vec(values, shape, &Device::Cpu).unwrap())
        })
        .collect();
    Decoder::new(config, &tensors).unwrap()
}

fn examples() -> Vec<Example> {
    (0..8)
        .map(|i| {
            let tokens = uniform(100 + i as u64, 14 + i).into_iter();
            let tokens =
                tokens.map(|value| ((f64::from(value) + 1.0) / 2.0 * VOCABULARY as f64) as u32).collect();
            Example::new(tokens, 6 + i).unwrap()
        })
        .collect()
}

fn fixture() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/decoder.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn close(got: f64, expected: f64, scale: f64, tolerance: f64, what: &str) {
    let error = (got - expected).abs() / scale;
    assert!(error <= tolerance, "{what}: {got} against {expected}, relative error {error:.2e}");
}

/// Norms to `tolerance`; entries to `tolerance` of the root mean square of their tensor.
fn assert_picture<'a>(tensors: impl Iterator<Item = (&'a str, Tensor)>, expected: &Value, tolerance: f64) {
    let mut seen = 0;
    for (name, tensor) in tensors {
        let values: Vec<f32> = tensor.flatten_all().unwrap().to_vec1().unwrap();
        let norm = values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
        let expected_norm = expected[name]["norm"].as_f64().unwrap();
        close(norm, expected_norm, expected_norm, tolerance, name);
        let typical = expected_norm / (values.len() as f64).sqrt();
        for entry in 0..5 {
            let got = f64::from(values[entry * (values.len() - 1) / 4]);
            let expected = expected[name]["entries"][entry].as_f64().unwrap();
            close(got, expected, typical.max(expected.abs()), tolerance, &format!("{name}[{entry}]"));
        }
        seen += 1;
    }
    assert_eq!(seen, expected.as_object().unwrap().len(), "every parameter is compared");
}

fn assert_gradient(gradient: &Gradient, expected: &Value, tolerance: f64) {
    assert_picture(
        gradient.by_parameter.iter().map(|(name, g)| (name.as_str(), g.clone())),
        expected,
        tolerance,
    );
}

#[test]
fn logits_loss_and_gradients_equal_torch() {
    let expected = &fixture()["decoder"];
    let (model, examples) = (decoder(), examples());
    let logits = supervised_logits(&model, &Packed::from_examples(&examples[..1])).unwrap();
    let logits: Vec<f32> = logits.narrow(0, 0, 2).unwrap().flatten_all().unwrap().to_vec1().unwrap();
    for (got, expected) in logits.iter().zip(expected["logits"].as_array().unwrap()) {
        close(f64::from(*got), expected.as_f64().unwrap(), 1.0, 1e-4, "logit");
    }
    let batch = Packed::from_examples(&examples);
    let loss = mean_cross_entropy(&model, &batch).unwrap();
    let first = expected["losses"][0].as_f64().unwrap();
    close(value(&loss).unwrap(), first, first, 1e-5, "loss");
    assert_gradient(&Gradient::of(&loss, &model, Cost::default()).unwrap(), &expected["gradients"], 1e-4);
}

#[test]
fn five_steps_of_training_equal_torch() {
    struct Losses(Vec<f64>);
    impl Observer for Losses {
        fn between(&mut self, _: &Point<'_>) -> titer_train::Result<std::ops::ControlFlow<()>> {
            Ok(std::ops::ControlFlow::Continue(()))
        }
        fn stepped(&mut self, record: &StepRecord) -> titer_train::Result<()> {
            self.0.push(record.terms[0].1);
            Ok(())
        }
    }
    let expected = &fixture()["decoder"];
    let model = decoder();
    // A batch of distinct draws that takes everything: order does not matter to a mean.
    let sampler = Sampler::new(examples(), Stream::new(0, "parity"), 8, Draw::WithoutReplacement).unwrap();
    let spec = TrainSpec {
        steps: 5,
        batch: 8,
        rate: 1e-3,
        schedule: Schedule::Constant,
        warmup_steps: 0,
        beta1: 0.9,
        beta2: 0.98,
        weight_decay: 0.01,
        clip: None,
    };
    let mut losses = Losses(Vec::new());
    let mut trainer = Trainer::new(spec, &model).unwrap();
    trainer.fit(&model, &mut Supervised::new(sampler), &mut losses).unwrap();
    for (got, expected) in losses.0.iter().zip(expected["losses"].as_array().unwrap()) {
        let expected = expected.as_f64().unwrap();
        close(*got, expected, expected, 1e-4, "loss");
    }
    let weights = model.parameters().iter().map(|(name, var)| (name, var.as_tensor().clone()));
    assert_picture(weights, &expected["weights"], 1e-4);
}

/// One example of each kind, so that every batch is that example whatever is drawn.
fn context() -> DefenceContext {
    let examples = examples();
    let only = |at: usize| -> Arc<[Example]> { vec![examples[at].clone()].into() };
    DefenceContext { refusals: only(1), permitted: only(2), harmful: only(3), seed: 5 }
}

fn adversarial(lambda: f64, cap: f64) -> AdversarialLoss {
    AdversarialLoss {
        steps: 1,
        rate: 1e-3,
        batch_harmful: 3,
        batch_refusal: 2,
        batch_permitted: 4,
        refusal_weight: 0.4,
        lambda,
        cap,
        clip: 1.0,
        lora_rank: 0,
        lora_alpha: 16.0,
    }
}

#[test]
fn adversarial_loss_equals_its_formula_below_and_above_the_cap() {
    let expected = &fixture()["adversarial"];
    for (case, cap) in [("active", 8.0), ("silent", 2.0)] {
        let mut objective = adversarial(1.5, cap).objective(&context()).unwrap();
        let gradient = objective.gradient(&decoder(), 0).unwrap();
        assert_gradient(&gradient, &expected[case]["gradients"], 1e-4);
        let (name, harmful) = gradient.terms[1];
        assert_eq!(name, "harmful_cross_entropy");
        let expected = expected[case]["harmful"].as_f64().unwrap();
        close(harmful, expected, expected, 1e-5, name);
    }
}

#[test]
fn tar_adds_the_gradient_at_attacked_weights() {
    let expected = &fixture()["tar"];
    let method = Tar {
        steps: 1,
        rate: 1e-3,
        batch_harmful: 2,
        batch_refusal: 2,
        batch_permitted: 2,
        refusal_weight: 0.4,
        lambda: 0.7,
        inner_steps: 1,
        adversary_batch: 4,
        adversary_rates: vec![1e-3],
        clip: 1.0,
        lora_rank: 0,
        lora_alpha: 16.0,
    };
    let gradient = method.objective(&context()).unwrap().gradient(&decoder(), 0).unwrap();
    // The first AdamW step is almost the gradient's sign, which f32 cannot tell where a gradient is nearly
    // zero: hence the wider tolerance.
    assert_gradient(&gradient, &expected["gradients"], 1e-3);
    let (name, entropy) = gradient.terms[1];
    assert_eq!(name, "attacked_entropy");
    let expected = expected["entropy"].as_f64().unwrap();
    close(entropy, expected, expected, 1e-4, name);
}
