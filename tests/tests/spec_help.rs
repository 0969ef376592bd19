//! What the program says of specs: `explain`, `schema`, `init`, and the completions of keys.

use serde_json::Value as Json;
use titer_tests::{Place, files, is_valid, read, root};

fn schema() -> Json {
    serde_json::from_str(&Place::new().run(&["schema"]).ends(0).stdout).expect("one JSON document")
}

/// A spec as JSON; numbers that JSON has no word for are null, which no key takes.
fn as_json(text: &str) -> Option<Json> {
    serde_json::to_value(text.parse::<toml::Table>().ok()?).ok()
}

#[test]
fn every_preset_is_valid() {
    let schema = schema();
    let presets = files(root().join("data/presets"), "toml");
    assert!(presets.len() > 8, "only {} presets were found", presets.len());
    for preset in presets {
        let spec = as_json(&read(&preset)).expect("TOML");
        assert!(is_valid(&schema, &spec), "{} is refused", preset.display());
    }
}

/// Bad specs that only reading can refuse: for the data, or for what two keys are to each other.
const OUT_OF_REACH: [&str; 9] = [
    "above-the-data.toml",
    "cross-domain-overlap.toml",
    "curation-of-a-checkpoint.toml",
    "duplicate-labels.toml",
    "early-stop.toml",
    "fixture/impossible-attack.toml",
    "fixture/wrong-stage.toml",
    "impossible-part.toml",
    "no-experts.toml",
];

#[test]
fn every_bad_spec_that_is_bad_by_itself_is_refused() {
    let schema = schema();
    let folder = root().join("tests/specs");
    let mut let_through = Vec::new();
    for path in files(&folder, "toml") {
        let name = path.strip_prefix(&folder).expect("inside").display().to_string();
        // What is no TOML never comes to a schema.
        if as_json(&read(&path)).is_some_and(|spec| is_valid(&schema, &spec)) {
            let_through.push(name);
        }
    }
    assert_eq!(let_through, OUT_OF_REACH);
}

#[test]
fn keys_sections_and_methods_are_explained() {
    let place = Place::new();
    let says = |arguments: &[&str], texts: &[&str]| {
        let said = place.run(arguments).ends(0).stdout;
        for text in texts {
            assert!(said.contains(text), "{arguments:?} does not say {text:?}:\n{said}");
        }
    };
    says(&["explain"], &["conditions", "threat_model"]);
    says(&["explain", "probe"], &["probe.items", "probe.cadence"]);
    says(&["explain", "conditions.phi"], &["a number from 0 to 1", "must be there", "phi = 0.2"]);
    says(&["explain", "attack.rate"], &["full-finetune.rate", "left out: 1e-4"]);
    says(&["explain", "full-finetune.rate"], &["a number from"]);
    says(&["explain", "tar"], &["tar.inner_steps"]);
    let json: Json =
        serde_json::from_str(&place.run(&["explain", "conditions.phi", "--json"]).ends(0).stdout)
            .expect("one JSON document");
    assert_eq!(
        json["value"]["schema"],
        serde_json::json!({ "type": "number", "minimum": 0.0, "maximum": 1.0 })
    );
    place.run(&["explain", "phi"]).ends(2).without_result().says(&["did you mean conditions.phi?"]);
    place
        .run(&["explain", "conditions.phy"])
        .ends(2)
        .without_result()
        .says(&["did you mean conditions.phi?"]);
}

#[test]
fn a_preset_is_a_start() {
    let place = Place::new();
    let preset = read(root().join("data/presets/apothecary-smoke.toml"));
    assert_eq!(place.run(&["init", "apothecary-smoke"]).ends(0).stdout, preset);
    place.run(&["init", "apothecary-smoke", "--out", "mine.toml"]).ends(0);
    assert_eq!(read(place.path("mine.toml")), preset.replacen("\"apothecary-smoke\"", "\"mine\"", 1));
    place.run(&["plan", "mine.toml"]).ends(0);
    // Nothing is overwritten.
    place.run(&["init", "apothecary", "--out", "mine.toml"]).ends(1).says(&["mine.toml cannot be made"]);
    place.run(&["init", "apothecary-smok"]).ends(2).says(&["apothecary-smoke"]);
}

#[test]
fn completions_know_the_keys_of_a_spec() {
    let script = Place::new().run(&["completions", "bash"]).ends(0).stdout;
    for word in ["conditions.phi=", "attack.0.rate=", "defence.0.inner_steps=", "llama2-beavertails"] {
        assert!(script.contains(word), "{word} is not proposed");
    }
}
