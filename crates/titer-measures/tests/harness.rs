//! Multiple choice, exact match, tokens of pairs and byte perplexities against lm-evaluation-harness
//! 0.4.13: `tests/peers/likelihood.py` wrote the expected values.

#![allow(clippy::unwrap_used)]

use std::convert::Infallible;

use regex::Regex;
use serde_json::Value;
use titer_measures::choice::{choose, encode_pair};
use titer_measures::registry::make;
use titer_measures::text::exact_match::{ExactMatch, Expression};
use titer_measures::{Continuation, Exchange, Parts};
use titer_plan::stage::MeasureSpec;

fn fixture(key: &str) -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/likelihood.json");
    let fixture: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    fixture[key].clone()
}

fn cases(key: &str, least: usize) -> Vec<Value> {
    let cases = fixture(key).as_array().unwrap().clone();
    assert!(cases.len() >= least, "{key}: {}", cases.len());
    cases
}

fn read<T: serde::de::DeserializeOwned>(value: &Value) -> T {
    serde_json::from_value(value.clone()).unwrap()
}

#[test]
fn multiple_choice() {
    for case in cases("choices", 30) {
        let texts: Vec<String> = read(&case["choices"]);
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let choice = choose(&read::<Vec<f64>>(&case["sums"]), &texts, read(&case["gold"])).unwrap();
        let got = [choice.acc, choice.acc_norm].map(|right| f64::from(u8::from(right)));
        let expected = ["acc", "acc_norm"].map(|key| case[key].as_f64().unwrap());
        assert_eq!(got, expected, "{case}");
    }
}

#[test]
fn exact_match() {
    for case in cases("exact_match", 40) {
        let option = |key: &str| case["options"][key].as_bool().unwrap_or(false);
        let regexes: Vec<String> = case["options"].get("regexes_to_ignore").map(read).unwrap_or_default();
        let exact = ExactMatch {
            regexes_to_ignore: regexes.iter().map(|regex| Expression(Regex::new(regex).unwrap())).collect(),
            ignore_case: option("ignore_case"),
            ignore_punctuation: option("ignore_punctuation"),
            ignore_numbers: option("ignore_numbers"),
            ignore_ends: false,
        };
        let got = exact.matches(case["reference"].as_str().unwrap(), case["response"].as_str().unwrap());
        assert_eq!(f64::from(u8::from(got)), case["exact_match"].as_f64().unwrap(), "{case}");
    }
}

#[test]
fn tokens_of_pairs() {
    let pieces = Regex::new(" ?[^ ]+| +").unwrap();
    let encode = |text: &str, special: bool| -> Result<Vec<u32>, Infallible> {
        let pieces = pieces.find_iter(text).map(|piece| piece.as_str().bytes().map(u32::from).sum());
        Ok(special.then_some(1).into_iter().chain(pieces).collect())
    };
    for case in cases("pairs", 9) {
        let (context, continuation): (String, String) = read(&case["text"]);
        let (context, continuation) = encode_pair(&context, &continuation, 1, encode).unwrap();
        assert_eq!(context, read::<Vec<u32>>(&case["context"]), "{case}");
        assert_eq!(continuation, read::<Vec<u32>>(&case["continuation"]), "{case}");
    }
}

#[test]
fn byte_perplexities() {
    let expected = fixture("perplexity");
    let texts: Vec<String> = read(&expected["texts"]);
    let sums: Vec<f64> = read(&expected["sums"]);
    let continuations = texts.into_iter().zip(sums).map(|(text, nats)| Continuation { text, nats }).collect();
    let device = candle_core::Device::Cpu;
    let parts = Parts { refusals: &[], world: None, classifier: None, own: None, device: &device };
    let measure = make(&MeasureSpec::named("byte-likelihood"), &parts).unwrap();
    let judged = measure.judge(&[Exchange { continuations, ..Exchange::default() }]).unwrap();
    let (got, expected) = (1.0 / judged[0].score, expected["byte"].as_f64().unwrap());
    assert!((got - expected).abs() < 1e-12 * expected, "{got} for {expected}");
}
