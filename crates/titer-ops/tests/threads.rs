//! Every operator that divides its work among threads says the same, bit for bit, on any number of them.
#![allow(clippy::unwrap_used)] // a test that panics is a test that fails

use std::sync::Arc;

use candle_core::{DType, Device, Result, Var};
use titer_ops::{
    Activation, Adapted, Heads, Mlp, Rotary, Scoring, Sequences, adamw, attention, layer_norm, linear_added,
    linear_cross_entropy, linear_rotated, mlp, rms_norm,
};

use crate::common::numbers;

/// Enough that there is something to divide.
const WIDTH: usize = 192;
const VOCABULARY: usize = 300;

/// A layer and a loss, the gradients of all that is in them, and the weights after an update by these.
fn layer() -> Result<Vec<Vec<f32>>> {
    let sequences = Sequences::new(&[0, 70, 75, 190, 260])?;
    let rows = sequences.tokens();
    let weights: Vec<Var> = [
        (rows, WIDTH),
        (WIDTH, WIDTH),
        (WIDTH, WIDTH),
        (WIDTH, WIDTH),
        (WIDTH, WIDTH),
        (2 * WIDTH, WIDTH),
        (2 * WIDTH, WIDTH),
        (WIDTH, 2 * WIDTH),
        (VOCABULARY, WIDTH),
    ]
    .into_iter()
    .zip(1..)
    .map(|((rows, columns), seed)| numbers(&[rows, columns], seed))
    .collect();
    let norms: Vec<Var> = (20..24).map(|seed| numbers(&[WIDTH], seed)).collect();
    let sinks = Var::from_vec(vec![0.1f32, 0.2, 0.3], 3, &Device::Cpu)?;
    let [x, q, k, v, o, gate, up, down, head] = &weights[..] else { panic!("nine weights") };
    let heads = Heads { queries: 3, keys: 3, dim: WIDTH / 3 };
    let table = Rotary::new(heads.dim, 128, 100.0)?;
    let angles: Arc<[u32]> = table.rows(&sequences);

    let n = rms_norm(x, &norms[0], 1e-5)?;
    let [q, k] = [q, k].map(|weight| linear_rotated(&n, weight, &table, &angles));
    let v = titer_ops::linear(&n, v)?;
    let attended = attention(&q?, &k?, &v, heads, Scoring::default(), Some(&sinks), &sequences)?;
    let middle = linear_added(&attended, o, x)?;
    let middle = layer_norm(&middle, &norms[1], &norms[2], 1e-5)?;
    let [gate, up, down] = [gate, up, down].map(|weight| Adapted { weight, adapter: None });
    let activation = Activation::Silu;
    let mlp_weights = Mlp { norm: &norms[3], epsilon: 1e-5, about_one: true, gate, up, down, activation };
    let y = mlp(&middle, mlp_weights)?;
    let targets: Vec<u32> = (0..rows as u32).map(|row| row * 7 % VOCABULARY as u32).collect();
    let losses = linear_cross_entropy(&y, head, &targets)?;
    let gradients = losses.mean_all()?.backward()?;

    let mut all = vec![losses.to_vec1()?];
    let update = adamw::Update {
        rate: 1e-3,
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-8,
        weight_decay: 0.1,
        step: 1,
        gradient_scale: 0.5,
    };
    for var in weights.iter().chain(&norms).chain([&sinks]) {
        let gradient = gradients.get(var).expect("all of it is reached");
        let zeros = || Var::zeros(var.shape(), DType::F32, &Device::Cpu);
        all.push(gradient.flatten_all()?.to_vec1()?);
        adamw::update(var, gradient, &zeros()?, &zeros()?, &update)?;
        all.push(var.flatten_all()?.to_vec1()?);
        all.push(vec![adamw::squared_norm(gradient)? as f32]);
    }
    Ok(all)
}

#[test]
fn a_layer_has_the_same_bits_on_any_number_of_threads() {
    let on = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(layer).unwrap()
    };
    let one = on(1);
    assert!(one.iter().flatten().all(|number| number.is_finite()));
    for threads in [2, 3, 5] {
        for (at, (got, expected)) in on(threads).iter().zip(&one).enumerate() {
            assert!(got == expected, "part {at} on {threads} threads");
        }
    }
}
