//! What cannot be read at present is neither thrown away nor made anew: files without permission, for real, in a child
//! that runs as nobody where the tests run as root. Where no such child can be had these tests say so and pass.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking and says when it skips"
)]

mod common;

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{hash, this_test, writer};
use serde_json::json;
use titer_store::{Error, Store, Trust};

const CHILD: &str = "TITER_STORE_TEST_UNREAD";
const NOBODY: u32 = 65534;

/// Runs this executable's test `name` as somebody for whom permissions count.
fn as_nobody(name: &str) {
    let place = tempfile::tempdir().unwrap();
    let mut command = this_test(name, CHILD, place.path());
    if fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0) {
        let probe =
            Command::new(std::env::current_exe().unwrap()).arg("--list").uid(NOBODY).gid(NOBODY).output();
        if !probe.is_ok_and(|output| output.status.success()) {
            println!("skipped: nobody else than root can run {}", command.get_program().display());
            return;
        }
        chown(place.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        command.uid(NOBODY).gid(NOBODY);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn child_store() -> Option<Store> {
    std::env::var_os(CHILD).map(|place| Store::open_or_create(PathBuf::from(place).join("store")).unwrap())
}

fn allow(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_sealed_artifact_that_cannot_be_read_stays_where_it_is() {
    let Some(store) = child_store() else {
        return as_nobody("a_sealed_artifact_that_cannot_be_read_stays_where_it_is");
    };
    let begun = writer(&store, &hash("a"));
    begun.write_bytes("probes.parquet", &[1; 100]).unwrap();
    let artifact = begun.seal(json!({})).unwrap();
    for name in ["probes.parquet", "manifest.json", "SEALED"] {
        let path = artifact.folder().join(name);
        allow(&path, 0o000);
        let text = store.trusted(artifact.hash()).unwrap_err().to_string();
        assert!(text.contains(name) && text.contains("Permission denied"), "{text}");
        let read = artifact.payload("probes.parquet").unwrap_err();
        assert!(!matches!(read, Error::Damaged { .. }), "{read}");
        assert!(artifact.is_sealed() && !store.root().join("damaged").exists());
        allow(&path, 0o600);
        assert!(matches!(store.trusted(artifact.hash()).unwrap(), Trust::Whole));
    }
}

#[test]
fn a_checkpoint_that_cannot_be_read_is_not_thrown_away() {
    let Some(store) = child_store() else {
        return as_nobody("a_checkpoint_that_cannot_be_read_is_not_thrown_away");
    };
    let begun = writer(&store, &hash("a"));
    begun.checkpoint(7, |folder| fs::write(folder.join("weights"), [1; 100])).unwrap();
    let checkpoint = begun.resume().unwrap().unwrap();
    for name in ["weights", "sums.json"] {
        let path = checkpoint.folder.join(name);
        allow(&path, 0o000);
        let text = begun.resume().unwrap_err().to_string();
        assert!(text.contains(name) && text.contains("Permission denied"), "{text}");
        allow(&path, 0o600);
        assert_eq!(begun.resume().unwrap().as_ref(), Some(&checkpoint));
    }
}

#[test]
fn a_run_whose_sign_cannot_be_read_is_taken_for_alive() {
    let Some(store) = child_store() else {
        return as_nobody("a_run_whose_sign_cannot_be_read_is_taken_for_alive");
    };
    let experiment = store.experiment("x").unwrap();
    experiment.save("", "{}").unwrap();
    let _present = experiment.present().unwrap();
    let sign = fs::read_dir(experiment.folder().join("runs")).unwrap().next().unwrap().unwrap().path();
    allow(&sign, 0o000);
    assert_eq!(experiment.runs().unwrap().len(), 1);
    assert!(matches!(store.remove_experiment("x", false, false), Err(Error::Alive { .. })));
    allow(&sign, 0o600);
    assert!(sign.exists());
}
