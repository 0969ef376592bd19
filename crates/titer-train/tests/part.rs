//! Training of a part of a model: what moves, what stays, and what is refused.
#![allow(clippy::unwrap_used)] // a test that panics is a test that fails

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use titer_data::{Draw, Example, Sampler, Stream};
use titer_model::{Config, Decoder};
use titer_plan::stage::{Schedule, TrainSpec, TrainedPart, WeightKind};
use titer_train::{Objective, Partial, Supervised, Trainer};

const STEPS: u64 = 3;

fn dense() -> Config {
    Config::llama(30, 16, 24, 2, 2, 2)
}

fn made(config: Config) -> Decoder {
    Decoder::initialize(config, 0.3, &mut ChaCha8Rng::seed_from_u64(1), &Device::Cpu).unwrap()
}

fn whole() -> Supervised {
    let examples: Vec<Example> = (0..12)
        .map(|i| Example::new((0..8).map(|j| (i * 7 + j * (i + 1)) % 30).collect(), 2).unwrap())
        .collect();
    Supervised::new(Sampler::new(examples, Stream::new(3, "test"), 6, Draw::WithoutReplacement).unwrap())
}

fn part(weights: &[WeightKind], experts: &[usize], layers: &[usize]) -> TrainedPart {
    TrainedPart { weights: weights.to_vec(), experts: experts.to_vec(), layers: layers.to_vec() }
}

/// The names of the weights that training moved. Weight decay would move all of them, had they not been held.
fn moved(part: &TrainedPart) -> Vec<String> {
    let train = TrainSpec {
        steps: STEPS,
        batch: 6,
        rate: 1e-2,
        schedule: Schedule::Constant,
        warmup_steps: 0,
        beta1: 0.9,
        beta2: 0.98,
        weight_decay: 0.1,
        clip: Some(1.0),
        optimizer: Default::default(),
    };
    let model = made(dense().with_experts(4, 2));
    let before: BTreeMap<String, Tensor> = model.parameters().snapshot().unwrap();
    let mut objective = Partial::training(whole(), part, &model).unwrap();
    Trainer::new(train, &model).unwrap().fit(&model, &mut objective, &mut ()).unwrap();
    let bits = |tensor: &Tensor| -> Vec<u32> {
        tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap().into_iter().map(f32::to_bits).collect()
    };
    let changed = |name: &str| bits(&before[name]) != bits(model.parameters().get(name).unwrap());
    let names = model.parameters().iter().map(|(name, _)| name.to_owned());
    names.filter(|name| changed(name)).collect()
}

#[test]
fn only_the_part_moves() {
    use WeightKind::{Attention, Experts, Routers};
    let mixture =
        |layer: usize, weight: &str| format!("model.layers.{layer}.block_sparse_moe.{weight}.weight");
    let expert = |layer: usize, expert: usize| {
        ["w1", "w2", "w3"].map(|matrix| mixture(layer, &format!("experts.{expert}.{matrix}")))
    };
    let mut expected: Vec<String> = [0, 1].iter().flat_map(|layer| expert(*layer, 3)).collect();
    expected.extend([0, 1].map(|layer| mixture(layer, "gate")));
    expected.sort();
    assert_eq!(moved(&part(&[Routers, Experts], &[3], &[])), expected);

    let attention = ["k", "o", "q", "v"].map(|of| format!("model.layers.1.self_attn.{of}_proj.weight"));
    assert_eq!(moved(&part(&[Attention], &[], &[1])), attention);
}

#[test]
fn what_is_held_has_no_gradient_and_the_rest_has_its_own() {
    let model = made(dense().with_experts(4, 2));
    let plain = whole().gradient(&model, 0).unwrap();
    let chosen = part(&[WeightKind::Routers], &[], &[]);
    let partial = Partial::training(whole(), &chosen, &model).unwrap().gradient(&model, 0).unwrap();
    assert_eq!(partial.terms, plain.terms);
    for (name, gradient) in &partial.by_parameter {
        let values = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        if name.ends_with(".gate.weight") {
            assert_eq!(values(gradient), values(&plain.by_parameter[name]), "{name}");
            assert!(values(gradient).iter().any(|value| *value != 0.0), "{name}");
        } else {
            assert!(values(gradient).iter().all(|value| *value == 0.0), "{name}");
            assert!(partial.held.contains(name), "{name}");
        }
    }
}

#[test]
fn a_part_that_is_not_there_is_refused() {
    use WeightKind::{Experts, Mlp, Routers};
    let refused = |config: Config, part: TrainedPart| match Partial::training(whole(), &part, &made(config)) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("{part:?} was taken"),
    };
    let mixture = || dense().with_experts(4, 2);
    assert!(refused(mixture(), part(&[Routers], &[], &[2])).contains("layer 2"));
    assert!(refused(mixture(), part(&[Experts], &[4], &[])).contains("expert 4"));
    assert!(refused(mixture(), part(&[Mlp], &[], &[])).contains("no weight"));
    assert!(refused(dense(), part(&[Routers, Experts], &[], &[])).contains("no weight"));
}
