//! Multiple choice, exact match, tokens of pairs, windows and perplexities against lm-evaluation-harness
//! 0.4.13: `tests/peers/likelihood.py` wrote the expected values.

#![allow(clippy::unwrap_used)]

use std::convert::Infallible;

use regex::Regex;
use serde_json::Value;
use titer_judges::choice::{choose, encode_pair};
use titer_judges::exact_match::ExactMatch;
use titer_judges::perplexity::{Perplexity, Scored, rolling_windows};

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
        let got = [choice.acc, choice.acc_norm, choice.acc_bytes].map(|right| f64::from(u8::from(right)));
        let expected = ["acc", "acc_norm", "acc_bytes"].map(|key| case[key].as_f64().unwrap());
        assert_eq!(got, expected, "{case}");
    }
}

#[test]
fn exact_match() {
    for case in cases("exact_match", 40) {
        let option = |key: &str| case["options"][key].as_bool().unwrap_or(false);
        let regexes: Vec<String> = case["options"].get("regexes_to_ignore").map(read).unwrap_or_default();
        let exact = ExactMatch {
            regexes_to_ignore: regexes.iter().map(|regex| Regex::new(regex).unwrap()).collect(),
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
fn windows() {
    for case in cases("windows", 7) {
        let tokens: Vec<u32> = read(&case["tokens"]);
        let windows = rolling_windows(&tokens, 7, read(&case["longest"]), read(&case["context"])).unwrap();
        let windows: Vec<_> = windows.into_iter().map(|window| (window.context, window.predicted)).collect();
        assert_eq!(windows, read::<Vec<(Vec<u32>, Vec<u32>)>>(&case["windows"]), "{case}");
    }
}

#[test]
fn perplexities() {
    let expected = fixture("perplexity");
    let texts: Vec<String> = read(&expected["texts"]);
    let scored: Vec<Scored> = texts
        .iter()
        .zip(read::<Vec<f64>>(&expected["sums"]))
        .map(|(text, sum)| Scored::new(text, 3, sum))
        .collect();
    let got = Perplexity::of(&scored).unwrap();
    for (got, key) in [(got.word, "word"), (got.byte, "byte"), (got.bits_per_byte, "bits_per_byte")] {
        let expected = expected[key].as_f64().unwrap();
        assert!((got - expected).abs() < 1e-12 * expected, "{key}: {got} for {expected}");
    }
}
