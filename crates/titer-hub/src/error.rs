//! What can go wrong between a reference and a local path: each error says where, what, and what to do.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The result of resolving a reference.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A reference that could not be resolved. No message holds a token or a signed address.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The text is no reference.
    #[error("`{text}`: {problem}; {}", crate::reference::FORMS)]
    BadReference {
        /// As given.
        text: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The environment holds a value that cannot be used.
    #[error("{variable}: {problem}")]
    BadSetting {
        /// The variable or file.
        variable: String,
        /// What is wrong with it, and what to do.
        problem: String,
    },
    /// There is no such file or folder here.
    #[error("{}: no such file or folder{advice}", path.display())]
    NoSuchPath {
        /// The path.
        path: PathBuf,
        /// `; …`, or nothing.
        advice: String,
    },
    /// A file that matters has no content.
    #[error("{}: this file is empty; put its content back, or name another model or data set", path.display())]
    EmptyFile {
        /// The file.
        path: PathBuf,
    },
    /// A file that Git LFS put in place of the one that is meant.
    #[error(
        "{}: a pointer of Git LFS, not the file itself; run `git lfs pull` in its repository, or download the file",
        path.display()
    )]
    Pointer {
        /// The file.
        path: PathBuf,
    },
    /// A folder or repository holds no weights that can be read.
    #[error("{place}: no safetensors weights here; {advice}")]
    NoWeights {
        /// The folder or repository.
        place: String,
        /// What there is instead, and what to do.
        advice: String,
    },
    /// The index of a sharded model is not understood, or names files outside its folder.
    #[error("{place}: {problem}; the repository is damaged or hostile, do not use it")]
    BadIndex {
        /// The index.
        place: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The repository's owner asks readers to accept a licence first.
    #[error(
        "{repository}: access is gated; accept the licence at {page} and set HF_TOKEN \
         to a token of the same account with read access"
    )]
    Gated {
        /// `owner/name`.
        repository: String,
        /// Its page.
        page: String,
    },
    /// The hub does not know the token.
    #[error(
        "{host} refuses the token; make another at {host}/settings/tokens and set HF_TOKEN, \
         or unset it for public repositories"
    )]
    BadToken {
        /// The hub's address.
        host: String,
    },
    /// There is no such repository, or it is private.
    #[error(
        "{repository}: no such repository, or a private one; check the name, or set HF_TOKEN if it is private"
    )]
    NoRepository {
        /// `owner/name`.
        repository: String,
    },
    /// The repository has no such branch, tag or commit.
    #[error(
        "{repository}: no revision `{revision}`; name a branch, a tag or a commit of the repository after `@`"
    )]
    NoRevision {
        /// `owner/name`.
        repository: String,
        /// As asked for.
        revision: String,
    },
    /// The repository has no such file.
    #[error("{repository}: no file `{file}` at revision `{revision}`{advice}")]
    NoFile {
        /// `owner/name`.
        repository: String,
        /// The revision.
        revision: String,
        /// As asked for.
        file: String,
        /// `; …`, or nothing.
        advice: String,
    },
    /// What was downloaded is not what the repository says it is. The hash is git's of the content; of a large file, of the
    /// Git LFS pointer to it, which is made of its SHA-256 and its size.
    #[error(
        "{file}: downloaded content has git's hash {found}, the hub says {expected}; \
         nothing was kept, try again, and without a proxy or mirror if it repeats"
    )]
    WrongHash {
        /// The file.
        file: String,
        /// Of what came.
        found: String,
        /// From the hub.
        expected: String,
    },
    /// What was downloaded is longer or shorter than the repository says.
    #[error("{file}: {found} bytes came, the hub says {expected}; nothing was kept, try again")]
    WrongSize {
        /// The file.
        file: String,
        /// That came.
        found: u64,
        /// From the hub.
        expected: u64,
    },
    /// The hub cannot be reached.
    #[error(
        "cannot reach {host} ({reason}); check the network, HF_ENDPOINT and HTTPS_PROXY, \
         or copy the model here and name its folder"
    )]
    NoNetwork {
        /// Who was called.
        host: String,
        /// The last attempt's end.
        reason: String,
    },
    /// The connection was cut, or the server fell silent, again and again.
    #[error(
        "{file}: the connection to {host} was lost in each of {attempts} attempts, at last by `{reason}`; what came is kept, run again to go on"
    )]
    Cut {
        /// The file.
        file: String,
        /// Who sent it.
        host: String,
        /// How often it was tried.
        attempts: u32,
        /// The last attempt's end.
        reason: String,
    },
    /// HF_HUB_OFFLINE is set, and the cache lacks something.
    #[error(
        "{reference}: HF_HUB_OFFLINE is set and the cache {} lacks {missing}; \
         unset HF_HUB_OFFLINE, or run `titer model pull {reference}` with a network first", cache.display()
    )]
    Offline {
        /// The reference.
        reference: String,
        /// The cache's folder.
        cache: PathBuf,
        /// What it lacks.
        missing: String,
    },
    /// The hub asks for fewer requests.
    #[error(
        "{host} limits the rate of requests{}; try again later, or set HF_TOKEN for a higher limit",
        wait.map(|wait| format!(" for another {} s", wait.as_secs())).unwrap_or_default()
    )]
    RateLimited {
        /// The hub.
        host: String,
        /// How long it asks to wait.
        wait: Option<Duration>,
    },
    /// The server answers with its own fault.
    #[error("{host} answers with status {status} for {file}; try again later")]
    Server {
        /// The hub.
        host: String,
        /// 5xx.
        status: u16,
        /// What was asked for.
        file: String,
    },
    /// The server's answer is not that of a hub.
    #[error("{host}: {problem} (for {file}); if HF_ENDPOINT is set, check that it names a hub")]
    BadAnswer {
        /// Who answered.
        host: String,
        /// What was asked for.
        file: String,
        /// What is wrong with the answer.
        problem: String,
    },
    /// No room for a file.
    #[error("{}: the disk is full ({reason}); free some space, or set HF_HOME to a larger disk, and run again to go on", path.display())]
    DiskFull {
        /// What was to be written.
        path: PathBuf,
        /// The system's word, or what is needed and what there is.
        reason: String,
    },
    /// Another process downloads the file and makes no progress.
    #[error("{}: held by another process which made no progress for {} s; stop that process and run again", lock.display(), waited.as_secs())]
    Busy {
        /// The lock's file.
        lock: PathBuf,
        /// Without a byte of progress.
        waited: Duration,
    },
    /// [`Progress::cancelled`](crate::Progress::cancelled) said so.
    #[error("{file}: stopped; what came is kept, run again to go on")]
    Cancelled {
        /// The file.
        file: String,
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
}

impl Error {
    /// For `map_err` after an attempt to read `path`.
    pub(crate) fn reading(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { path: path.to_owned(), action: "read", source }
    }

    /// For `map_err` after an attempt to write, rename or link `path`.
    pub(crate) fn writing(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| {
            let path = path.to_owned();
            match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    Self::DiskFull { path, reason: source.to_string() }
                }
                _ => Self::Io { path, action: "write", source },
            }
        }
    }

    /// What went wrong, without what to do: for an attempt that others follow.
    pub(crate) fn brief(&self) -> String {
        match self {
            Self::NoNetwork { host, reason } | Self::Cut { host, reason, .. } => format!("{host}: {reason}"),
            Self::RateLimited { host, .. } => format!("{host} limits the rate of requests"),
            Self::Server { host, status, .. } => format!("{host} answers with status {status}"),
            _ => self.to_string(),
        }
    }

    /// Whether the hub could not be asked, so that what is cached is the best there is.
    pub(crate) fn is_unreachable(&self) -> bool {
        matches!(
            self,
            Self::NoNetwork { .. } | Self::Cut { .. } | Self::Server { .. } | Self::RateLimited { .. }
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_recognised() {
        let check = |errno: rustix::io::Errno, expected: &str| {
            let error = Error::writing(Path::new("c/blobs/x"))(errno.into());
            assert!(error.to_string().starts_with("c/blobs/x: "), "{error}");
            assert!(error.to_string().contains(expected), "{error}");
        };
        check(rustix::io::Errno::NOSPC, "the disk is full");
        check(rustix::io::Errno::DQUOT, "the disk is full");
        check(rustix::io::Errno::ACCESS, "cannot write");
    }
}
