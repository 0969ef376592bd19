//! What is there, by its bytes, without reading again what did not change.
//!
//! As in Git's index, a file is taken for unchanged while its size, its times, its inode and its device are those
//! at which it was hashed. A file that was touched within [`RACY`] before it was hashed is hashed again: a later
//! write might have left the same times.
//!
//! What is remembered lies in titer's cache of this user and not in a store: it says what the files of this machine
//! are, all stores and `titer plan` without one need it, and a store may come from a stranger, who must not say
//! what is where.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf, absolute};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use blake3::Hasher;
use serde::{Deserialize, Serialize};

use crate::known::cache_dir;
use crate::{Error, Resolved, Result};

/// Read at a time; large enough that hashing it by several threads pays.
const CHUNK: usize = 4 << 20;
/// Changed when the way of hashing changes.
const DOMAIN: &[u8] = b"titer content 1";
/// Of the file that remembers; one of another version is begun anew.
const VERSION: u32 = 1;
/// The coarsest clock of a file system that is in use (FAT's).
const RACY: Duration = Duration::from_secs(2);
/// With so many files, those that are gone are forgotten.
const MANY: usize = 4096;

/// What a reference leads to, by its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// BLAKE3 in hexadecimal over the names, sizes and contents of [`Resolved::files`]. The same content has the
    /// same identity wherever it lies: on the hub, in a folder, at another commit. A lone file counts by its
    /// content alone, so that renaming it changes nothing.
    pub whole: String,
    /// BLAKE3 of each file's content, by its name.
    pub files: BTreeMap<String, String>,
}

/// The identities of files, and where they are remembered.
#[derive(Debug, Default)]
pub struct Identities {
    /// None to remember nothing beyond this value's life.
    index: Option<PathBuf>,
    known: BTreeMap<PathBuf, Seen>,
    /// What was hashed since it was last saved.
    news: BTreeMap<PathBuf, Seen>,
    /// Bytes read so far.
    read: u64,
}

/// A file as it was when it was hashed. Times in nanoseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    bytes: u64,
    modified: i64,
    changed: i64,
    inode: u64,
    device: u64,
    /// When the hashing began.
    hashed: i64,
    hash: String,
}

#[derive(Serialize, Deserialize)]
struct Index {
    version: u32,
    files: BTreeMap<PathBuf, Seen>,
}

impl Identities {
    /// As remembered in titer's cache of this user. A damaged memory is none.
    pub fn of_this_user() -> Self {
        cache_dir().map_or_else(|_| Self::default(), |cache| Self::remembered_in(cache.join("sources.json")))
    }

    /// As remembered in that file, which need not be there.
    pub fn remembered_in(index: PathBuf) -> Self {
        Self { known: load(&index), index: Some(index), ..Self::default() }
    }

    /// What `resolved` is now.
    ///
    /// # Errors
    /// When a file cannot be read or is empty.
    pub fn identify(&mut self, resolved: &Resolved) -> Result<Identity> {
        let lone = resolved.path.is_file();
        let mut whole = Hasher::new();
        whole.update(DOMAIN);
        let mut files = BTreeMap::new();
        for (file, path) in resolved.files.iter().zip(resolved.paths()) {
            let name = if lone { "" } else { file.name.as_str() };
            let (bytes, hash) = self.digest(&path)?;
            whole.update(&(name.len() as u64).to_le_bytes());
            whole.update(name.as_bytes());
            whole.update(&bytes.to_le_bytes());
            whole.update(hash.as_bytes());
            files.insert(file.name.clone(), hash.to_hex().to_string());
        }
        Ok(Identity { whole: whole.finalize().to_hex().to_string(), files })
    }

    /// Bytes that had to be read, since nothing was known of them.
    pub fn bytes_read(&self) -> u64 {
        self.read
    }

    /// Size and hash of a file as it is now.
    fn digest(&mut self, path: &Path) -> Result<(u64, blake3::Hash)> {
        let metadata = path.metadata().map_err(Error::reading(path))?;
        if metadata.len() == 0 {
            return Err(Error::EmptyFile { path: path.to_owned() });
        }
        let key = absolute(path).map_err(Error::reading(path))?;
        let known = self.news.get(&key).or_else(|| self.known.get(&key));
        let remembered = known.filter(|seen| seen.still(&metadata));
        if let Some(hash) = remembered.and_then(|seen| blake3::Hash::from_hex(&seen.hash).ok()) {
            return Ok((metadata.len(), hash));
        }
        let now = nanoseconds(SystemTime::now());
        let (bytes, hash) = read(path)?;
        self.read += bytes;
        // JSON has no word for another name.
        if key.to_str().is_some() {
            self.news.insert(key, Seen::new(&metadata, now, hash));
        }
        Ok((bytes, hash))
    }

    /// Remembers what was hashed. Where that fails it is read again next time, so it is no error.
    pub fn save(&mut self) {
        let Some(index) = self.index.as_ref().filter(|_| !self.news.is_empty()) else { return };
        // Another process may have learnt something meanwhile.
        self.known = load(index);
        self.known.append(&mut self.news);
        if self.known.len() > MANY {
            self.known.retain(|path, _| path.exists());
        }
        let text = serde_json::to_vec(&Index { version: VERSION, files: self.known.clone() });
        let Ok(text) = text else { return };
        let temporary = index.with_extension(format!("{}.tmp", std::process::id()));
        let folder = index.parent().map_or(Ok(()), fs::create_dir_all);
        let written =
            folder.and_then(|()| fs::write(&temporary, text)).and_then(|()| fs::rename(&temporary, index));
        if written.is_err() {
            let _ = fs::remove_file(&temporary);
        }
    }
}

impl Seen {
    fn new(metadata: &Metadata, hashed: i64, hash: blake3::Hash) -> Self {
        Self {
            bytes: metadata.len(),
            modified: time(metadata.mtime(), metadata.mtime_nsec()),
            changed: time(metadata.ctime(), metadata.ctime_nsec()),
            inode: metadata.ino(),
            device: metadata.dev(),
            hashed,
            hash: hash.to_hex().to_string(),
        }
    }

    /// Whether the file is certainly as it was.
    fn still(&self, metadata: &Metadata) -> bool {
        let racy = i64::try_from(RACY.as_nanos()).unwrap_or(i64::MAX);
        self.modified.max(self.changed) < self.hashed.saturating_sub(racy)
            && self.bytes == metadata.len()
            && self.modified == time(metadata.mtime(), metadata.mtime_nsec())
            && self.changed == time(metadata.ctime(), metadata.ctime_nsec())
            && self.inode == metadata.ino()
            && self.device == metadata.dev()
    }
}

fn time(seconds: i64, nanoseconds: i64) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds)
}

fn nanoseconds(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

fn load(index: &Path) -> BTreeMap<PathBuf, Seen> {
    let read = || serde_json::from_slice::<Index>(&fs::read(index).ok()?).ok();
    read().filter(|index| index.version == VERSION).map(|index| index.files).unwrap_or_default()
}

/// Plain reads: a mapped file that shrinks would end the process.
fn read(path: &Path) -> Result<(u64, blake3::Hash)> {
    let mut file = File::open(path).map_err(Error::reading(path))?;
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; CHUNK];
    let mut bytes = 0;
    loop {
        let mut filled = 0;
        while filled < buffer.len() {
            match file.read(&mut buffer[filled..]).map_err(Error::reading(path))? {
                0 => break,
                count => filled += count,
            }
        }
        hasher.update_rayon(&buffer[..filled]);
        bytes += filled as u64;
        if filled < buffer.len() {
            return Ok((bytes, hasher.finalize()));
        }
    }
}
