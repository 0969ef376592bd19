//! What is stored is believed only after it was checked: BLAKE3 of files, remembered where nothing changed,
//! and JSON that carries its own.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::atomic;
use crate::error::{Error, Result};
use crate::links;
use crate::manifest::{Doubt, FileRecord};

/// A file may be written twice within one tick of its clock, so that a younger one is read again.
const SETTLED: Duration = Duration::from_secs(2);

/// What a file system says of a file, which changes when its bytes do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Whether it is old enough that another write would show.
    fn is_settled(&self) -> bool {
        let last = self.modified.0.max(self.changed.0);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(last).is_ok_and(|last| Duration::from_secs(last) + SETTLED < now)
    }
}

/// The files that this process has read through, by what the file system said of them then. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Remembered(Arc<Mutex<BTreeMap<Stamp, String>>>);

impl Remembered {
    /// How the file at `path` differs from `record`, by its bytes: read now, or when it was last stamped so.
    pub(crate) fn check(&self, record: &FileRecord, path: &Path) -> Result<(), Doubt> {
        record.check_size(path)?;
        let stamp = |metadata: Metadata| Stamp::of(&metadata);
        let before = fs::symlink_metadata(path).map(stamp)?;
        let known = self.map(|known| known.get(&before).cloned());
        let sum = match known {
            Some(sum) => sum,
            None => {
                let found = FileRecord::read(path, String::new())?;
                if before.is_settled()
                    && fs::symlink_metadata(path).map(stamp).is_ok_and(|after| after == before)
                {
                    self.map(|known| known.insert(before, found.blake3.clone()));
                }
                found.blake3
            }
        };
        record.check_sum(&sum)
    }

    fn map<T>(&self, work: impl FnOnce(&mut BTreeMap<Stamp, String>) -> T) -> T {
        // What is guarded is whole after every statement.
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The key under which a JSON object carries the BLAKE3 of its text without it.
const KEY: &str = "blake3";

/// The object with the BLAKE3 of its text as its last member. None where the text is no object.
pub(crate) fn with_sum(json: &str) -> Option<String> {
    let head = json.trim_end().strip_suffix('}')?;
    let comma = if head.trim_end().ends_with('{') { "" } else { "," };
    let sum = blake3::hash(format!("{head}}}").as_bytes()).to_hex();
    Some(format!("{head}{comma}\"{KEY}\":\"{sum}\"}}\n"))
}

/// The text that [`with_sum`] was given, or what is wrong with this one.
pub(crate) fn without_sum(text: &str) -> Result<String, &'static str> {
    const NONE: &str = "it does not end with its BLAKE3: it was cut, or written by an earlier titer";
    let marked = text.trim_end().strip_suffix("\"}").ok_or(NONE)?;
    let (head, sum) = marked.rsplit_once(&format!("\"{KEY}\":\"")).ok_or(NONE)?;
    let whole = format!("{}}}", head.strip_suffix(',').unwrap_or(head));
    if blake3::hash(whole.as_bytes()).to_hex().as_str() == sum {
        Ok(whole)
    } else {
        Err("it is not what was written: its BLAKE3 differs")
    }
}

/// Writes a JSON object, with its BLAKE3, in place of an earlier one.
pub(crate) fn write_json(path: &Path, json: &str) -> Result<()> {
    let text = with_sum(json).ok_or_else(|| Error::writing(path)(io::ErrorKind::InvalidInput.into()))?;
    atomic::write_bytes(path, text.as_bytes())
}

/// The text of a JSON file that carries its BLAKE3.
pub(crate) fn read_json(path: &Path) -> Result<String> {
    check_json(path, &links::read_text(path).map_err(Error::reading(path))?)
}

/// What is wrong with the text of such a file, to the last byte: white space at the end counts too.
pub(crate) fn flaw(text: &str) -> Option<&'static str> {
    match without_sum(text) {
        Err(problem) => Some(problem),
        Ok(json) if with_sum(&json).as_deref() == Some(text) => None,
        Ok(_) => Some("it is not what was written: it ends otherwise"),
    }
}

/// The same of a file that was read already.
pub(crate) fn check_json(path: &Path, text: &str) -> Result<String> {
    without_sum(text).map_err(|problem| Error::Distrusted { path: path.to_owned(), problem })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_object_is_given_back_as_it_was_and_stays_json() {
        for json in ["{}", "{\"a\":1}", "{\n  \"a\": [1, 2],\n  \"blake3\": \"x\"\n}"] {
            let kept = with_sum(json).unwrap();
            assert_eq!(without_sum(&kept).unwrap(), json);
            let value: serde_json::Value = serde_json::from_str(&kept).unwrap();
            assert_eq!(value[KEY].as_str().unwrap().len(), 64);
        }
        assert!(with_sum("[1]").is_none());
        assert!(without_sum("{\"a\":1}").is_err());
    }

    proptest! {
        #[test]
        fn any_flipped_bit_is_found(at in 0usize..1000, bit in 0u8..8) {
            let kept = with_sum("{\"phi\": 0.2, \"defence\": [\"tar\", \"none\"], \"seed\": 7}").unwrap();
            let mut bytes = kept.trim_end().to_owned().into_bytes();
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            let text = String::from_utf8_lossy(&bytes);
            prop_assert!(without_sum(&text).is_err(), "{}", text);
        }
    }

    #[test]
    fn a_file_is_read_again_when_it_changed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("probes.parquet");
        fs::write(&path, b"0.25").unwrap();
        let record = FileRecord::of(&path, "probes.parquet".to_owned()).unwrap();
        let remembered = Remembered::default();
        let settled = || {
            let file = fs::File::options().write(true).open(&path).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(60)).unwrap();
        };
        remembered.check(&record, &path).unwrap();
        // The same size and modification time, one bit apart: the change time tells.
        settled();
        fs::write(&path, b"0.35").unwrap();
        settled();
        let problem = remembered.check(&record, &path).unwrap_err().to_string();
        assert!(problem.contains("BLAKE3"), "{problem}");
    }

    #[test]
    fn what_did_not_change_is_not_read_again() {
        let path = std::env::current_exe().unwrap();
        let record = FileRecord::of(&path, "exe".to_owned()).unwrap();
        let remembered = Remembered::default();
        let stamp = Stamp::of(&fs::symlink_metadata(&path).unwrap());
        // As if other bytes had been seen under this stamp: they are not looked at again.
        remembered.map(|known| known.insert(stamp, "other".to_owned()));
        assert!(remembered.check(&record, &path).is_err());
    }
}
