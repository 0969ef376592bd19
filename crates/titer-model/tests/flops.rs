//! Operations of a training step against a count by hand, product by product.
#![allow(clippy::unwrap_used)] // a test that panics is a test that fails

use candle_core::Device;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use titer_model::{Config, Decoder, LoraSpec};

/// Tokens of the batch, and those that have logits.
const TOKENS: f64 = 10.0;
const SUPERVISED: f64 = 3.0;

/// Two layers of width 24: three heads of 8, of which keys and values have one; SwiGLU of width 32; 40 words.
fn shape() -> Config {
    Config::llama(40, 24, 32, 2, 3, 1)
}

fn counted(config: Config, adapter: Option<&LoraSpec>) -> f64 {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut model = Decoder::initialize(config, 0.1, &mut rng, &Device::Cpu).unwrap();
    if let Some(adapter) = adapter {
        model.attach(adapter, &mut rng).unwrap();
    }
    model.training_flops(TOKENS as usize, SUPERVISED as usize)
}

/// One product of a matrix of that shape with one vector: a multiplication and an addition for each of its numbers.
fn product(outputs: f64, inputs: f64) -> f64 {
    2.0 * outputs * inputs
}

/// What a trained matrix takes for one token: the product itself, the gradient of its input (as many rows as the matrix has
/// columns), and its own (an outer product).
fn trained(outputs: f64, inputs: f64) -> f64 {
    product(outputs, inputs) + product(inputs, outputs) + 2.0 * outputs * inputs
}

/// The same of a matrix that is held fixed: no gradient of its own.
fn fixed(outputs: f64, inputs: f64) -> f64 {
    product(outputs, inputs) + product(inputs, outputs)
}

/// The adapter of a matrix: A of shape (rank, inputs), then B of shape (outputs, rank).
fn adapter(outputs: f64, inputs: f64, rank: f64) -> f64 {
    trained(rank, inputs) + trained(outputs, rank)
}

/// Queries, keys, values and output of the attention.
const ATTENTION: [(f64, f64); 4] = [(24.0, 24.0), (8.0, 24.0), (8.0, 24.0), (24.0, 24.0)];
/// Gate, up and down.
const MLP: [(f64, f64); 3] = [(32.0, 24.0), (32.0, 24.0), (24.0, 32.0)];
const HEAD: (f64, f64) = (40.0, 24.0);
const ROUTER: (f64, f64) = (4.0, 24.0);

fn sum(shapes: &[(f64, f64)], of: impl Fn(f64, f64) -> f64) -> f64 {
    shapes.iter().map(|&(outputs, inputs)| of(outputs, inputs)).sum()
}

#[test]
fn a_dense_step_is_six_for_each_weight() {
    let layer = sum(&ATTENTION, trained) + sum(&MLP, trained);
    let by_hand = 2.0 * layer * TOKENS + sum(&[HEAD], trained) * SUPERVISED;
    assert_eq!(by_hand, 6.0 * (2.0 * 3840.0 * 10.0 + 960.0 * 3.0));
    assert_eq!(counted(shape(), None), by_hand);
}

#[test]
fn a_step_of_adapters_has_no_gradients_of_the_weights_beside_them() {
    let by = |outputs, inputs| adapter(outputs, inputs, 2.0);
    let everywhere = sum(&ATTENTION, fixed) + sum(&MLP, fixed) + sum(&ATTENTION, by) + sum(&MLP, by);
    let by_hand = 2.0 * everywhere * TOKENS + sum(&[HEAD], fixed) * SUPERVISED;
    assert_eq!(counted(shape(), Some(&LoraSpec::everywhere(2, 4.0))), by_hand);
    // Beside queries and values only.
    let spec = LoraSpec {
        targets: ["q_proj", "v_proj"].map(str::to_owned).to_vec(),
        ..LoraSpec::everywhere(2, 4.0)
    };
    let layer = sum(&ATTENTION, fixed) + sum(&MLP, fixed) + by(24.0, 24.0) + by(8.0, 24.0);
    assert_eq!(counted(shape(), Some(&spec)), 2.0 * layer * TOKENS + sum(&[HEAD], fixed) * SUPERVISED);
    // A step of few adapters is two thirds of a dense one, and a little more.
    let share = counted(shape(), Some(&spec)) / counted(shape(), None);
    assert!(share > 2.0 / 3.0 && share < 0.72, "{share}");
}

#[test]
fn what_is_read_beside_held_weights_is_not_counted() {
    let held = 2.0 * (sum(&ATTENTION, fixed) + sum(&MLP, fixed)) * TOKENS + sum(&[HEAD], fixed) * SUPERVISED;
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut fresh = || Decoder::initialize(shape(), 0.1, &mut rng, &Device::Cpu).unwrap();
    let (mut prompted, mut shifted) = (fresh(), fresh());
    prompted.attach_prompt(&[1, 2]).unwrap();
    shifted.attach_shifts().unwrap();
    for (model, numbers) in [(prompted, 2 * 24), (shifted, 2 * 24)] {
        assert_eq!(model.training_flops(TOKENS as usize, SUPERVISED as usize), held);
        assert_eq!(model.soft().unwrap().parameter_count(model.config()), numbers);
        let trained: usize = model.parameters().iter().map(|(_, var)| var.elem_count()).sum();
        assert_eq!(trained, numbers);
    }
}

#[test]
fn of_experts_those_count_that_a_token_meets_and_the_router() {
    let mixture = || shape().with_experts(4, 2);
    let layer = sum(&ATTENTION, trained) + sum(&[ROUTER], trained) + 2.0 * sum(&MLP, trained);
    assert_eq!(counted(mixture(), None), 2.0 * layer * TOKENS + sum(&[HEAD], trained) * SUPERVISED);
    let by = |outputs, inputs| adapter(outputs, inputs, 2.0);
    let attention = sum(&ATTENTION, fixed) + sum(&ATTENTION, by);
    let experts = 2.0 * (sum(&MLP, fixed) + sum(&MLP, by));
    let by_hand =
        2.0 * (attention + sum(&[ROUTER], fixed) + experts) * TOKENS + sum(&[HEAD], fixed) * SUPERVISED;
    assert_eq!(counted(mixture(), Some(&LoraSpec::everywhere(2, 4.0))), by_hand);
}

/// What the convention leaves out and counts too much, on the shape of the embedded world's presets (width 96, three layers,
/// SwiGLU of 256, 20 tokens): the book says at most 4 % of a step, either way.
#[test]
fn what_is_not_counted_is_little() {
    let (width, wide, layers, sequence) = (96.0, 256.0, 3.0, 20.0);
    let layer = 4.0 * width * width + 3.0 * width * wide;
    let config = Config::llama(120, 96, 256, 3, 4, 4);
    let step = config.training_flops(20, 7);
    // Scores and sums of attention, all pairs: 2 · 2 · sequence² · width forward, twice that backward.
    let attention = layers * 3.0 * 4.0 * sequence * sequence * width;
    assert!(attention / step < 0.04, "{}", attention / step);
    // Input gradients of the first layer's queries, keys and values, which nothing trained lies below.
    let adapters = config.adapter_training_flops(&LoraSpec::everywhere(8, 16.0), 20, 7);
    let below = 2.0 * 3.0 * width * width * sequence;
    assert!(below / adapters < 0.04 && layer > 0.0, "{}", below / adapters);
}
