//! References to folders and files of this machine, and to titer's own cache of models.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::model::{INDEX, STATE, model_files, record_files, saved_shards, shards};
use crate::resolved::{Content, Resolved};
use crate::{Error, KNOWN, Reference, Result, known, known_model};

/// A folder with more entries than this is no model or data set.
const MOST_ENTRIES: usize = 100_000;
/// Folders within folders, at most.
pub(crate) const DEEPEST: usize = 8;
/// An index of shards is read into memory: at most so much of it.
const MOST_INDEX: u64 = 64 << 20;

/// How the file begins that Git keeps in place of a large one
/// (<https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md>).
const POINTER: &[u8] = b"version https://git-lfs.github.com/spec/";
/// Bytes of such a file at most.
const LONGEST_POINTER: u64 = 1024;

/// A path that exists, else the name of a known model.
pub(crate) fn resolve(path: &Path) -> Result<Resolved> {
    let reference = Reference::Local(path.to_owned());
    if path.is_dir() {
        let files = folder_files(path)?;
        return resolved(path.to_owned(), reference, None, &files);
    }
    if path.is_file() {
        return lone(path.to_owned(), reference, None);
    }
    let name = path.to_str().unwrap_or_default();
    match known_model(name) {
        Some(file) => lone(file, reference, None),
        None => Err(Error::NoSuchPath { path: path.to_owned(), advice: advice(name) }),
    }
}

fn advice(name: &str) -> String {
    if known(name).is_some() {
        return format!("; get this model by `cargo xtask model {name}`");
    }
    let names: Vec<_> = KNOWN.iter().map(|known| known.name).collect();
    format!("; for a model of the hub write hf:OWNER/NAME; models known by name: {}", names.join(", "))
}

/// The files of a folder that matter: a model's or an adapter's, else all records in it.
fn folder_files(path: &Path) -> Result<BTreeSet<String>> {
    let shallow = names_below(path, 0)?;
    let error = match model_files(&shallow, &path.display().to_string()) {
        Ok(files) => return with_shards(path, files),
        Err(error) => error,
    };
    let is_model = shallow.iter().any(|name| {
        matches!(name.as_str(), "config.json" | "adapter_config.json")
            || [".safetensors", ".gguf", ".bin"].iter().any(|end| name.ends_with(end))
    });
    if is_model {
        return Err(error);
    }
    let records = records_below(path)?;
    if records.is_empty() { Err(error) } else { Ok(records) }
}

/// The files of records of a data set: the file itself, or all below a folder, in order.
///
/// # Errors
/// When the folder cannot be read, or holds none.
pub fn record_paths(path: &Path) -> Result<Vec<PathBuf>> {
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let names = records_below(path)?;
    if names.is_empty() {
        let advice =
            "; it holds no file of records: .jsonl, .json, .csv, .tsv, .txt, .parquet or .arrow".to_owned();
        return Err(Error::NoSuchPath { path: path.to_owned(), advice });
    }
    Ok(names.iter().map(|name| path.join(name)).collect())
}

/// The files of records below a folder. Of one that `save_to_disk` wrote all shards that it names must be there: without
/// one of them rows would be missing, and nobody told.
fn records_below(folder: &Path) -> Result<BTreeSet<String>> {
    let names = names_below(folder, DEEPEST)?;
    for state in names.iter().filter(|name| name.rsplit('/').next() == Some(STATE)) {
        let path = folder.join(state);
        let own = path.parent().unwrap_or(folder);
        let text = fs::read(&path).map_err(Error::reading(&path))?;
        for shard in saved_shards(&text, &path.display().to_string())? {
            let shard = own.join(shard);
            if !shard.is_file() {
                return Err(Error::NoSuchPath { path: shard, advice: format!("; {STATE} names it") });
            }
        }
    }
    Ok(record_files(&names, None))
}

/// Adds the shards that an index among `files` of a folder names.
///
/// # Errors
/// When the index is hostile, or a shard is not there.
pub(crate) fn with_shards(folder: &Path, mut files: BTreeSet<String>) -> Result<BTreeSet<String>> {
    if files.contains(INDEX) {
        for shard in shards_of(&folder.join(INDEX))? {
            let path = folder.join(&shard);
            if !path.is_file() {
                let advice = format!("; {INDEX} names it");
                return Err(Error::NoSuchPath { path, advice });
            }
            files.insert(shard);
        }
    }
    Ok(files)
}

/// The shards that an index on disk names.
pub(crate) fn shards_of(index: &Path) -> Result<BTreeSet<String>> {
    let place = index.display().to_string();
    let length = index.metadata().map_err(Error::reading(index))?.len();
    refuse_pointer(index, length)?;
    if length > MOST_INDEX {
        return Err(Error::BadIndex { place, problem: format!("{length} bytes long") });
    }
    shards(&fs::read(index).map_err(Error::reading(index))?, &place)
}

/// All files below `folder`, sorted, relative, with `/`; hidden ones are passed over. Folders within it
/// are entered down to `depth`.
pub(crate) fn names_below(folder: &Path, depth: usize) -> Result<Vec<String>> {
    let mut names = Vec::new();
    let mut seen = 0;
    let mut open = vec![(folder.to_owned(), String::new(), 0)];
    while let Some((inner, prefix, level)) = open.pop() {
        for entry in fs::read_dir(&inner).map_err(Error::reading(&inner))? {
            let entry = entry.map_err(Error::reading(&inner))?;
            seen += 1;
            if seen > MOST_ENTRIES {
                let advice = format!("it holds more than {MOST_ENTRIES} files; name the folder of the model");
                return Err(Error::NoWeights { place: folder.display().to_string(), advice });
            }
            let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
            if name.starts_with('.') {
                continue;
            }
            let path = entry.path();
            let relative = format!("{prefix}{name}");
            if path.is_file() {
                names.push(relative);
            } else if level < depth && path.is_dir() {
                open.push((path, format!("{relative}/"), level + 1));
            }
        }
    }
    names.sort();
    Ok(names)
}

pub(crate) fn resolved(
    path: PathBuf,
    reference: Reference,
    commit: Option<String>,
    names: &BTreeSet<String>,
) -> Result<Resolved> {
    let files = names.iter().map(|name| content(&path.join(name), name)).collect::<Result<_>>()?;
    Ok(Resolved { path, reference, commit, files })
}

pub(crate) fn lone(path: PathBuf, reference: Reference, commit: Option<String>) -> Result<Resolved> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let files = vec![content(&path, &name)?];
    Ok(Resolved { path, reference, commit, files })
}

fn content(path: &Path, name: &str) -> Result<Content> {
    let bytes = path.metadata().map_err(Error::reading(path))?.len();
    refuse_pointer(path, bytes)?;
    Ok(Content { name: name.to_owned(), bytes })
}

/// Refuses a file of so many bytes that is what Git keeps in place of a large one.
fn refuse_pointer(path: &Path, bytes: u64) -> Result<()> {
    if bytes <= LONGEST_POINTER && fs::read(path).map_err(Error::reading(path))?.starts_with(POINTER) {
        return Err(Error::Pointer { path: path.to_owned() });
    }
    Ok(())
}
