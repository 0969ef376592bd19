//! The store as its users see it: reuse, refusals, damage, experiments.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use common::{description, hash, writer};
use serde_json::json;
use titer_plan::StageHash;
use titer_store::{Artifact, Begin, Error, Event, LeaseTerms, State, Store};

fn store() -> (tempfile::TempDir, Store) {
    let place = tempfile::tempdir().unwrap();
    let store = Store::open_or_create(place.path().join("store")).unwrap();
    (place, store)
}

fn sealed(store: &Store) -> Artifact {
    let writer = writer(store, &hash("a"));
    writer.log(&Event::new("step", 1, json!({ "loss": 0.5 }))).unwrap();
    writer.write("model.safetensors", |path| fs::write(path, [7; 1000])).unwrap();
    writer.write_bytes("model/config.json", b"{}").unwrap();
    writer.seal(json!({ "harmfulness": 0.25 })).unwrap()
}

#[track_caller]
fn says<T>(result: Result<T, Error>, words: &[&str]) {
    let text = result.err().expect("an error").to_string();
    for word in words {
        assert!(text.contains(word), "`{word}` is missing in: {text}");
    }
}

#[test]
fn a_sealed_artifact_is_reused() {
    let (_place, store) = store();
    let artifact = sealed(&store);
    let manifest = artifact.manifest().unwrap();
    assert_eq!(manifest.hash, hash("a"));
    assert_eq!(manifest.spec, description().spec);
    assert_eq!(manifest.inputs, description().inputs);
    assert_eq!(manifest.git.as_deref(), Some("0123abc"));
    assert_eq!(manifest.summary, json!({ "harmfulness": 0.25 }));
    assert_eq!(manifest.version, env!("CARGO_PKG_VERSION"));
    let files: Vec<_> = manifest.files.iter().map(|file| (file.name.as_str(), file.size)).collect();
    assert_eq!(files, [("model.safetensors", 1000), ("model/config.json", 2)]);
    artifact.verify().unwrap();
    assert_eq!(fs::read(artifact.payload("model.safetensors").unwrap()).unwrap(), [7; 1000]);
    assert!(artifact.payload("model").unwrap().join("config.json").is_file());
    let again = Store::open(store.root()).unwrap().begin(&hash("a"), &description()).unwrap();
    assert!(matches!(again, Begin::Sealed(again) if again.manifest().unwrap() == manifest));
}

#[test]
fn nothing_of_an_unsealed_artifact_is_given_out() {
    let (_place, store) = store();
    let artifact = store.artifact(&hash("a"));
    let unfinished = |artifact: &Artifact| {
        assert!(!artifact.is_sealed());
        says(artifact.manifest(), &["not finished", "run its experiment"]);
        says(artifact.payload("model.safetensors"), &["not finished"]);
        says(artifact.verify(), &["not finished"]);
    };
    unfinished(&artifact);
    let writer = writer(&store, &hash("a"));
    writer.write_bytes("model.safetensors", b"whole").unwrap();
    unfinished(&artifact);
    drop(writer);
    unfinished(&artifact);
}

#[test]
fn a_missing_payload_is_named_with_those_present() {
    let (_place, store) = store();
    let artifact = sealed(&store);
    says(artifact.payload("probes.parquet"), &["probes.parquet", "model.safetensors", "model/config.json"]);
    says(artifact.payload("model/conf"), &["no payload"]);
    says(artifact.payload("../b/model"), &["not a usable name"]);
}

#[test]
fn damage_is_found_and_named() {
    let check = |damage: &dyn Fn(&Path), at_payload: bool, words: &[&str]| {
        let (_place, store) = store();
        let artifact = sealed(&store);
        damage(&store.root().join("artifacts").join(hash("a").0));
        says(artifact.verify(), words);
        says(artifact.verify(), &["damaged", "run the experiment again"]);
        assert_eq!(artifact.payload("model.safetensors").is_err(), at_payload);
    };
    let put = |name: &'static str, bytes: &'static [u8]| {
        move |folder: &Path| fs::write(folder.join(name), bytes).unwrap()
    };
    check(&put("model.safetensors", &[7; 999]), true, &["model.safetensors", "999 bytes", "not 1000"]);
    check(&put("model.safetensors", &[8; 1000]), true, &["model.safetensors", "BLAKE3"]);
    check(&|folder| fs::remove_file(folder.join("model.safetensors")).unwrap(), true, &["model.safetensors"]);
    check(&put("model/config.json", b"[]"), false, &["config.json", "BLAKE3"]);
    check(&put("events.jsonl", b""), false, &["events.jsonl", "0 bytes"]);
    check(&put("manifest.json", b"{}"), true, &["manifest.json", "not the manifest that was sealed"]);
    check(&|folder| fs::remove_file(folder.join("manifest.json")).unwrap(), true, &["manifest.json"]);
}

#[test]
fn a_sealed_artifact_under_another_name_is_refused() {
    let (_place, store) = store();
    sealed(&store);
    let artifacts = store.root().join("artifacts");
    fs::rename(artifacts.join(hash("a").0), artifacts.join(hash("b").0)).unwrap();
    says(store.artifact(&hash("b")).manifest(), &["it belongs to artifact aaaa"]);
}

#[test]
fn a_second_writer_is_told_who_is_first() {
    let (_place, store) = store();
    let first = writer(&store, &hash("a"));
    let pid = std::process::id().to_string();
    let second =
        std::thread::scope(|scope| scope.spawn(|| store.begin(&hash("a"), &description())).join().unwrap());
    says(second, &["being written by process", &pid, "0s ago", "wait for it"]);
    assert!(matches!(store.begin(&hash("b"), &description()), Ok(Begin::Writer(_))));
    drop(first);
    writer(&store, &hash("a"));
}

#[test]
fn of_many_threads_one_writes_and_the_others_reuse() {
    let (_place, store) = store();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                loop {
                    match store.begin(&hash("a"), &description()) {
                        Ok(Begin::Sealed(artifact)) => break artifact.verify().unwrap(),
                        Ok(Begin::Writer(writer)) => {
                            writer.resume().unwrap();
                            writer.log(&Event::new("step", 1, json!({}))).unwrap();
                            writer.write_bytes("x.bin", b"x").unwrap();
                            writer.seal(json!({})).unwrap();
                        }
                        Err(Error::Busy { .. }) => std::thread::sleep(Duration::from_millis(1)),
                        Err(error) => panic!("{error}"),
                    }
                }
            });
        }
    });
    assert_eq!(store.artifact(&hash("a")).events().unwrap().len(), 1);
}

#[test]
fn a_writer_that_was_overtaken_cannot_write() {
    let (_place, store) = store();
    let lease = store.root().join("artifacts").join(hash("a").0).join("lease.json");
    let first = writer(&store, &hash("a"));
    // As if it had been suspended for long: the other takes its place, here by force.
    fs::rename(&lease, lease.with_extension("old")).unwrap();
    let second = writer(&store, &hash("a"));
    says(first.write_bytes("x", b"x"), &["another process took over"]);
    says(first.log(&Event::new("step", 1, json!({}))), &["another process took over"]);
    says(first.checkpoint(1, |_| io::Result::Ok(())), &["another process took over"]);
    says(first.beat(), &["another process took over"]);
    second.seal(json!({})).unwrap();
    says(first.write_bytes("x", b"x"), &["sealed, so it cannot be changed"]);
    says(first.seal(json!({})), &["sealed, so it cannot be changed"]);
    store.artifact(&hash("a")).verify().unwrap();
}

#[test]
fn an_interrupted_stage_goes_on_with_the_log_of_its_checkpoint() {
    let (_place, store) = store();
    let step = |step: u64| Event::new("step", step, json!({}));
    {
        let writer = writer(&store, &hash("a"));
        let log = |steps: std::ops::RangeInclusive<u64>| {
            for at in steps {
                writer.log(&step(at)).unwrap();
            }
        };
        assert_eq!(writer.resume().unwrap(), None);
        log(1..=3);
        writer.checkpoint(3, |dir| fs::write(dir.join("weights"), b"three")).unwrap();
        log(3..=5);
    }
    let writer = writer(&store, &hash("a"));
    let checkpoint = writer.resume().unwrap().unwrap();
    assert_eq!(checkpoint.step, 3);
    assert_eq!(fs::read(checkpoint.folder.join("weights")).unwrap(), b"three");
    assert_eq!(writer.log(&step(4)).unwrap(), 3);
    writer.log(&step(9)).unwrap();
    writer.truncate_events_after(4).unwrap();
    assert_eq!(writer.artifact().events().unwrap().len(), 4);
    assert_eq!(writer.artifact().progress().unwrap().step, Some(4));
    writer.restart().unwrap();
    assert_eq!(writer.latest_checkpoint().unwrap(), None);
    assert!(writer.artifact().events().unwrap().is_empty());
}

#[test]
fn a_stage_without_checkpoint_begins_with_an_empty_log() {
    let (_place, store) = store();
    writer(&store, &hash("a")).log(&Event::new("step", 0, json!({}))).unwrap();
    let writer = writer(&store, &hash("a"));
    assert_eq!(writer.resume().unwrap(), None);
    assert_eq!(writer.log(&Event::new("step", 0, json!({}))).unwrap(), 0);
}

#[test]
fn progress_tells_where_an_artifact_stands() {
    let (_place, store) = store();
    let artifact = store.artifact(&hash("a"));
    let state = || artifact.progress().unwrap().state;
    assert_eq!(state(), State::Absent);
    let writer = writer(&store, &hash("a"));
    writer.log(&Event::new("step", 12, json!({}))).unwrap();
    writer.log(&Event::new("note", None, json!("hello"))).unwrap();
    assert!(matches!(state(), State::Running(holder) if holder.pid == std::process::id()));
    let progress = artifact.progress().unwrap();
    assert_eq!(progress.step, Some(12));
    assert_eq!(progress.last.unwrap().event.kind, "note");
    drop(writer);
    assert_eq!(state(), State::Interrupted);
    common::writer(&store, &hash("a")).seal(json!({})).unwrap();
    assert_eq!(state(), State::Sealed);
}

#[test]
fn a_silent_writer_counts_as_interrupted() {
    let (_place, store) = store();
    let terms = LeaseTerms { limit: Duration::ZERO, ..LeaseTerms::default() };
    let _writer = writer(&store, &hash("a"));
    std::thread::sleep(Duration::from_millis(20));
    let seen = store.clone().with_lease_terms(terms).artifact(&hash("a")).progress().unwrap();
    assert_eq!(seen.state, State::Interrupted);
}

#[test]
fn a_reader_follows_a_living_writer() {
    let (_place, store) = store();
    let writer = writer(&store, &hash("a"));
    let mut reader = store.artifact(&hash("a")).follow();
    assert!(reader.read().unwrap().is_empty());
    let written = std::thread::scope(|scope| {
        scope.spawn(|| {
            for at in 0..500 {
                writer.log(&Event::new("step", at, json!({}))).unwrap();
            }
        });
        let mut seen = Vec::new();
        while seen.len() < 500 {
            seen.extend(reader.read().unwrap().into_iter().map(|record| record.sequence));
        }
        seen
    });
    assert!(written.into_iter().eq(0..500));
}

#[test]
fn names_cannot_lead_out_of_the_store() {
    let (place, store) = store();
    for name in ["../x", "..", "", "a/b", "/tmp/x", ".x", "a\\b", "a b"] {
        says(store.experiment(name), &["not a usable name", "use letters"]);
    }
    let writer = writer(&store, &StageHash("../../x".to_owned()));
    for name in ["../x", "", "manifest.json", "SEALED", "checkpoint/x", "model/../x"] {
        says(writer.write_bytes(name, b"x"), &["not a usable name"]);
    }
    says(store.experiment("e").unwrap().write_report("../x", b"x"), &["not a usable name"]);
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
}

#[test]
fn experiments_are_kept_and_listed_in_order() {
    let (_place, store) = store();
    assert!(store.experiments().unwrap().is_empty());
    for name in ["zebra", "apothecary", "policy-2"] {
        store.experiment(name).unwrap().save("name = 1", "{}").unwrap();
    }
    assert_eq!(store.experiments().unwrap(), ["apothecary", "policy-2", "zebra"]);
    let experiment = store.experiment("zebra").unwrap();
    experiment.save("name = 2", "{\"stages\":[]}").unwrap();
    assert_eq!(experiment.spec().unwrap(), "name = 2");
    assert_eq!(experiment.plan_json().unwrap(), "{\"stages\":[]}");
    let report = experiment.write_report("index.html", b"<p>").unwrap();
    assert_eq!(report, experiment.report_dir().join("index.html"));
    assert_eq!(fs::read(report).unwrap(), b"<p>");
    let missing = store.experiment("apothecry").unwrap();
    assert!(experiment.exists() && !missing.exists());
    says(missing.spec(), &["apothecry: no such experiment", "apothecary, policy-2, zebra"]);
}

#[test]
fn a_store_that_cannot_be_opened_says_why() {
    let place = tempfile::tempdir().unwrap();
    let root = place.path().join("store");
    let header = |text: &str| {
        fs::create_dir_all(&root).unwrap();
        fs::write(root.join("store.json"), text).unwrap();
    };
    says(Store::open(&root), &["no titer store here", "--store"]);
    header("{\"format\":2}");
    for opened in [Store::open(&root), Store::open_or_create(&root)] {
        says(opened, &["store.json", "format 2", "up to 1", "upgrade titer"]);
    }
    header("{\"format\":");
    says(Store::open_or_create(&root), &["store.json", "restore the file"]);
    header("{\"format\":1,\"later\":true}\n");
    Store::open(&root).unwrap();
    let file = place.path().join("file");
    fs::write(&file, b"").unwrap();
    for root in [file.clone(), file.join("below")] {
        says(Store::open_or_create(root), &["file: not a folder", "--store"]);
    }
}

#[test]
fn a_store_may_be_shared_by_threads() {
    fn shared<T: Clone + Send + Sync>() {}
    fn sent<T: Send + Sync>() {}
    shared::<Store>();
    shared::<Artifact>();
    sent::<titer_store::Writer>();
}
