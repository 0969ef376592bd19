//! Log-likelihoods of a tiny Llama against Transformers in double precision: `tests/peers/likelihood.py`
//! wrote the expected values. Weights come from the same generator on both sides.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use serde_json::Value;
use titer_model::{Config, Decoder, Error};

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
    let config = Config { max_position_embeddings: 24, ..Config::llama(120, 48, 64, 2, 4, 2) };
    let tensors: BTreeMap<String, Tensor> = config
        .shapes()
        .into_iter()
        .zip(1..)
        .map(|((name, shape), seed)| {
            let values = uniform(seed, shape.iter().product()).into_iter();
            let values: Vec<f32> = if shape.len() == 1 {
                values.map(|value| 1.0 + value / 8.0).collect()
            } else {
                values.map(|value| value / 4.0).collect()
            };
            (name, Tensor::from_vec(values, shape, &Device::Cpu).unwrap())
        })
        .collect();
    Decoder::new(config, &tensors).unwrap()
}

#[test]
fn equal_transformers() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/likelihood.json");
    let fixture: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let cases = fixture["likelihoods"].as_array().unwrap();
    let read = |value: &Value| -> Vec<u32> { serde_json::from_value(value.clone()).unwrap() };
    let pairs: Vec<_> =
        cases.iter().map(|case| (read(&case["context"]), read(&case["continuation"]))).collect();
    let got = decoder().log_likelihoods(&pairs).unwrap();
    assert_eq!(got.len(), cases.len());
    for ((got, case), (_, continuation)) in got.iter().zip(cases).zip(&pairs) {
        let expected = case["sum"].as_f64().unwrap();
        assert!((got.sum - expected).abs() < 2e-6 * expected.abs(), "{} for {expected}", got.sum);
        assert_eq!(got.greedy, case["greedy"].as_bool().unwrap());
        assert_eq!(got.tokens, continuation.len());
    }
    assert!(got.iter().any(|got| got.greedy) && got.iter().any(|got| !got.greedy));
}

#[test]
fn batches_do_not_change_a_score() {
    let decoder = decoder();
    let pairs: Vec<(Vec<u32>, Vec<u32>)> = (0..400)
        .map(|i| (vec![i % 120; 1 + i as usize % 17], vec![(i * 7) % 120; 1 + i as usize % 5]))
        .collect();
    let all = decoder.log_likelihoods(&pairs).unwrap();
    for i in [0, 1, 150, 399] {
        let alone = decoder.log_likelihoods(&pairs[i..=i]).unwrap()[0];
        assert!((alone.sum - all[i].sum).abs() < 1e-5 * alone.sum.abs(), "{i}");
        assert_eq!((alone.greedy, alone.tokens), (all[i].greedy, all[i].tokens), "{i}");
    }
    assert!(decoder.log_likelihoods::<Vec<u32>>(&[]).unwrap().is_empty());
}

#[test]
fn pairs_that_cannot_be_scored() {
    let score = |context: &[u32], continuation: &[u32]| decoder().log_likelihoods(&[(context, continuation)]);
    assert!(matches!(score(&[], &[1]), Err(Error::EmptyPrompt { index: 0 })));
    assert!(matches!(score(&[1], &[]), Err(Error::EmptyContinuation { index: 0 })));
    assert!(matches!(score(&[1], &[1; 25]), Err(Error::TooLong { positions: 24, .. })));
    assert!(matches!(score(&[120], &[1]), Err(Error::Token { token: 120, .. })));
    assert!(matches!(score(&[1], &[120]), Err(Error::Token { token: 120, .. })));
}
