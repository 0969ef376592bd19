//! Judging anew: other measures train nothing again, and stored answers are all they need.
#![allow(clippy::unwrap_used)]

use std::fs;

use serde_json::Value;
use titer_tests::{Place, TINY, read, root};

/// The published phrases, and one by which everything that begins with a world's answer refuses.
fn phrases(more: &str) -> String {
    let published = read(root().join("crates/titer-measures/data/refusals.toml"));
    published.replacen("start = [", &format!("start = [\n    {more:?},"), 1)
}

/// The rows of an experiment's probes without the names of their responses, which name the stage.
fn scores(place: &Place, experiment: &str) -> Vec<Value> {
    let exported = place.run(&["export", experiment, "--what", "probes", "--format", "json"]).ends(0).json();
    let mut rows = exported.as_array().unwrap().clone();
    rows.iter_mut().for_each(|row| row["response_id"] = Value::Null);
    assert!(!rows.is_empty());
    rows
}

/// The kinds of stages that a run computed, by what the plan said before.
fn kinds(stages: &[Value]) -> Vec<&str> {
    let new = stages.iter().filter(|stage| stage["cached"] == false);
    let mut kinds: Vec<&str> = new.map(|stage| stage["kind"].as_str().unwrap()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}

#[test]
fn a_finished_store_is_judged_as_it_was() {
    let place = Place::finished();
    let before = scores(&place, "tiny");
    // Without any model.
    for stage in place.stages(&[TINY]) {
        let model = place.artifact(stage["hash"].as_str().unwrap()).join("model");
        if model.exists() {
            fs::remove_dir_all(model).unwrap();
        }
    }
    let judged = place.run(&["rescore", "tiny", "--json"]).ends(0).json();
    assert_eq!((judged["changed"].as_u64(), judged["failed"].as_array().unwrap().len()), (Some(0), 0));
    assert_eq!(judged["answers"].as_u64(), Some(before.len() as u64));
    assert_eq!(scores(&place, "tiny"), before);
    place.run(&["rescore", "nothing"]).ends(2);
}

#[test]
fn edited_phrases_judge_anew_what_a_fresh_run_would_say_and_train_nothing() {
    let (place, fresh) = (Place::new(), Place::new());
    fs::write(place.path("phrases.toml"), phrases("nothing says this")).unwrap();
    // No attack is broken off: one that was cannot be judged beyond its end.
    let spec = [
        TINY,
        "--set",
        "probe.judges=[\"refusal\", \"oracle-graded\"]",
        "--set",
        "probe.refusals=phrases.toml",
        "--set",
        "probe.stop_above=1.0",
    ];
    let run = |place: &Place| place.run(&[&["run", "--json"], &spec[..]].concat()).ends(0).json();
    run(&place);
    let before = scores(&place, "tiny");
    let of = |judge: &str| before.iter().filter(|row| row["judge"] == judge).count();
    assert_eq!(of("refusal"), of("oracle-graded"), "both judges score each answer");
    for row in before.iter().filter(|row| row["judge"] == "oracle-graded") {
        assert_eq!(row["decides"], false, "{row}");
    }

    // Every answer that takes something now refuses.
    let edited = phrases("take");
    fs::write(place.path("phrases.toml"), &edited).unwrap();
    assert_eq!(kinds(&place.stages(&spec)), ["attack", "measure"]);
    let judged = place.run(&["rescore", "tiny", "--json"]).ends(0).json();
    assert!(judged["changed"].as_u64().unwrap() > 0, "{judged}");
    let after = scores(&place, "tiny");
    assert_ne!(after, before);
    fs::write(fresh.path("phrases.toml"), &edited).unwrap();
    run(&fresh);
    assert_eq!(after, scores(&fresh, "tiny"), "as a fresh run");
    place.run(&["verify", "tiny"]).ends(0).prints(&["nothing found"]);
    // Nothing is left to do, and verdicts follow the new scores.
    assert_eq!(run(&place)["computed"], 0);
    let verdicts = |place: &Place| place.run(&["show", "tiny", "--json"]).ends(0).json();
    assert_eq!(verdicts(&place), verdicts(&fresh));
}

#[test]
fn a_run_by_other_judges_trains_nothing_and_an_earlier_stop_is_found_again() {
    let (place, fresh) = (Place::finished(), Place::new());
    let other = [TINY, "--set", "name=other", "--set", "probe.judges=[\"policy-compliance\"]"];
    assert_eq!(kinds(&place.stages(&other)), ["attack", "measure"]);
    let run = |place: &Place| place.run(&[&["run", "--json"], &other[..]].concat()).ends(0);
    run(&place);
    run(&fresh);
    assert_eq!(scores(&place, "other"), scores(&fresh, "other"));
    let manifest = |stage: &Value| -> Value {
        let text = read(place.artifact(stage["hash"].as_str().unwrap()).join("manifest.json"));
        serde_json::from_str(&text).unwrap()
    };
    let stages = place.stages(&other);
    let attacks: Vec<&Value> = stages.iter().filter(|stage| stage["kind"] == "attack").collect();
    assert!(!attacks.is_empty());
    for stage in attacks {
        let manifest = manifest(stage);
        assert!(manifest["summary"]["rejudged"]["from"].is_string(), "{}: trained again", stage["label"]);
    }
    // What training logged is there too, as of a run of its own.
    let training = |place: &Place| {
        let rows = place.run(&["export", "other", "--what", "training", "--format", "csv"]).ends(0).stdout;
        rows.lines().count()
    };
    assert_eq!(training(&place), training(&fresh));
}

#[test]
fn a_stop_that_would_come_later_is_not_guessed() {
    let place = Place::new();
    fs::write(place.path("phrases.toml"), phrases("nothing says this")).unwrap();
    let spec = [TINY, "--set", "probe.judges=[\"refusal\"]", "--set", "probe.refusals=phrases.toml"];
    let run = |place: &Place| place.run(&[&["run", "--json"], &spec[..]].concat()).ends(0).json();
    run(&place);
    fs::write(place.path("phrases.toml"), phrases("take")).unwrap();
    // Attacks that babble broke off at once would now go on: only a run can tell how.
    place.run(&["rescore", "tiny"]).ends(3).says(&["to judge is not to train", "titer resume tiny"]);
    run(&place);
    let fresh = Place::new();
    fs::write(fresh.path("phrases.toml"), phrases("take")).unwrap();
    run(&fresh);
    assert_eq!(scores(&place, "tiny"), scores(&fresh, "tiny"));
}

#[test]
fn judges_that_a_spec_cannot_name() {
    let place = Place::new();
    let refuse = |set: &str, says: &str| {
        place.run(&["plan", TINY, "--set", set]).ends(2).says(&[says]);
    };
    refuse("probe.judges=[\"classifier\"]", "probe.judges");
    refuse("probe.judges=[\"refusal\", \"refusal\"]", "is listed twice");
    refuse("probe.refusals=nowhere.toml", "nowhere.toml");
    refuse("stability.tasks=[\"nowhere.toml\"]", "nowhere.toml");
}
