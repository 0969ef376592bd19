//! Which files are taken of models, adapters and data sets.

use std::fs;

use proptest::prelude::*;
use tempfile::tempdir;
use titer_hub::Error;

use crate::server::{COMMIT, Fake, Reply, description};
use crate::{hub, names, noise, resolve};

const MODEL: &str = "hf:org/model";

fn index(shards: &[&str]) -> Vec<u8> {
    let map: serde_json::Map<_, _> =
        (0..).zip(shards).map(|(at, shard)| (format!("t{at}"), (*shard).into())).collect();
    serde_json::json!({"metadata": {"total_size": 1}, "weight_map": map}).to_string().into_bytes()
}

#[test]
fn a_sharded_model_comes_by_its_index() {
    let (one, two) = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors");
    let fake = Fake::new(&[
        ("config.json", b"{}".to_vec()),
        ("model.safetensors.index.json", index(&[one, two, one])),
        (one, noise(5000)),
        (two, noise(6000)),
        ("model-00003-of-00002.safetensors", noise(10)),
    ]);
    let cache = tempdir().unwrap();
    let found = resolve(&hub(&fake, cache.path()), MODEL).unwrap();
    assert_eq!(names(&found), ["config.json", one, two, "model.safetensors.index.json"]);
    assert_eq!(fs::read(found.path.join(two)).unwrap(), noise(6000));
    let pinned = format!("hf:org/model@{COMMIT}");
    fake.hub.forget();
    assert_eq!(resolve(&hub(&fake, cache.path()), &pinned).unwrap().files, found.files);
    assert!(fake.hub.log().is_empty());
}

#[test]
fn an_index_leads_nowhere_else() {
    let hostile = [
        "../../../../etc/passwd.safetensors",
        "/etc/passwd.safetensors",
        "..\\..\\x.safetensors",
        "a/../../x.safetensors",
        "sub/x.safetensors",
        "./x.safetensors",
        "x\0.safetensors",
        "",
        "config.json",
        "x.bin",
    ];
    for shard in hostile {
        let fake = Fake::new(&[
            ("config.json", b"{}".to_vec()),
            ("model.safetensors.index.json", index(&["model-00001-of-00002.safetensors", shard])),
            ("model-00001-of-00002.safetensors", noise(5000)),
        ]);
        let cache = tempdir().unwrap();
        let error = resolve(&hub(&fake, cache.path()), MODEL).unwrap_err();
        assert!(matches!(error, Error::BadIndex { .. }), "{shard}: {error:?}");
        let asked: Vec<_> = fake.hub.log().into_iter().map(|it| it.path).collect();
        let info = format!("/paths-info/{COMMIT}");
        let files = ["/revision/main", &info, "/config.json", "/model.safetensors.index.json"];
        assert!(asked.iter().all(|path| files.iter().any(|file| path.ends_with(file))), "{asked:?}");
        assert!(fake.network.log().is_empty());
    }
}

#[test]
fn a_broken_index_is_refused() {
    for text in
        ["", "[]", "{}", "{\"weight_map\": {}}", "{\"weight_map\": {\"a\": 1}}", "{\"weight_map\": []}"]
    {
        let fake = Fake::new(&[
            ("config.json", b"{}".to_vec()),
            ("model.safetensors.index.json", text.as_bytes().to_vec()),
        ]);
        let cache = tempdir().unwrap();
        let error = resolve(&hub(&fake, cache.path()), MODEL).unwrap_err();
        assert!(matches!(error, Error::BadIndex { .. }), "{text}: {error:?}");
    }
    let fake = Fake::new(&[
        ("config.json", b"{}".to_vec()),
        ("model.safetensors.index.json", index(&["model-00001-of-00001.safetensors"])),
    ]);
    let cache = tempdir().unwrap();
    let error = resolve(&hub(&fake, cache.path()), MODEL).unwrap_err();
    assert!(matches!(error, Error::NoFile { .. }), "{error:?}");
}

#[test]
fn a_listing_leads_nowhere_else() {
    for name in ["../x.jsonl", "/x.jsonl", "a\\b.jsonl", "a//b.jsonl", "a/../../b.jsonl"] {
        let fake = Fake::new(&[(name, b"{}".to_vec()), ("config.json", b"{}".to_vec())]);
        let cache = tempdir().unwrap();
        for reference in ["hf:datasets/org/data", MODEL] {
            let error = resolve(&hub(&fake, cache.path()), reference).unwrap_err();
            assert!(error.to_string().contains("outside the repository"), "{error}");
        }
    }
}

#[test]
fn everything_beside_the_weights_comes_along() {
    let wanted = [
        "added_tokens.json",
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "special_tokens_map.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ];
    let others = ["pytorch_model.bin", "README.md", "tf_model.h5", "onnx/model.onnx", "adapter_model.bin"];
    let files: Vec<_> = wanted.iter().chain(&others).map(|name| (*name, noise(name.len()))).collect();
    let fake = Fake::new(&files);
    let cache = tempdir().unwrap();
    assert_eq!(names(&resolve(&hub(&fake, cache.path()), MODEL).unwrap()), wanted);
}

#[test]
fn an_adapter_is_two_files() {
    let fake = Fake::new(&[
        ("adapter_config.json", b"{}".to_vec()),
        ("adapter_model.safetensors", noise(4000)),
        ("adapter_model.bin", noise(4000)),
    ]);
    let cache = tempdir().unwrap();
    let found = resolve(&hub(&fake, cache.path()), MODEL).unwrap();
    assert_eq!(names(&found), ["adapter_config.json", "adapter_model.safetensors"]);
}

#[test]
fn missing_weights_are_explained() {
    let check = |files: &[&str], expected: &str| {
        let files: Vec<_> = files.iter().map(|name| (*name, noise(10))).collect();
        let fake = Fake::new(&files);
        let cache = tempdir().unwrap();
        let error = resolve(&hub(&fake, cache.path()), MODEL).unwrap_err();
        assert!(matches!(error, Error::NoWeights { .. }), "{error:?}");
        assert!(error.to_string().contains(expected), "{error}");
    };
    check(&["config.json", "pytorch_model.bin"], "safe_serialization=True");
    check(&["a-Q4_0.gguf", "a-Q8_0.gguf"], "name one of its GGUF files: a-Q4_0.gguf, a-Q8_0.gguf");
    check(&["README.md"], "model.safetensors");
    check(&["model.safetensors"], "config.json is missing");
}

#[test]
fn data_sets_come_whole_by_folder_or_by_file() {
    let fake = Fake::new(&[
        ("README.md", noise(10)),
        (".gitattributes", noise(10)),
        ("data/train-00000.parquet", noise(3000)),
        ("data/test.jsonl", noise(20)),
        ("data2/x.csv", noise(30)),
        ("script.py", noise(10)),
    ]);
    let cache = tempdir().unwrap();
    let hub = hub(&fake, cache.path());
    let all = resolve(&hub, "hf:datasets/org/data").unwrap();
    assert_eq!(names(&all), ["data/test.jsonl", "data/train-00000.parquet", "data2/x.csv"]);
    assert!(all.path.starts_with(cache.path().join("datasets--org--data/snapshots")));
    let folder = resolve(&hub, "hf:datasets/org/data:data").unwrap();
    assert_eq!(names(&folder), ["test.jsonl", "train-00000.parquet"]);
    assert_eq!(folder.paths().map(|path| fs::read(path).unwrap().len()).collect::<Vec<_>>(), [20, 3000]);
    let file = resolve(&hub, "hf:datasets/org/data:data/test.jsonl").unwrap();
    assert_eq!(fs::read(&file.path).unwrap(), noise(20));
    assert_eq!(names(&file), ["test.jsonl"]);
    let error = resolve(&hub, "hf:datasets/org/data:nothing").unwrap_err();
    assert!(matches!(error, Error::NoFile { .. }), "{error:?}");
    fake.hub.forget();
    resolve(&hub, &format!("hf:datasets/org/data@{COMMIT}:data")).unwrap();
    assert!(fake.hub.log().is_empty());
}

#[test]
fn another_commit_than_the_one_asked_for_is_refused() {
    let fake = Fake::new(&[("config.json", b"{}".to_vec()), ("model.safetensors", noise(20))]);
    let cache = tempdir().unwrap();
    fake.hub_fault(|received| {
        let description = description(["config.json", "model.safetensors"].into_iter());
        received.path.contains("/revision/").then(|| Reply::new(200).body(description))
    });
    let pinned = format!("{MODEL}@{}", "f".repeat(40));
    let error = resolve(&hub(&fake, cache.path()), &pinned).unwrap_err();
    assert!(error.to_string().contains("of another commit than the one asked for"), "{error}");
    assert_eq!(fs::read_dir(cache.path()).unwrap().count(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_reference_panics_and_each_round_trips(text in "(hf:)?[a-z./@:\\\\-]{0,30}|\\PC{0,40}") {
        if let Ok(reference) = text.parse::<titer_hub::Reference>() {
            let shown = reference.to_string();
            prop_assert_eq!(shown.parse::<titer_hub::Reference>().unwrap(), reference);
        }
    }
}
