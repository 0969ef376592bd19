//! Stores of strangers: any file of a small finished one is replaced, and every sum that covers it is right again.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde_json::Value;
use titer_plan::StageHash;
use titer_store::Store;

use crate::{Seeds, folder, repository};

/// The experiment in the store.
pub const EXPERIMENT: &str = "tiny";

/// What says where the finished store is; `cargo xtask fuzz` makes one.
const VARIABLE: &str = "TITER_FUZZ_STORE";

/// A finished store, which no target changes.
pub fn finished() -> PathBuf {
    std::env::var_os(VARIABLE).map_or_else(|| repository("fuzz/store"), PathBuf::from)
}

/// All files of the finished store, by their paths in it.
pub fn all() -> &'static Seeds {
    static ALL: OnceLock<Seeds> = OnceLock::new();
    ALL.get_or_init(|| {
        let root = finished();
        let mut files = Seeds::new();
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            let entries = fs::read_dir(&folder).unwrap_or_else(|error| {
                panic!("{}: {error}: `cargo xtask fuzz` makes this store", folder.display())
            });
            for entry in entries {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let name = path.strip_prefix(&root).expect("below").to_string_lossy().into_owned();
                files.push((name, fs::read(&path).expect("a file of the store")));
            }
        }
        files.sort();
        files
    })
}

/// The artifacts in it.
pub fn artifacts() -> Vec<StageHash> {
    let mut hashes: Vec<StageHash> = all()
        .iter()
        .filter_map(|(name, _)| name.strip_prefix("artifacts/")?.split_once('/'))
        .map(|(hash, _)| StageHash(hash.to_owned()))
        .collect();
    hashes.dedup();
    hashes
}

/// Files as inputs of a target, their name in the first line.
pub fn inputs(wanted: impl Fn(&str) -> bool) -> Seeds {
    let named = |(name, bytes): &(String, Vec<u8>)| {
        let mut input = format!("{name}\n").into_bytes();
        input.extend(bytes);
        (name.clone(), input)
    };
    all().iter().filter(|(name, bytes)| wanted(name) && bytes.len() < 60_000).map(named).collect()
}

/// A copy of the store in the target's folder, made once.
pub fn copy() -> &'static Path {
    static COPY: OnceLock<PathBuf> = OnceLock::new();
    COPY.get_or_init(|| {
        let root = folder().join("copies/of/the/store");
        for (name, bytes) in all() {
            put(&root.join(name), bytes);
        }
        root
    })
}

fn put(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().expect("below a folder")).expect("a folder of the copy");
    fs::write(path, bytes).expect("a file of the copy");
}

/// The copy with one file replaced; it is as it was when this is dropped.
pub struct Replaced {
    changed: Vec<PathBuf>,
}

impl Replaced {
    /// Replaces the file of that name. None where no store has a file of that name.
    pub fn new(name: &str, bytes: &[u8]) -> Option<Self> {
        all().iter().find(|(known, _)| known == name)?;
        let mut replaced = Self { changed: Vec::new() };
        let summed =
            name.starts_with("experiments/") && name.ends_with(".json") && !name.ends_with("control.json");
        replaced.put(name, &if summed { with_sum(bytes) } else { bytes.to_vec() });
        let artifact = name.strip_prefix("artifacts/").and_then(|name| name.split_once('/'));
        if let Some((hash, file)) = artifact.filter(|(_, file)| *file != "SEALED") {
            replaced.seal(hash, file, bytes);
        }
        Some(replaced)
    }

    /// The store with it.
    pub fn store(&self) -> Option<Store> {
        Store::open(copy()).ok()
    }

    /// Makes the manifest and the seal of an artifact right again.
    fn seal(&mut self, hash: &str, file: &str, bytes: &[u8]) {
        let name = format!("artifacts/{hash}/manifest.json");
        let manifest = if file == "manifest.json" {
            bytes.to_vec()
        } else {
            let known = all().iter().find(|(known, _)| *known == name);
            let Some(mut manifest) = known.and_then(|(_, bytes)| serde_json::from_slice::<Value>(bytes).ok())
            else {
                return;
            };
            let (sum, size) = (blake3::hash(bytes).to_hex().to_string(), bytes.len());
            let set = |record: &mut Value| {
                if record["name"] == file {
                    record["blake3"] = sum.clone().into();
                    record["size"] = size.into();
                }
            };
            manifest["files"].as_array_mut().into_iter().flatten().for_each(set);
            set(&mut manifest["log"]);
            manifest.to_string().into_bytes()
        };
        self.put(&name, &manifest);
        self.put(&format!("artifacts/{hash}/SEALED"), blake3::hash(&manifest).to_hex().as_bytes());
    }

    fn put(&mut self, name: &str, bytes: &[u8]) {
        let path = copy().join(name);
        put(&path, bytes);
        self.changed.push(path);
    }
}

impl Drop for Replaced {
    fn drop(&mut self) {
        for path in &self.changed {
            let known = all().iter().find(|(name, _)| copy().join(name) == *path);
            match known {
                Some((_, bytes)) => put(path, bytes),
                None => drop(fs::remove_file(path)),
            }
        }
    }
}

/// What a JSON object is stored as: the BLAKE3 of its text is its last member. One that it has is made right; anything
/// that is no object stays as it is.
pub fn with_sum(json: &[u8]) -> Vec<u8> {
    const KEY: &[u8] = b"\"blake3\":\"";
    let end = json.trim_ascii_end();
    let Some(mut head) = end.strip_suffix(b"}") else { return json.to_vec() };
    if let Some(at) = head.windows(KEY.len()).rposition(|part| part == KEY)
        && head[at..].len() == KEY.len() + 65
    {
        head = head[..at].strip_suffix(b",").unwrap_or(&head[..at]);
    }
    let mut whole = head.to_vec();
    whole.push(b'}');
    let sum = blake3::hash(&whole).to_hex();
    let comma = if head.trim_ascii_end().ends_with(b"{") { "" } else { "," };
    whole.pop();
    whole.extend(format!("{comma}\"blake3\":\"{sum}\"}}\n").as_bytes());
    whole
}
