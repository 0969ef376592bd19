//! The search of a defence's setting: every trial counted, early stops named, nothing computed twice.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use titer_store::Store;
use titer_tests::{Place, TINY};

/// Two parameters of a defence, under conditions that so few items can show to hold.
const SEARCH: [&str; 35] = [
    "tune",
    TINY,
    "--defence",
    "adversarial-loss",
    "--over",
    "steps=4..16",
    "--over",
    "lambda=0.1..10:log",
    "--trials",
    "5",
    "--set",
    "conditions.phi=0.2",
    "--set",
    "model.pretrain.steps=400", // it must have learnt enough to learn more, and to refuse
    "--set",
    "model.align.train.steps=100",
    "--set",
    "model.align.train.rate=2e-3",
    "--set",
    "trainability.rates=[5e-3]",
    "--set",
    "trainability.seeds=2",
    "--set",
    "trainability.examples=256",
    "--set",
    "trainability.cadence=[0,60]",
    "--set",
    "conditions.stability_epsilon=0.5",
    "--set",
    "conditions.trainability_epsilon=50.0",
    "--set",
    "conditions.trainability_delta=0.9",
    "--jobs",
    "2",
    "--json",
];

/// The record without what depends on the clock.
fn timeless(mut record: Value) -> Value {
    fn strip(value: &mut Value) {
        match value {
            Value::Object(map) => {
                map.remove("seconds");
                map.values_mut().for_each(strip);
            }
            Value::Array(list) => list.iter_mut().for_each(strip),
            _ => {}
        }
    }
    strip(&mut record);
    record
}

fn trials(record: &Value) -> &Vec<Value> {
    record["trials"].as_array().expect("a list of trials")
}

#[track_caller]
fn wait(run: &mut Child, happened: impl Fn() -> bool) {
    let started = Instant::now();
    while !happened() {
        assert!(run.try_wait().expect("a child of this process").is_none(), "the search was over before");
        assert!(started.elapsed() < Duration::from_secs(120), "waited in vain");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_search_counts_every_trial_and_computes_nothing_twice() {
    let place = Place::new();
    let first = place.run(&SEARCH).ends(0).json();
    let record = &first["search"];
    assert!(first["computed"].as_u64() > Some(20), "{first:#}");
    assert_eq!(record["finished"], true);
    assert_eq!(trials(record).len(), 5);
    // The spec's own setting is the first, and no trial is without an end and a reason.
    assert_eq!(trials(record)[0]["setting"]["steps"], 12);
    for trial in trials(record) {
        assert!(
            trial["end"].is_string() && trial["reason"].as_str().is_some_and(|r| !r.is_empty()),
            "{trial:#}"
        );
        assert!(trial["spent"]["flops"].as_f64() > Some(0.0), "{trial:#}");
    }
    // Some lose what they could, one of two attacks decides which of the others go on.
    assert_eq!(record["strongest"].as_array().map(Vec::len), Some(1));
    let ended = |end: &str| trials(record).iter().filter(|trial| trial["end"] == end).count();
    let [held, outranked, not_held] = ["held", "outranked", "not-held"].map(ended);
    assert!(held > 0 && outranked > 0 && held + outranked + not_held == 5, "{record:#}");
    let winner = &record["winner"];
    assert!(winner["fresh"]["titer"].is_object() && winner["selection"]["titer"].is_object(), "{winner:#}");
    let caveats = record["caveats"].to_string();
    assert!(caveats.contains("too good on average"), "{caveats}");

    let second = place.run(&SEARCH).ends(0).json();
    assert_eq!(second["computed"], 0);
    assert_eq!(second["search"], *record);

    // It is an experiment like others.
    place.run(&["show", "tiny-tune-adversarial-loss", "--json"]).ends(0).json();
    let shown = place.run(&["show", "tiny-tune-adversarial-loss"]).ends(0).stdout;
    for text in ["how trials ended", "fresh seeds: the result", "[[defence]]", "break budgets"] {
        assert!(shown.contains(text), "no {text:?} in {shown}");
    }

    // The winner's setting needs no stage that the search has not sealed.
    let set = |key: &str| {
        let index = winner["trial"].as_u64().expect("a number") as usize;
        format!("defence.1.{key}={}", trials(record)[index]["setting"][key])
    };
    let (steps, lambda) = (set("steps"), set("lambda"));
    let spec = SEARCH[8..].iter().filter(|word| !["--trials", "5", "--jobs", "2", "--json"].contains(word));
    let spec: Vec<&str> = spec.copied().chain(["--set", &steps, "--set", &lambda]).collect();
    let stages = place.stages(&[&[TINY], &spec[..]].concat());
    let open = stages.iter().filter(|stage| stage["cached"] == false);
    let labels: Vec<_> = open.filter_map(|stage| stage["label"].as_str()).collect();
    assert!(labels.iter().all(|label| label.contains("tar#")), "{labels:?}");

    // More trials go on where fewer ended.
    let more: Vec<&str> = SEARCH.iter().map(|word| if *word == "5" { "6" } else { word }).collect();
    let more = place.run(&more).ends(0).json();
    for (longer, shorter) in trials(&more["search"]).iter().zip(trials(record)) {
        assert_eq!(longer["setting"], shorter["setting"]);
    }
}

#[test]
fn stopped_and_killed_a_search_goes_on_and_ends_the_same() {
    let undisturbed = Place::new();
    let expected = timeless(undisturbed.run(&SEARCH).ends(0).json()["search"].clone());

    let place = Place::new();
    let artifacts = place.path("store/artifacts");
    let sealed = |count: usize| {
        let folders = std::fs::read_dir(&artifacts).into_iter().flatten().flatten();
        folders.filter(|folder| folder.path().join("SEALED").exists()).count() >= count
    };
    let mut run = place.start(&SEARCH);
    wait(&mut run, || sealed(9));
    run.kill().expect("a child of this process");
    run.wait().expect("a child of this process");

    let mut command = place.command(&SEARCH);
    let mut run =
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("titer can be started");
    wait(&mut run, || sealed(16));
    kill_process(Pid::from_child(&run), Signal::INT).expect("a child of this process");
    let output = run.wait_with_output().expect("a child of this process");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(said.contains("goes on from here: titer tune"), "{said}");
    let stopped: Value = serde_json::from_slice(&output.stdout).expect("one JSON document");
    assert_eq!((&stopped["interrupted"], &stopped["search"]["finished"]), (&true.into(), &false.into()));

    let ended = place.run(&SEARCH).ends(0).json();
    assert_eq!(timeless(ended["search"].clone()), expected);
}

#[test]
fn early_stops_and_budgets_are_counted_openly() {
    let place = Place::new();
    // A rate at which nothing survives, and a model that has an ability to lose.
    let changed = SEARCH.iter().map(|word| match *word {
        "lambda=0.1..10:log" => "rate=[5e-4, 1.0]",
        "conditions.stability_epsilon=0.5" => "conditions.stability_epsilon=0.2",
        other => other,
    });
    let search: Vec<&str> = changed.chain(["--set", "model.pretrain.steps=600"]).collect();
    let first = place.run(&search).ends(0).json();
    let destroyed = |trial: &&Value| trial["setting"]["rate"] == 1.0;
    let lost: Vec<&Value> = trials(&first["search"]).iter().filter(destroyed).collect();
    assert!(!lost.is_empty(), "{first:#}");
    for trial in lost {
        assert_eq!((&trial["end"], &trial["rung"]), (&"not-held".into(), &"ability".into()), "{trial:#}");
        assert!(
            trial["reason"].as_str().is_some_and(|reason| reason.contains("stability fails")),
            "{trial:#}"
        );
    }
    let flops = |value: &Value| value["spent"]["flops"].as_f64().expect("a number");
    assert_eq!(place.run(&search).ends(0).json()["computed"], 0);

    // What has diverged once is listed, and not tried again.
    let setting = &trials(&first["search"])[1]["setting"];
    let (steps, rate) =
        (format!("defence.1.steps={}", setting["steps"]), format!("defence.1.rate={}", setting["rate"]));
    let spec = search[8..].iter().filter(|word| !["--trials", "5", "--jobs", "2", "--json"].contains(word));
    let spec: Vec<&str> = spec.copied().chain(["--set", &steps, "--set", &rate]).collect();
    let stages = place.stages(&[&[TINY], &spec[..]].concat());
    let immunize = stages.iter().find(|stage| stage["kind"] == "immunize").expect("a defence");
    let hash = immunize["hash"].as_str().expect("stages have hashes");
    std::fs::remove_dir_all(place.artifact(hash)).expect("the artifact of trial 1");
    let store = Store::open(place.path("store")).expect("the store");
    let experiment = store.experiment("tiny-tune-adversarial-loss").expect("a name");
    let kept = experiment.search_json().expect("whole").expect("a record");
    let mut record: Value = serde_json::from_str(&kept).expect("JSON");
    record["diverged"] = serde_json::json!([{ "hash": hash, "label": "it", "error": "NaN", "seconds": 1.0 }]);
    experiment.save_search(&record.to_string()).expect("the record can be written");
    let again = place.run(&search).ends(0).json();
    let lost = &trials(&again["search"])[1];
    assert_eq!((&lost["end"], &lost["rung"]), (&"diverged".into(), &Value::Null), "{lost:#}");
    assert_eq!(lost["reason"], "it: NaN");
    assert!(lost["spent"]["seconds"].as_f64() >= Some(1.0), "{lost:#}");
    assert!(!place.artifact(hash).exists(), "it was tried again");
    std::fs::remove_file(experiment.folder().join("search.json")).expect("the record");

    // A budget in operations: the same trials whatever is in the store.
    let within: Vec<&str> = search
        .iter()
        .map(|word| match *word {
            "--trials" => "--budget",
            "5" => "2e10",
            other => other,
        })
        .collect();
    let cached = place.run(&within).ends(0).json();
    let anew = Place::new().run(&within).ends(0).json();
    let record = &cached["search"];
    assert!((1e9..2e10).contains(&flops(record)), "{record:#}");
    assert!(record["ended"].as_str().is_some_and(|ended| ended.contains("budget")), "{record:#}");
    // All end at the first rung, where refusals are judged as well, so that the budget pays for nineteen.
    assert!((2..20).contains(&trials(record).len()), "{} trials: {record:#}", trials(record).len());
    assert_eq!(timeless(record.clone()), timeless(anew["search"].clone()));
    let of_trials: f64 = trials(record).iter().map(flops).sum();
    let closing = record["winner"].get("spent").map_or(0.0, |_| flops(&record["winner"]));
    assert!((of_trials + closing - flops(record)).abs() < 1e-6 * flops(record), "{record:#}");
}

#[test]
fn what_cannot_be_searched_is_refused_and_taught() {
    let refused = |more: &[&str], texts: &[&str]| {
        let arguments = [&["tune", TINY], more].concat();
        Place::new().run(&arguments).ends(2).without_result().says(texts);
    };
    refused(&["--defence", "adversarial-loss"], &["lambda", "in the spec", "8 nats", "--over KEY=LOW..HIGH"]);
    refused(&["--defence", "nothing", "--over", "steps=1..2"], &["it has adversarial-loss, tar"]);
    refused(&["--defence", "none", "--over", "steps=1..2"], &["nothing to tune"]);
    let over = |over: &'static str| ["--defence", "tar", "--over", over];
    refused(&over("step=1..2"), &["no parameter `step`", "inner_steps"]);
    refused(&over("steps=0..2"), &["from 1 to"]);
    refused(&over("rate=0..1"), &["from 0.000000001 to 1"]);
    let poor = ["--budget", "1", "--set", "conditions.phi=0.06"];
    refused(&[&over("steps=1..2")[..], &poor].concat(), &["does not pay one trial"]);
    refused(&over("steps=1..2"), &["broken by none of the attacks"]);
    refused(&[&over("steps=1..2")[..], &["--budget", "soon"]].concat(), &["3e15", "20m"]);
    refused(&["--over", "steps=1..2"], &["--defence"]);
}
