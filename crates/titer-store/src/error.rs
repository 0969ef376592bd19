//! What can go wrong in a store: each error says where, what, and what to do.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::holder::processes;

/// The result of an operation on a store.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An operation on a store that could not be done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no store at the path.
    #[error("{}: no titer store here; name another folder by --store, or make one by `titer run`", path.display())]
    NoStore {
        /// The root that was asked for.
        path: PathBuf,
    },
    /// The store was written by a later titer.
    #[error(
        "{}: the store has format {found}, this titer reads up to {supported}; \
         upgrade titer, or name another folder by --store", path.display()
    )]
    NewerFormat {
        /// The store's `store.json`.
        path: PathBuf,
        /// Its format.
        found: u64,
        /// The newest format that this code reads.
        supported: u64,
    },
    /// A path that must be a folder is not one.
    #[error("{}: not a folder; name another folder by --store", path.display())]
    NotAFolder {
        /// The path.
        path: PathBuf,
    },
    /// The store cannot be written. Reading it still works.
    #[error(
        "{}: the store is read-only ({source}); \
         make it writable, or name another folder by --store", path.display()
    )]
    ReadOnly {
        /// What was to be written.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// A symbolic link stands inside the store, which is never followed.
    #[error(
        "{}: a symbolic link inside the store, which titer does not follow; \
         put what it leads to in its place, or remove the link", path.display()
    )]
    Link {
        /// The link.
        path: PathBuf,
    },
    /// No room was left. What was sealed before is whole.
    #[error(
        "{}: the disk is full ({source}); free some space and run again: \
         sealed artifacts are whole, and the stage goes on from its last checkpoint", path.display()
    )]
    DiskFull {
        /// What was to be written.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// Any other refusal by the system.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried: `read`, `write`, `lock`.
        action: &'static str,
        /// The system's word.
        source: io::Error,
    },
    /// The closure that fills a file or a checkpoint failed.
    #[error("{}: could not be filled: {source}", path.display())]
    Fill {
        /// What was to be filled.
        path: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Another process writes the artifact.
    #[error(
        "{}: being written by process {pid} on {host} (last heartbeat {} ago); \
         wait for it, or stop it and run again", path.display(), humantime::format_duration(whole_seconds(*age))
    )]
    Busy {
        /// The artifact's folder.
        path: PathBuf,
        /// Where the writer runs.
        host: String,
        /// The writer's process id there.
        pid: u32,
        /// Since its last heartbeat.
        age: Duration,
    },
    /// The writer was silent for so long that another took its place.
    #[error(
        "{}: another process took over this artifact while this one was suspended; \
         leave it to that one, or run again when it has ended", path.display()
    )]
    LeaseLost {
        /// The artifact's folder.
        path: PathBuf,
    },
    /// A sealed artifact is never edited.
    #[error("{}: sealed, so it cannot be changed; a changed result needs a changed spec", path.display())]
    Sealed {
        /// The artifact's folder.
        path: PathBuf,
    },
    /// Only a sealed artifact has a manifest and payload.
    #[error("{}: not finished; run its experiment to the end first", path.display())]
    NotSealed {
        /// The artifact's folder.
        path: PathBuf,
    },
    /// The artifact has no payload of that name.
    #[error("{}: no payload of this name; the artifact has: {}", path.display(), listed(present))]
    NoPayload {
        /// Where it would be.
        path: PathBuf,
        /// The payloads that there are.
        present: Vec<String>,
    },
    /// Weights that were dropped to save room.
    #[error(
        "{}: dropped to save room by `titer gc`; a stage that needs it has it made anew, and so does \
         `titer resume EXPERIMENT --weights`", path.display()
    )]
    Dropped {
        /// Where it was.
        path: PathBuf,
        /// The artifact.
        hash: titer_plan::StageHash,
    },
    /// Runs of an experiment live that is to be removed.
    #[error("{experiment} runs: {}; stop it first: titer stop {experiment}", processes(runs))]
    Alive {
        /// The experiment.
        experiment: String,
        /// Its runs.
        runs: Vec<crate::Holder>,
    },
    /// What an experiment names is not known, so that nothing may be removed that it might name.
    #[error(
        "{experiment}: nobody knows which artifacts it names, so nothing was removed: {source}; run its spec again, \
         or remove it by `titer rm {experiment}`"
    )]
    Unnamed {
        /// The experiment.
        experiment: String,
        /// Why.
        source: Box<Error>,
    },
    /// A file of a sealed artifact is not what was sealed.
    #[error(
        "{}: damaged: {problem}; run the experiment again, which moves {} away and makes it anew",
        path.display(), artifact.display()
    )]
    Damaged {
        /// The damaged file.
        path: PathBuf,
        /// How it differs.
        problem: String,
        /// The artifact's folder.
        artifact: PathBuf,
    },
    /// A file of a sealed artifact cannot be read, so that nobody knows whether it is what was sealed.
    #[error(
        "{}: cannot read: {source}; nothing was changed: run again when it can be read, or move {} away to have it made anew",
        path.display(), artifact.display()
    )]
    Unread {
        /// The file.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
        /// The artifact's folder.
        artifact: PathBuf,
    },
    /// A file that carries its own BLAKE3 is not what was written.
    #[error("{}: damaged: {problem}; run the experiment again, which writes it anew", path.display())]
    Distrusted {
        /// The file.
        path: PathBuf,
        /// How it differs.
        problem: &'static str,
    },
    /// A file that titer wrote cannot be understood.
    #[error("{}: {problem}; restore the file, or remove it and run again", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A bundle that cannot be read.
    #[error("{}: not a bundle that can be read: {problem}; ask for a whole copy of what `titer bundle` wrote", path.display())]
    Bundle {
        /// The bundle.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A name that is no plain file name.
    #[error("`{name}`: not a usable name: {problem}; use letters, digits, `-`, `_` and `.`")]
    BadName {
        /// As given.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The store has no such experiment.
    #[error("{}: no such experiment; the store has: {}", path.display(), listed(present))]
    NoExperiment {
        /// Where it would be.
        path: PathBuf,
        /// The experiments that there are.
        present: Vec<String>,
    },
}

impl Error {
    /// For `map_err` after an attempt to read `path`.
    pub(crate) fn reading(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| match source.kind() {
            _ if is_link(path, &source) => Self::Link { path: path.to_owned() },
            io::ErrorKind::NotADirectory => Self::NotAFolder { path: folder_above(path) },
            _ => Self::Io { path: path.to_owned(), action: "read", source },
        }
    }

    /// For `map_err` after an attempt to write, rename or remove `path`.
    pub(crate) fn writing(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| {
            let path = path.to_owned();
            match source.kind() {
                _ if is_link(&path, &source) => Self::Link { path },
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull { path, source },
                io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
                    Self::ReadOnly { path, source }
                }
                io::ErrorKind::NotADirectory => Self::NotAFolder { path: folder_above(&path) },
                _ => Self::Io { path, action: "write", source },
            }
        }
    }

    /// For `map_err` after an attempt to lock `path`.
    pub(crate) fn locking(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { path: path.to_owned(), action: "lock", source }
    }

    /// For `map_err` after a caller's closure: a full disk is recognised beneath the caller's own error.
    pub(crate) fn filling<E>(path: &Path) -> impl FnOnce(E) -> Self
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        move |error| {
            let source = error.into();
            let path = path.to_owned();
            match full_disk(source.as_ref()) {
                Some(source) => Self::DiskFull { path, source },
                None => Self::Fill { path, source },
            }
        }
    }
}

/// Whether the system refused to open `path` because it is a link.
fn is_link(path: &Path, source: &io::Error) -> bool {
    source.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) && path.is_symlink()
}

/// Whether an attempt to read a file says that it is not there as it was written. Anything else says nothing of the file:
/// a disk or a server that fails, a permission that was taken away, too many open files.
pub(crate) fn is_damage(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    let replaced = error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error());
    let kinds =
        [Kind::NotFound, Kind::NotADirectory, Kind::IsADirectory, Kind::InvalidData, Kind::UnexpectedEof];
    replaced || kinds.contains(&error.kind())
}

/// The nearest ancestor that exists and is no folder, else the path itself.
fn folder_above(path: &Path) -> PathBuf {
    path.ancestors().find(|above| above.exists() && !above.is_dir()).unwrap_or(path).to_owned()
}

/// A copy of the first full-disk error among an error and its sources.
fn full_disk(error: &(dyn std::error::Error + 'static)) -> Option<io::Error> {
    std::iter::successors(Some(error), |error| error.source())
        .filter_map(|error| error.downcast_ref::<io::Error>())
        .find(|error| matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
        .map(|error| match error.raw_os_error() {
            Some(code) => io::Error::from_raw_os_error(code),
            None => error.kind().into(),
        })
}

fn whole_seconds(age: Duration) -> Duration {
    Duration::from_secs(age.as_secs())
}

fn listed(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_errors_are_recognised() {
        let check = |errno: rustix::io::Errno, expected: &str| {
            let error = Error::writing(Path::new("s/x"))(errno.into());
            assert!(error.to_string().contains(expected), "{error}");
            assert!(error.to_string().starts_with("s/x: "), "{error}");
        };
        check(rustix::io::Errno::NOSPC, "the disk is full");
        check(rustix::io::Errno::DQUOT, "the disk is full");
        check(rustix::io::Errno::ROFS, "read-only");
        check(rustix::io::Errno::PERM, "read-only");
        check(rustix::io::Errno::IO, "cannot write");
    }

    #[test]
    fn a_full_disk_is_found_beneath_a_callers_error() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot save the weights")]
        struct Weights(#[source] io::Error);
        let full = Weights(rustix::io::Errno::NOSPC.into());
        assert!(matches!(Error::filling(Path::new("m"))(full), Error::DiskFull { .. }));
        let other = Weights(rustix::io::Errno::IO.into());
        assert!(matches!(Error::filling(Path::new("m"))(other), Error::Fill { .. }));
    }
}
