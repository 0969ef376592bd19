//! What the cache spares, and what it looks like.

use std::fs;
use std::path::Path;

use tempfile::tempdir;
use titer_hub::{Error, Hub};

use crate::server::{COMMIT, Fake, Reply, oid, sha256};
use crate::{Events, hub, identity, names, noise, resolve, settings};

const FILE: &str = "hf:org/model:m.gguf";
const MODEL: &str = "hf:org/model";

fn model() -> Fake {
    Fake::new(&[
        ("config.json", b"{}".to_vec()),
        ("tokenizer.json", noise(3000)),
        ("model.safetensors", noise(9000)),
        ("pytorch_model.bin", noise(9000)),
        ("README.md", b"read me".to_vec()),
    ])
}

fn pinned(reference: &str) -> String {
    reference.replace("org/model", &format!("org/model@{COMMIT}"))
}

#[test]
fn the_layout_is_that_of_huggingface_hub() {
    let fake = model();
    let cache = tempdir().unwrap();
    let found = resolve(&hub(&fake, cache.path()), MODEL).unwrap();
    let root = cache.path().join("models--org--model");
    assert_eq!(found.path, root.join("snapshots").join(COMMIT));
    assert_eq!(found.commit.as_deref(), Some(COMMIT));
    assert_eq!(names(&found), ["config.json", "model.safetensors", "tokenizer.json"]);
    assert_eq!(found.files[1].bytes, 9000);
    assert_eq!(fs::read_to_string(root.join("refs/main")).unwrap(), COMMIT);
    let link = fs::read_link(found.path.join("model.safetensors")).unwrap();
    assert_eq!(link, Path::new(&format!("../../blobs/{}", sha256(&noise(9000)))));
    let link = fs::read_link(found.path.join("config.json")).unwrap();
    assert_eq!(link, Path::new(&format!("../../blobs/{}", oid(b"{}"))));
    assert!(cache.path().join(".locks/models--org--model").is_dir());
    assert!(!found.path.join("pytorch_model.bin").exists());
}

#[test]
fn nested_files_link_upwards() {
    let fake = Fake::new(&[("a/b/m.gguf", noise(2000))]);
    let cache = tempdir().unwrap();
    let found = resolve(&hub(&fake, cache.path()), "hf:org/model:a/b/m.gguf").unwrap();
    assert!(found.path.ends_with("a/b/m.gguf"));
    assert!(fs::read_link(&found.path).unwrap().starts_with("../../../../blobs"));
    assert_eq!(fs::read(found.path).unwrap(), noise(2000));
}

#[test]
fn a_pinned_commit_needs_no_network() {
    let fake = model();
    let cache = tempdir().unwrap();
    let hub = hub(&fake, cache.path());
    let first = resolve(&hub, &pinned(MODEL)).unwrap();
    fake.hub.forget();
    fake.network.forget();
    let second = resolve(&hub, &pinned(MODEL)).unwrap();
    assert_eq!(first, second);
    let file = resolve(&hub, &pinned("hf:org/model:config.json")).unwrap();
    assert_eq!(file.path, first.path.join("config.json"));
    assert!(fake.hub.log().is_empty() && fake.network.log().is_empty());
}

#[test]
fn a_branch_needs_one_cheap_request() {
    let fake = model();
    let cache = tempdir().unwrap();
    let hub = hub(&fake, cache.path());
    let first = resolve(&hub, MODEL).unwrap();
    fake.hub.forget();
    fake.network.forget();
    assert_eq!(resolve(&hub, MODEL).unwrap(), first);
    assert_eq!(fake.hub.log().len(), 1);
    assert_eq!(fake.hub.log()[0].path, "/api/models/org/model/revision/main");
    fake.hub.forget();
    resolve(&hub, "hf:org/model:config.json").unwrap();
    assert_eq!(fake.hub.log().len(), 1);
    assert_eq!(fake.hub.log()[0].path, "/api/models/org/model/revision/main");
    assert!(fake.network.log().is_empty());
}

#[test]
fn offline_uses_the_cache_and_nothing_else() {
    let fake = model();
    let cache = tempdir().unwrap();
    let mut settings = settings(&fake, cache.path());
    settings.offline = true;
    let offline = Hub::new(settings);
    for reference in [MODEL, FILE, "hf:datasets/org/data", &pinned(MODEL)] {
        let error = resolve(&offline, reference).unwrap_err();
        assert!(matches!(error, Error::Offline { .. }), "{error:?}");
        assert!(error.to_string().contains("HF_HUB_OFFLINE"), "{error}");
    }
    assert!(fake.hub.log().is_empty());
    let online = resolve(&hub(&fake, cache.path()), MODEL).unwrap();
    fake.hub.forget();
    assert_eq!(resolve(&offline, MODEL).unwrap(), online);
    assert_eq!(resolve(&offline, &pinned(MODEL)).unwrap().files, online.files);
    assert_eq!(resolve(&offline, "hf:org/model:config.json").unwrap().commit.as_deref(), Some(COMMIT));
    fs::remove_file(online.path.join("tokenizer.json")).unwrap();
    let error = resolve(&offline, MODEL).unwrap_err();
    assert!(error.to_string().contains("lacks tokenizer.json"), "{error}");
    assert!(fake.hub.log().is_empty());
}

#[test]
fn offline_reads_what_python_cached() {
    let fake = model();
    let cache = tempdir().unwrap();
    resolve(&hub(&fake, cache.path()), MODEL).unwrap();
    fs::remove_dir_all(cache.path().join("models--org--model/.titer")).unwrap();
    let mut settings = settings(&fake, cache.path());
    settings.offline = true;
    let found = resolve(&Hub::new(settings), MODEL).unwrap();
    assert_eq!(names(&found), ["config.json", "model.safetensors", "tokenizer.json"]);
}

#[test]
fn a_link_that_leads_to_no_file_is_named_offline() {
    let fake = model();
    let cache = tempdir().unwrap();
    let found = resolve(&hub(&fake, cache.path()), MODEL).unwrap();
    fs::remove_dir_all(cache.path().join("models--org--model/.titer")).unwrap();
    fs::remove_file(fs::canonicalize(found.path.join("config.json")).unwrap()).unwrap();
    let mut settings = settings(&fake, cache.path());
    settings.offline = true;
    for reference in [MODEL, "hf:org/model:config.json"] {
        let error = resolve(&Hub::new(settings.clone()), reference).unwrap_err().to_string();
        assert!(error.contains("lacks config.json, whose link there leads to no file"), "{error}");
    }
}

#[test]
fn without_a_network_the_cached_branch_is_used_and_said() {
    let fake = model();
    let cache = tempdir().unwrap();
    let hub = hub(&fake, cache.path());
    let first = resolve(&hub, MODEL).unwrap();
    fake.hub_fault(|_| Some(Reply::new(503)));
    for reference in [MODEL, "hf:org/model:config.json"] {
        let mut events = Events::default();
        let found = hub.resolve(&reference.parse().unwrap(), &mut events).unwrap();
        assert_eq!(found.commit, first.commit);
        let last = events.lines.last().unwrap();
        assert!(last.starts_with("fell back: ") && last.contains("503"), "{last}");
    }
    // A refusal is no outage: it is told, though the cache could help.
    fake.hub_fault(|_| Some(Reply::new(403).with("X-Error-Code", "GatedRepo")));
    assert!(matches!(resolve(&hub, MODEL).unwrap_err(), Error::Gated { .. }));
}

#[test]
fn a_branch_that_moved_is_followed() {
    let fake = model();
    let cache = tempdir().unwrap();
    let hub = hub(&fake, cache.path());
    let root = cache.path().join("models--org--model");
    fs::create_dir_all(root.join("refs")).unwrap();
    fs::write(root.join("refs/main"), "f".repeat(40)).unwrap();
    assert_eq!(resolve(&hub, MODEL).unwrap().commit.as_deref(), Some(COMMIT));
    assert_eq!(fs::read_to_string(root.join("refs/main")).unwrap(), COMMIT);
}

#[test]
fn a_branch_moves_only_when_all_is_there() {
    let fake = model();
    let cache = tempdir().unwrap();
    let root = cache.path().join("models--org--model");
    fs::create_dir_all(root.join("refs")).unwrap();
    fs::write(root.join("refs/main"), "f".repeat(40)).unwrap();
    fake.network_fault(|_| Some(Reply::new(200).body(vec![0; 9000])));
    assert!(resolve(&hub(&fake, cache.path()), MODEL).is_err());
    assert_eq!(fs::read_to_string(root.join("refs/main")).unwrap(), "f".repeat(40));
}

#[test]
fn a_link_whose_blob_was_deleted_is_renewed() {
    let fake = model();
    let cache = tempdir().unwrap();
    let hub = hub(&fake, cache.path());
    let first = resolve(&hub, MODEL).unwrap();
    let before = identity(&first);
    fs::remove_file(fs::canonicalize(first.path.join("model.safetensors")).unwrap()).unwrap();
    assert_eq!(identity(&resolve(&hub, MODEL).unwrap()), before);
}

#[test]
fn blobs_are_shared_between_commits() {
    let fake = model();
    let cache = tempdir().unwrap();
    let hub = hub(&fake, cache.path());
    let found = resolve(&hub, MODEL).unwrap();
    fs::remove_dir_all(&found.path).unwrap();
    fake.network.forget();
    assert_eq!(resolve(&hub, MODEL).unwrap(), found);
    assert!(fake.network.log().is_empty());
}
