//! Seeds that are added until all is decided: what is clear stops at the first look, what is close goes on, and neither
//! kills, jobs nor what else the store holds change what comes out.

use std::fs;
use std::path::Path;
use std::process::Child;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;
use titer_tests::{Outcome, Place};

const GROWING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/growing.toml");

fn shown(place: &Place) -> Value {
    place.run(&["show", "growing", "--json"]).ends(0).json()
}

/// The looks that decided a defence's conditions, with what came out.
fn verdicts<'a>(shown: &'a Value, defence: &str) -> Vec<(&'a str, u64)> {
    let all = shown["defences"].as_array().expect("a list of defences");
    let found = all.iter().find(|found| found["defence"] == defence).expect("the defence");
    ["resistance", "stability", "trainability"]
        .map(|condition| {
            let verdict = &found["conditions"][condition];
            (verdict["verdict"].as_str().expect("a verdict"), verdict["look"].as_u64().expect("a look"))
        })
        .to_vec()
}

/// How many looks are over, as the run has kept it.
fn looks_kept(place: &Place) -> usize {
    let kept = fs::read_to_string(place.path("store/experiments/growing/looks.json")).unwrap_or_default();
    let kept: Value = serde_json::from_str(&kept).unwrap_or_default();
    kept["open"].as_array().map_or(0, Vec::len)
}

fn computed(place: &Place, arguments: &[&str]) -> u64 {
    let ran = place.run(&[&["run", GROWING, "--json"], arguments].concat()).ends(0).json();
    ran["computed"].as_u64().expect("a count")
}

/// A place with the model of another: what is before any defence.
fn with_model(other: &Place) -> Place {
    let place = Place::new();
    place.run(&["run", GROWING, "--budget", "0.001s"]).ends(130).says(&["out of time", "goes on from here"]);
    let stages = place.stages(&[GROWING]);
    for stage in stages.iter().filter(|stage| stage["kind"] == "pretrain" || stage["kind"] == "align") {
        let hash = stage["hash"].as_str().expect("stages have hashes");
        let (from, to) = (other.artifact(hash), place.artifact(hash));
        copy(&from, &to);
    }
    place
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("the folder can be made");
    for entry in fs::read_dir(from).expect("a folder").flatten() {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            fs::copy(&from, &to).expect("a file can be copied");
        }
    }
}

#[test]
fn what_is_clear_stops_and_what_is_close_goes_on() {
    let place = Place::new();
    let planned = place.run(&["plan", GROWING, "--json"]).ends(0).json();
    let looks = planned["looks"].as_array().expect("the looks").clone();
    assert!(looks.len() > 1, "{planned:#}");
    let computed = computed(&place, &["--jobs", "1"]);
    let shown = shown(&place);
    let over = shown["looks"].as_array().expect("the looks").len() as u64;
    assert!(over > 1, "{:#}", shown["looks"]);
    assert!(
        verdicts(&shown, "identity").iter().all(|(_, look)| *look == 1),
        "{:?}",
        verdicts(&shown, "identity")
    );
    let close = verdicts(&shown, "adversarial-loss");
    assert!(close.iter().any(|(_, look)| *look == over), "{close:?}");
    // The clear one has no training but its first, so that less is measured than was planned.
    assert!(computed < looks.last().expect("a look")["stages"].as_u64().expect("a count"), "{computed}");
    let csv = place.run(&["export", "growing", "--what", "probes", "--format", "csv"]).ends(0).stdout;
    let trainings = |defence: &str| {
        let second = |line: &&str| line.contains(&format!(",{defence},1,"));
        csv.lines().filter(second).count()
    };
    assert!(trainings("identity") == 0 && trainings("adversarial-loss") > 0);
    // Nothing that was never asked for counts as open.
    let text = place.run(&["show", "growing"]).ends(0);
    assert!(
        text.stdout.contains("look 1 of") && !text.stderr.contains("not measured yet"),
        "{}",
        text.stderr
    );
    let listed = place.run(&["list", "experiments"]).ends(0).stdout;
    assert!(listed.contains(&format!("{computed} of {computed} stages done")), "{listed}");
    place.run(&["verify", "growing"]).ends(0).prints(&["nothing found"]);
    let watched = place.run(&["watch", "growing", "--once"]).ends(0).stdout;
    assert!(watched.contains(&format!("{computed}")), "{watched}");

    // With other jobs, and in a store that holds all seeds, the same comes out.
    let undisturbed = Outcome::of(&place, "growing");
    let parallel = with_model(&place);
    self::computed(&parallel, &["--jobs", "2"]);
    Outcome::of(&parallel, "growing").assert_same(&undisturbed);
    let full = with_model(&place);
    let all = ["--set", "until=measured", "--set", "defence.1.seeds=2", "--set", "defence.2.seeds=2"];
    let all = [&all[..], &["--set", "attack.0.seeds=4", "--set", "trainability.seeds=6"]].concat();
    self::computed(&full, &all);
    assert_eq!(self::computed(&full, &[]), 0, "all was there");
    Outcome::of(&full, "growing").assert_same(&undisturbed);

    // Killed in the second look and resumed, too.
    let killed = with_model(&place);
    let mut run = killed.start(&["run", GROWING, "--jobs", "1"]);
    wait(&mut run, || looks_kept(&killed) == 1);
    sleep(Duration::from_millis(150));
    run.kill().expect("a child of this process");
    run.wait().expect("a child of this process");
    let left = self::computed(&killed, &[]);
    assert!(left > 0, "it was killed before its end");
    Outcome::of(&killed, "growing").assert_same(&undisturbed);
}

/// Waits for something to happen while `run` goes on.
#[track_caller]
fn wait(run: &mut Child, happened: impl Fn() -> bool) {
    let started = Instant::now();
    while !happened() {
        let ended = run.try_wait().expect("a child of this process");
        assert!(ended.is_none(), "the run was over before: {ended:?}");
        assert!(started.elapsed() < Duration::from_secs(120), "waited in vain");
        sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_budget_of_time_ends_a_run_that_goes_on_later() {
    let place = Place::new();
    let tiny = titer_tests::TINY;
    let ran = place.run(&["run", tiny, "--budget", "0.001s", "--json"]).ends(130);
    let said = ran.json();
    assert_eq!(
        ["out_of_time", "interrupted"].map(|key| said[key].clone()),
        [Value::from(true), false.into()]
    );
    // What had begun was finished.
    assert!(said["computed"].as_u64() <= Some(1), "{said:#}");
    place.run(&["run", tiny, "--budget", "1h"]).ends(0);
    // Where all is done, no time is needed.
    place.run(&["run", tiny, "--budget", "0.001s"]).ends(0);
    place.run(&["run", tiny, "--budget", "soon"]).ends(2).says(&["expected a time, like 90s, 30m or 2h"]);
}
