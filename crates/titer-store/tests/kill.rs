//! Real processes killed by SIGKILL at random moments, again and again, until the stage is done.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking and says what it did"
)]

mod common;

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use common::{hash, this_test, writer};
use serde_json::json;
use titer_store::{Artifact, Event, State, Store};

const STEPS: u64 = 600;
const CHILD: &str = "TITER_STORE_TEST_KILLED";

/// Counts its steps; a checkpoint after each fifth holds the count in two files that must agree.
fn stage(root: &Path) {
    let store = Store::open_or_create(root).unwrap();
    if store.artifact(&hash("a")).is_sealed() {
        return;
    }
    let writer = writer(&store, &hash("a"));
    let (mut step, mut state) = (0, 1u64);
    if let Some(checkpoint) = writer.resume().unwrap() {
        let read = |name| fs::read_to_string(checkpoint.folder.join(name)).unwrap();
        assert_eq!(read("state"), read("copy"));
        (step, state) = (checkpoint.step, read("state").parse().unwrap());
    }
    while step < STEPS {
        step += 1;
        state = state.wrapping_mul(6364136223846793005).wrapping_add(step);
        writer.log(&Event::new("step", step, json!({ "state": state }))).unwrap();
        if step % 5 == 0 {
            let save = |dir: &Path| {
                fs::write(dir.join("state"), state.to_string())?;
                fs::write(dir.join("copy"), state.to_string())
            };
            writer.checkpoint(step, save).unwrap();
        }
    }
    writer.write_bytes("state.bin", &state.to_le_bytes()).unwrap();
    writer.seal(json!({ "state": state })).unwrap();
}

fn outcome(artifact: &Artifact) -> (Vec<Event>, serde_json::Value) {
    artifact.verify().unwrap();
    let events = artifact.events().unwrap().into_iter().map(|record| record.event).collect();
    (events, artifact.manifest().unwrap().summary)
}

#[test]
fn killed_child() {
    if let Some(root) = std::env::var_os(CHILD) {
        stage(Path::new(&root));
    }
}

#[test]
fn a_stage_killed_at_random_moments_ends_as_if_never_killed() {
    let place = tempfile::tempdir().unwrap();
    let (quiet, killed) = (place.path().join("quiet"), place.path().join("killed"));
    stage(&quiet);
    let expected = outcome(&Store::open(&quiet).unwrap().artifact(&hash("a")));

    let mut kills = 0;
    for round in 0u64.. {
        assert!(round < 1000, "never ended");
        let mut child = this_test("killed_child", CHILD, &killed)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Short at first, so that the child dies at every stage of its life; then longer, so that it ends.
        std::thread::sleep(Duration::from_millis(3 + round * 7 % 41 + round / 2));
        child.kill().unwrap();
        let status = child.wait().unwrap();
        match status.code() {
            Some(0) => break,
            Some(code) => panic!("the child failed with {code} after {kills} kills"),
            None => kills += 1,
        }
        if let Ok(store) = Store::open(&killed) {
            let state = store.artifact(&hash("a")).progress().unwrap().state;
            assert!(matches!(state, State::Absent | State::Interrupted | State::Sealed), "{state:?}");
        }
    }
    println!("{kills} kills");
    assert!(kills > 2, "the stage ended too soon to be killed often");
    assert_eq!(outcome(&Store::open(&killed).unwrap().artifact(&hash("a"))), expected);
}
