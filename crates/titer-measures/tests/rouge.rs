//! ROUGE against Google's `rouge-score` 0.1.2: `tests/peers/rouge.py` wrote the expected values.

#![allow(clippy::unwrap_used)]

use serde_json::Value;
use titer_measures::text::rouge::{Rouge, Stemmer, rouge_l, rouge_n};

#[test]
fn equals_rouge_score() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/rouge.json");
    let fixture: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let cases = fixture["cases"].as_array().unwrap();
    assert!(cases.len() >= 40, "{}", cases.len());
    for case in cases {
        let (reference, response) = (case["reference"].as_str().unwrap(), case["response"].as_str().unwrap());
        for (key, stemmer) in [("none", Stemmer::None), ("porter", Stemmer::Porter)] {
            let check = |name: &str, got: Rouge| {
                let expected: Vec<f64> = serde_json::from_value(case[key][name].clone()).unwrap();
                for (got, expected) in [got.precision, got.recall, got.f1].into_iter().zip(expected) {
                    assert!(
                        (got - expected).abs() < 1e-12,
                        "{name} {key}: {got} for {expected}\n{reference:?}\n{response:?}"
                    );
                }
            };
            for n in 1..=3 {
                check(&format!("rouge{n}"), rouge_n(n, reference, response, stemmer));
            }
            check("rougeL", rouge_l(reference, response, stemmer));
        }
    }
}
