//! The real model of the tests against Transformers, which loaded the same GGUF: `tests/peers/smollm2.py`.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

use serde_json::{Value, json};
use titer_tests::{Place, read, root};

/// Largest difference of a logit.
const TOLERANCE: f64 = 2e-3;

#[test]
fn ten_prompts_are_answered_as_by_transformers() {
    let Some(model) = titer_hub::known_model("smollm2-135m") else {
        eprintln!("not run: the model is not here; get it: cargo xtask model smollm2-135m");
        return;
    };
    let fixture: Value = serde_json::from_str(&read(root().join("tests/fixtures/smollm2.json"))).unwrap();
    let stride = fixture["stride"].as_u64().unwrap() as usize;
    let cases = fixture["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 10);
    let place = Place::new();
    for case in cases {
        let prompt = case["prompt"].as_str().unwrap();
        let answer = place
            .run(&[
                "model",
                "generate",
                model.to_str().unwrap(),
                "--prompt",
                prompt,
                "--max-new-tokens",
                &fixture["new"].to_string(),
                "--json",
                "--logits",
            ])
            .ends(0)
            .json();
        assert_eq!(answer["prompt_token_ids"], case["ids"], "{prompt}");
        assert_eq!(answer["token_ids"], case["greedy"], "{prompt}");
        let logits = answer["logits"].as_array().unwrap();
        let kept = logits.iter().step_by(stride).zip(case["logits"].as_array().unwrap());
        let difference = kept.map(|(ours, theirs)| (ours.as_f64().unwrap() - theirs.as_f64().unwrap()).abs());
        let largest = difference.fold(0.0, f64::max);
        assert!(largest <= TOLERANCE, "{prompt}: logits differ by {largest}");
    }
    let france = place.run(&[
        "model",
        "generate",
        model.to_str().unwrap(),
        "--prompt",
        "What is the capital of France?",
        "--json",
    ]);
    assert_eq!(france.ends(0).json()["text"], json!("The capital of France is Paris."));
}
