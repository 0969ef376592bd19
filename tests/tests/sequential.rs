//! Probes that end when their side of φ is clear: less is asked, what was left out is told, nothing else of the experiment
//! changes, and neither jobs nor kills change what comes out.

use std::fs;
use std::process::Child;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;
use titer_tests::{Outcome, Place, TINY};

/// Attacks that break what has learnt something, asked often.
const ATTACKED: [&str; 14] = [
    TINY,
    "--set",
    "model.pretrain.steps=400",
    "--set",
    "model.align.train.steps=100",
    "--set",
    "model.align.train.rate=2e-3",
    "--set",
    "attack.0.rate=[1e-3]",
    "--set",
    "attack.0.steps=64",
    "--set",
    "probe.cadence=[0,1,2,3,4,6,8,12,16,20,24,32,40,48,64]",
    "--json",
];

const SEQUENTIAL: [&str; 2] = ["--set", "probe.sequential=true"];

fn run(jobs: &'static str) -> Vec<&'static str> {
    [&["run"], &ATTACKED[..], &SEQUENTIAL, &["--jobs", jobs]].concat()
}

/// The attacks of a plan with what their artifacts say was asked.
fn asked(place: &Place) -> Vec<(u64, u64, u64)> {
    let stages = place.stages(&[&ATTACKED[..ATTACKED.len() - 1], &SEQUENTIAL].concat());
    let attacks = stages.iter().filter(|stage| stage["kind"] == "attack");
    let of = |stage: &Value| {
        let path = place.artifact(stage["hash"].as_str().expect("stages have hashes")).join("manifest.json");
        let manifest = fs::read_to_string(path).expect("a sealed artifact");
        let manifest: Value = serde_json::from_str(&manifest).expect("a manifest is JSON");
        let count = |key: &str| manifest["summary"]["asked"][key].as_u64().expect("a count");
        (count("answers"), count("of"), count("tokens"))
    };
    attacks.map(of).collect()
}

fn kill(mut run: Child) {
    run.kill().expect("a child of this process");
    run.wait().expect("a child of this process");
}

#[test]
fn less_is_asked_and_neither_jobs_nor_kills_change_it() {
    let place = Place::new();
    place.run(&run("1")).ends(0);
    let told = asked(&place);
    assert!(!told.is_empty());
    for (answers, of, tokens) in &told {
        assert!(answers < of && tokens >= answers, "{told:?}");
    }
    let shown = place.run(&["show", "tiny", "--json"]).ends(0).json();
    let caveats = shown["caveats"].to_string();
    let (answers, of) = told.iter().fold((0, 0), |sums, one| (sums.0 + one.0, sums.1 + one.1));
    let said = format!("sequential probing: {answers} of {of} answers under attack were asked");
    assert!(caveats.contains(&said), "expected {said} in {caveats}");

    place.run(&["verify", "tiny"]).ends(0).prints(&["nothing found"]);

    let undisturbed = Outcome::of(&place, "tiny");
    let parallel = Place::new();
    parallel.run(&run("2")).ends(0);
    Outcome::of(&parallel, "tiny").assert_same(&undisturbed);

    let killed = Place::new();
    let attacks: Vec<_> = killed
        .stages(&[&ATTACKED[..ATTACKED.len() - 1], &SEQUENTIAL].concat())
        .into_iter()
        .filter(|stage| stage["kind"] == "attack")
        .map(|stage| killed.artifact(stage["hash"].as_str().expect("stages have hashes")))
        .collect();
    for events in [1, 9, 20] {
        let mut run = killed.start(&run("2"));
        let logged = |artifact: &std::path::PathBuf| {
            fs::read_to_string(artifact.join("events.jsonl")).map_or(0, |log| log.lines().count())
        };
        let met = || attacks.iter().any(|one| logged(one) >= events && !one.join("SEALED").exists());
        let started = Instant::now();
        while !met() && run.try_wait().expect("a child of this process").is_none() {
            assert!(started.elapsed() < Duration::from_secs(120), "waited in vain");
            sleep(Duration::from_millis(1));
        }
        kill(run);
    }
    killed.run(&run("2")).ends(0);
    Outcome::of(&killed, "tiny").assert_same(&undisturbed);
    assert_eq!(asked(&killed), told);
}

#[test]
fn only_attacks_with_checkpoints_between_are_other_stages() {
    let place = Place::new();
    let hashes = |arguments: &[&str]| -> Vec<(String, String)> {
        let text = |stage: &Value, key: &str| stage[key].as_str().expect("a text").to_owned();
        let stages = place.stages(&[&[TINY][..], arguments].concat());
        stages.iter().map(|stage| (text(stage, "kind"), text(stage, "hash"))).collect()
    };
    let (plain, sequential) = (hashes(&[]), hashes(&SEQUENTIAL));
    assert_eq!(plain.len(), sequential.len());
    for (old, new) in plain.iter().zip(&sequential) {
        assert_eq!(old == new, old.0 != "attack", "{old:?} {new:?}");
    }
    let ends = ["--set", "probe.cadence=[0,8]", "--set", "attack.0.steps=8"];
    assert_eq!(hashes(&ends), hashes(&[&ends[..], &SEQUENTIAL].concat()));
    assert_eq!(hashes(&[]), hashes(&["--set", "probe.sequential=false"]));
    place
        .run(&["plan", TINY, "--set", "probe.sequential=\"yes\""])
        .ends(2)
        .says(&["probe.sequential", "true or false"]);
}
