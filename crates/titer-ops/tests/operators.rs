//! Every operator against its composition of primitives and against finite differences.
#![allow(clippy::unwrap_used)] // a test that panics is a test that fails

use std::sync::Arc;

use candle_core::{Device, Result, Tensor, Var};
use titer_ops::{
    Activation, Adapted, Heads, Mlp, Rotary, Scaling, Scoring, Sequences, adamw, cache::LayerCache, composed,
};

/// Numbers in (−1, 1) from a fixed linear congruential generator.
fn numbers(shape: &[usize], seed: u64) -> Var {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let values: Vec<f32> = (0..shape.iter().product())
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect();
    Var::from_tensor(&Tensor::from_vec(values, shape, &Device::Cpu).unwrap()).unwrap()
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.contiguous().unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

fn worst(a: &Tensor, b: &Tensor) -> f32 {
    assert_eq!(a.dims(), b.dims());
    values(a).iter().zip(values(b)).map(|(a, b)| (a - b).abs() / (1.0 + b.abs())).fold(0.0, f32::max)
}

/// A scalar that weighs every element of `y` differently, so that no error cancels.
fn weigh(y: &Tensor) -> Result<Tensor> {
    (y * numbers(y.dims(), 99).as_tensor())?.sum_all()
}

/// `fused` equals `reference` in value and gradients, and its gradients equal central differences.
fn check(
    name: &str,
    inputs: &[Var],
    fused: impl Fn(&[Tensor]) -> Result<Tensor>,
    reference: impl Fn(&[Tensor]) -> Result<Tensor>,
) {
    let tensors: Vec<Tensor> = inputs.iter().map(|input| input.as_tensor().clone()).collect();
    let (y, expected) = (fused(&tensors).unwrap(), reference(&tensors).unwrap());
    assert!(worst(&y, &expected) < 1e-5, "{name}: values differ by {}", worst(&y, &expected));
    let (gradients, expected) =
        (weigh(&y).unwrap().backward().unwrap(), weigh(&expected).unwrap().backward().unwrap());
    for (index, input) in inputs.iter().enumerate() {
        let gradient =
            gradients.get(input).unwrap_or_else(|| panic!("{name}: no gradient for input {index}"));
        let difference = worst(gradient, expected.get(input).expect("primitives differentiate"));
        assert!(difference < 2e-5, "{name}: gradient {index} differs from the composition by {difference}");
        finite_differences(name, index, &tensors, gradient, &fused);
    }
}

fn finite_differences(
    name: &str,
    index: usize,
    tensors: &[Tensor],
    gradient: &Tensor,
    f: &impl Fn(&[Tensor]) -> Result<Tensor>,
) {
    const H: f32 = 1e-2;
    let (base, analytic) = (values(&tensors[index]), values(gradient));
    for element in (0..base.len()).step_by(base.len() / 7 + 1) {
        let at = |offset: f32| {
            let mut moved = base.clone();
            moved[element] += offset;
            let mut tensors = tensors.to_vec();
            tensors[index] = Tensor::from_vec(moved, tensors[index].shape(), &Device::Cpu).unwrap();
            f64::from(weigh(&f(&tensors).unwrap()).unwrap().to_scalar::<f32>().unwrap())
        };
        // Fourth-order central difference.
        let numeric = (8.0 * (at(H) - at(-H)) - (at(2.0 * H) - at(-2.0 * H))) / (12.0 * f64::from(H));
        let difference = (numeric - f64::from(analytic[element])).abs();
        assert!(
            difference < 3e-3 * (1.0 + numeric.abs()),
            "{name}: d/d input {index}[{element}] is {} but differences give {numeric}",
            analytic[element]
        );
    }
}

#[test]
fn linear() {
    let inputs = [numbers(&[7, 5], 1), numbers(&[9, 5], 2)];
    check("linear", &inputs, |x| titer_ops::linear(&x[0], &x[1]), |x| composed::linear(&x[0], &x[1]));
}

#[test]
fn linear_added() {
    let inputs = [numbers(&[7, 5], 1), numbers(&[9, 5], 2), numbers(&[7, 9], 3)];
    check(
        "linear added",
        &inputs,
        |x| titer_ops::linear_added(&x[0], &x[1], &x[2]),
        |x| &x[2] + composed::linear(&x[0], &x[1])?,
    );
}

#[test]
fn linear_rotated() {
    let inputs = [numbers(&[5, 3], 1), numbers(&[12, 3], 2)];
    let table = Rotary::new(6, 16, 100.0).unwrap();
    let positions: Arc<[u32]> = [0, 3, 1, 15, 7].into();
    check(
        "linear rotated",
        &inputs,
        |x| titer_ops::linear_rotated(&x[0], &x[1], &table, &positions),
        |x| composed::rotary(&composed::linear(&x[0], &x[1])?, &table, &positions),
    );
    let beyond: Arc<[u32]> = [0, 3, 1, 16, 7].into();
    assert!(titer_ops::linear_rotated(&inputs[0], &inputs[1], &table, &beyond).is_err());
}

#[test]
fn linear_cross_entropy() {
    let inputs = [numbers(&[4, 5], 1), numbers(&[13, 5], 2)];
    let targets = [3, 12, 0, 3];
    let fused = |x: &[Tensor]| titer_ops::linear_cross_entropy(&x[0], &x[1], &targets);
    check("linear cross-entropy", &inputs, fused, |x| {
        composed::cross_entropy(&composed::linear(&x[0], &x[1])?, &targets)
    });
    let x = inputs.each_ref().map(|input| input.as_tensor().clone());
    let loss = weigh(&fused(&x).unwrap()).unwrap();
    let [first, second] = [loss.backward().unwrap(), loss.backward().unwrap()];
    assert_eq!(values(first.get(&inputs[1]).unwrap()), values(second.get(&inputs[1]).unwrap()));
    assert!(titer_ops::linear_cross_entropy(&x[0], &x[1], &[3, 13, 0, 3]).is_err());
    assert!(titer_ops::linear_cross_entropy(&x[0], &x[1], &[3]).is_err());
}

#[test]
fn a_frozen_weight_gets_no_gradient() {
    let (x, w) = (numbers(&[7, 5], 1), numbers(&[9, 5], 2));
    let y = titer_ops::linear(&x, &w.as_tensor().detach()).unwrap();
    let gradients = y.sum_all().unwrap().backward().unwrap();
    assert!(gradients.get(&x).is_some() && gradients.get(&w).is_none());
}

#[test]
fn rms_norm() {
    let inputs = [numbers(&[6, 11], 3), numbers(&[11], 4)];
    check(
        "rms-norm",
        &inputs,
        |x| titer_ops::rms_norm(&x[0], &x[1], 1e-5),
        |x| composed::rms_norm(&x[0], &x[1], 1e-5),
    );
}

#[test]
fn layer_norm() {
    check(
        "layer-norm",
        &[numbers(&[6, 11], 3), numbers(&[11], 4), numbers(&[11], 5)],
        |x| titer_ops::layer_norm(&x[0], &x[1], &x[2], 1e-5),
        |x| composed::layer_norm(&x[0], &x[1], &x[2], 1e-5),
    );
}

#[test]
fn rms_norm_about_one() {
    let inputs = [numbers(&[6, 11], 3), numbers(&[11], 4)];
    check(
        "rms-norm about one",
        &inputs,
        |x| titer_ops::rms_norm_about_one(&x[0], &x[1], 1e-5),
        |x| composed::rms_norm_about_one(&x[0], &x[1], 1e-5),
    );
}

#[test]
fn a_gate_of_gelu() {
    let inputs =
        [(numbers(&[6, 13], 5).as_tensor() * 4.0).unwrap(), numbers(&[6, 13], 6).as_tensor().clone()];
    let inputs = inputs.map(|input| Var::from_tensor(&input).unwrap());
    check(
        "gelu",
        &inputs,
        |x| titer_ops::gated(&x[0], &x[1], Activation::GeluTanh),
        |x| composed::gated(&x[0], &x[1], Activation::GeluTanh),
    );
}

#[test]
fn swiglu() {
    let inputs = [numbers(&[6, 13], 5), numbers(&[6, 13], 6)];
    check("swiglu", &inputs, |x| titer_ops::swiglu(&x[0], &x[1]), |x| composed::swiglu(&x[0], &x[1]));
}

/// x, and the weights of the half of a layer after attention.
fn half() -> [Var; 5] {
    [numbers(&[9, 7], 3), numbers(&[7], 4), numbers(&[11, 7], 5), numbers(&[11, 7], 6), numbers(&[7, 11], 7)]
}

fn weights(x: &[Tensor], activation: Activation, about_one: bool) -> Mlp<'_> {
    let [_, norm, gate, up, down] = x else { panic!("an MLP has four weights") };
    let [gate, up, down] = [gate, up, down].map(|weight| Adapted { weight, adapter: None });
    Mlp { norm, epsilon: 1e-5, about_one, gate, up, down, activation }
}

#[test]
fn mlp() {
    for (activation, about_one) in [(Activation::Silu, false), (Activation::GeluTanh, true)] {
        check(
            "mlp",
            &half(),
            |x| titer_ops::mlp(&x[0], weights(x, activation, about_one)),
            |x| composed::mlp(&x[0], weights(x, activation, about_one)),
        );
    }
}

#[test]
fn an_adapted_mlp() {
    let adapters = [[2, 7], [11, 2], [3, 7], [11, 3], [2, 11], [7, 2]];
    let adapters = adapters.iter().zip(8..).map(|(shape, seed)| numbers(shape, seed));
    let inputs: Vec<Var> = half().into_iter().chain(adapters).collect();
    /// All are adapted, and a gradient of what holds fixed is asked for from nowhere.
    fn adapted(x: &[Tensor]) -> Mlp<'_> {
        let mut weights = weights(&x[..5], Activation::Silu, false);
        let projections = [&mut weights.gate, &mut weights.up, &mut weights.down];
        for (projection, x) in projections.into_iter().zip(x[5..].chunks(2)) {
            projection.adapter = Some((&x[0], &x[1], 0.5));
        }
        weights
    }
    let trained: Vec<Var> = inputs[..2].iter().chain(&inputs[5..]).cloned().collect();
    let with_frozen = |x: &[Tensor]| -> Vec<Tensor> {
        let frozen = inputs[2..5].iter().map(|var| var.as_tensor().detach());
        x[..2].iter().cloned().chain(frozen).chain(x[2..].iter().cloned()).collect()
    };
    check(
        "adapted mlp",
        &trained,
        |x| titer_ops::mlp(&x[0], adapted(&with_frozen(x))),
        |x| composed::mlp(&x[0], adapted(&with_frozen(x))),
    );
}

#[test]
fn an_mlp_has_a_gradient_as_often_as_it_is_asked_for() {
    let vars = half();
    let x: Vec<Tensor> = vars.iter().map(|var| var.as_tensor().clone()).collect();
    let loss = weigh(&titer_ops::mlp(&x[0], weights(&x, Activation::Silu, false)).unwrap()).unwrap();
    let [first, second] = [loss.backward().unwrap(), loss.backward().unwrap()];
    for var in &vars {
        assert_eq!(values(first.get(var).unwrap()), values(second.get(var).unwrap()));
    }
}

#[test]
fn an_mlp_has_gradients_of_what_is_trained_alone() {
    let vars = half();
    for trained in 0..vars.len() {
        let x: Vec<Tensor> = vars.iter().map(|var| var.as_tensor().detach()).collect();
        let mut of_one = x.clone();
        of_one[trained] = vars[trained].as_tensor().clone();
        let loss = |x: &[Tensor]| weigh(&titer_ops::mlp(&x[0], weights(x, Activation::Silu, false)).unwrap());
        let gradients = loss(&of_one).unwrap().backward().unwrap();
        let all: Vec<Tensor> = vars.iter().map(|var| var.as_tensor().clone()).collect();
        let expected = loss(&all).unwrap().backward().unwrap();
        for (at, var) in vars.iter().enumerate() {
            let expected = (at == trained).then(|| values(expected.get(var).unwrap()));
            assert_eq!(gradients.get(var).map(values), expected, "input {at} where {trained} is trained");
        }
        assert!(loss(&x).unwrap().backward().unwrap().get(&vars[trained]).is_none());
    }
}

#[test]
fn rotary() {
    let table = Rotary::new(6, 32, 10_000.0).unwrap();
    let positions: Arc<[u32]> = vec![0, 1, 2, 0, 31].into();
    check(
        "rotary",
        &[numbers(&[5, 12], 7)],
        |x| titer_ops::rotary(&x[0], &table, &positions),
        |x| composed::rotary(&x[0], &table, &positions),
    );
}

/// All keys, windows that are shorter and longer than the sequences, and capped scores.
const SCORINGS: [Scoring; 5] = [
    Scoring { window: None, cap: None },
    Scoring { window: Some(1), cap: None },
    Scoring { window: Some(4), cap: None },
    Scoring { window: Some(20), cap: Some(0.5) },
    Scoring { window: Some(3), cap: Some(0.2) },
];

#[test]
fn rotary_of_a_part_of_each_head() {
    let table = Rotary::partial(7, 4, 32, 10_000.0, &Scaling::None).unwrap();
    let positions: Arc<[u32]> = vec![0, 1, 2, 0, 31].into();
    let x = numbers(&[5, 14], 7);
    let y = values(&titer_ops::rotary(&x, &table, &positions).unwrap());
    for (x, y) in values(&x).chunks(7).zip(y.chunks(7)) {
        assert_eq!(x[4..], y[4..]);
    }
    check(
        "partial rotary",
        &[x],
        |x| titer_ops::rotary(&x[0], &table, &positions),
        |x| composed::rotary(&x[0], &table, &positions),
    );
    for rotated in [0, 3, 8] {
        assert!(Rotary::partial(7, rotated, 32, 10_000.0, &Scaling::None).is_err());
    }
}

#[test]
fn angles_of_long_sequences_are_others_from_the_first_position_on() {
    let (short, long): (Arc<[f64]>, Arc<[f64]>) = ([1.0, 2.0].into(), [4.0, 8.0].into());
    let scaling =
        Scaling::Long { short: short.clone(), long: long.clone(), magnitude: 1.5, original_positions: 3 };
    let table = Rotary::scaled(4, 300, 100.0, &scaling).unwrap();
    let sequences = Sequences::new(&[0, 3, 7]).unwrap();
    let rows = table.rows(&sequences);
    assert_eq!(rows.iter().map(|row| table.position_of(*row)).collect::<Vec<_>>(), [0, 1, 2, 0, 1, 2, 3]);
    assert!(table.turns_at(3) && !table.turns_at(2) && !table.turns_at(4));
    assert_eq!((table.row_of(2, 3), table.row_of(3, 4)), (rows[2], rows[6]));
    let x = numbers(&[7, 4], 5);
    let y = values(&titer_ops::rotary(&x, &table, &rows).unwrap());
    let x = values(&x);
    for (token, position) in [(2usize, 2.0f64), (5, 2.0)] {
        let divisors = if token < 3 { &short } else { &long };
        for i in 0..2 {
            let angle = position * 100f64.powf(-(i as f64) / 2.0) / divisors[i];
            let (a, b) = (f64::from(x[4 * token + i]), f64::from(x[4 * token + 2 + i]));
            let expected = 1.5 * (a * angle.cos() - b * angle.sin());
            assert!((f64::from(y[4 * token + i]) - expected).abs() < 1e-5, "token {token}, frequency {i}");
        }
    }
    assert!(titer_ops::rotary(&numbers(&[1, 4], 1), &table, &vec![table.row_of(300, 301)].into()).is_err());
}

#[test]
fn attention_with_and_without_shared_keys() {
    for (queries, keys) in [(4, 4), (4, 2), (3, 1)] {
        let heads = Heads { queries, keys, dim: 6 };
        let sequences = Sequences::new(&[0, 1, 6, 10, 19]).unwrap();
        let inputs =
            [numbers(&[19, queries * 6], 8), numbers(&[19, keys * 6], 9), numbers(&[19, keys * 6], 10)];
        let inputs = [&inputs[..], &[numbers(&[queries], 12)]].concat();
        for scoring in SCORINGS {
            check(
                &format!("attention {scoring:?}"),
                &inputs[..3],
                |x| titer_ops::attention(&x[0], &x[1], &x[2], heads, scoring, None, &sequences),
                |x| composed::attention(&x[0], &x[1], &x[2], heads, scoring, None, &sequences),
            );
            check(
                &format!("attention with sinks {scoring:?}"),
                &inputs,
                |x| titer_ops::attention(&x[0], &x[1], &x[2], heads, scoring, Some(&x[3]), &sequences),
                |x| composed::attention(&x[0], &x[1], &x[2], heads, scoring, Some(&x[3]), &sequences),
            );
        }
    }
}

#[test]
fn a_window_as_long_as_the_sequence_changes_no_bit() {
    let heads = Heads { queries: 2, keys: 1, dim: 4 };
    let sequences = Sequences::new(&[0, 9]).unwrap();
    let (q, k, v) = (numbers(&[9, 8], 8), numbers(&[9, 4], 9), numbers(&[9, 4], 10));
    let attend = |window| {
        let scoring = Scoring { window, cap: None };
        values(&titer_ops::attention(&q, &k, &v, heads, scoring, None, &sequences).unwrap())
    };
    assert_eq!(attend(Some(9)), attend(None));
    assert_ne!(attend(Some(8)), attend(None));
}

#[test]
fn cross_entropy() {
    let targets = [3, 0, 18, 7];
    check(
        "cross-entropy",
        &[numbers(&[4, 19], 11)],
        |x| titer_ops::cross_entropy(&x[0], &targets),
        |x| composed::cross_entropy(&x[0], &targets),
    );
}

#[test]
fn entropy_of_equal_logits_is_the_logarithm_of_their_number() {
    let logits = Tensor::zeros((2, 8), candle_core::DType::F32, &Device::Cpu).unwrap();
    for value in values(&composed::entropy(&logits).unwrap()) {
        assert!((value - 8f32.ln()).abs() < 1e-6);
    }
}

#[test]
fn attention_of_some_queries() {
    let heads = Heads { queries: 4, keys: 2, dim: 4 };
    let all = Sequences::new(&[0, 5, 6, 9, 14]).unwrap();
    // A sequence that asks nothing is between two that do.
    let rows = [0, 3, 4, 8, 9, 13];
    let some = all.asking(&rows).unwrap();
    let place = Tensor::new(&rows, &Device::Cpu).unwrap();
    for scoring in SCORINGS {
        let inputs = [numbers(&[6, 16], 21), numbers(&[14, 8], 22), numbers(&[14, 8], 23), numbers(&[4], 24)];
        for count in [3, 4] {
            let sinks = |x: &[Tensor]| x.get(3).cloned();
            check(
                &format!("some queries {scoring:?}, {count} inputs"),
                &inputs[..count],
                |x| titer_ops::attention(&x[0], &x[1], &x[2], heads, scoring, sinks(x).as_ref(), &some),
                |x| composed::attention(&x[0], &x[1], &x[2], heads, scoring, sinks(x).as_ref(), &some),
            );
        }
    }
    let (q, k, v) = (numbers(&[14, 16], 1), numbers(&[14, 8], 2), numbers(&[14, 8], 3));
    let whole = titer_ops::attention(&q, &k, &v, heads, Scoring::default(), None, &all).unwrap();
    let asked = q.index_select(&place, 0).unwrap();
    let part = titer_ops::attention(&asked, &k, &v, heads, Scoring::default(), None, &some).unwrap();
    assert_eq!(values(&whole.index_select(&place, 0).unwrap()), values(&part));
    assert!(titer_ops::attention(&q, &k, &v, heads, Scoring::default(), None, &some).is_err());
}

#[test]
fn attending_over_a_cache_equals_attention_over_the_whole_sequence() {
    let heads = Heads { queries: 4, keys: 2, dim: 6 };
    let sequences = Sequences::new(&[0, 5, 8]).unwrap();
    let (q, k, v) = (numbers(&[8, 24], 12), numbers(&[8, 12], 13), numbers(&[8, 12], 14));
    let cache = LayerCache::new(2, 7, heads, q.dtype(), q.device()).unwrap();
    let places: Vec<(usize, usize)> = (0..5).map(|i| (0, i)).chain((0..3).map(|i| (1, i))).collect();
    cache.keep(&k, &v, &places).unwrap();
    let last = Tensor::new(&[4u32, 7], &Device::Cpu).unwrap();
    let sinks = numbers(&[4], 15);
    let each = SCORINGS.into_iter().flat_map(|scoring| [(scoring, None), (scoring, Some(sinks.as_tensor()))]);
    for (scoring, sinks) in each {
        let whole = titer_ops::attention(&q, &k, &v, heads, scoring, sinks, &sequences).unwrap();
        let attended = cache.attend(&q.index_select(&last, 0).unwrap(), scoring, sinks, &[5, 3]).unwrap();
        assert!(worst(&attended, &whole.index_select(&last, 0).unwrap()) < 1e-6, "{scoring:?}");
        let second = cache.select(&[1]).unwrap();
        let second = second.attend(&q.narrow(0, 7, 1).unwrap(), scoring, sinks, &[3]).unwrap();
        assert!(worst(&second, &whole.narrow(0, 7, 1).unwrap()) < 1e-6, "{scoring:?}");
        // The composition that serves other types.
        let double = |x: &Tensor| x.to_dtype(candle_core::DType::F64).unwrap();
        let wide = LayerCache::new(2, 7, heads, candle_core::DType::F64, q.device()).unwrap();
        wide.keep(&double(&k), &double(&v), &places).unwrap();
        let (sinks, last) = (sinks.map(double), double(&q.index_select(&last, 0).unwrap()));
        let attended = wide.attend(&last, scoring, sinks.as_ref(), &[5, 3]).unwrap();
        let attended = attended.to_dtype(candle_core::DType::F32).unwrap();
        let last = Tensor::new(&[4u32, 7], &Device::Cpu).unwrap();
        assert!(worst(&attended, &whole.index_select(&last, 0).unwrap()) < 1e-6, "{scoring:?}");
    }
    let plain = Scoring::default();
    assert!(titer_ops::attention(&q, &k, &v, heads, plain, Some(&numbers(&[3], 1)), &sequences).is_err());
    assert!(cache.keep(&k.narrow(0, 0, 1).unwrap(), &v.narrow(0, 0, 1).unwrap(), &[(0, 7)]).is_err());
}

#[test]
fn bad_shapes_are_errors() {
    let (x, w) = (numbers(&[3, 4], 1), numbers(&[2, 5], 2));
    assert!(titer_ops::linear(&x, &w).is_err());
    assert!(titer_ops::rms_norm(&x, &numbers(&[5], 1), 1e-5).is_err());
    assert!(titer_ops::swiglu(&x, &w).is_err());
    let sequences = Sequences::new(&[0, 3]).unwrap();
    let heads = Heads { queries: 1, keys: 1, dim: 4 };
    for (window, cap) in [(Some(0), None), (None, Some(0.0)), (None, Some(f64::NAN))] {
        let scoring = Scoring { window, cap };
        assert!(titer_ops::attention(&x, &x, &x, heads, scoring, None, &sequences).is_err());
    }
    assert!(titer_ops::cross_entropy(&x, &[0, 1]).is_err());
    assert!(titer_ops::cross_entropy(&x, &[0, 1, 4]).is_err());
    let table = Rotary::new(4, 2, 10_000.0).unwrap();
    assert!(titer_ops::rotary(&x, &table, &vec![0, 1, 2].into()).is_err());
    assert!(Rotary::new(3, 2, 10_000.0).is_err());
}

/// The formula of arXiv 1711.05101 (algorithm 2, with torch's decay by the learning rate), by hand in f64.
/// Five steps of a whole model against torch's own AdamW: titer-defences' `tests/parity.rs`.
#[test]
fn two_updates_equal_the_formula() {
    let settings = |step| adamw::Update {
        rate: 0.1,
        beta1: 0.9,
        beta2: 0.98,
        epsilon: 1e-8,
        weight_decay: 0.01,
        step,
        gradient_scale: 1.0,
    };
    let w = Var::new(&[1.0f32, -2.0], &Device::Cpu).unwrap();
    let (m, v) = (w.zeros_like().unwrap(), w.zeros_like().unwrap());
    let (m, v) = (Var::from_tensor(&m).unwrap(), Var::from_tensor(&v).unwrap());
    let mut by_hand = ([1.0f64, -2.0], [0.0f64; 2], [0.0f64; 2]);
    for (step, gradient) in [(1, [0.5f32, -1.0]), (2, [0.25, 2.0])] {
        adamw::update(&w, &Tensor::new(&gradient, &Device::Cpu).unwrap(), &m, &v, &settings(step)).unwrap();
        let (w, m, v) = (&mut by_hand.0, &mut by_hand.1, &mut by_hand.2);
        for i in 0..2 {
            let g = f64::from(gradient[i]);
            m[i] = 0.9 * m[i] + 0.1 * g;
            v[i] = 0.98 * v[i] + 0.02 * g * g;
            let (bias1, bias2) = (1.0 - 0.9f64.powi(step as i32), 1.0 - 0.98f64.powi(step as i32));
            w[i] -= 0.1 * 0.01 * w[i];
            w[i] -= 0.1 * (m[i] / bias1) / ((v[i] / bias2).sqrt() + 1e-8);
        }
    }
    for (got, expected) in values(&w).iter().zip(by_hand.0) {
        assert!((f64::from(*got) - expected).abs() < 1e-6, "{got} against {expected}");
    }
}

#[test]
fn squared_norm_sums_all_elements() {
    let x = numbers(&[3, 1000], 21);
    let expected: f64 = values(&x).iter().map(|v| f64::from(*v) * f64::from(*v)).sum();
    assert!((adamw::squared_norm(&x).unwrap() - expected).abs() < 1e-3);
}

#[test]
fn lora() {
    let weight = numbers(&[9, 5], 2).as_tensor().detach();
    let inputs = [numbers(&[7, 5], 1), numbers(&[3, 5], 3), numbers(&[9, 3], 4)];
    check(
        "lora",
        &inputs,
        |x| titer_ops::lora(&x[0], &weight, &x[1], &x[2], 1.5),
        |x| composed::lora(&x[0], &weight, &x[1], &x[2], 1.5),
    );
    assert!(titer_ops::lora(&inputs[0], &weight, &inputs[2], &inputs[1], 1.0).is_err());
}
