//! Files that other programs wrote: found, read and looked into, with errors that name file and key.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use titer_data::text::python_json;

/// The largest file that is read, in bytes.
const LARGEST: u64 = 1 << 30;
/// Folders below each other that are looked into.
const DEEPEST: usize = 8;

/// What is wrong with somebody else's file.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", path.display())]
pub struct Foreign {
    /// The file or folder.
    pub path: PathBuf,
    /// What is wrong, with the key.
    pub problem: String,
}

impl Foreign {
    pub(crate) fn new(path: &Path, problem: impl Into<String>) -> Self {
        Self { path: path.to_owned(), problem: problem.into() }
    }
}

/// The text of a file.
pub(crate) fn text(path: &Path) -> Result<String, Foreign> {
    let wrong = |error: std::io::Error| Foreign::new(path, format!("cannot be read: {error}"));
    let size = fs::metadata(path).map_err(wrong)?.len();
    if size > LARGEST {
        return Err(Foreign::new(path, format!("has {size} bytes, more than the {LARGEST} that are read")));
    }
    fs::read_to_string(path).map_err(wrong)
}

/// The JSON of a file as Python's `json` writes it: `NaN` and infinities are no numbers, and read as null.
pub(crate) fn json(path: &Path) -> Result<Value, Foreign> {
    let text = text(path)?;
    python_json(&text).map_err(|error| Foreign::new(path, format!("is no JSON: {error}")))
}

/// The object at the top of a file.
pub(crate) fn object<'a>(path: &Path, value: &'a Value) -> Result<&'a Map<String, Value>, Foreign> {
    value.as_object().ok_or_else(|| Foreign::new(path, "expected a JSON object at the top"))
}

/// The files and folders of a folder, by name; links are left alone.
pub(crate) fn entries(folder: &Path) -> Result<Vec<PathBuf>, Foreign> {
    let wrong = |error: std::io::Error| Foreign::new(folder, format!("cannot be read: {error}"));
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder).map_err(wrong)? {
        let entry = entry.map_err(wrong)?;
        if !entry.file_type().map_err(wrong)?.is_symlink() {
            entries.push(entry.path());
        }
    }
    entries.sort();
    Ok(entries)
}

/// All files below a folder whose names `wanted` wants, in order.
pub(crate) fn below(folder: &Path, wanted: &dyn Fn(&str) -> bool) -> Result<Vec<PathBuf>, Foreign> {
    fn add(
        folder: &Path,
        depth: usize,
        wanted: &dyn Fn(&str) -> bool,
        found: &mut Vec<PathBuf>,
    ) -> Result<(), Foreign> {
        for entry in entries(folder)? {
            if entry.is_dir() && depth < DEEPEST {
                add(&entry, depth + 1, wanted, found)?;
            } else if entry.is_file() && wanted(&name(&entry)) {
                found.push(entry);
            }
        }
        Ok(())
    }
    let mut found = Vec::new();
    add(folder, 0, wanted, &mut found)?;
    Ok(found)
}

/// The last part of a path.
pub(crate) fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
