//! What is there, by its bytes, and what is remembered of it.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use tempfile::tempdir;
use titer_hub::{Error, Identities, Identity};

use crate::local::{local, write};

/// Puts a file's modification far enough back that it may be remembered; its change time stays, so the
/// clock's two seconds must pass as well.
fn settle(path: &Path) {
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(3600)).unwrap();
}

fn identify(identities: &mut Identities, path: &Path) -> Identity {
    identities.identify(&local(path).unwrap()).unwrap()
}

#[test]
fn what_did_not_change_is_not_read_again_and_what_did_is() {
    let folder = tempdir().unwrap();
    let index = folder.path().join("cache/sources.json");
    let model = folder.path().join("m.gguf");
    write(folder.path(), &[("m.gguf", b"one and one")]);
    settle(&model);
    // Just touched: whatever is remembered now is not trusted.
    let mut first = Identities::remembered_in(index.clone());
    let identity = identify(&mut first, &model);
    first.save();
    let mut racy = Identities::remembered_in(index.clone());
    assert_eq!((identify(&mut racy, &model), racy.bytes_read()), (identity.clone(), 11));

    std::thread::sleep(Duration::from_millis(2100));
    let mut settled = Identities::remembered_in(index.clone());
    assert_eq!((identify(&mut settled, &model), settled.bytes_read()), (identity.clone(), 11));
    settled.save();
    let mut again = Identities::remembered_in(index.clone());
    assert_eq!((identify(&mut again, &model), again.bytes_read()), (identity.clone(), 0));

    // Other bytes of the same length with the old time put back: the change time gives it away.
    let before = model.metadata().unwrap().modified().unwrap();
    fs::write(&model, b"two and two").unwrap();
    fs::File::options().write(true).open(&model).unwrap().set_modified(before).unwrap();
    assert_ne!(identify(&mut again, &model), identity);

    // The old bytes are the old identity, in a file of its own as well.
    fs::write(&model, b"one and one").unwrap();
    assert_eq!(identify(&mut again, &model), identity);
    // A damaged memory is none.
    for damage in ["", "{", "{\"version\":1,\"files\":{\"/\":1}}", "{\"version\":99,\"files\":{}}"] {
        fs::write(&index, damage).unwrap();
        assert_eq!(identify(&mut Identities::remembered_in(index.clone()), &model), identity);
    }
}

#[test]
fn two_that_learn_at_once_lose_nothing() {
    let folder = tempdir().unwrap();
    let index = folder.path().join("sources.json");
    write(folder.path(), &[("a.gguf", b"a"), ("b.gguf", b"b")]);
    let (a, b) = (folder.path().join("a.gguf"), folder.path().join("b.gguf"));
    std::thread::sleep(Duration::from_millis(2100));
    let (mut one, mut two) =
        (Identities::remembered_in(index.clone()), Identities::remembered_in(index.clone()));
    identify(&mut one, &a);
    identify(&mut two, &b);
    one.save();
    two.save();
    let mut both = Identities::remembered_in(index);
    identify(&mut both, &a);
    identify(&mut both, &b);
    assert_eq!(both.bytes_read(), 0);
}

#[test]
fn an_empty_file_is_named() {
    let folder = tempdir().unwrap();
    write(folder.path(), &[("config.json", b"{}"), ("model.safetensors", b"")]);
    let error = Identities::default().identify(&local(folder.path()).unwrap()).unwrap_err();
    assert!(matches!(&error, Error::EmptyFile { path } if path.ends_with("model.safetensors")), "{error:?}");
    assert!(error.to_string().contains("model.safetensors: this file is empty; put"), "{error}");
}

/// 2 GiB that take no room: the second look costs what a few calls of `stat` cost.
#[test]
fn gigabytes_that_did_not_change_cost_milliseconds() {
    let folder = tempdir().unwrap();
    write(folder.path(), &[("config.json", b"{}")]);
    let weights = folder.path().join("model.safetensors");
    fs::File::create(&weights).unwrap().set_len(2 << 30).unwrap();
    let index = folder.path().join("cache/sources.json");
    std::thread::sleep(Duration::from_millis(2100));
    let mut first = Identities::remembered_in(index.clone());
    let identity = identify(&mut first, folder.path());
    first.save();
    let began = std::time::Instant::now();
    let mut second = Identities::remembered_in(index);
    assert_eq!(identify(&mut second, folder.path()), identity);
    let took = began.elapsed();
    assert!(second.bytes_read() == 0 && took < Duration::from_millis(50), "{took:?}");
    println!("second look at 2 GiB: {took:?}");
}
