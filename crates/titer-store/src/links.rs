//! No symbolic link inside a store is followed. A store may come from elsewhere, and whoever made it could
//! otherwise have this process read, cut, overwrite or remove what lies behind the link.
//!
//! The store's root itself may be reached by links: which folder that is, is the user's own word.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

use crate::error::{Error, Result};

/// Options by which a file of a store is opened: a link in its place is an error, which
/// [`Error::reading`] and [`Error::writing`] name. A pipe in its place is empty, and not waited for.
pub(crate) fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    // The flags' bits fit: they are those of the system's `open`.
    options.custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed());
    options
}

/// Opens a file of a store to read it.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    options().read(true).open(path)
}

/// A whole file of a store.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut open(path)?, &mut bytes)?;
    Ok(bytes)
}

/// A whole file of a store, as text.
pub(crate) fn read_text(path: &Path) -> io::Result<String> {
    io::read_to_string(open(path)?)
}

/// Whether there is a file here, and not a link to one.
pub(crate) fn is_file(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|metadata| metadata.is_file())
}

/// Whether there is a folder here, and not a link to one.
pub(crate) fn is_folder(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir())
}

/// Fails where `path` is a link.
pub(crate) fn refuse(path: &Path) -> Result<()> {
    match path.symlink_metadata() {
        Ok(metadata) if metadata.is_symlink() => Err(Error::Link { path: path.to_owned() }),
        _ => Ok(()),
    }
}

/// Fails where `path` is a link, or one of the folders between `root` and it.
pub(crate) fn refuse_below(root: &Path, path: &Path) -> Result<()> {
    let mut above: Vec<&Path> = path.ancestors().take_while(|ancestor| *ancestor != root).collect();
    above.reverse();
    above.into_iter().try_for_each(refuse)
}
