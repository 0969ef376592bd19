//! What is stored is believed only after it was checked.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use common::{hash, writer};
use proptest::prelude::*;
use serde_json::json;
use titer_store::{Artifact, Event, Store, Trust};

const FILES: [&str; 2] = ["probes.parquet", "model/model.safetensors"];

fn sealed() -> (tempfile::TempDir, Store, Artifact) {
    let place = tempfile::tempdir().unwrap();
    let store = Store::open_or_create(place.path().join("store")).unwrap();
    let writer = writer(&store, &hash("a"));
    writer.log(&Event::new("step", 1, json!({ "loss": 0.5 }))).unwrap();
    for (name, byte) in FILES.into_iter().zip(1..) {
        writer.write_bytes(name, &[byte; 3000]).unwrap();
    }
    let artifact = writer.seal(json!({ "harmfulness": 0.25 })).unwrap();
    (place, store, artifact)
}

fn flip(path: &Path, at: usize, bit: u8) {
    let mut bytes = fs::read(path).unwrap();
    let at = at % bytes.len();
    bytes[at] ^= 1 << bit;
    fs::write(path, bytes).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn any_flipped_bit_of_an_artifact_is_named_and_never_read(at in any::<usize>(), bit in 0u8..8) {
        for name in FILES.into_iter().chain(["manifest.json", "SEALED", "events.jsonl"]) {
            let (_place, _store, artifact) = sealed();
            let path = artifact.folder().join(name);
            flip(&path, at, bit);
            let read = match name {
                "events.jsonl" => artifact.events().map(|_| PathBuf::new()),
                name if FILES.contains(&name) => artifact.payload(name),
                _ => artifact.payload(FILES[0]),
            };
            let text = read.expect_err(name).to_string();
            prop_assert!(text.contains("damaged") && text.contains("run the experiment again"), "{name}: {text}");
        }
    }

    #[test]
    fn any_flipped_bit_of_a_plan_or_of_verdicts_is_named(at in any::<usize>(), bit in 0u8..8) {
        let (_place, store, _artifact) = sealed();
        let experiment = store.experiment("x").unwrap();
        let json = json!({ "conditions": { "phi": 0.2 }, "stages": ["a", "b"] }).to_string();
        experiment.save("name = 1", &json).unwrap();
        experiment.save_verdicts(&json).unwrap();
        experiment.save_search(&json).unwrap();
        prop_assert_eq!(experiment.plan_json().unwrap(), json.clone());
        prop_assert_eq!(experiment.verdicts_json().unwrap(), Some(json.clone()));
        prop_assert_eq!(experiment.search_json().unwrap(), Some(json.clone()));
        for name in ["plan.json", "verdicts.json", "search.json"] {
            let path = experiment.folder().join(name);
            let length = fs::read(&path).unwrap().len() - 1; // but the line's end
            flip(&path, at % length, bit);
        }
        let errors = [
            experiment.plan_json().map(|_| ()),
            experiment.verdicts_json().map(|_| ()),
            experiment.search_json().map(|_| ()),
        ];
        for (error, name) in errors.into_iter().zip(["plan.json", "verdicts.json", "search.json"]) {
            prop_assert!(error.expect_err(name).to_string().contains(name));
        }
    }
}

#[test]
fn a_damaged_artifact_is_moved_away_and_made_anew() {
    let (_place, store, artifact) = sealed();
    let name = artifact.hash().clone();
    assert!(matches!(store.trusted(&name).unwrap(), Trust::Whole));
    assert!(matches!(store.trusted(&hash("b")).unwrap(), Trust::Absent));
    flip(&artifact.folder().join(FILES[1]), 5, 0);
    let Trust::Damaged(problem) = store.trusted(&name).unwrap() else { panic!("it was believed") };
    assert!(problem.to_string().contains(FILES[1]), "{problem}");
    assert!(matches!(store.trusted(&name).unwrap(), Trust::Absent));
    assert!(store.root().join("damaged").join(format!("{name}-0/{}", FILES[1])).is_file());
    let again = writer(&store, &name);
    again.write_bytes(FILES[0], b"anew").unwrap();
    again.seal(json!({})).unwrap();
    assert!(matches!(store.trusted(&name).unwrap(), Trust::Whole));
}

#[test]
fn what_a_kill_between_seal_and_end_left_is_tidied() {
    let (_place, store, artifact) = sealed();
    let left = artifact.folder().join("checkpoint/0-step1-events0");
    fs::create_dir_all(&left).unwrap();
    fs::write(left.join("weights"), [0; 100]).unwrap();
    assert!(matches!(store.trusted(artifact.hash()).unwrap(), Trust::Whole));
    assert!(!left.exists());
}

#[test]
fn a_checkpoint_that_is_not_what_was_written_is_not_gone_on_from() {
    let (_place, store, _artifact) = sealed();
    let begun = writer(&store, &hash("b"));
    begun.checkpoint(7, |folder| fs::write(folder.join("weights"), [1; 100])).unwrap();
    let checkpoint = begun.resume().unwrap().unwrap();
    assert_eq!(checkpoint.step, 7);
    flip(&checkpoint.folder.join("weights"), 50, 3);
    drop(begun);
    let again = writer(&store, &hash("b"));
    assert_eq!(again.resume().unwrap(), None);
    let manifest = again.seal(json!({})).unwrap().manifest().unwrap();
    assert_eq!(manifest.distrusted.len(), 1);
    assert!(manifest.distrusted[0].contains("weights: its BLAKE3"), "{:?}", manifest.distrusted);
}

#[test]
fn files_can_be_read_by_whom_the_mask_lets() {
    let (_place, store, _artifact) = sealed();
    let begun = writer(&store, &hash("b"));
    let private = |path: &Path| -> io::Result<()> {
        fs::File::options().write(true).create_new(true).mode(0o600).open(path).map(|_| ())
    };
    begun.write("model/model.safetensors", private).unwrap();
    begun.write_bytes("plain", b"x").unwrap();
    let artifact = begun.seal(json!({})).unwrap();
    let mode = |name: &str| artifact.payload(name).unwrap().metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("model/model.safetensors"), mode("plain"));
}
