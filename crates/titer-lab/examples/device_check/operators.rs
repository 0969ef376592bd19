//! Every operator: its value and its gradients.

use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use titer_ops::cache::LayerCache;
use titer_ops::{Activation, Adapted, Heads, Mlp, Rotary, Routes, Scoring, Sequences, composed};

use super::Outcome;
use super::compared::{Comparison, Other, Parts, differentiated, numbers, read};

/// Sums in another order differ by this much in 32 bits.
const LIMIT: f64 = 2e-5;

pub(crate) fn compare(other: &Other, comparisons: &mut Vec<Comparison>) -> Outcome<()> {
    let mut each = |name: &str, compute: &dyn Fn(&Device) -> Outcome<Parts>| {
        other.compare(("operator", name, LIMIT), compute, comparisons)
    };
    let inputs = |shapes: &[&[usize]], device: &Device| -> candle_core::Result<Vec<Tensor>> {
        (1..).zip(shapes).map(|(seed, shape)| numbers(seed, shape, device)).collect()
    };
    each("linear", &|device| {
        differentiated(&inputs(&[&[70, 48], &[96, 48]], device)?, |x| titer_ops::linear(&x[0], &x[1]))
    })?;
    each("lora", &|device| {
        let weight = numbers(9, &[96, 48], device)?;
        let x = inputs(&[&[70, 48], &[8, 48], &[96, 8]], device)?;
        differentiated(&x, |x| titer_ops::lora(&x[0], &weight, &x[1], &x[2], 2.0))
    })?;
    each("linear added", &|device| {
        let x = inputs(&[&[70, 48], &[96, 48], &[70, 96]], device)?;
        differentiated(&x, |x| titer_ops::linear_added(&x[0], &x[1], &x[2]))
    })?;
    each("linear rotated", &|device| {
        let x = inputs(&[&[70, 48], &[96, 48]], device)?;
        let table = Rotary::new(12, 64, 10_000.0)?;
        let positions: Arc<[u32]> = (0..70).map(|at| at % 23).collect();
        differentiated(&x, |x| titer_ops::linear_rotated(&x[0], &x[1], &table, &positions))
    })?;
    each("mlp", &|device| {
        let x = inputs(&[&[70, 48], &[48], &[96, 48], &[96, 48], &[48, 96], &[8, 48], &[96, 8]], device)?;
        // What is adapted is held fixed.
        let frozen = numbers(9, &[96, 48], device)?;
        differentiated(&[&x[..3], &x[4..]].concat(), |x| {
            let plain = |weight| Adapted { weight, adapter: None };
            let up = Adapted { weight: &frozen, adapter: Some((&x[4], &x[5], 2.0)) };
            let (gate, down, activation) = (plain(&x[2]), plain(&x[3]), Activation::Silu);
            let weights = Mlp { norm: &x[1], epsilon: 1e-5, about_one: false, gate, up, down, activation };
            titer_ops::mlp(&x[0], weights)
        })
    })?;
    each("rms-norm", &|device| {
        differentiated(&inputs(&[&[70, 48], &[48]], device)?, |x| titer_ops::rms_norm(&x[0], &x[1], 1e-5))
    })?;
    each("rms-norm about one", &|device| {
        let x = inputs(&[&[70, 48], &[48]], device)?;
        differentiated(&x, |x| titer_ops::rms_norm_about_one(&x[0], &x[1], 1e-5))
    })?;
    each("layer-norm", &|device| {
        let x = inputs(&[&[70, 48], &[48], &[48]], device)?;
        differentiated(&x, |x| titer_ops::layer_norm(&x[0], &x[1], &x[2], 1e-5))
    })?;
    for (name, activation) in
        [("silu", Activation::Silu), ("gelu", Activation::Gelu), ("gelu by tanh", Activation::GeluTanh)]
    {
        each(&format!("gated {name}"), &|device| {
            let x = inputs(&[&[70, 48], &[70, 48]], device)?;
            differentiated(&x, |x| titer_ops::gated(&x[0], &x[1], activation))
        })?;
    }
    each("rotary", &|device| {
        let table = Rotary::new(12, 64, 10_000.0)?;
        let positions: Arc<[u32]> = (0..70).map(|at| at % 23).collect();
        differentiated(&inputs(&[&[70, 48]], device)?, |x| titer_ops::rotary(&x[0], &table, &positions))
    })?;
    attention(&mut each)?;
    each("attention over a cache", &over_a_cache)?;
    each("mixture", &mixture)?;
    each("cross-entropy", &|device| {
        let targets: Vec<u32> = (0..70).map(|at| at * 7 % 120).collect();
        differentiated(&inputs(&[&[70, 120]], device)?, |x| titer_ops::cross_entropy(&x[0], &targets))
    })?;
    each("linear cross-entropy", &|device| {
        let targets: Vec<u32> = (0..70).map(|at| at * 7 % 120).collect();
        let x = inputs(&[&[70, 48], &[120, 48]], device)?;
        differentiated(&x, |x| titer_ops::linear_cross_entropy(&x[0], &x[1], &targets))
    })?;
    each("entropy", &|device| differentiated(&inputs(&[&[70, 120]], device)?, |x| composed::entropy(&x[0])))
}

type Each<'a> = dyn FnMut(&str, &dyn Fn(&Device) -> Outcome<Parts>) -> Outcome<()> + 'a;

fn attention(each: &mut Each<'_>) -> Outcome<()> {
    let heads = Heads { queries: 4, keys: 2, dim: 12 };
    let all = Sequences::new(&[0, 1, 24, 40, 70])?;
    let rows: Vec<u32> = (0..70).filter(|row| row % 3 == 2).collect();
    let some = all.asking(&rows)?;
    let plain = Scoring::default();
    for (name, scoring, sequences, sunk) in [
        ("attention", plain, &all, false),
        ("attention in a window", Scoring { window: Some(5), cap: None }, &all, false),
        ("attention with capped scores", Scoring { window: None, cap: Some(0.5) }, &all, false),
        ("attention with sinks", plain, &all, true),
        ("attention of some queries", plain, &some, false),
    ] {
        each(name, &|device| {
            let mut x = vec![numbers(1, &[sequences.queries(), 48], device)?];
            x.extend([numbers(2, &[70, 24], device)?, numbers(3, &[70, 24], device)?]);
            if sunk {
                x.push(numbers(4, &[4], device)?);
            }
            differentiated(&x, |x| {
                titer_ops::attention(&x[0], &x[1], &x[2], heads, scoring, x.get(3), sequences)
            })
        })?;
    }
    Ok(())
}

fn over_a_cache(device: &Device) -> Outcome<Parts> {
    let heads = Heads { queries: 4, keys: 2, dim: 12 };
    let cache = LayerCache::new(2, 9, heads, DType::F32, device)?;
    let places: Vec<(usize, usize)> = (0..7).map(|at| (0, at)).chain((0..4).map(|at| (1, at))).collect();
    cache.keep(&numbers(1, &[11, 24], device)?, &numbers(2, &[11, 24], device)?, &places)?;
    let q = numbers(3, &[2, 48], device)?;
    let both = cache.attend(&q, Scoring::default(), None, &[7, 4])?;
    let second = cache.select(&[1])?.attend(&q.narrow(0, 1, 1)?, Scoring::default(), None, &[4])?;
    Ok(Parts::from([("both".to_owned(), read(&both)?), ("second".to_owned(), read(&second)?)]))
}

fn mixture(device: &Device) -> Outcome<Parts> {
    const EXPERTS: u64 = 4;
    let mut inputs = vec![numbers(1, &[70, 48], device)?, numbers(2, &[EXPERTS as usize, 48], device)?];
    for expert in 0..EXPERTS {
        inputs.push(numbers(10 + expert, &[20, 48], device)?);
        inputs.push(numbers(20 + expert, &[48, 20], device)?);
    }
    differentiated(&inputs, |x| {
        let p = composed::softmax(&titer_ops::linear(&x[0], &x[1])?, 1)?;
        let routes = Routes::best(&p, 2)?;
        let weights = p.gather(&routes.index(p.device())?, 1)?;
        titer_ops::mixture(&x[0], &weights, &routes, &mut |expert, rows| {
            let up = titer_ops::linear(rows, &x[2 + 2 * expert])?.silu()?;
            titer_ops::linear(&up, &x[3 + 2 * expert])
        })
    })
}
