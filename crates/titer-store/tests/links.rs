//! A store from elsewhere: no symbolic link inside it leads this process out of it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use common::{description, hash, writer};
use serde_json::json;
use titer_store::{Begin, Error, Event, Request, State, Store};

/// A store, and a folder outside with files that must stay as they are.
struct Elsewhere {
    place: tempfile::TempDir,
    store: Store,
}

const KEPT: [&str; 4] = ["thesis.json", "a/deep.txt", ".12-3.draft", "0-step1-events0/weights"];

impl Elsewhere {
    fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let store = Store::open_or_create(place.path().join("store")).unwrap();
        let elsewhere = Self { place, store };
        for name in KEPT {
            let path = elsewhere.outside().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, name).unwrap();
        }
        elsewhere
    }

    fn outside(&self) -> PathBuf {
        self.place.path().join("outside")
    }

    /// A path inside the store.
    fn inside(&self, path: &str) -> PathBuf {
        self.store.root().join(path)
    }

    /// Puts a link at `path` inside the store, to the folder outside or a file there.
    fn link(&self, path: &str, to: &str) {
        let path = self.inside(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(self.outside().join(to), path).unwrap();
    }

    #[track_caller]
    fn assert_untouched(&self) {
        for name in KEPT {
            assert_eq!(fs::read_to_string(self.outside().join(name)).unwrap(), name);
        }
        let count = walk(&self.outside()).len();
        assert_eq!(count, KEPT.len(), "something was written outside");
    }
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

#[track_caller]
fn refused<T>(result: Result<T, Error>, at: &str) {
    match result {
        Err(Error::Link { path }) => assert!(path.ends_with(at), "{} was named", path.display()),
        Err(other) => panic!("another error: {other}"),
        Ok(_) => panic!("the link was followed"),
    }
}

#[test]
fn the_runs_of_an_experiment_behind_a_link_are_left_alone() {
    let elsewhere = Elsewhere::new();
    elsewhere.link("experiments/x/runs", "");
    let experiment = elsewhere.store.experiment("x").unwrap();
    experiment.save("", "{}").unwrap();
    refused(experiment.present(), "runs");
    refused(experiment.runs(), "runs");
    elsewhere.assert_untouched();
}

#[test]
fn only_signs_of_runs_are_removed_from_their_folder() {
    let elsewhere = Elsewhere::new();
    for (path, text) in [("notes.txt", "mine"), ("folder.json/x", "mine"), ("dead.json", "{}")] {
        let path = elsewhere.inside("experiments/x/runs").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    elsewhere.link("experiments/x/runs/link.json", "thesis.json");
    let experiment = elsewhere.store.experiment("x").unwrap();
    let _presence = experiment.present().unwrap();
    let left = |name: &str| elsewhere.inside("experiments/x/runs").join(name).symlink_metadata().is_ok();
    assert!(left("notes.txt") && left("folder.json/x") && left("link.json"));
    assert!(!left("dead.json"), "what a killed run left is removed");
    elsewhere.assert_untouched();
}

#[test]
fn no_file_of_an_experiment_is_written_through_a_link() {
    for name in ["journal.jsonl", "output.log", "control.json", "report", "spec.toml"] {
        let elsewhere = Elsewhere::new();
        let to = if name == "report" { "" } else { "thesis.json" };
        elsewhere.link(&format!("experiments/x/{name}"), to);
        let experiment = elsewhere.store.experiment("x").unwrap();
        match name {
            "journal.jsonl" => {
                refused(experiment.journal(), name);
                refused(experiment.follow().read(), name);
            }
            "output.log" => refused(experiment.output(), name),
            "control.json" => {
                refused(experiment.control(), name);
                experiment.save("", "{}").unwrap();
                refused(experiment.ask(Request::Stop), name);
            }
            "report" => refused(experiment.write_report("index.html", b"x"), name),
            _ => {
                refused(experiment.spec(), name);
                // Writing puts a file in the link's place.
                experiment.save("name = 1", "{}").unwrap();
                assert_eq!(experiment.spec().unwrap(), "name = 1");
            }
        }
        elsewhere.assert_untouched();
    }
}

#[test]
fn folders_that_are_links_are_refused_wherever_they_stand() {
    let elsewhere = Elsewhere::new();
    elsewhere.link("experiments/x", "");
    refused(elsewhere.store.experiment("x"), "x");
    assert!(elsewhere.store.experiments().unwrap().is_empty());

    for name in ["experiments", "artifacts"] {
        let elsewhere = Elsewhere::new();
        elsewhere.link(name, "");
        refused(Store::open(elsewhere.store.root()), name);
    }

    let elsewhere = Elsewhere::new();
    let name = hash("a");
    elsewhere.link(&format!("artifacts/{name}"), "");
    let artifact = elsewhere.store.artifact(&name);
    assert_eq!(artifact.state(), State::Absent);
    refused(artifact.manifest(), &name.0);
    refused(artifact.events(), &name.0);
    refused(elsewhere.store.begin(&name, &description()), &name.0);
    elsewhere.assert_untouched();
}

#[test]
fn nothing_of_an_artifact_is_a_link() {
    for (entry, to) in [("events.jsonl", "thesis.json"), ("lease.json", "thesis.json"), ("checkpoint", "")] {
        let elsewhere = Elsewhere::new();
        let name = hash("a");
        elsewhere.link(&format!("artifacts/{name}/{entry}"), to);
        match elsewhere.store.begin(&name, &description()) {
            Ok(Begin::Writer(writer)) => {
                refused(writer.resume(), entry);
                refused(writer.checkpoint(1, |_| Ok::<_, std::io::Error>(())), entry);
            }
            other => refused(other, entry),
        }
        elsewhere.assert_untouched();
    }
}

#[test]
fn a_link_among_checkpoints_is_none_and_payload_behind_one_is_refused() {
    let elsewhere = Elsewhere::new();
    let name = hash("a");
    elsewhere.link(&format!("artifacts/{name}/checkpoint/7-step9-events0"), "0-step1-events0");
    let written = writer(&elsewhere.store, &name);
    assert_eq!(written.resume().unwrap(), None);
    written.log(&Event::new("step", 1, json!({}))).unwrap();
    written.write_bytes("model/config.json", b"{}").unwrap();
    elsewhere.link(&format!("artifacts/{name}/model/thesis.json"), "thesis.json");
    refused(written.seal(json!({})), "thesis.json");
    elsewhere.assert_untouched();

    let elsewhere = Elsewhere::new();
    let written = writer(&elsewhere.store, &name);
    written.write_bytes("model/thesis.json", b"thesis.json").unwrap();
    let artifact = written.seal(json!({})).unwrap();
    let path = artifact.payload("model/thesis.json").unwrap();
    // The same bytes and size, but elsewhere.
    fs::remove_file(&path).unwrap();
    symlink(elsewhere.outside().join("thesis.json"), &path).unwrap();
    refused(artifact.payload("model"), "thesis.json");
    refused(artifact.verify(), "thesis.json");
    elsewhere.assert_untouched();
}

#[test]
fn leftovers_are_removed_by_the_name_that_the_store_gives_them() {
    let elsewhere = Elsewhere::new();
    let name = hash("a");
    for entry in [".git/config", ".12-3.model.safetensors", ".notes"] {
        let path = elsewhere.inside(&format!("artifacts/{name}")).join(entry);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "x").unwrap();
    }
    elsewhere.link(&format!("artifacts/{name}/.4-5.model"), "");
    drop(writer(&elsewhere.store, &name));
    let left =
        |entry: &str| elsewhere.inside(&format!("artifacts/{name}")).join(entry).symlink_metadata().is_ok();
    assert!(left(".git/config") && left(".notes"));
    assert!(!left(".12-3.model.safetensors") && !left(".4-5.model"), "a killed writer's");
    elsewhere.assert_untouched();
}
