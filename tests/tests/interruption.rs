//! Killed or stopped at any moment, a run goes on and ends as if nothing had happened.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use titer_tests::{Outcome, Place, TINY};

/// Attacks that take long enough to be met in their middle.
const LONG: [&str; 10] = [
    TINY,
    "--set",
    "attack.0.rate=[1e-3]",
    "--set",
    "attack.0.steps=300",
    "--set",
    "probe.cadence=[0,1,2,4,8,16,32,64,100,150,200,250,300]",
    "--set",
    "probe.stop_above=1.0",
    "--json",
];

fn run_arguments() -> Vec<&'static str> {
    [&["run"], &LONG[..]].concat()
}

/// What a run leaves that nothing has disturbed.
fn undisturbed() -> Outcome {
    let place = Place::new();
    place.run(&run_arguments()).ends(0);
    Outcome::of(&place, "tiny")
}

/// Hashes of the attack stages.
fn attacks(place: &Place) -> Vec<String> {
    let stages = place.stages(&LONG[..LONG.len() - 1]);
    let attacks = stages.iter().filter(|stage| stage["kind"] == "attack");
    attacks.filter_map(|stage| stage["hash"].as_str().map(str::to_owned)).collect()
}

fn sealed(place: &Place) -> usize {
    let artifacts = fs::read_dir(place.path("store/artifacts")).into_iter().flatten().flatten();
    artifacts.filter(|artifact| artifact.path().join("SEALED").exists()).count()
}

/// Lines of an artifact's log.
fn logged(artifact: &Path) -> usize {
    fs::read_to_string(artifact.join("events.jsonl")).map_or(0, |log| log.lines().count())
}

/// The attacks that have logged so many events and are not done.
fn under_way(place: &Place, attacks: &[String], events: usize) -> Vec<PathBuf> {
    let folders = attacks.iter().map(|hash| place.artifact(hash));
    folders.filter(|folder| logged(folder) >= events && !folder.join("SEALED").exists()).collect()
}

/// Waits for something to happen while `run` goes on.
#[track_caller]
fn wait(run: &mut Child, happened: impl Fn() -> bool) {
    let started = Instant::now();
    while !happened() {
        let ended = run.try_wait().expect("a child of this process");
        assert!(ended.is_none() || happened(), "the run was over before: {ended:?}");
        assert!(started.elapsed() < Duration::from_secs(120), "waited in vain");
        sleep(Duration::from_millis(2));
    }
}

fn kill(mut run: Child) {
    run.kill().expect("a child of this process");
    run.wait().expect("a child of this process");
}

#[test]
fn killed_at_any_moment_a_run_ends_as_if_nothing_had_happened() {
    let place = Place::new();
    let arguments = run_arguments();
    let attacks = attacks(&place);
    for stages in [0, 1, 2, 4] {
        let mut run = place.start(&arguments);
        wait(&mut run, || place.path("store/experiments/tiny").exists() && sealed(&place) >= stages);
        kill(run);
    }
    for events in [1, 12, 30] {
        let mut run = place.start(&arguments);
        wait(&mut run, || !under_way(&place, &attacks, events).is_empty());
        kill(run);
    }
    for milliseconds in [5, 20, 50, 110, 230, 390] {
        let run = place.start(&arguments);
        sleep(Duration::from_millis(milliseconds));
        kill(run);
    }
    place.run(&arguments).ends(0);
    Outcome::of(&place, "tiny").assert_same(&undisturbed());
}

#[test]
fn ctrl_c_keeps_a_checkpoint_that_survives_a_kill() {
    let place = Place::new();
    let arguments = run_arguments();
    let attacks = attacks(&place);

    let mut run = place.command(&arguments);
    let run = run.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut run = run.expect("titer can be started");
    wait(&mut run, || !under_way(&place, &attacks, 12).is_empty());
    let pid = Pid::from_child(&run);
    kill_process(pid, Signal::INT).expect("a child of this process");
    let output = run.wait_with_output().expect("a child of this process");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(130), "{said}");
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one JSON document");
    assert_eq!(summary["interrupted"], true, "{summary:#}");
    assert!(summary["verdicts"].is_null(), "an interrupted run has no verdicts");
    for text in ["Ctrl-C again stops at once", "interrupted", "goes on from here: titer resume tiny"] {
        assert!(said.contains(text), "nothing says {text:?}: {said}");
    }

    let stopped = under_way(&place, &attacks, 12);
    let stopped = stopped.iter().find(|folder| folder.join("checkpoint").exists());
    let stopped = stopped.expect("an attack that has kept a checkpoint");
    let kept = logged(stopped);

    // Killed after more steps, it goes on from the checkpoint once more.
    let mut run = place.start(&arguments);
    wait(&mut run, || logged(stopped) > kept + 3);
    kill(run);
    assert!(!stopped.join("SEALED").exists(), "the attack was over before it was killed");
    place.run(&arguments).ends(0);
    let manifest = fs::read_to_string(stopped.join("manifest.json")).expect("a sealed artifact");
    let manifest: serde_json::Value = serde_json::from_str(&manifest).expect("JSON");
    assert!(manifest["resumed_from"].as_u64() > Some(0), "{manifest:#}");
    Outcome::of(&place, "tiny").assert_same(&undisturbed());
}

#[test]
fn two_runs_at_once_do_no_harm() {
    let place = Place::new();
    let arguments = run_arguments();
    let mut first = place.start(&arguments);
    let mut second = place.start(&arguments);
    first.wait().expect("a child of this process");
    second.wait().expect("a child of this process");
    place.run(&arguments).ends(0);
    Outcome::of(&place, "tiny").assert_same(&undisturbed());
}
