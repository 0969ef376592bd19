//! Logits of some tokens, for which the last layer computes less, and first layers of tokens that come again: the same
//! numbers and gradients as over all tokens.
#![allow(clippy::unwrap_used)] // a test that panics is a test that fails

use std::collections::BTreeMap;

use candle_core::{Result, Tensor};
use titer_model::{Choice, Decoder, Generate, View};
use titer_ops::Sequences;

use crate::common::{assert_close, blocks, fixture, model};

fn gradients(model: &Decoder, logits: &Tensor) -> BTreeMap<String, Vec<f32>> {
    let gradients = model.backward(&logits.sin().unwrap().sum_all().unwrap()).unwrap();
    let flat = |gradient: Tensor| gradient.flatten_all().and_then(|gradient| gradient.to_vec1()).unwrap();
    gradients.into_iter().map(|(name, gradient)| (name, flat(gradient))).collect()
}

#[test]
fn logits_at_some_tokens_are_those_of_all() {
    let (architectures, blocks) = (fixture(), blocks::fixture());
    let cases = architectures.cases.iter().map(|case| (&case.name, model(case), &architectures.tokens));
    let cases = cases.chain(blocks.cases.iter().map(|case| (&case.name, case.load(), &blocks.tokens)));
    let mut tried = 0;
    for (name, mut model, tokens) in cases {
        tried += 1;
        let (once, half) = (tokens.len(), tokens.len() / 2);
        // Texts that begin alike and part, so that tokens come again; of the second nothing is read, and the fourth has
        // the same tokens as the first elsewhere.
        let parted = [&tokens[..half], &tokens[..once - half]].concat();
        let packed = [&tokens[..], &tokens[..half], &tokens[..], &tokens[half..], &parted].concat();
        let ends = [0, once, half, once, once - half, once].into_iter();
        let offsets: Vec<usize> = ends
            .scan(0, |end, length| {
                *end += length;
                Some(*end)
            })
            .collect();
        let sequences = Sequences::new(&offsets).unwrap();
        let last = packed.len() as u32 - 1;
        for rows in [
            vec![1, once as u32 - 1, last - 1, last],
            vec![last, 0, 2, 2],
            vec![half as u32, offsets[2] as u32, offsets[4] as u32],
        ] {
            for recomputed in [false, true] {
                model.checkpointing(recomputed);
                let all = model.forward(&packed, &sequences).unwrap();
                let expected = model.logits(&all, &rows).unwrap();
                let got = model.logits_at(View::Tracked, &packed, &sequences, &rows).unwrap();
                let values = |logits: &Tensor| logits.to_vec2::<f32>().unwrap();
                assert_close(&values(&got), &values(&expected), 2e-5, name);
                let detached = model.logits_at(View::Detached, &packed, &sequences, &rows).unwrap();
                assert!(!detached.track_op());
                assert_close(&values(&detached), &values(&expected), 2e-5, name);
                let (got, expected) = (gradients(&model, &got), gradients(&model, &expected));
                assert!(got.keys().eq(expected.keys()), "{name}: the same weights have gradients");
                for (weight, gradient) in got {
                    let pairs = gradient.iter().zip(&expected[&weight]);
                    let far: f32 = pairs.map(|(got, expected)| (got - expected).powi(2)).sum();
                    let norm: f32 = expected[&weight].iter().map(|value| value.powi(2)).sum();
                    assert!(far.sqrt() <= 1e-4 * (1.0 + norm.sqrt()), "{name}: gradient of {weight}");
                }
            }
        }
    }
    assert!(tried > 40);
}

#[test]
fn answers_to_prompts_that_begin_alike_are_those_of_each_alone() {
    let (architectures, blocks) = (fixture(), blocks::fixture());
    let cases = architectures.cases.iter().map(|case| (&case.name, model(case), &architectures.tokens));
    let cases = cases.chain(blocks.cases.iter().map(|case| (&case.name, case.load(), &blocks.tokens)));
    for (name, model, tokens) in cases {
        let ends = [&tokens[..4], &tokens[5..6], &tokens[..4], &tokens[9..12], &[]];
        let prompts: Vec<Vec<u32>> = ends.iter().map(|end| [&tokens[..7], end].concat()).collect();
        let settings = || Generate { max_new_tokens: 5, ends: &[], choice: Choice::Greedy };
        let together = model.generate(&prompts, settings()).unwrap();
        for (prompt, answer) in prompts.iter().zip(together) {
            let alone = model.generate(std::slice::from_ref(prompt), settings()).unwrap();
            assert_eq!(alone, [answer], "{name}: {prompt:?}");
        }
    }
}

#[test]
fn likelihoods_after_a_shared_context_are_those_of_each_text_alone() {
    let (architectures, blocks) = (fixture(), blocks::fixture());
    let cases = architectures.cases.iter().map(|case| (&case.name, model(case), &architectures.tokens));
    let cases = cases.chain(blocks.cases.iter().map(|case| (&case.name, case.load(), &blocks.tokens)));
    for (name, model, tokens) in cases {
        // Of one context ends of one to five tokens, two that differ in the last alone, and one that begins as another;
        // beside them a context of its own, and the same text divided otherwise.
        let (one, other) = (&tokens[..9], &tokens[3..7]);
        let pairs: Vec<(&[u32], &[u32])> = vec![
            (one, &tokens[20..25]),
            (one, &tokens[20..22]),
            (other, &tokens[..3]),
            (one, &tokens[11..12]),
            (one, &tokens[12..13]),
            (one, &tokens[14..18]),
            (&tokens[..7], &tokens[7..9]),
        ];
        let together = model.log_likelihoods(&pairs).unwrap();
        for (pair, got) in pairs.iter().zip(&together) {
            let alone = model.log_likelihoods(std::slice::from_ref(pair)).unwrap()[0];
            assert!((got.sum - alone.sum).abs() < 1e-4 * alone.sum.abs(), "{name}: {got:?} for {alone:?}");
            assert_eq!((got.greedy, got.tokens), (alone.greedy, alone.tokens), "{name}");
        }
    }
}

#[test]
fn rows_that_are_not_there_are_refused() -> Result<()> {
    let model = model(&fixture().cases[0]);
    let sequences = Sequences::new(&[0, 3])?;
    assert!(model.logits_at(View::Tracked, &[1, 2, 3], &sequences, &[3]).is_err());
    Ok(())
}
