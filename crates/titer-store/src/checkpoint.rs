//! Whole checkpoint folders: at any moment there is the old one, the new one, or both.
//!
//! A checkpoint's name says all that is known of it: `<generation>-step<S>-events<N>`. The highest
//! generation is the newest; N is the length of the event log when it was made, so that a stage that
//! resumes cuts its log to exactly what it was.

use std::fs;
use std::path::{Path, PathBuf};

use crate::atomic;
use crate::error::Result;
use crate::links;

/// A whole checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The optimiser step after which it was made.
    pub step: u64,
    /// The folder, as the closure given to [`Writer::checkpoint`](crate::Writer::checkpoint) filled it.
    pub folder: PathBuf,
    /// How many events had been logged.
    pub(crate) events: u64,
    generation: u64,
}

impl Checkpoint {
    fn parse(folder: PathBuf) -> Option<Self> {
        let name = atomic::file_name(&folder);
        if !links::is_folder(&folder) {
            return None;
        }
        let (generation, rest) = name.split_once("-step")?;
        let (step, events) = rest.split_once("-events")?;
        Some(Self {
            step: step.parse().ok()?,
            events: events.parse().ok()?,
            generation: generation.parse().ok()?,
            folder,
        })
    }
}

/// The whole checkpoints, oldest first.
fn list(folder: &Path) -> Result<Vec<Checkpoint>> {
    let mut all: Vec<_> = atomic::entries(folder)?.into_iter().filter_map(Checkpoint::parse).collect();
    all.sort_by_key(|checkpoint| checkpoint.generation);
    Ok(all)
}

/// Fills a new checkpoint, and removes the older ones once it is durable.
pub(crate) fn save<E>(
    folder: &Path,
    step: u64,
    events: u64,
    fill: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<()>
where
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    atomic::create_folder(folder)?;
    let older = list(folder)?;
    let generation = older.last().map_or(0, |newest| newest.generation + 1);
    let path = folder.join(format!("{generation}-step{step}-events{events}"));
    atomic::replace(&path, |temporary| {
        fs::create_dir(temporary)?;
        fill(temporary).map_err(Into::into)
    })?;
    older.iter().try_for_each(|checkpoint| discard(&checkpoint.folder))
}

/// The newest whole checkpoint that the event log, of length `logged`, reaches; all else is removed.
pub(crate) fn settle(folder: &Path, logged: u64) -> Result<Option<Checkpoint>> {
    let mut all = list(folder)?;
    // A log shorter than the checkpoint says lost data with the power: what it told cannot be remade.
    let newest = all.iter().rposition(|checkpoint| checkpoint.events <= logged).map(|at| all.remove(at));
    all.iter().try_for_each(|checkpoint| discard(&checkpoint.folder))?;
    atomic::sweep(folder)?;
    Ok(newest)
}

/// Removes a folder such that it is never seen half removed.
pub(crate) fn discard(folder: &Path) -> Result<()> {
    if folder.symlink_metadata().is_err() {
        return Ok(());
    }
    let hidden = atomic::sibling(folder);
    atomic::rename(folder, &hidden)?;
    atomic::remove(&hidden)
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    fn put(folder: &Path, step: u64, events: u64) {
        save(folder, step, events, |dir| fs::write(dir.join("w"), step.to_string())).unwrap();
    }

    #[test]
    fn the_newest_is_the_one_made_last() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("checkpoint");
        assert_eq!(settle(&folder, 9).unwrap(), None);
        put(&folder, 100, 5);
        put(&folder, 50, 3);
        let newest = settle(&folder, 9).unwrap().unwrap();
        assert_eq!((newest.step, newest.events), (50, 3));
        assert_eq!(fs::read_to_string(newest.folder.join("w")).unwrap(), "50");
        assert_eq!(atomic::entries(&folder).unwrap().len(), 1);
    }

    #[test]
    fn a_failed_checkpoint_leaves_the_old_one() {
        let root = tempfile::tempdir().unwrap();
        put(root.path(), 10, 0);
        assert!(save(root.path(), 20, 0, |_| Err(io::Error::other("no"))).is_err());
        assert_eq!(settle(root.path(), 0).unwrap().unwrap().step, 10);
    }

    #[test]
    fn a_checkpoint_beyond_the_log_is_not_used() {
        let root = tempfile::tempdir().unwrap();
        put(root.path(), 10, 7);
        assert_eq!(settle(root.path(), 6).unwrap(), None);
        assert!(atomic::entries(root.path()).unwrap().is_empty());
    }
}
