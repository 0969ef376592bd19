//! What is taken away from a store, and what never is.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use common::{description, hash, writer};
use serde_json::json;
use titer_plan::StageHash;
use titer_store::{
    Artifact, Begin, Collected, Error, Experiment, FileKind, LeaseTerms, Order, Remade, State, Store, Taken,
    Trust, Usage,
};

const WEIGHTS: &str = "model/model.safetensors";

fn store() -> (tempfile::TempDir, Store) {
    let place = tempfile::tempdir().unwrap();
    let store = Store::open_or_create(place.path().join("store")).unwrap();
    (place, store)
}

fn sealed(store: &Store, digit: &str) -> Artifact {
    let writer = writer(store, &hash(digit));
    writer.write_bytes(WEIGHTS, &[7; 1000]).unwrap();
    writer.write_bytes("model/config.json", b"{}").unwrap();
    writer.write_bytes("probes.parquet", &[1; 10]).unwrap();
    writer.seal(json!({ "harmfulness": 0.25 })).unwrap()
}

/// An experiment that names these.
fn experiment(store: &Store, name: &str, digits: &[&str]) -> Experiment {
    let stages: Vec<_> = digits.iter().map(|digit| json!({ "hash": hash(digit), "label": "x" })).collect();
    let experiment = store.experiment(name).unwrap();
    experiment.save("name = 1", &json!({ "stages": stages }).to_string()).unwrap();
    experiment
}

fn paths(collected: &Collected, what: Taken) -> Vec<String> {
    let of = collected.removed.iter().filter(|removed| removed.what == what);
    of.map(|removed| removed.path.display().to_string()).collect()
}

fn artifact(digit: &str) -> String {
    format!("artifacts/{}", hash(digit))
}

fn make_old(path: &Path) {
    let time = SystemTime::now() - Duration::from_secs(100_000);
    fs::File::open(path).unwrap().set_modified(time).unwrap();
}

fn all_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if entry.file_type().unwrap().is_dir() {
            found.extend(all_files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[test]
fn what_no_experiment_names_goes_and_all_else_stays() {
    let (_place, store) = store();
    let (named, unnamed, kept, young) =
        (sealed(&store, "a"), sealed(&store, "b"), sealed(&store, "c"), sealed(&store, "d"));
    experiment(&store, "x", &["a", "1"]);
    for one in [&named, &unnamed, &kept] {
        make_old(one.folder());
        make_old(&one.folder().join("events.jsonl"));
    }
    let claimed = sealed(&store, "e");
    make_old(claimed.folder());
    make_old(&claimed.folder().join("events.jsonl"));
    let claim = store.claim([claimed.hash()]).unwrap();
    let written = writer(&store, &hash("f"));
    let grace = Duration::from_secs(1000);
    let order = Order { grace, keep: BTreeSet::from([hash("c")]), ..Order::default() };
    let before = all_files(store.root());
    let dry = store.collect(&Order { dry_run: true, ..order.clone() }).unwrap();
    assert_eq!(all_files(store.root()), before, "a dry run removes nothing");
    assert_eq!(paths(&dry, Taken::Artifact), [artifact("b")]);
    let size = |path: &PathBuf| fs::metadata(path).unwrap().len();
    let bytes: u64 = all_files(unnamed.folder()).iter().map(size).sum();
    assert_eq!(dry.removed[0].bytes, bytes);
    assert_eq!(dry.removed[0].label.as_deref(), Some("full-finetune/rate=3e-5"));

    let done = store.collect(&order).unwrap();
    assert_eq!(done, dry);
    assert!(!unnamed.folder().exists() && !store.root().join("trash").exists());
    for one in [&named, &kept, &young, &claimed] {
        one.verify().unwrap();
    }
    let why = |digit: &str| {
        let left = done.left.iter().find(|left| left.path == Path::new(&artifact(digit)));
        left.map(|left| left.why.clone()).unwrap_or_default()
    };
    assert!(why("d").contains("less than 16m"), "{}", why("d"));
    assert!(why("e").contains("a run that lives"), "{}", why("e"));
    assert!(why("f").contains("being written"), "{}", why("f"));

    // Who claimed has ended, and who wrote.
    drop((claim, written));
    let order = Order { keep: order.keep, ..Order::default() };
    let done = store.collect(&order).unwrap();
    assert_eq!(paths(&done, Taken::Artifact), [artifact("d"), artifact("e"), artifact("f")]);
    assert!(done.left.is_empty(), "{:?}", done.left);
    assert_eq!(store.artifacts().unwrap(), [hash("a"), hash("c")]);
}

#[test]
fn a_plan_that_cannot_be_read_keeps_everything() {
    let (_place, store) = store();
    sealed(&store, "a");
    let damaged = experiment(&store, "x", &["a"]);
    fs::write(damaged.folder().join("plan.json"), "{}").unwrap();
    for error in [
        store.collect(&Order::default()).unwrap_err(),
        store.remove_experiment("x", true, false).unwrap_err(),
    ] {
        let text = error.to_string();
        assert!(text.contains("x: nobody knows") && text.contains("titer rm x"), "{text}");
    }
    store.artifact(&hash("a")).verify().unwrap();
    // Without its artifacts it can go, and then they can.
    store.remove_experiment("x", false, false).unwrap();
    assert_eq!(paths(&store.collect(&Order::default()).unwrap(), Taken::Artifact), [artifact("a")]);
}

#[test]
fn what_titer_did_not_write_and_what_lies_behind_links_stays() {
    let (place, store) = store();
    let outside = place.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("precious"), "x").unwrap();
    let (with_notes, with_link, linked) = (sealed(&store, "a"), sealed(&store, "b"), sealed(&store, "c"));
    fs::write(with_notes.folder().join("notes.md"), "mine").unwrap();
    symlink(&outside, with_link.folder().join("model/more")).unwrap();
    fs::rename(linked.folder(), outside.join("c")).unwrap();
    symlink(outside.join("c"), linked.folder()).unwrap();
    let artifacts = store.root().join("artifacts");
    fs::create_dir(artifacts.join("not-a-hash")).unwrap();
    for folder in ["damaged", "remade", "claims", "trash"] {
        symlink(&outside, store.root().join(folder)).unwrap();
        let error = store.collect(&Order::default()).unwrap_err();
        assert!(matches!(error, Error::Link { .. }), "{folder}: {error}");
        fs::remove_file(store.root().join(folder)).unwrap();
    }
    let done = store.collect(&Order::default()).unwrap();
    assert!(done.removed.is_empty(), "{:?}", done.removed);
    let left: Vec<_> = done.left.iter().map(|left| left.path.display().to_string()).collect();
    assert_eq!(
        left,
        [
            format!("{}/notes.md", artifact("a")),
            format!("{}/model/more", artifact("b")),
            artifact("c"),
            "artifacts/not-a-hash".to_owned()
        ]
    );

    let experiment = experiment(&store, "x", &["1"]);
    experiment.write_report("report.md", b"# x").unwrap();
    experiment.ask(titer_store::Request::First(vec!["a".into()])).unwrap();
    fs::write(experiment.report_dir().join("notes.txt"), "mine").unwrap();
    symlink(&outside, experiment.folder().join("runs")).unwrap();
    assert!(matches!(store.remove_experiment("x", true, false).unwrap_err(), Error::Link { .. }));
    fs::remove_file(experiment.folder().join("runs")).unwrap();
    symlink(outside.join("precious"), experiment.folder().join("journal.jsonl")).unwrap();
    let done = store.remove_experiment("x", true, false).unwrap();
    let left: Vec<_> = done.left.iter().map(|left| left.path.display().to_string()).collect();
    assert_eq!(left, ["experiments/x/journal.jsonl", "experiments/x/report/notes.txt"]);
    assert_eq!(paths(&done, Taken::Experiment).len(), 4, "{:?}", done.removed);
    assert!(!experiment.exists() && experiment.report_dir().join("notes.txt").exists());
    assert_eq!(fs::read_to_string(outside.join("precious")).unwrap(), "x");
    assert!(outside.join("c/SEALED").exists());
}

#[test]
fn what_kills_and_damage_left_goes() {
    let (_place, store) = store();
    let (named, damaged) = (sealed(&store, "a"), sealed(&store, "b"));
    let experiment = experiment(&store, "x", &["a", "b", "c"]);
    fs::write(damaged.folder().join(WEIGHTS), "x").unwrap();
    assert!(matches!(store.trusted(damaged.hash()).unwrap(), Trust::Damaged(_)));
    let broken_off = writer(&store, &hash("c"));
    broken_off.checkpoint(3, |folder| fs::write(folder.join("weights"), [0; 100])).unwrap();
    drop(broken_off);
    let leftovers = [
        named.folder().join(".77-0.probes.parquet"),
        named.folder().join("model/.77-1.model.safetensors"),
        experiment.folder().join(".77-2.plan.json"),
        store.root().join(".77-3.store.json"),
    ];
    for path in &leftovers {
        fs::write(path, "x").unwrap();
    }
    // They may be a living writer's yet.
    assert_eq!(paths(&store.collect(&Order::default()).unwrap(), Taken::Leftover), [""; 0]);
    leftovers.iter().for_each(|path| make_old(path));
    let done = store.collect(&Order::default()).unwrap();
    assert_eq!(paths(&done, Taken::Leftover).len(), 4, "{done:?}");
    assert!(leftovers.iter().all(|path| !path.exists()));
    assert!(store.root().join("damaged").read_dir().unwrap().next().is_none(), "it went in the first round");
    let again = store.artifact(&hash("c"));
    assert!(again.folder().join("checkpoint").exists(), "what is broken off can go on");
    let done = store.collect(&Order { checkpoints: true, ..Order::default() }).unwrap();
    assert_eq!(paths(&done, Taken::Checkpoint), [format!("{}/checkpoint", artifact("c"))]);
    assert_eq!(writer(&store, &hash("c")).resume().unwrap(), None);
    named.verify().unwrap();
}

fn drop_weights(store: &Store, digits: &[&str]) -> Collected {
    let weights = digits.iter().map(|digit| hash(digit)).collect();
    store.collect(&Order { weights, ..Order::default() }).unwrap()
}

/// Makes an artifact's weights anew.
fn remake(store: &Store, digit: &str, weights: &[u8]) -> Remade {
    let Begin::Writer(writer) = store.remake(&hash(digit), &description()).unwrap() else {
        panic!("nothing is missing")
    };
    assert!(matches!(store.remaking(&hash(digit)), State::Running(_)));
    writer.write_bytes(WEIGHTS, weights).unwrap();
    writer.write_bytes("model/config.json", b"{}").unwrap();
    writer.write_bytes("probes.parquet", &[2; 10]).unwrap();
    writer.seal(json!({})).unwrap();
    assert!(matches!(store.remaking(&hash(digit)), State::Interrupted), "not put back yet");
    store.put_back(&hash(digit)).unwrap()
}

#[test]
fn without_its_weights_an_artifact_is_what_it_was() {
    let (_place, store) = store();
    let artifact = sealed(&store, "a");
    let manifest = artifact.manifest().unwrap();
    experiment(&store, "x", &["a"]);
    let mut usage = Usage::default();
    usage.add_artifact(&artifact).unwrap();
    assert_eq!((usage.of(FileKind::Weights), usage.of(FileKind::Frames)), (1000, 10));
    assert_eq!(usage.add_artifact(&artifact).unwrap(), 0, "a file counts once");

    let done = drop_weights(&store, &["a"]);
    assert_eq!(paths(&done, Taken::Weights), [format!("{}/{WEIGHTS}", self::artifact("a"))]);
    assert_eq!(done.removed[0].bytes, 1000);
    assert!(drop_weights(&store, &["a"]).removed.is_empty());
    let store = Store::open(store.root()).unwrap();
    let artifact = store.artifact(&hash("a"));
    assert_eq!(artifact.dropped(), [WEIGHTS]);
    assert!(matches!(store.trusted(&hash("a")).unwrap(), Trust::Whole), "it was taken for damage");
    let audited = artifact.audit(&|_| false);
    assert!(audited.flaws.is_empty(), "{:?}", audited.flaws);
    assert_eq!(audited.absent, [WEIGHTS]);
    assert!(matches!(store.begin(&hash("a"), &description()).unwrap(), Begin::Sealed(_)));
    artifact.verify().unwrap();
    assert_eq!(artifact.manifest().unwrap(), manifest);
    artifact.payload("probes.parquet").unwrap();
    artifact.payload("model/config.json").unwrap();
    for name in ["model", WEIGHTS] {
        let error = artifact.payload(name).unwrap_err();
        let Error::Dropped { hash: name, .. } = &error else { panic!("{error}") };
        assert_eq!(*name, hash("a"));
        assert!(error.to_string().contains("--weights"), "{error}");
    }
    // What is missing and was not dropped is damage, and so it is where the list is not what was written.
    let list = artifact.folder().join("dropped.json");
    let text = fs::read_to_string(&list).unwrap();
    fs::write(&list, text.replace("model/model", "model/other")).unwrap();
    assert!(matches!(artifact.verify(), Err(Error::Damaged { .. })));
    fs::write(&list, text).unwrap();

    assert_eq!(remake(&store, "a", &[7; 1000]), Remade::Same);
    assert_eq!(artifact.manifest().unwrap(), manifest);
    assert!(artifact.dropped().is_empty() && !list.exists());
    artifact.verify().unwrap();
    assert_eq!(fs::read(artifact.payload("probes.parquet").unwrap()).unwrap(), [1; 10], "what was measured");
    assert!(matches!(store.remake(&hash("a"), &description()).unwrap(), Begin::Sealed(_)));
}

#[test]
fn weights_that_come_out_otherwise_bring_all_else_along() {
    let (_place, store) = store();
    sealed(&store, "a");
    experiment(&store, "x", &["a"]);
    drop_weights(&store, &["a"]);
    assert_eq!(remake(&store, "a", &[8; 1000]), Remade::Anew);
    let artifact = store.artifact(&hash("a"));
    artifact.verify().unwrap();
    assert_eq!(fs::read(artifact.payload("probes.parquet").unwrap()).unwrap(), [2; 10]);
    let old = store.root().join("damaged").join(format!("{}-0/probes.parquet", hash("a")));
    assert_eq!(fs::read(old).unwrap(), [1; 10]);
}

#[test]
fn one_makes_weights_anew_and_a_kill_before_its_end_is_made_good() {
    let (_place, store) = store();
    sealed(&store, "a");
    experiment(&store, "x", &["a"]);
    drop_weights(&store, &["a"]);
    let Begin::Writer(first) = store.remake(&hash("a"), &description()).unwrap() else { panic!("sealed") };
    assert!(matches!(store.remake(&hash("a"), &description()), Err(Error::Busy { .. })));
    let done = store.collect(&Order { weights: [hash("a")].into(), ..Order::default() }).unwrap();
    assert!(done.removed.is_empty(), "what is made anew is nobody's leftover: {done:?}");
    for (name, bytes) in [(WEIGHTS, &[7; 1000][..]), ("model/config.json", b"{}"), ("probes.parquet", b"x")] {
        first.write_bytes(name, bytes).unwrap();
    }
    // Killed between its seal and its end: the next one only puts it back.
    first.seal(json!({})).unwrap();
    assert!(matches!(store.remake(&hash("a"), &description()).unwrap(), Begin::Sealed(_)));
    store.artifact(&hash("a")).payload(WEIGHTS).unwrap();
    // Put back by one while the place was left by another: nobody needs that.
    fs::create_dir_all(store.root().join("remade").join(hash("a").0)).unwrap();
    assert_eq!(paths(&store.collect(&Order::default()).unwrap(), Taken::Leftover).len(), 1);
}

#[test]
fn an_experiment_goes_with_what_only_it_names() {
    let (_place, store) = store();
    ["a", "b", "c"].iter().for_each(|digit| drop(sealed(&store, digit)));
    let removed = experiment(&store, "x", &["a", "b", "1"]);
    experiment(&store, "y", &["b"]);
    let presence = removed.present().unwrap();
    let error = store.remove_experiment("x", true, false).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, Error::Alive { .. }) && text.contains("titer stop x"), "{text}");
    drop(presence);
    let before = all_files(store.root());
    let dry = store.remove_experiment("x", true, true).unwrap();
    assert_eq!(all_files(store.root()), before);
    let done = store.remove_experiment("x", true, false).unwrap();
    assert_eq!(done, dry);
    assert_eq!(paths(&done, Taken::Artifact), [artifact("a")]);
    assert!(!removed.folder().exists());
    assert_eq!(store.experiments().unwrap(), ["y"]);
    assert_eq!(store.artifacts().unwrap(), [hash("b"), hash("c")]);
    assert!(matches!(store.remove_experiment("x", false, false), Err(Error::NoExperiment { .. })));
}

/// Runs that begin while others collect and remove: nothing that a run has claimed or found goes.
#[test]
fn nothing_goes_that_a_starting_run_has_seen() {
    let place = tempfile::tempdir().unwrap();
    let terms = LeaseTerms { beat: Duration::from_millis(20), ..LeaseTerms::default() };
    let store = Store::open_or_create(place.path().join("store")).unwrap().with_lease_terms(terms);
    let over = AtomicBool::new(false);
    let rounds = std::thread::scope(|scope| {
        let collecting = scope.spawn(|| {
            let mut removed = 0;
            while !over.load(Ordering::Relaxed) {
                removed += store.collect(&Order::default()).unwrap().removed.len();
                match store.remove_experiment("x", true, false) {
                    Ok(_) | Err(Error::Alive { .. } | Error::NoExperiment { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            removed
        });
        let runs: Vec<_> = (0..3u64)
            .map(|run| {
                let store = &store;
                scope.spawn(move || {
                    let names = [hash("a"), hash("b"), StageHash(format!("{run:064}"))];
                    for round in 0..40 {
                        let claim = store.claim(&names).unwrap();
                        for name in &names {
                            let artifact = match store.begin(name, &description()) {
                                Ok(Begin::Sealed(artifact)) => artifact,
                                Ok(Begin::Writer(writer)) => {
                                    writer.write_bytes(WEIGHTS, &[7; 100]).unwrap();
                                    writer.seal(json!({})).unwrap()
                                }
                                Err(Error::Busy { .. }) => continue,
                                Err(error) => panic!("round {round}: {error}"),
                            };
                            artifact.verify().unwrap_or_else(|error| panic!("round {round}: {error}"));
                        }
                        drop(claim);
                    }
                })
            })
            .collect();
        let starting = scope.spawn(|| {
            let experiment = store.experiment("x").unwrap();
            for round in 0..40 {
                let presence = experiment.present().unwrap();
                if !experiment.exists() {
                    experiment.save("x = 1", "{\"stages\":[]}").unwrap();
                }
                experiment.plan_json().unwrap_or_else(|error| panic!("round {round}: {error}"));
                drop(presence);
            }
        });
        let failed = runs.into_iter().chain([starting]).filter_map(|thread| thread.join().err()).count();
        over.store(true, Ordering::Relaxed);
        assert_eq!(failed, 0);
        collecting.join().unwrap()
    });
    assert!(rounds > 0, "nothing was ever removed");
}
