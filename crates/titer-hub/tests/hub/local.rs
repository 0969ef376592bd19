//! Folders and files of this machine, and the identity of content.

use std::fs;
use std::path::Path;

use tempfile::tempdir;
use titer_hub::{Error, Hub, Reference, Resolved, Settings};

use crate::server::Fake;
use crate::{hub, identity, names, noise, resolve};

pub(crate) fn local(path: &Path) -> Result<Resolved, Error> {
    let mut settings = Settings::new("/nowhere");
    settings.endpoint = "not even an address".to_owned();
    Hub::new(settings).resolve(&Reference::Local(path.to_owned()), &mut ())
}

pub(crate) fn write(folder: &Path, files: &[(&str, &[u8])]) {
    for (name, body) in files {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, body).unwrap();
    }
}

#[test]
fn folders_and_files_need_no_hub() {
    let folder = tempdir().unwrap();
    write(folder.path(), &[("config.json", b"{}"), ("model.safetensors", b"w"), ("notes.txt", b"n")]);
    let found = local(folder.path()).unwrap();
    assert_eq!(found.path, folder.path());
    assert_eq!(found.commit, None);
    assert_eq!(names(&found), ["config.json", "model.safetensors"]);
    write(folder.path(), &[("m.gguf", b"GGUF")]);
    let file = local(&folder.path().join("m.gguf")).unwrap();
    assert_eq!((names(&file)[0], file.files[0].bytes), ("m.gguf", 4));
}

#[test]
fn folders_of_records_are_data_sets() {
    let folder = tempdir().unwrap();
    write(folder.path(), &[("a/x.jsonl", b"{}"), ("y.parquet", b"P"), ("z.py", b""), (".h/x.json", b"{}")]);
    assert_eq!(names(&local(folder.path()).unwrap()), ["a/x.jsonl", "y.parquet"]);
}

#[test]
fn saved_folders_are_their_shards() {
    let folder = tempdir().unwrap();
    let state = br#"{"_data_files": [{"filename": "data-0.arrow"}, {"filename": "data-1.arrow"}]}"#;
    let files: [(&str, &[u8]); 6] = [
        ("train/data-0.arrow", b"A"),
        ("train/state.json", state),
        ("train/dataset_info.json", b"{}"),
        ("train/cache-0.arrow", b"C"),
        ("dataset_dict.json", b"{}"),
        ("more.jsonl.xz", b"X"),
    ];
    write(folder.path(), &files);
    let error = local(folder.path()).unwrap_err().to_string();
    assert!(error.contains("data-1.arrow") && error.contains("state.json names it"), "{error}");
    write(folder.path(), &[("train/data-1.arrow", b"B")]);
    let shards = ["more.jsonl.xz", "train/data-0.arrow", "train/data-1.arrow"];
    assert_eq!(names(&local(folder.path()).unwrap()), shards);
    write(folder.path(), &[("train/state.json", br#"{"_data_files": [{"filename": "../x"}]}"#)]);
    assert!(matches!(local(folder.path()), Err(Error::BadIndex { .. })));
}

#[test]
fn a_pointer_in_place_of_an_index_is_told() {
    let folder = tempdir().unwrap();
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n";
    write(folder.path(), &[("config.json", b"{}"), ("model.safetensors.index.json", pointer)]);
    let error = local(folder.path()).unwrap_err().to_string();
    assert!(error.contains("git lfs pull") && error.contains("index.json"), "{error}");
}

#[test]
fn what_is_missing_here_is_explained() {
    let check = |files: &[(&str, &[u8])], expected: &str| {
        let folder = tempdir().unwrap();
        write(folder.path(), files);
        let error = local(folder.path()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    check(&[("m.gguf", b"")], "name one of its GGUF files: m.gguf");
    check(&[("config.json", b"{}"), ("pytorch_model.bin", b"")], "pickled");
    check(&[], "no safetensors weights here");
    let index = br#"{"weight_map": {"a": "s1.safetensors"}}"#;
    check(
        &[("config.json", b"{}"), ("model.safetensors.index.json", index)],
        "model.safetensors.index.json names it",
    );
    let index = br#"{"weight_map": {"a": "../s1.safetensors"}}"#;
    check(&[("config.json", b"{}"), ("model.safetensors.index.json", index)], "is refused");
    let error = local(Path::new("no/such/model")).unwrap_err();
    assert!(matches!(error, Error::NoSuchPath { .. }), "{error:?}");
    assert!(error.to_string().contains("write hf:OWNER/NAME"), "{error}");
}

#[test]
fn identity_is_that_of_the_content() {
    let body = noise(9_000_000);
    let files: [(&str, &[u8]); 2] = [("config.json", b"{}"), ("model.safetensors", &body)];
    let folder = tempdir().unwrap();
    write(folder.path(), &files);
    let first = identity(&local(folder.path()).unwrap());
    assert_eq!(first.len(), 64);
    let check = |files: &[(&str, &[u8])], same: bool| {
        let other = tempdir().unwrap();
        write(other.path(), files);
        assert_eq!(identity(&local(other.path()).unwrap()) == first, same);
    };
    check(&files, true);
    check(&[files[0], files[1], ("notes.md", b"x")], true);
    check(&[("config.json", b"{ }"), files[1]], false);
    check(&[files[0], files[1], ("tokenizer.json", b"{}")], false);
    let mut changed = body.clone();
    changed[8_999_999] ^= 1;
    check(&[files[0], ("model.safetensors", &changed)], false);
    // The hub's copy is the same content.
    let fake = Fake::new(&[("config.json", b"{}".to_vec()), ("model.safetensors", body)]);
    let cache = tempdir().unwrap();
    let found = resolve(&hub(&fake, cache.path()), "hf:org/model").unwrap();
    assert_eq!(identity(&found), first);
}

#[test]
fn a_lone_file_counts_by_its_content() {
    let folder = tempdir().unwrap();
    write(folder.path(), &[("a.gguf", b"one"), ("b.gguf", b"one"), ("c.gguf", b"two")]);
    let of = |name| identity(&local(&folder.path().join(name)).unwrap());
    assert_eq!(of("a.gguf"), of("b.gguf"));
    assert_ne!(of("a.gguf"), of("c.gguf"));
}
