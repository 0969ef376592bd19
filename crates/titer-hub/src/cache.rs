//! The folder of one repository in the cache, laid out as `huggingface_hub` lays it out:
//!
//! ```text
//! models--OWNER--NAME/
//!   refs/REVISION              the commit that a branch or tag stood at
//!   blobs/HASH                 content, under its SHA-256 (large files) or git's hash; HASH.incomplete while it comes,
//!                              of a large file under git's hash of its pointer until the SHA-256 is known
//!   snapshots/COMMIT/FILE      links to blobs
//!   .titer/COMMIT.json         titer's own: the names of the commit's files, so that a pinned commit
//!                              needs no network; Python passes over it
//! .locks/models--OWNER--NAME/HASH.lock
//! ```
//!
//! Every file is written beside its place and renamed, so that no reader sees half of one.

use std::fs;
use std::io;
use std::os::unix::fs as unix;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::reference::{Kind, Remote, is_commit, unsafe_path};
use crate::{Error, Result};

/// How a blob's name ends while it comes.
pub(crate) const INCOMPLETE: &str = ".incomplete";

pub(crate) struct Folder {
    cache: PathBuf,
    name: String,
}

impl Folder {
    pub(crate) fn new(cache: &Path, remote: &Remote) -> Self {
        let kind = match remote.kind {
            Kind::Model => "models",
            Kind::DataSet => "datasets",
        };
        let name = format!("{kind}--{}", remote.repository.replace('/', "--"));
        Self { cache: cache.to_owned(), name }
    }

    fn root(&self) -> PathBuf {
        self.cache.join(&self.name)
    }

    pub(crate) fn snapshot(&self, commit: &str) -> PathBuf {
        self.root().join("snapshots").join(commit)
    }

    /// A file of a snapshot, if it is there and its blob as well.
    pub(crate) fn find(&self, commit: &str, file: &str) -> Option<PathBuf> {
        Some(self.snapshot(commit).join(file)).filter(|path| path.is_file())
    }

    /// The first file of a snapshot, by name, whose link leads to no blob: one that was deleted, or never came.
    pub(crate) fn dangling(&self, commit: &str) -> Option<String> {
        let entries = fs::read_dir(self.snapshot(commit)).ok()?;
        let gone = entries.flatten().filter(|entry| entry.path().is_symlink() && !entry.path().exists());
        gone.filter_map(|entry| entry.file_name().into_string().ok()).min()
    }

    pub(crate) fn blob(&self, hash: &str) -> PathBuf {
        self.root().join("blobs").join(hash)
    }

    /// The SHA-256 that a whole or partial blob is named by, of those that `fits`.
    pub(crate) fn sha256(&self, fits: impl Fn(&str) -> bool) -> Option<String> {
        let entries = fs::read_dir(self.root().join("blobs")).ok()?;
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let hashes = names.map(|name| name.trim_end_matches(INCOMPLETE).to_owned());
        let mut fitting = hashes.filter(|hash| hash.len() == 64 && fits(hash));
        fitting.next()
    }

    pub(crate) fn lock(&self, hash: &str) -> PathBuf {
        self.cache.join(".locks").join(&self.name).join(format!("{hash}.lock"))
    }

    /// The commit that a branch or tag stood at when it was last asked for.
    pub(crate) fn commit_of(&self, revision: &str) -> Option<String> {
        let text = fs::read_to_string(self.root().join("refs").join(revision)).ok()?;
        Some(text.trim().to_owned()).filter(|commit| is_commit(commit))
    }

    pub(crate) fn set_commit(&self, revision: &str, commit: &str) -> Result<()> {
        if revision == commit || self.commit_of(revision).as_deref() == Some(commit) {
            return Ok(());
        }
        write_whole(&self.root().join("refs").join(revision), commit.as_bytes())
    }

    fn listing_path(&self, commit: &str) -> PathBuf {
        self.root().join(".titer").join(format!("{commit}.json"))
    }

    /// The names of all files of a commit, if it was asked for before.
    pub(crate) fn listing(&self, commit: &str) -> Option<Vec<String>> {
        let text = fs::read(self.listing_path(commit)).ok()?;
        let names: Vec<String> = serde_json::from_slice(&text).ok()?;
        names.iter().all(|name| unsafe_path(name).is_none()).then_some(names)
    }

    pub(crate) fn set_listing(&self, commit: &str, names: &[String]) -> Result<()> {
        let path = self.listing_path(commit);
        let text = serde_json::to_vec(names).map_err(io::Error::from).map_err(Error::writing(&path))?;
        write_whole(&path, &text)
    }

    /// Makes `file` of a snapshot mean a blob, and returns its path.
    pub(crate) fn link(&self, commit: &str, file: &str, hash: &str) -> Result<PathBuf> {
        let path = self.snapshot(commit).join(file);
        create_parent(&path)?;
        let up = "../".repeat(2 + file.matches('/').count());
        let beside = beside(&path);
        match unix::symlink(format!("{up}blobs/{hash}"), &beside) {
            Ok(()) => fs::rename(&beside, &path).map_err(Error::writing(&path))?,
            // A filesystem without links holds the content itself, as in `huggingface_hub`.
            Err(error)
                if matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::PermissionDenied) =>
            {
                fs::rename(self.blob(hash), &path).map_err(Error::writing(&path))?;
            }
            Err(error) => return Err(Error::writing(&path)(error)),
        }
        Ok(path)
    }
}

pub(crate) fn create_parent(path: &Path) -> Result<()> {
    match path.parent() {
        Some(parent) => fs::create_dir_all(parent).map_err(Error::writing(parent)),
        None => Ok(()),
    }
}

fn write_whole(path: &Path, content: &[u8]) -> Result<()> {
    create_parent(path)?;
    let beside = beside(path);
    fs::write(&beside, content)
        .and_then(|()| fs::rename(&beside, path))
        .inspect_err(|_| drop(fs::remove_file(&beside)))
        .map_err(Error::writing(path))
}

/// A name in the same folder that no other writer uses.
fn beside(path: &Path) -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}.{count}.tmp", process::id()))
}
