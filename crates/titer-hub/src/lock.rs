//! One download of a file at a time, among threads and processes, Python's `huggingface_hub` included.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::cache::create_parent;
use crate::failure::sleep;
use crate::{Error, Progress, Result};

/// Takes the lock, waiting while its holder's `partial` file grows. `None` where the filesystem knows
/// no locks. The lock ends with the file's handle, so a killed holder leaves none behind.
///
/// # Errors
/// [`Error::Busy`] when `partial` did not change for `patience`; [`Error::Cancelled`].
pub(crate) fn acquire(
    lock: &Path,
    partial: &Path,
    file: &str,
    patience: Duration,
    progress: &mut dyn Progress,
) -> Result<Option<File>> {
    create_parent(lock)?;
    let mut seen = size(partial);
    let mut since = Instant::now();
    loop {
        let handle = File::options().create(true).append(true).open(lock).map_err(Error::writing(lock))?;
        match handle.try_lock() {
            // Python removes lock files: a lock on a removed one keeps nobody out.
            Ok(()) if is_same(&handle, lock) => return Ok(Some(handle)),
            Ok(()) => continue,
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => return Ok(None),
            Err(TryLockError::Error(source)) => {
                return Err(Error::Io { path: lock.to_owned(), action: "lock", source });
            }
        }
        let now = size(partial);
        if now != seen {
            (seen, since) = (now, Instant::now());
        } else if since.elapsed() >= patience {
            return Err(Error::Busy { lock: lock.to_owned(), waited: since.elapsed() });
        }
        sleep(Duration::from_millis(50), file, progress)?;
    }
}

fn size(path: &Path) -> Option<u64> {
    fs::metadata(path).ok().map(|found| found.len())
}

fn is_same(handle: &File, path: &Path) -> bool {
    match (handle.metadata(), fs::metadata(path)) {
        (Ok(held), Ok(found)) => held.ino() == found.ino() && held.dev() == found.dev(),
        _ => false,
    }
}
