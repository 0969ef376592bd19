//! A store of a stranger whose sums are all right, since whoever forges it makes them anew (`cargo xtask fuzz`).

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::{hash, writer};
use serde_json::{Value, json};
use titer_store::{Artifact, Event, Order, Request, Store};

const WEIGHTS: &str = "model/model.safetensors";

fn sealed() -> (tempfile::TempDir, Store, Artifact) {
    let place = tempfile::tempdir().unwrap();
    let store = Store::open_or_create(place.path().join("store")).unwrap();
    let writer = writer(&store, &hash("a"));
    writer.log(&Event::new("step", 1, json!({ "loss": 0.5 }))).unwrap();
    writer.write_bytes(WEIGHTS, b"weights").unwrap();
    let artifact = writer.seal(json!({})).unwrap();
    (place, store, artifact)
}

/// Changes a manifest, and seals it again.
fn reseal(artifact: &Artifact, change: impl FnOnce(&mut Value)) {
    let mut manifest: Value = serde_json::from_slice(&fs::read(artifact.manifest_path()).unwrap()).unwrap();
    change(&mut manifest);
    let text = manifest.to_string();
    fs::write(artifact.manifest_path(), &text).unwrap();
    fs::write(artifact.folder().join("SEALED"), blake3::hash(text.as_bytes()).to_hex().as_bytes()).unwrap();
}

/// What must not be believed: every reader says so, and names it.
#[track_caller]
fn refused(artifact: &Artifact, name: &str) {
    let errors = [
        artifact.manifest().err(),
        artifact.verify().err(),
        artifact.check_payload().err(),
        artifact.payload(WEIGHTS).err(),
        artifact.events().err(),
    ];
    for error in errors {
        let error = error.unwrap().to_string();
        assert!(error.contains("manifest.json") && error.contains(&format!("{name:?}")), "{error}");
    }
    let audited = artifact.audit(&|_| true);
    assert!(audited.flaws[0].problem.contains(&format!("{name:?}")), "{:?}", audited.flaws);
}

#[test]
fn a_manifest_names_nothing_outside_of_its_artifact() {
    let (place, store, artifact) = sealed();
    let outside = place.path().join("outside.safetensors");
    fs::write(&outside, b"weights").unwrap();
    let absolute = outside.to_str().unwrap();
    for name in [absolute, "../../../outside.safetensors", "a/../../x", "/dev/zero", "SEALED", ""] {
        let before = fs::read(artifact.manifest_path()).unwrap();
        reseal(&artifact, |manifest| {
            manifest["files"][0]["name"] = name.into();
            if name == "/dev/zero" {
                manifest["files"][0]["size"] = 0.into();
            }
        });
        // What a manifest calls weights is removed to save room.
        let weights = [hash("a")].into();
        let _ = store.collect(&Order { weights, keep: [hash("a")].into(), ..Order::default() });
        assert_eq!(fs::read(&outside).unwrap(), b"weights", "{name}");
        refused(&artifact, name);
        fs::write(artifact.manifest_path(), before).unwrap();
        reseal(&artifact, |manifest| manifest["log"]["name"] = name.into());
        refused(&artifact, name);
        reseal(&artifact, |manifest| manifest["log"]["name"] = "events.jsonl".into());
    }
    artifact.verify().unwrap();
}

#[test]
fn the_sums_of_a_checkpoint_name_nothing_outside_of_it() {
    let (_place, store, _) = sealed();
    for name in ["/dev/zero", "../../../../../../dev/zero"] {
        let begun = writer(&store, &hash("b"));
        begun.checkpoint(7, |folder| fs::write(folder.join("weights"), [1; 100])).unwrap();
        let folder = begun.resume().unwrap().unwrap().folder;
        let sums = json!({ "files": [{ "name": name, "size": 0, "blake3": "" }] }).to_string();
        let sum = blake3::hash(sums.as_bytes()).to_hex();
        let summed = format!("{},\"blake3\":\"{sum}\"}}", sums.strip_suffix('}').unwrap());
        fs::write(folder.join("sums.json"), summed).unwrap();
        drop(begun);
        assert_eq!(writer(&store, &hash("b")).resume().unwrap(), None, "{name}");
    }
}

#[test]
fn a_number_after_which_none_can_come_is_an_error_and_does_not_begin_anew() {
    let (_place, store, artifact) = sealed();
    let experiment = store.experiment("x").unwrap();
    experiment.save("name = 1", "{}").unwrap();
    let control = experiment.folder().join("control.json");
    fs::write(&control, json!({ "number": u64::MAX, "stop": 0, "hold": 0, "first": [] }).to_string())
        .unwrap();
    let error = experiment.ask(Request::Stop).unwrap_err().to_string();
    assert!(error.contains("control.json") && error.contains(&u64::MAX.to_string()), "{error}");
    // The end of a log is read from any number on.
    let record = |sequence: u64| {
        format!("{}\n", json!({ "sequence": sequence, "time": 0.0, "kind": "step", "step": 3 }))
    };
    let long = format!("{}{}", "x".repeat(70_000), "\n");
    fs::write(artifact.log_path(), [long, record(u64::MAX - 1), record(u64::MAX), record(0)].concat())
        .unwrap();
    assert_eq!(artifact.progress().unwrap().last.unwrap().sequence, u64::MAX - 1);
    // A newer checkpoint has a higher number than all before it.
    let begun = writer(&store, &hash("b"));
    let last = store.root().join(format!("artifacts/{}/checkpoint/{}-step1-events0", hash("b"), u64::MAX));
    fs::create_dir_all(&last).unwrap();
    begun.checkpoint(7, |folder| fs::write(folder.join("weights"), [1; 100])).unwrap();
    assert_eq!(begun.resume().unwrap().unwrap().step, 7);
}

#[test]
fn nobody_waits_for_a_pipe_in_the_place_of_a_file() {
    let (_place, store, artifact) = sealed();
    let experiment = store.experiment("x").unwrap();
    experiment.save("name = 1", "{}").unwrap();
    let pipe = |path: &Path| {
        fs::remove_file(path).unwrap();
        assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    };
    pipe(&artifact.log_path());
    assert!(artifact.events().is_err() && artifact.verify().is_err());
    pipe(&artifact.manifest_path());
    assert!(artifact.manifest().is_err());
    pipe(&experiment.plan_path());
    assert!(experiment.plan_json().is_err());
}
