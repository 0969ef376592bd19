//! The file operations that a store is made of. Each either happens wholly or not at all, so that a
//! kill falls between two of them; the crash tests look at the disk at every such moment.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use crate::error::{Error, Result};
use crate::links;

/// A moment at which a kill may fall.
#[cfg(not(test))]
pub(crate) fn moment() {}

/// Names in a folder are durable.
#[cfg(not(test))]
fn synced(_folder: &Path) {}

#[cfg(test)]
pub(crate) use crate::tests::crash::moment;
#[cfg(test)]
use crate::tests::crash::synced;

/// How often a folder is made before another who removes it has had his way.
const TRIES: usize = 8;

/// Creates a folder with those above it, durably.
pub(crate) fn create_folder(path: &Path) -> Result<()> {
    // One above that is still empty may be removed meanwhile by whoever tidies.
    for _ in 1..TRIES {
        match make_folder(path) {
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            done => return done,
        }
    }
    make_folder(path)
}

fn make_folder(path: &Path) -> Result<()> {
    links::refuse(path)?;
    if path.is_dir() {
        return Ok(());
    }
    let is_new = |above: &&Path| !above.as_os_str().is_empty() && !above.is_dir();
    let new: Vec<&Path> = path.ancestors().take_while(is_new).collect();
    moment();
    fs::create_dir_all(path).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => Error::NotAFolder { path: path.to_owned() },
        _ => Error::writing(path)(source),
    })?;
    // Each new name is another folder's to keep.
    new.into_iter().rev().try_for_each(sync_parent)
}

/// Lets `fill` write a temporary sibling of `path`, makes it durable, and renames it to `path`.
pub(crate) fn replace<T, E>(path: &Path, fill: impl FnOnce(&Path) -> Result<T, E>) -> Result<T>
where
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let temporary = sibling(path);
    // What stands there is no living writer's, and a link there would lead the closure elsewhere.
    remove(&temporary)?;
    moment();
    let done = fill(&temporary).map_err(Error::filling(path)).and_then(|value| {
        moment();
        make_readable(&temporary, mask()).map_err(Error::writing(path))?;
        sync(&temporary).map_err(Error::writing(path))?;
        rename(&temporary, path)?;
        Ok(value)
    });
    if done.is_err() {
        // The first error is the one to tell; a leftover is swept by the next writer.
        let _ = remove(&temporary);
    }
    done
}

/// [`replace`] with these bytes.
pub(crate) fn write_bytes(path: &Path, bytes: &[u8]) -> Result<()> {
    let temporary = sibling(path);
    moment();
    let done = links::options()
        .write(true)
        .create(true)
        .truncate(true)
        .open(&temporary)
        .and_then(|mut file| {
            moment();
            file.write_all(bytes)?;
            moment();
            file.sync_all()
        })
        .map_err(Error::writing(path))
        .and_then(|()| rename(&temporary, path));
    if done.is_err() {
        let _ = remove(&temporary);
    }
    done
}

/// Renames within a folder, durably.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<()> {
    moment();
    fs::rename(from, to).map_err(Error::writing(to))?;
    sync_parent(to)
}

/// Removes a file, or a folder with all in it; does nothing where there is none.
pub(crate) fn remove(path: &Path) -> Result<()> {
    let Ok(kind) = path.symlink_metadata() else { return Ok(()) };
    if kind.is_dir() {
        // Entry by entry, so that the crash tests see a folder half removed.
        for entry in entries(path)? {
            remove(&entry)?;
        }
    }
    moment();
    let removed = if kind.is_dir() { fs::remove_dir(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(Error::writing(path)),
    }
}

/// The paths in a folder, sorted; none where there is no folder.
pub(crate) fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    links::refuse(folder)?;
    let listing = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(Error::reading(folder))?,
    };
    let mut paths = listing
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<Vec<_>>>()
        .map_err(Error::reading(folder))?;
    paths.sort();
    Ok(paths)
}

/// Removes what killed writers left in a folder.
pub(crate) fn sweep(folder: &Path) -> Result<()> {
    let left: Vec<PathBuf> = entries(folder)?.into_iter().filter(|path| is_temporary(path)).collect();
    left.iter().try_for_each(|path| remove(path))?;
    // What is sealed afterwards must not have them again once the power failed.
    if left.is_empty() { Ok(()) } else { sync_folder(folder) }
}

/// Whether a path is a temporary sibling of a killed or living writer: [`sibling`] names them, and so does the library
/// that writes weights (`.tmp` and six letters or digits).
pub(crate) fn is_temporary(path: &Path) -> bool {
    let name = file_name(path);
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let of_library = |rest: &str| rest.len() == 6 && rest.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if name.strip_prefix(".tmp").is_some_and(of_library) {
        return true;
    }
    name.strip_prefix('.')
        .and_then(|rest| rest.split_once('.'))
        .and_then(|(writer, _)| writer.split_once('-'))
        .is_some_and(|(pid, call)| number(pid) && number(call))
}

/// How long ago something was last changed; nothing where that cannot be told, and of what lies ahead.
pub(crate) fn age(path: &Path, now: SystemTime) -> Duration {
    let modified = path.symlink_metadata().and_then(|metadata| metadata.modified());
    modified.ok().and_then(|time| now.duration_since(time).ok()).unwrap_or_default()
}

/// The last component of a path, for people and for matching.
pub(crate) fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// A hidden name beside `path`, unique to this process and call, with the same ending.
pub(crate) fn sibling(path: &Path) -> PathBuf {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let call = CALLS.fetch_add(1, Ordering::Relaxed);
    path.with_file_name(format!(".{}-{call}.{}", std::process::id(), file_name(path)))
}

/// Makes a file, or a folder with all in it, durable.
pub(crate) fn sync(path: &Path) -> io::Result<()> {
    let metadata = path.symlink_metadata()?;
    if metadata.is_symlink() {
        return Ok(());
    }
    if metadata.is_dir() {
        for entry in fs::read_dir(path)? {
            sync(&entry?.path())?;
        }
    }
    File::open(path)?.sync_all()
}

/// Gives files the mode that the process's mask allows, whatever the closure that made them chose: some writers
/// make them for their owner only, and a store may be shared.
fn make_readable(path: &Path, mask: u32) -> io::Result<()> {
    let metadata = path.symlink_metadata()?;
    if metadata.is_dir() {
        return fs::read_dir(path)?.try_for_each(|entry| make_readable(&entry?.path(), mask));
    }
    if !metadata.is_file() {
        return Ok(());
    }
    let mut permissions = metadata.permissions();
    permissions.set_mode(permissions.mode() | (0o666 & !mask));
    fs::set_permissions(path, permissions)
}

/// The process's mask of permissions, which it cannot ask for without setting it: the system's account of the
/// process tells, and where there is none the usual one is taken.
fn mask() -> u32 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let told =
        status.lines().find_map(|line| u32::from_str_radix(line.strip_prefix("Umask:")?.trim(), 8).ok());
    told.unwrap_or(0o022)
}

fn sync_parent(path: &Path) -> Result<()> {
    sync_folder(path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")))
}

/// Makes the names in a folder durable.
fn sync_folder(folder: &Path) -> Result<()> {
    File::open(folder).and_then(|opened| opened.sync_all()).map_err(Error::writing(folder))?;
    synced(folder);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_fill_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        write_bytes(&path, b"old").unwrap();
        let failed = replace(&path, |temporary| {
            fs::write(temporary, b"half")?;
            Err::<(), _>(io::Error::other("no more"))
        });
        assert!(matches!(failed, Err(Error::Fill { .. })));
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(entries(folder.path()).unwrap(), [path]);
    }

    #[test]
    fn a_fill_that_writes_nothing_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        assert!(matches!(replace(&path, |_| Ok::<_, io::Error>(())), Err(Error::Io { .. })));
    }

    #[test]
    fn siblings_keep_the_ending_and_differ() {
        let path = Path::new("x/model.safetensors");
        let (first, second) = (sibling(path), sibling(path));
        assert_ne!(first, second);
        assert_eq!(first.extension(), path.extension());
        assert_eq!(first.parent(), path.parent());
        assert!(is_temporary(&first) && !is_temporary(path));
        assert!(is_temporary(Path::new("x/.tmpejNTGP")) && !is_temporary(Path::new("x/.tmp")));
    }
}
