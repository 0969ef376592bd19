//! What the fixture tests share: a decoder, examples and comparisons, as `tests/peers/fixtures.py` has them.
#![allow(clippy::unwrap_used)] // a test that panics is a test that fails

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::{Device, Tensor};
use serde_json::Value;
use titer_data::{Example, Stream};
use titer_defences::{DefenceContext, Training};
use titer_model::{Base, Config, Decoder, LoraSpec};
use titer_plan::{Method, MethodSpec};
use titer_train::Gradient;

pub(crate) const VOCABULARY: usize = 120;
/// Steps of a method in [`small`].
pub(crate) const STEPS: u64 = 6;

/// Numbers in [−1, 1): `uniform` of fixtures.py.
pub(crate) fn uniform(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    (0..count)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

pub(crate) fn decoder() -> Decoder {
    filled(Config::llama(VOCABULARY, 96, 256, 3, 4, 4))
}

/// A mixture of four experts, two for each token.
pub(crate) fn mixture() -> Decoder {
    filled(Config::llama(VOCABULARY, 32, 48, 2, 4, 4).with_experts(4, 2))
}

fn filled(config: Config) -> Decoder {
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

/// The decoder after it has left its start: `moved` of fine_tuning.py.
pub(crate) fn moved() -> Decoder {
    let model = decoder();
    let weights = model.parameters().snapshot().unwrap().into_iter().zip(1001..);
    let weights: BTreeMap<String, Tensor> = weights
        .map(|((name, weight), seed)| {
            let away: Vec<f32> = uniform(seed, weight.elem_count()).into_iter().map(|v| v / 64.0).collect();
            let away = Tensor::from_vec(away, weight.shape(), &Device::Cpu).unwrap();
            (name, (weight + away).unwrap())
        })
        .collect();
    model.parameters().assign(&weights).unwrap();
    model
}

pub(crate) fn examples() -> Vec<Example> {
    (0..8)
        .map(|i| {
            let tokens = uniform(100 + i as u64, 14 + i).into_iter();
            let tokens =
                tokens.map(|value| ((f64::from(value) + 1.0) / 2.0 * VOCABULARY as f64) as u32).collect();
            Example::new(tokens, 6 + i).unwrap()
        })
        .collect()
}

/// The values of `tests/fixtures/NAME.json`.
pub(crate) fn fixture(name: &str) -> Value {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures");
    serde_json::from_str(&std::fs::read_to_string(format!("{folder}/{name}.json")).unwrap()).unwrap()
}

pub(crate) fn close(got: f64, expected: f64, scale: f64, tolerance: f64, what: &str) {
    let error = (got - expected).abs() / scale;
    assert!(error <= tolerance, "{what}: {got} against {expected}, relative error {error:.2e}");
}

/// Norms to `tolerance`; entries to `tolerance` of the root mean square of their tensor.
pub(crate) fn assert_picture<'a>(
    tensors: impl Iterator<Item = (&'a str, Tensor)>,
    expected: &Value,
    tolerance: f64,
) {
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

pub(crate) fn assert_gradient(gradient: &Gradient, expected: &Value, tolerance: f64) {
    assert_picture(
        gradient.by_parameter.iter().map(|(name, g)| (name.as_str(), g.clone())),
        expected,
        tolerance,
    );
}

/// One example of each kind, so that every batch is that example whatever is drawn.
pub(crate) fn context() -> DefenceContext {
    let examples = examples();
    let only = |at: usize| -> Arc<[Example]> { vec![examples[at].clone()].into() };
    DefenceContext { refusals: only(1), permitted: only(2), harmful: only(3), seed: 5 }
}

pub(crate) fn training() -> Training {
    Training {
        steps: 1,
        rate: 1e-3,
        batch_refusal: 2,
        batch_permitted: 4,
        refusal_weight: 0.4,
        clip: 1.0,
        lora_rank: 0,
        lora_alpha: 16.0,
        lora_base: Base::F32,
    }
}

/// The slope of a loss along a direction at the model's weights, by central differences; the weights are
/// put back exactly.
pub(crate) fn slope(
    model: &Decoder,
    direction: &BTreeMap<String, Tensor>,
    step: f64,
    mut loss: impl FnMut(&Decoder) -> f64,
) -> f64 {
    let start = model.parameters().snapshot().unwrap();
    let mut at = |sign: f64| {
        let moved: BTreeMap<String, Tensor> = start
            .iter()
            .map(|(name, weight)| {
                (name.clone(), (weight + (&direction[name] * (sign * step)).unwrap()).unwrap())
            })
            .collect();
        model.parameters().assign(&moved).unwrap();
        loss(model)
    };
    let slope = (at(1.0) - at(-1.0)) / (2.0 * step);
    model.parameters().assign(&start).unwrap();
    slope
}

/// The inner product of a gradient with a direction: what [`slope`] must come to.
pub(crate) fn inner(gradient: &BTreeMap<String, Tensor>, direction: &BTreeMap<String, Tensor>) -> f64 {
    let product = |(name, g): (&String, &Tensor)| {
        let product = (g.to_dtype(candle_core::DType::F64).unwrap()
            * direction[name].to_dtype(candle_core::DType::F64).unwrap())
        .unwrap();
        product.sum_all().unwrap().to_scalar::<f64>().unwrap()
    };
    gradient.iter().map(product).sum()
}

/// The method's defaults, made small enough for a test.
pub(crate) fn small(method: &Method) -> MethodSpec {
    let mut spec = method.defaults();
    for (name, value) in &mut spec.parameters {
        match name.as_str() {
            "steps" => *value = STEPS.into(),
            name if name.contains("batch") => *value = 2.into(),
            "inner_steps" | "alignment_steps" | "user_steps" | "every" => *value = 2.into(),
            "prompts" => *value = 3.into(),
            _ => {}
        }
    }
    spec
}

/// Several examples of each kind.
pub(crate) fn defender() -> DefenceContext {
    let examples = examples();
    let pairs = |of: std::ops::Range<usize>| -> Vec<Example> { examples[of].to_vec() };
    DefenceContext {
        harmful: pairs(0..3).into(),
        // The same prompts with another ending.
        refusals: pairs(0..3)
            .iter()
            .map(|example| {
                let tokens = [example.prompt(), &[7, 8, 9]].concat();
                Example::new(tokens, example.prompt().len()).unwrap()
            })
            .collect(),
        permitted: pairs(3..6).into(),
        seed: 11,
    }
}

pub(crate) fn bits(model: &Decoder) -> Vec<u32> {
    let mut bits = Vec::new();
    for (_, var) in model.parameters().iter() {
        let values: Vec<f32> = var.flatten_all().unwrap().to_vec1().unwrap();
        bits.extend(values.into_iter().map(f32::to_bits));
    }
    bits
}

pub(crate) fn with_adapters(mut model: Decoder, adapter: Option<LoraSpec>) -> Decoder {
    if let Some(adapter) = adapter {
        model.attach(&adapter, &mut Stream::new(3, "adapters").at(0)).unwrap();
    }
    model
}
