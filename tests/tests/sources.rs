//! The key is the content: other bytes behind an unchanged path, a file emptied, a file moved are noticed by `run`,
//! `plan` and `show`, and the old results hold again once the old bytes are back.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use titer_tests::{Place, TINY, read, root};

use crate::tiny_chat::{SPEC, place, save_dataset};

/// An experiment on a data set, every part of which lies in the place.
const DATA: &str = "data.toml";

/// A place with the finished run of [`DATA`], and what `show` says of it.
fn measured() -> (Place, Value) {
    let place = place();
    save_dataset(&place);
    copy(&root().join("tests/fixtures/deberta/v3"), &place.path("judge"));
    let definition = read(place.path("colours.toml"));
    let fixture = root().join("tests/fixtures/deberta/v3").display().to_string();
    fs::write(place.path("colours.toml"), definition.replace(&fixture, "judge")).unwrap();
    let outcome = place.run(&["run", DATA, "--json"]).ends(0).json();
    assert_eq!(outcome["failed"], json!([]), "{outcome}");
    let shown = place.run(&["show", "tiny-chat", "--json"]).ends(0).json();
    assert_eq!(shown["stale"], json!([]));
    (place, shown)
}

fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-r").args([from, to]).status().unwrap().success());
}

fn not_cached(place: &Place, spec: &str) -> usize {
    place.stages(&[spec]).iter().filter(|stage| stage["cached"] == false).count()
}

/// Changes `file` by `edit` and expects that everything that looks notices, and that the old bytes bring back the
/// old results.
#[track_caller]
fn noticed(file: &str, edit: impl Fn(&PathBuf)) {
    let (place, shown) = measured();
    let path = place.path(file);
    let before = fs::read(&path).ok();
    edit(&path);
    let name = path.display().to_string();

    assert!(not_cached(&place, DATA) > 0, "{file}: the plan takes the old results for the new");
    place.run(&["plan", DATA]).ends(0).says(&["since tiny-chat was run", &name]);
    let stale = place.run(&["show", "tiny-chat", "--json"]).ends(0).says(&["stale", &name]).json();
    assert_eq!(stale["stale"][0]["file"], json!(name), "{stale:#}");
    assert_eq!(stale["stale"][0]["how"], if before.is_some() { "changed" } else { "new" });
    assert_eq!(without_stale(&stale), without_stale(&shown), "the old verdicts are still shown");

    let outcome =
        place.run(&["run", DATA, "--json"]).ends(0).says(&["since tiny-chat was run", &name]).json();
    assert!(outcome["computed"].as_u64().unwrap() > 0, "{file}: {outcome}");
    let fresh = place.run(&["show", "tiny-chat", "--json"]).ends(0).json();
    assert_eq!(fresh["stale"], json!([]));

    match before {
        Some(bytes) => fs::write(&path, bytes).unwrap(),
        None => fs::remove_file(&path).unwrap(),
    }
    let again = place.run(&["run", DATA, "--json"]).ends(0).json();
    assert_eq!(again["computed"], 0, "{file}: the old results hold again");
    assert_eq!(place.run(&["show", "tiny-chat", "--json"]).ends(0).json(), shown);
}

fn without_stale(shown: &Value) -> Value {
    let mut shown = shown.clone();
    shown.as_object_mut().unwrap().remove("stale");
    shown
}

/// Other numbers of the same size: the last one's lowest bit.
fn flip(path: &PathBuf) {
    let mut bytes = fs::read(path).unwrap();
    let place = bytes.len() - 4;
    bytes[place] ^= 1;
    fs::write(path, bytes).unwrap();
}

fn replace(path: &PathBuf, from: &str, to: &str) {
    let text = read(path);
    assert!(text.contains(from), "{text}");
    fs::write(path, text.replace(from, to)).unwrap();
}

#[test]
fn other_weights_are_noticed() {
    noticed("tiny-chat/model.safetensors", flip);
}

#[test]
fn another_configuration_is_noticed() {
    noticed("tiny-chat/config.json", |path| replace(path, "10000.0", "20000.0"));
}

#[test]
fn another_tokenizer_is_noticed() {
    noticed("tiny-chat/tokenizer.json", |path| fs::write(path, read(path) + "\n").unwrap());
}

#[test]
fn another_template_is_noticed() {
    noticed("tiny-chat/tokenizer_config.json", |path| replace(path, "{% for message", "x{% for message"));
}

#[test]
fn other_generation_settings_are_noticed() {
    noticed("tiny-chat/generation_config.json", |path| fs::write(path, "{\"eos_token_id\": 2}").unwrap());
}

#[test]
fn other_rows_are_noticed() {
    noticed("harmful.jsonl", |path| replace(path, "say 1 ", "tell 1 "));
}

#[test]
fn another_task_is_noticed() {
    noticed("task.jsonl", |path| replace(path, "say 1 ", "tell 1 "));
}

#[test]
fn another_judge_is_noticed() {
    noticed("judge/model.safetensors", flip);
}

#[test]
fn another_definition_of_a_data_set_is_noticed() {
    noticed("colours.toml", |path| replace(path, "help with that", "help you with it"));
}

#[test]
fn another_policy_is_noticed() {
    let place = place();
    let policy = place.path("mine.toml");
    fs::copy(root().join("data/policies/hobbies.toml"), &policy).unwrap();
    let spec = read(place.path(SPEC)).replace("\"hobbies\"", "\"mine.toml\"");
    fs::write(place.path(SPEC), spec).unwrap();
    place.run(&["run", SPEC]).ends(0);
    let summary = read(&policy).lines().find(|line| line.starts_with("refusals")).unwrap().to_owned();
    let before = fs::read(&policy).unwrap();
    replace(&policy, &summary, &summary.replacen('[', "[\"I can't help with that at all.\", ", 1));
    let name = policy.display().to_string();
    assert!(not_cached(&place, SPEC) > 0);
    place.run(&["plan", SPEC]).ends(0).says(&["since tiny-chat was run", &name]);
    let stale = place.run(&["show", "tiny-chat", "--json"]).ends(0).says(&["stale", &name]).json();
    assert_eq!(
        stale["stale"],
        json!([{ "role": "policy", "reference": "mine.toml", "file": name, "how": "changed" }])
    );
    let outcome = place.run(&["run", SPEC, "--json"]).ends(0).json();
    assert!(outcome["computed"].as_u64().unwrap() > 0);
    fs::write(&policy, before).unwrap();
    place.run(&["run", SPEC]).ends(0).says(&["0 computed"]);
    fs::write(&policy, "").unwrap();
    refused(&place, SPEC, &[&name, "empty"]);
    fs::remove_file(&policy).unwrap();
    refused(&place, SPEC, &["mine.toml"]);
}

/// `run` and `plan` say so before anything runs; `show` shows what was measured, and says so too.
#[track_caller]
fn refused(place: &Place, spec: &str, says: &[&str]) {
    for verb in ["run", "plan"] {
        place.run(&[verb, spec]).ends(2).without_result().says(&says[1..]);
    }
    place.run(&["show", "tiny-chat"]).ends(0).says(&["stale", says[0]]);
    place.run(&["report", "tiny-chat"]).ends(0).says(&["stale", says[0]]);
}

#[test]
fn what_is_empty_or_moved_is_said_before_anything_runs() {
    let (place, shown) = measured();
    for file in ["tiny-chat/model.safetensors", "tiny-chat/tokenizer.json", "task.jsonl", "judge/config.json"]
    {
        let path = place.path(file);
        let bytes = fs::read(&path).unwrap();
        let name = path.display().to_string();
        fs::write(&path, "").unwrap();
        refused(
            &place,
            DATA,
            &[&format!("{name} is empty"), file, "this file is empty", "put its content back"],
        );
        fs::write(&path, bytes).unwrap();
    }
    for (file, remedy) in [("tiny-chat", "hf:OWNER/NAME"), ("harmful.jsonl", "hf:OWNER/NAME"), ("judge", "")]
    {
        let path = place.path(file);
        let name = path.display().to_string();
        fs::rename(&path, place.path("elsewhere")).unwrap();
        refused(&place, DATA, &[name.as_str(), file, "no such file or folder", remedy]);
        let stale = place.run(&["show", "tiny-chat", "--json"]).ends(0).json();
        assert!(
            stale["stale"].as_array().unwrap().iter().all(|stale| stale["how"] == "missing"),
            "{stale:#}"
        );
        fs::rename(place.path("elsewhere"), &path).unwrap();
    }
    // A model without its weights, and one under another name: the same content is the same model.
    fs::rename(place.path("tiny-chat"), place.path("renamed")).unwrap();
    place.run(&["run", DATA, "--set", "model.checkpoint=renamed"]).ends(0).says(&["0 computed"]);
    assert_eq!(place.run(&["show", "tiny-chat", "--json"]).ends(0).json()["defences"], shown["defences"]);
}

#[test]
fn what_changes_between_planning_and_use_is_never_measured() {
    let (place, _) = measured();
    flip(&place.path("tiny-chat/model.safetensors"));
    // Goes on with the experiment as it was planned, on what it was planned on: that is gone.
    let attack = place.stages(&[DATA]).into_iter().find(|stage| stage["kind"] == "measure").unwrap();
    assert_eq!(attack["cached"], false);
    let stored: Value =
        serde_json::from_str(&read(place.path("store/experiments/tiny-chat/plan.json"))).unwrap();
    let measure =
        stored["stages"].as_array().unwrap().iter().find(|stage| stage["spec"]["kind"] == "measure");
    fs::remove_dir_all(place.artifact(measure.unwrap()["hash"].as_str().unwrap())).unwrap();
    let file = place.path("tiny-chat/model.safetensors").display().to_string();
    place.run(&["run", "tiny-chat", "--resume"]).ends(3).says(&[
        "is not what it was when this was planned",
        &file,
        "run again",
    ]);
}

#[test]
fn paths_count_from_the_file_that_names_them() {
    let place = place();
    save_dataset(&place);
    for folder in ["specs", "data"] {
        fs::create_dir(place.path(folder)).unwrap();
    }
    for file in ["harmful.jsonl", "harmless.jsonl", "task.jsonl", "colours.toml"] {
        fs::rename(place.path(file), place.path("data").join(file)).unwrap();
    }
    let spec = read(place.path(DATA)).replace("\"colours.toml\"", "\"../data/colours.toml\"");
    let spec = spec.replace("checkpoint = \"tiny-chat\"", "checkpoint = \"../tiny-chat\"");
    fs::write(place.path("specs/data.toml"), spec).unwrap();
    place.run(&["plan", "specs/data.toml"]).ends(0);
    // What is typed counts from where it is typed.
    place.run(&["plan", "specs/data.toml", "--set", "model.checkpoint=tiny-chat"]).ends(0);
    place.run(&["plan", "specs/data.toml", "--set", "model.dataset=data/colours.toml"]).ends(0);
    place
        .run(&["plan", "specs/data.toml", "--set", "model.dataset=colours.toml"])
        .ends(2)
        .says(&["colours.toml"]);
}

#[test]
fn what_nobody_fetched_is_planned_provisionally_and_never_run() {
    let place = Place::new();
    let offline = |arguments: &[&str]| {
        let output = place.command(arguments).env("HF_HUB_OFFLINE", "1").output().unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let (code, stdout, stderr) = offline(&["plan", "llama2-beavertails", "--json"]);
    assert_eq!(code, Some(0), "{stderr}");
    let plan: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(plan["provisional"], true);
    let sources = plan["sources"].as_array().unwrap();
    assert_eq!(sources.len(), 5);
    for source in sources {
        assert_eq!(source["found"], Value::Null);
        assert!(stderr.contains(source["reference"].as_str().unwrap()), "{stderr}");
    }
    let (code, _, stderr) = offline(&["run", "llama2-beavertails"]);
    assert!(code != Some(0) && stderr.contains("meta-llama/Llama-2-7b-chat-hf"), "{stderr}");
    assert!(stderr.contains("titer model pull"), "{stderr}");
}

#[test]
fn an_old_store_is_refused_with_the_reason_and_the_remedy_and_loses_nothing() {
    let place = Place::new();
    copy(&root().join("tests/fixtures/old-store"), &place.path("store"));
    let plan = read(place.path("store/experiments/tiny/plan.json"));
    for arguments in [
        &["show", "tiny"][..],
        &["report", "tiny"],
        &["export", "tiny", "--what", "probes", "--format", "csv"],
        &["run", "tiny", "--resume"],
    ] {
        place.run(arguments).ends(1).without_result().says(&[
            "tiny/plan.json",
            "earlier titer",
            "run the experiment again",
        ]);
    }
    let watched = place.run(&["watch", "--once"]).ends(0).stdout;
    assert!(watched.contains("tiny"), "{watched}");
    assert_eq!(read(place.path("store/experiments/tiny/plan.json")), plan, "looking changes nothing");
    place.run(&["run", TINY]).ends(0);
    place.run(&["show", "tiny"]).ends(0);
}
