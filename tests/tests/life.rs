//! The life of an experiment: what runs is told, stopped and gone on with; what nobody needs is taken away, and nothing
//! else is.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;
use titer_tests::{Outcome, Place, Ran, TINY, read};

/// A run that takes long enough to be met while it goes on.
const LONG: [&str; 8] =
    ["run", TINY, "--set", "model.pretrain.steps=1000", "--set", "attack.0.seeds=2", "--json", "--jobs=1"];

/// Waits until something is so.
#[track_caller]
fn wait(mut happened: impl FnMut() -> bool) {
    let started = Instant::now();
    while !happened() {
        assert!(started.elapsed() < Duration::from_secs(60), "waited in vain");
        sleep(Duration::from_millis(20));
    }
}

fn start(place: &Place, arguments: &[&str]) -> Child {
    let mut command = place.command(arguments);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("titer can be started")
}

fn end(child: Child) -> Ran {
    Ran::new("titer".to_owned(), &child.wait_with_output().expect("a child of this process"))
}

fn status(place: &Place) -> Value {
    place.run(&["status", "tiny", "--json"]).ends(0).json()
}

/// A run of its own that computes something this moment.
fn running(place: &Place) -> Child {
    let run = start(place, &LONG);
    wait(|| place.path("store/experiments/tiny/plan.json").exists());
    wait(|| status(place)["counts"]["running"] == 1 && status(place)["runs"][0]["since"].is_number());
    run
}

/// All files of the store, links not followed.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if entry.file_type().unwrap().is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// The command that a message ends with.
fn command_of(said: &str) -> String {
    let line = said.lines().find(|line| line.contains("goes on from here: ")).expect("the way to go on");
    line.split_once("goes on from here: ").unwrap().1.to_owned()
}

#[test]
fn a_run_is_told_stopped_and_gone_on_with() {
    let place = Place::new();
    let run = running(&place);
    let told = status(&place);
    assert_eq!((&told["state"], &told["runs"][0]["pid"]), (&"running".into(), &run.id().into()), "{told:#}");
    let text = place.run(&["status", "tiny"]).ends(0).stdout;
    for word in ["tiny: running", "1 running", &format!("process {}", run.id()), "last sign of life now"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    let text = place.run(&["status"]).ends(0).stdout;
    assert!(text.contains("tiny") && text.contains(&format!(":{}", run.id())), "{text}");
    // Nothing of it can be removed.
    let before = fs::metadata(place.path("store/experiments/tiny/plan.json")).unwrap().modified().unwrap();
    place.run(&["rm", "tiny", "--artifacts"]).ends(1).says(&["tiny runs: process", "titer stop tiny"]);
    place.run(&["gc", "--grace", "0.001s", "--policy", "checkpoints,weights"]).ends(0);

    let stopped = place.run(&["stop", "tiny"]).ends(0);
    let stopped = stopped.says(&[&format!("process {}", run.id()), "checkpoint", "stopped after", "done"]);
    let run = end(run).ends(130);
    assert_eq!(run.json()["interrupted"], true);
    // Both say how to go on, and it does: by the plan of the store, overrides and all.
    let (by_stop, by_run) = (command_of(&stopped.stderr), command_of(&run.stderr));
    let flag = format!("--store {}", place.path("store").display());
    assert_eq!(by_stop, format!("titer resume tiny {flag}"));
    assert_eq!(by_run, format!("titer resume tiny --jobs 1 {flag}"));
    assert_eq!(status(&place)["state"], "stopped");
    let went_on = place.shell(&format!("{by_run} --json")).ends(0).json();
    assert_eq!((&went_on["interrupted"], &went_on["failed"]), (&false.into(), &Value::Array(Vec::new())));
    assert_eq!(
        fs::metadata(place.path("store/experiments/tiny/plan.json")).unwrap().modified().unwrap(),
        before
    );
    let told = status(&place);
    assert_eq!((&told["state"], &told["runs"]), (&"done".into(), &Value::Array(Vec::new())), "{told:#}");
    place.run(&["stop", "tiny"]).ends(0).says(&["no run of tiny lives"]);

    let said = place.run(&["logs", "tiny", "-n", "500"]).ends(0).stdout;
    for word in
        ["a run began: ", "was asked: stop", "the run was stopped", "started pretrain", "the run ended"]
    {
        assert!(said.contains(word), "{word}: {said}");
    }
    assert_eq!(place.run(&["logs", "tiny", "-n", "2", "--follow"]).ends(0).stdout.lines().count(), 2);
    for verb in ["status", "stop", "resume", "logs", "stat", "rm"] {
        place.run(&[verb, "nowhere"]).ends(2).says(&["nowhere", "tiny"]);
    }
}

#[test]
fn stopped_at_once_nothing_that_is_sealed_is_lost() {
    let place = Place::new();
    let run = running(&place);
    let stopped = place.run(&["stop", "tiny", "--now", "--json"]).ends(0).json();
    assert_eq!(
        (&stopped["asked"][0]["pid"], &stopped["left"]),
        (&run.id().into(), &Value::Array(Vec::new()))
    );
    end(run).ends(130);
    assert!(place.run(&["logs", "tiny"]).ends(0).stdout.contains("stop at once"));
    // In the background it goes on, and says that there.
    place.run(&["resume", "tiny", "--detach"]).ends(0).says(&["runs in the background"]);
    place.run(&["logs", "tiny", "--follow"]).ends(0);
    assert_eq!(status(&place)["state"], "done");
    let said = place.run(&["logs", "tiny"]).ends(0).stdout;
    assert!(said.lines().any(|line| line.starts_with("| ") && line.contains("computed")), "{said}");
}

#[test]
fn a_second_run_says_so_and_follows() {
    let place = Place::new();
    let run = running(&place);
    let pid = run.id().to_string();
    let again: Vec<&str> = LONG.iter().copied().filter(|word| *word != "--jobs=1").collect();
    let background = place.run(&[&again[..], &["--detach"]].concat()).ends(0);
    assert_eq!(background.says(&["already running", &pid]).json()["already"][0]["pid"].to_string(), pid);
    let follower = start(&place, &again);
    let sharing = start(&place, &[&again[..], &["--jobs", "1"]].concat());
    let (run, follower, sharing) = (end(run).ends(0), end(follower).ends(0), end(sharing).ends(0));
    let follower = follower.says(&["tiny is already running", &pid, "this follows it", "done   "]);
    sharing.says(&["tiny is already running", &pid, "shares the work"]);
    assert_eq!(follower.json()["computed"], 0, "it counts what it did itself");
    assert_eq!(follower.json()["verdicts"], run.json()["verdicts"]);

    // What is followed is stopped: so is the following, with the way to go on.
    let place = Place::new();
    let run = running(&place);
    let follower = start(&place, &again);
    sleep(Duration::from_millis(500));
    place.run(&["stop", "tiny"]).ends(0);
    end(run).ends(130);
    let follower = end(follower).ends(130).says(&["was stopped before all was done", "titer resume tiny"]);
    assert_eq!(follower.json()["interrupted"], true);
    // What is followed is killed: the follower sees to the rest.
    let mut run = running(&place);
    let follower = start(&place, &again);
    sleep(Duration::from_millis(500));
    run.kill().unwrap();
    run.wait().unwrap();
    end(follower).ends(0).says(&["ended without a word"]);
}

#[test]
fn of_sixteen_runs_each_stage_is_made_by_one() {
    let place = Place::new();
    let stages = place.stages(&[TINY]).len();
    let runs: Vec<Child> = (0..16)
        .map(|run| {
            // Half of them want to share the work, the others are content to follow.
            let jobs: &[&str] = if run % 2 == 0 { &["--jobs", "1"] } else { &[] };
            start(&place, &[&["run", TINY, "--json"], jobs].concat())
        })
        .collect();
    let ran: Vec<Value> = runs.into_iter().map(|run| end(run).ends(0).json()).collect();
    let computed: u64 = ran.iter().map(|run| run["computed"].as_u64().unwrap()).sum();
    assert_eq!(computed as usize, stages);
    for run in &ran {
        assert_eq!(run["verdicts"], ran[0]["verdicts"]);
        assert_eq!((&run["failed"], &run["interrupted"]), (&Value::Array(Vec::new()), &false.into()));
    }
    let store = files(&place.path("store"));
    let manifests = store.iter().filter(|path| path.ends_with("manifest.json")).count();
    assert_eq!((manifests, store.iter().filter(|path| path.ends_with("SEALED")).count()), (stages, stages));
    let beside: Vec<_> = store.iter().filter(|path| path.ends_with("lease.json")).collect();
    assert!(beside.is_empty(), "{beside:?}");
    let shown = |place: &Place| place.run(&["show", "tiny", "--json"]).ends(0).stdout;
    assert_eq!(shown(&place), shown(&Place::finished()));
}

/// The finished experiment again, with attacks that are not measured yet.
const NEW_ATTACK: [&str; 5] = ["run", TINY, "--json", "--set", "attack.0.rate=[2e-3]"];

fn manifests(place: &Place) -> Vec<(PathBuf, String)> {
    let store = files(&place.path("store/artifacts"));
    store
        .into_iter()
        .filter(|path| path.ends_with("manifest.json"))
        .map(|path| (path.clone(), read(path)))
        .collect()
}

fn weights(place: &Place) -> usize {
    files(&place.path("store")).iter().filter(|path| path.ends_with("model.safetensors")).count()
}

#[test]
fn weights_go_by_policy_and_come_back_when_they_are_needed() {
    let place = Place::finished();
    let (outcome, sealed) = (Outcome::of(&place, "tiny"), manifests(&place));
    assert_eq!(weights(&place), 4);
    let gc = ["gc", "--grace", "0.001s", "--json", "--policy"];
    let young = place.run(&["gc", "--policy", "weights", "--json"]).ends(0).json();
    assert!(young["removed"].as_array().unwrap().is_empty() && young["left"].as_array().unwrap().len() == 4);
    let dry = place.run(&[&gc[..], &["weights", "--dry-run"]].concat()).ends(0).json();
    assert_eq!((dry["removed"].as_array().unwrap().len(), weights(&place)), (4, 4));
    // Those that others were made from, then all.
    let first = place.run(&[&gc[..], &["intermediate"]].concat()).ends(0).json();
    assert_eq!((first["removed"].as_array().unwrap().len(), weights(&place)), (2, 2), "{first:#}");
    assert_eq!(first["removed"][0]["what"], "weights");
    place.run(&[&gc[..], &["weights,checkpoints"]].concat()).ends(0);
    assert_eq!(weights(&place), 0);
    let stat = place.run(&["stat", "tiny", "--json"]).ends(0).json();
    assert!(stat["files"]["weights"].is_null() && stat["files"]["frames"].as_u64() > Some(0), "{stat:#}");

    // All that was measured is there, and nothing takes it for damage.
    Outcome::of(&place, "tiny").assert_same(&outcome);
    place.run(&["run", TINY]).ends(0).says(&["0 computed, 16 cached"]);
    let aligned = format!("artifact:{}", place.stage("align"));
    place.run(&["model", "info", &aligned]).ends(1).says(&["dropped", "titer gc", "--weights"]);
    assert_eq!(weights(&place), 0);

    // An audit says so, and draws no stage again whose model is not here. No bundle claims to have it.
    let verified = place.run(&["verify", "tiny", "--replay", "16"]).ends(3).stdout;
    for word in
        ["4 files of weights were dropped to save room", "of 16 stages could be drawn", "nothing found"]
    {
        assert!(verified.contains(word), "{word}: {verified}");
    }
    let out = place.path("all.tar.zst");
    let out = out.to_str().unwrap();
    place.run(&["bundle", "tiny", "--weights", "all", "--out", out]).ends(1).says(&["dropped", "--weights"]);
    place.run(&["bundle", "tiny", "--out", out]).ends(0);

    // New attacks need the models: these are made anew, each once, from the first one on.
    let ran = place.run(&NEW_ATTACK).ends(0).says(&["were dropped, and are made anew"]);
    assert_eq!(weights(&place), 4);
    let new =
        place.stages(&NEW_ATTACK[1..].iter().copied().filter(|word| *word != "--json").collect::<Vec<_>>());
    let attacks = new.iter().filter(|stage| stage["kind"] == "attack").count();
    assert_eq!(ran.json()["computed"].as_u64(), Some(attacks as u64 + 4), "{ran}");
    let now = manifests(&place);
    assert!(sealed.iter().all(|old| now.contains(old)), "a sealed artifact was edited");
    let other = Place::finished();
    other.run(&NEW_ATTACK).ends(0);
    Outcome::of(&place, "tiny").assert_same(&Outcome::of(&other, "tiny"));

    // And without a stage that needs them, where they are asked for.
    place.run(&[&gc[..], &["weights"]].concat()).ends(0);
    assert_eq!(weights(&place), 0);
    let back = place.run(&["resume", "tiny", "--weights", "--json"]).ends(0).json();
    assert_eq!((back["computed"].as_u64(), weights(&place)), (Some(4), 4));
    place.run(&["model", "info", &aligned]).ends(0);
    assert!(!files(&place.path("store")).iter().any(|path| path.ends_with("dropped.json")));
}

#[test]
fn a_run_among_collectors_ends_as_if_they_were_not_there() {
    let place = Place::new();
    // Into a file: a pipe that nobody reads would make it wait.
    let mut command = place.command(&["run", TINY, "--json"]);
    command.stdout(fs::File::create(place.path("out.json")).unwrap()).stderr(Stdio::null());
    let mut run = command.spawn().unwrap();
    let mut rounds = 0;
    wait(|| place.path("store/store.json").exists());
    while run.try_wait().unwrap().is_none() {
        place.run(&["gc", "--grace", "0.001s", "--policy", "weights,checkpoints"]).ends(0);
        rounds += 1;
    }
    assert!(run.wait().unwrap().success());
    let ran: Value = serde_json::from_str(&read(place.path("out.json"))).unwrap();
    assert!(rounds > 3, "only {rounds} rounds");
    assert_eq!(ran["computed"].as_u64(), Some(place.stages(&[TINY]).len() as u64));
    Outcome::of(&place, "tiny").assert_same(&Outcome::of(&Place::finished(), "tiny"));
}

#[test]
fn an_experiment_is_measured_and_removed() {
    let place = Place::finished();
    place.run(&["run", TINY, "--set", "name=other", "--set", "attack.0.rate=[1e-3]"]).ends(0);
    let stat = place.run(&["stat", "tiny"]).ends(0).stdout;
    for word in
        ["tiny: ", "weights", "frames", "pretrain", "attack", "processor time", "other: ", "are shared"]
    {
        assert!(stat.contains(word), "{word}: {stat}");
    }
    let json = place.run(&["stat", "tiny", "--json"]).ends(0).json();
    let bytes: u64 = json["files"].as_object().unwrap().values().filter_map(Value::as_u64).sum();
    assert_eq!(json["bytes"].as_u64(), Some(bytes));
    assert!(json["shared_bytes"].as_u64().is_some_and(|shared| shared > 0 && shared < bytes), "{json:#}");

    // Nobody says that another shares nothing whose plan cannot be read.
    let plan = place.path("store/experiments/other/plan.json");
    let whole = read(&plan);
    fs::write(&plan, "{}").unwrap();
    let stat = place.run(&["stat", "tiny"]).ends(0).stdout;
    assert!(stat.contains("other: its plan cannot be read") && !stat.contains("no other"), "{stat}");
    fs::write(&plan, whole).unwrap();

    let shown = place.run(&["show", "other", "--json"]).ends(0).stdout;
    let before = files(&place.path("store"));
    place.run(&["rm", "tiny", "--artifacts", "--dry-run"]).ends(0);
    place.run(&["gc", "--dry-run", "--grace", "0.001s"]).ends(0);
    let lasting = |path: &PathBuf| !path.ends_with("store.lock");
    let now: Vec<_> = files(&place.path("store")).into_iter().filter(lasting).collect();
    assert_eq!(now, before.into_iter().filter(lasting).collect::<Vec<_>>(), "a dry run changes nothing");
    let removed = place.run(&["rm", "tiny", "--artifacts", "--json"]).ends(0).json();
    assert!(removed["bytes"].as_u64() > Some(1000), "{removed:#}");
    assert_eq!(place.run(&["show", "other", "--json"]).ends(0).stdout, shown);
    place.run(&["show", "tiny"]).ends(2).says(&["tiny", "other"]);
    // Removed without what it measured, it is there again without any work.
    place.run(&["rm", "other"]).ends(0).says(&["stays until `titer gc"]);
    let again = place.run(&["run", TINY, "--json", "--set", "name=other", "--set", "attack.0.rate=[1e-3]"]);
    assert_eq!(again.ends(0).json()["computed"], 0);
    place.run(&["rm", "other"]).ends(0);
    place.run(&["gc", "--grace", "0.001s"]).ends(0);
    assert_eq!(fs::read_dir(place.path("store/artifacts")).unwrap().count(), 0);
}

#[test]
fn files_are_for_whom_the_mask_lets() {
    let runs: Vec<_> = [("027", 0o640, 0o750), ("002", 0o664, 0o775)]
        .into_iter()
        .map(|(mask, file, folder)| {
            let place = Place::new();
            // In the background, so that what it says is looked at too; stopped, so that there is a checkpoint.
            // Long enough to be met while it trains, on any machine: it never comes to its end.
            let words = LONG.join(" ").replace("steps=1000", "steps=50000");
            let line = format!("umask {mask}; titer {words} --detach");
            place.shell(&line).ends(0);
            (place, mask, file, folder)
        })
        .collect();
    for (place, mask, file, folder) in runs {
        wait(|| status(&place)["counts"]["running"] == 1);
        let check = |minimum: usize| {
            let mut seen = 0;
            let temporary = |path: &&PathBuf| {
                let below = path.strip_prefix(place.path("store")).unwrap();
                below.components().any(|part| part.as_os_str().to_string_lossy().starts_with('.'))
            };
            for path in files(&place.path("store")).iter().filter(|path| !temporary(path)) {
                let mut mode = |path: &Path, expected: u32| {
                    // What a living run replaces may be gone by now.
                    if let Ok(metadata) = path.symlink_metadata() {
                        assert_eq!(
                            metadata.permissions().mode() & 0o777,
                            expected,
                            "{mask}: {}",
                            path.display()
                        );
                        seen += 1;
                    }
                };
                mode(path, file);
                mode(path.parent().unwrap(), folder);
            }
            assert!(seen >= minimum, "only {seen}");
        };
        check(10);
        place.shell(&format!("umask {mask}; titer stop tiny")).ends(0);
        assert!(
            files(&place.path("store")).iter().any(|path| path.to_string_lossy().contains("/checkpoint/"))
        );
        check(10);
        place.shell(&format!("umask {mask}; titer run {TINY}; titer report tiny")).ends(0);
        let whole = files(&place.path("store"));
        for name in
            ["model.safetensors", "probes.parquet", "output.log", "events.jsonl", "report.html", "SEALED"]
        {
            assert!(whole.iter().any(|path| path.ends_with(name)), "{name}");
        }
        check(100);
    }
}

#[test]
fn a_stage_that_lost_its_seal_is_named_by_whoever_leaves_it_out() {
    let place = Place::finished();
    fs::remove_file(place.artifact(&place.stage("attack")).join("SEALED")).unwrap();
    let out = place.path("out");
    let out = out.to_str().unwrap();
    for arguments in [
        &["export", "tiny", "--what", "probes", "--format", "csv"][..],
        &["export", "tiny", "--what", "results", "--format", "inspect", "--out", out],
        &["show", "tiny"],
        &["report", "tiny"],
    ] {
        place.run(arguments).ends(0).says(&["not measured yet", "without SEALED"]);
    }
    place.run(&["run", TINY]).ends(0).says(&["1 computed, 15 cached"]);
}
