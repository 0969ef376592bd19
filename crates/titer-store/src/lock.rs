//! The locks of files, where a file system has them. They end with the process, whatever host and pid it had.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;

use crate::error::{Error, Result};

/// Whether somebody holds a file's lock.
#[derive(PartialEq)]
pub(crate) enum Lock {
    Held,
    Free,
    Unknown,
}

/// Looks whether somebody holds a file's lock; if not, it is this process's until the file is closed.
pub(crate) fn look(file: &File) -> Lock {
    loop {
        match file.try_lock() {
            Ok(()) => return Lock::Free,
            Err(TryLockError::WouldBlock) => return Lock::Held,
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(TryLockError::Error(_)) => return Lock::Unknown,
        }
    }
}

/// Waits for a file's lock, which ends when the file is closed. A file system that knows no locks gives none.
pub(crate) fn wait(file: &File, path: &Path) -> Result<()> {
    loop {
        match file.lock() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::Unsupported => return Ok(()),
            done => return done.map_err(Error::locking(path)),
        }
    }
}
