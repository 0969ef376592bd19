//! Every operator against its composition of primitives and against finite differences.
#![allow(clippy::unwrap_used)] // a test that panics is a test that fails

use std::sync::Arc;

use candle_core::{DType, Device, Tensor, Var};
use titer_ops::{Activation, Heads, Rotary, Scaling, Scoring, Sequences, adamw, cache::LayerCache, composed};

use crate::common::{check, numbers, values, weigh, worst};

#[test]
fn linear() {
    let inputs = [numbers(&[7, 5], 1), numbers(&[9, 5], 2)];
    check("linear", &inputs, |x| titer_ops::linear(&x[0], &x[1]), |x| composed::linear(&x[0], &x[1]));
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

/// As on a GPU: candle would compute the gradient of a weight that nobody trains.
#[test]
fn products_with_held_weights_give_these_no_gradient() {
    let (x, weight) = (numbers(&[7, 5], 1), numbers(&[9, 5], 2));
    let held = weight.as_tensor().detach();
    let (got, expected) =
        (composed::linear(&x, &held).unwrap(), x.matmul(&weight.as_tensor().t().unwrap()).unwrap());
    assert!(worst(&got, &expected) < 1e-6);
    let (got, expected) = (weigh(&got).unwrap().backward(), weigh(&expected).unwrap().backward());
    let (got, expected) = (got.unwrap(), expected.unwrap());
    assert!(worst(got.get(&x).unwrap(), expected.get(&x).unwrap()) < 1e-6);
    for gradient in got.get_ids().map(|id| got.get_id(*id).unwrap()) {
        assert!(![[9, 5], [5, 9]].contains(&gradient.dims2().unwrap_or_default().into()));
    }
    assert!(composed::linear(&x, &numbers(&[9, 4], 2).as_tensor().detach()).is_err());
}

#[test]
fn products_with_half_weights_round_what_they_read_and_give() {
    let (x, weight) = (numbers(&[7, 5], 1), numbers(&[9, 5], 2));
    let half = |x: &Tensor| x.to_dtype(DType::BF16).unwrap();
    let rounded = |x: &Tensor| half(x).to_dtype(DType::F32).unwrap();
    let (by, narrow) = (rounded(&weight), half(&weight).detach());
    let y = titer_ops::linear(&x, &narrow).unwrap();
    assert_eq!(y.dtype(), DType::F32);
    assert_eq!(values(&y), values(&rounded(&rounded(&x).matmul(&by.t().unwrap()).unwrap())));
    let gradients = weigh(&y).unwrap().backward().unwrap();
    let of_y = numbers(&[7, 9], 99);
    assert_eq!(values(gradients.get(&x).unwrap()), values(&rounded(&rounded(&of_y).matmul(&by).unwrap())));
    // Beside it adapters in 32 bits.
    let (a, b) = (numbers(&[3, 5], 3), numbers(&[9, 3], 4));
    let z = x.matmul(&a.as_tensor().t().unwrap()).unwrap().matmul(&b.as_tensor().t().unwrap()).unwrap();
    let expected = (y + (z * 1.5).unwrap()).unwrap();
    assert!(worst(&titer_ops::lora(&x, &narrow, &a, &b, 1.5).unwrap(), &expected) < 1e-6);
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
