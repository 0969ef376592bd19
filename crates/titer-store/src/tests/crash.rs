//! Kills a writer between any two of its file operations, by looking at the disk at every such moment.
//!
//! [`moment`] is called before each operation. A test installs a hook that copies the store; each copy
//! is what a kill at that moment would have left, and must be resumed to the same result.

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;
use titer_plan::StageHash;

use crate::*;

type Hook = Box<dyn FnMut()>;

thread_local! {
    static HOOK: RefCell<Option<Hook>> = const { RefCell::new(None) };
}

/// A moment at which a kill may fall.
pub(crate) fn moment() {
    // Taken out while it runs, since it may come here again.
    if let Some(mut hook) = HOOK.take() {
        hook();
        HOOK.set(Some(hook));
    }
}

thread_local! {
    static SYNCED: RefCell<Vec<PathBuf>> = const { RefCell::new(Vec::new()) };
}

/// Names in a folder are durable.
pub(crate) fn synced(folder: &Path) {
    SYNCED.with_borrow_mut(|synced| synced.push(folder.to_owned()));
}

const STEPS: u64 = 6;

fn hash() -> StageHash {
    StageHash("ab".repeat(32))
}

fn description() -> Description {
    Description {
        kind: "attack".to_owned(),
        label: "full-finetune".to_owned(),
        spec: json!({ "rate": 3e-5 }),
        inputs: vec![StageHash("cd".repeat(32))],
        provenance: Provenance::default(),
    }
}

/// A stage whose state is the product of all it did: counts its steps and checkpoints every other one.
fn run(root: &Path) -> Artifact {
    let store = Store::open_or_create(root).unwrap();
    let writer = match store.begin(&hash(), &description()).unwrap() {
        Begin::Sealed(artifact) => return artifact,
        Begin::Writer(writer) => writer,
    };
    let read = |folder: &Path, name: &str| fs::read_to_string(folder.join(name)).unwrap();
    let (mut step, mut state) = match writer.resume().unwrap() {
        None => (0, 1),
        Some(Checkpoint { step, folder, .. }) => {
            let state = read(&folder, "weights").parse().unwrap();
            assert_eq!(read(&folder, "optimiser"), format!("{state}@{step}"), "a torn checkpoint");
            (step, state)
        }
    };
    while step < STEPS {
        // Comes after the checkpoint of its own step, and again from whoever resumes there.
        writer.log(&Event::new("going-on", step, json!({}))).unwrap();
        step += 1;
        state = state * 31 % 1009;
        writer.log(&Event::new("step", step, json!({ "state": state }))).unwrap();
        if step % 2 == 0 {
            writer
                .checkpoint(step, |dir| {
                    fs::write(dir.join("weights"), state.to_string())?;
                    moment();
                    fs::write(dir.join("optimiser"), format!("{state}@{step}"))
                })
                .unwrap();
        }
    }
    writer.write_bytes("model/config.json", b"{}").unwrap();
    // As the library that writes weights does it: by a temporary file of its own.
    let save = |path: &Path| {
        let own = path.with_file_name(".tmpejNTGP");
        fs::write(&own, state.to_string())?;
        moment();
        fs::rename(own, path)
    };
    writer.write("model/weights", save).unwrap();
    writer.seal(json!({ "state": state })).unwrap()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

/// All that must be equal between an interrupted run and an uninterrupted one.
fn outcome(artifact: &Artifact) -> (Vec<(u64, Event)>, Vec<FileRecord>, serde_json::Value) {
    artifact.verify().unwrap();
    let manifest = artifact.manifest().unwrap();
    let events = artifact.events().unwrap();
    (
        events.into_iter().map(|record| (record.sequence, record.event)).collect(),
        manifest.files,
        manifest.summary,
    )
}

/// Only the store's own files are left, and none of them temporary.
fn assert_tidy(artifact: &Artifact) {
    let names: Vec<_> =
        atomic::entries(artifact.folder()).unwrap().iter().map(|p| atomic::file_name(p)).collect();
    assert_eq!(names, ["SEALED", "events.jsonl", "manifest.json", "model"]);
    let flaws = artifact.audit(&|_| false).flaws;
    assert!(flaws.is_empty(), "{flaws:?}");
}

/// Does work on the store at `root`; returns copies of it as they were at every moment.
fn killed_at_every_moment<T>(root: &Path, copies: &Path, work: impl FnOnce() -> T) -> (T, Vec<PathBuf>) {
    let (root, copies) = (root.to_owned(), copies.to_owned());
    let mut count = 0;
    let (send, taken) = std::sync::mpsc::channel::<PathBuf>();
    HOOK.set(Some(Box::new(move || {
        let target = copies.join(format!("{count:04}"));
        if root.exists() {
            copy(&root, &target);
            count += 1;
            send.send(target).unwrap();
        }
    })));
    let done = work();
    HOOK.set(None);
    (done, taken.into_iter().collect())
}

#[test]
fn a_kill_between_any_two_operations_is_resumed_to_the_same_result() {
    let place = tempfile::tempdir().unwrap();
    let (root, copies) = (place.path().join("store"), place.path().join("killed"));
    let (uninterrupted, killed) = killed_at_every_moment(&root, &copies, || run(&root));
    let expected = outcome(&uninterrupted);
    assert_tidy(&uninterrupted);
    assert_eq!(expected.0.len() as u64, 2 * STEPS);

    assert!(killed.len() > 50, "only {} moments", killed.len());
    let mut resumed = 0;
    for copy in &killed {
        let before = Store::open(copy).map(|store| store.artifact(&hash()));
        if let Ok(sealed) = before.as_ref().map(Artifact::is_sealed)
            && sealed
        {
            assert_eq!(outcome(before.as_ref().unwrap()), expected, "{}: seen half", copy.display());
        }
        let artifact = run(copy);
        assert_eq!(outcome(&artifact), expected, "{}", copy.display());
        assert_tidy(&artifact);
        resumed += u64::from(artifact.manifest().unwrap().resumed_from.is_some());
    }
    assert!(resumed > 20, "only {resumed} went on from a checkpoint");
}

const WEIGHTS: &str = "model/model.safetensors";

/// Makes the artifact's weights anew, as far as they are not there.
fn bring_back(store: &Store) {
    let Begin::Writer(writer) = store.remake(&hash(), &description()).unwrap() else { return };
    writer.restart().unwrap();
    writer.write_bytes(WEIGHTS, &[7; 100]).unwrap();
    writer.seal(json!({})).unwrap();
    assert_eq!(store.put_back(&hash()).unwrap(), Remade::Same);
}

#[test]
fn weights_that_go_and_come_back_survive_a_kill_between_any_two_operations() {
    let place = tempfile::tempdir().unwrap();
    let (root, copies) = (place.path().join("store"), place.path().join("killed"));
    let store = Store::open_or_create(&root).unwrap();
    let Begin::Writer(writer) = store.begin(&hash(), &description()).unwrap() else { panic!("sealed") };
    writer.write_bytes(WEIGHTS, &[7; 100]).unwrap();
    writer.write_bytes("probes.parquet", &[1; 10]).unwrap();
    let manifest = writer.seal(json!({})).unwrap().manifest().unwrap();
    let plan = json!({ "stages": [{ "hash": hash() }] }).to_string();
    store.experiment("x").unwrap().save("", &plan).unwrap();

    let order = Order { weights: [hash()].into(), ..Order::default() };
    let ((), killed) = killed_at_every_moment(&root, &copies, || {
        assert_eq!(store.collect(&order).unwrap().removed.len(), 1);
        bring_back(&store);
    });
    assert!(killed.len() > 20, "only {} moments", killed.len());
    let mut without = 0;
    for copy in &killed {
        let store = Store::open(copy).unwrap();
        let artifact = store.artifact(&hash());
        artifact.verify().unwrap_or_else(|error| panic!("{}: {error}", copy.display()));
        assert_eq!(artifact.manifest().unwrap(), manifest);
        without += usize::from(!artifact.dropped().is_empty());
        bring_back(&store);
        assert_eq!(fs::read(artifact.payload(WEIGHTS).unwrap()).unwrap(), [7; 100], "{}", copy.display());
        artifact.verify().unwrap();
        // What the kill left is nobody's.
        store.collect(&Order::default()).unwrap();
        assert!(!copy.join("trash").exists() && atomic::entries(&copy.join("remade")).unwrap().is_empty());
        artifact.verify().unwrap();
    }
    assert!(without > 10, "only {without} without weights");
}

/// What is sealed lies in folders whose names would all outlive a loss of power.
#[test]
fn every_folder_that_is_made_is_kept_by_the_one_above() {
    let place = tempfile::tempdir().unwrap();
    let root = place.path().join("of/a/user/store");
    SYNCED.take();
    let artifact = run(&root);
    let synced = SYNCED.take();
    let made = artifact.folder().ancestors().take_while(|folder| *folder != place.path());
    for folder in made {
        let above = folder.parent().unwrap();
        assert!(synced.iter().any(|synced| synced == above), "{} was not synced", above.display());
    }
}

/// A power failure brings nothing back that was swept before the seal.
#[test]
fn what_is_swept_before_a_seal_stays_away() {
    let place = tempfile::tempdir().unwrap();
    let store = Store::open_or_create(place.path()).unwrap();
    let Begin::Writer(writer) = store.begin(&hash(), &description()).unwrap() else { panic!("sealed") };
    writer.write_bytes("model/config.json", b"{}").unwrap();
    let model = writer.artifact().folder().join("model");
    fs::write(model.join(".17-3.config.json"), b"half").unwrap();
    SYNCED.take();
    let artifact = writer.seal(json!({})).unwrap();
    assert!(SYNCED.take().contains(&model));
    assert!(artifact.audit(&|_| false).flaws.is_empty());
}
