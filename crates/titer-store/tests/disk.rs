//! A read-only and a full disk, for real: each is a small file system in a mount namespace of a child.
//! Permission bits would not do, since tests may run as root. Where the system allows no namespaces
//! these tests say so and pass; the recognition of the system's errors is tested in `error.rs` anyway.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking and says when it skips"
)]

mod common;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use common::{description, hash, this_test, writer};
use serde_json::json;
use titer_store::{Begin, Error, Event, Store};

const CHILD: &str = "TITER_STORE_TEST_DISK";

/// Runs this executable's test `name` with a file system of 512 KiB of its own, where that can be.
fn in_small_file_system(name: &str) {
    let place = tempfile::tempdir().unwrap();
    let unshare = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--map-root-user", "sh", "-c", script]).arg("sh").arg(place.path());
        command
    };
    let mount = "mount -t tmpfs -o size=512k tmpfs \"$1\"";
    if !unshare(mount).output().is_ok_and(|output| output.status.success()) {
        println!("skipped: no mount namespaces here (unshare --mount --map-root-user)");
        return;
    }
    let child = this_test(name, CHILD, place.path());
    let mut command = unshare(&format!("{mount} && shift && exec \"$@\""));
    command.arg(child.get_program()).args(child.get_args());
    for (key, value) in child.get_envs() {
        command.env(key, value.unwrap());
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn child_root() -> Option<std::path::PathBuf> {
    std::env::var_os(CHILD).map(|place| Path::new(&place).join("store"))
}

fn remount(place: &Path, how: &str) {
    let status = Command::new("mount").args(["-o", how]).arg(place).status().unwrap();
    assert!(status.success());
}

#[test]
fn read_only() {
    let Some(root) = child_root() else { return in_small_file_system("read_only") };
    let place = root.parent().unwrap();
    let store = Store::open_or_create(&root).unwrap();
    let begun = writer(&store, &hash("a"));
    begun.write_bytes("x.bin", b"x").unwrap();
    begun.seal(json!({})).unwrap();
    store.experiment("e").unwrap().save("a = 1", "{}").unwrap();
    drop(writer(&store, &hash("b")));
    remount(place, "remount,ro");

    let store = Store::open_or_create(&root).unwrap();
    let read_only = |error: Error| {
        let text = error.to_string();
        assert!(matches!(error, Error::ReadOnly { .. }), "{text}");
        assert!(
            text.contains("read-only") && text.contains("make it writable") && text.contains("store"),
            "{text}"
        );
    };
    store.artifact(&hash("a")).verify().unwrap();
    assert!(matches!(store.begin(&hash("a"), &description()), Ok(Begin::Sealed(_))));
    assert_eq!(store.experiments().unwrap(), ["e"]);
    assert_eq!(store.experiment("e").unwrap().spec().unwrap(), "a = 1");
    store.artifact(&hash("b")).progress().unwrap();
    read_only(store.begin(&hash("b"), &description()).unwrap_err());
    read_only(store.begin(&hash("c"), &description()).unwrap_err());
    read_only(store.experiment("e").unwrap().save("", "").unwrap_err());
    read_only(store.experiment("f").unwrap().save("", "").unwrap_err());
    read_only(store.experiment("e").unwrap().write_report("r.md", b"").unwrap_err());
    read_only(Store::open_or_create(place.join("other")).unwrap_err());
}

#[test]
fn full() {
    let Some(root) = child_root() else { return in_small_file_system("full") };
    let store = Store::open_or_create(&root).unwrap();
    let sealed = writer(&store, &hash("a"));
    sealed.write_bytes("x.bin", &[1; 50_000]).unwrap();
    let sealed = sealed.seal(json!({})).unwrap();

    let disk_full = |error: Error| {
        let text = error.to_string();
        assert!(matches!(error, Error::DiskFull { .. }), "{text}");
        assert!(text.contains("disk is full") && text.contains("free some space"), "{text}");
    };
    let begun = writer(&store, &hash("b"));
    begun.log(&Event::new("step", 1, json!({}))).unwrap();
    begun.checkpoint(1, |dir| fs::write(dir.join("weights"), [1; 50_000])).unwrap();
    disk_full(begun.write_bytes("big.bin", &[2; 1_000_000]).unwrap_err());
    disk_full(begun.write("big.bin", |path| fs::write(path, [2; 1_000_000])).unwrap_err());
    disk_full(begun.checkpoint(2, |dir| fs::write(dir.join("weights"), [2; 1_000_000])).unwrap_err());
    let long = Event::new("note", 2, json!("x".repeat(10_000)));
    let logged = (0..).map_while(|_| match begun.log(&long) {
        Ok(_) => Some(()),
        Err(error) => {
            disk_full(error);
            None
        }
    });
    let logged = logged.count();
    assert!(logged < 60);
    assert_eq!(begun.artifact().events().unwrap().len(), 1 + logged, "a line was left torn");
    // What is left is less than a line, but might do for a manifest.
    let mut ballast = fs::File::create(root.with_file_name("ballast")).unwrap();
    while ballast.write_all(&[0; 1024]).is_ok() {}
    disk_full(begun.seal(json!({})).unwrap_err());
    sealed.verify().unwrap();

    // The disk is still full of the log: resuming cuts it to the checkpoint, and the stage can end.
    let again = writer(&store, &hash("b"));
    let checkpoint = again.resume().unwrap().unwrap();
    assert_eq!(checkpoint.step, 1);
    assert_eq!(fs::read(checkpoint.folder.join("weights")).unwrap(), [1; 50_000]);
    again.seal(json!({})).unwrap().verify().unwrap();
}
