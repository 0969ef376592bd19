//! The real models of the tests against Transformers, which loaded the same GGUF: `tests/peers/smollm2.py` and
//! `tests/peers/gemma3.py`.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use titer_tests::{Place, read, root};

/// Largest difference of a logit.
const TOLERANCE: f64 = 2e-3;

fn known(name: &str) -> Option<PathBuf> {
    let model = titer_hub::known_model(name);
    if model.is_none() {
        eprintln!("not run: the model is not here; get it: cargo xtask model {name}");
    }
    model
}

/// Asks the chosen prompts of a fixture and compares ids, greedy tokens and logits with it.
fn answered(place: &Place, model: &Path, fixture: &str, chosen: &[usize], more: &[&str]) {
    let path = root().join("tests/fixtures").join(fixture);
    let fixture: Value = serde_json::from_str(&read(path)).unwrap();
    let stride = fixture["stride"].as_u64().unwrap() as usize;
    let (model, new) = (model.to_str().unwrap(), fixture["new"].to_string());
    for index in chosen {
        let case = &fixture["cases"][*index];
        let prompt = case["prompt"].as_str().unwrap();
        let command =
            ["model", "generate", model, "--prompt", prompt, "--max-new-tokens", &new, "--json", "--logits"];
        let answer = place.run(&[&command, more].concat()).ends(0).json();
        assert_eq!(answer["prompt_token_ids"], case["ids"], "{prompt}");
        assert_eq!(answer["token_ids"], case["greedy"], "{prompt}");
        let logits = answer["logits"].as_array().unwrap();
        let kept = logits.iter().step_by(stride).zip(case["logits"].as_array().unwrap());
        let difference = kept.map(|(ours, theirs)| (ours.as_f64().unwrap() - theirs.as_f64().unwrap()).abs());
        let largest = difference.fold(0.0, f64::max);
        eprintln!("{largest:.1e}: {prompt:.40}");
        assert!(largest <= TOLERANCE, "{prompt}: logits differ by {largest}");
    }
}

#[test]
fn ten_prompts_are_answered_as_by_transformers() {
    let Some(model) = known("smollm2-135m") else { return };
    let place = Place::new();
    // As Ollama keeps models: by the hash of their content, without the name's ending.
    fs::create_dir(place.path("blobs")).unwrap();
    let blob = place.path("blobs/sha256-b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53");
    std::os::unix::fs::symlink(&model, &blob).unwrap();
    answered(&place, &blob, "smollm2.json", &[0], &[]);
    answered(&place, &model, "smollm2.json", &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9], &[]);
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

#[test]
fn a_base_model_goes_on_as_in_transformers_beyond_its_window_too() {
    let Some(model) = known("gemma3-270m") else { return };
    let preset =
        toml::from_str::<toml::Table>(&read(root().join("data/presets/gemma3-policy.toml"))).unwrap();
    let place = Place::new();
    let template = place.path("template.jinja");
    fs::write(&template, preset["model"]["chat_template"].as_str().unwrap()).unwrap();
    let stated = ["--chat-template", template.to_str().unwrap()];
    answered(&place, &model, "gemma3.json", &[2, 5], &stated);
    let alone = place.run(&["model", "generate", model.to_str().unwrap(), "--prompt", "Hello"]);
    alone.ends(1).says(&["has no chat template"]);
}
