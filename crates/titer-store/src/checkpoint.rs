//! Whole checkpoint folders: at any moment there is the old one, the new one, or both.
//!
//! A checkpoint's name says all that is known of it: `<generation>-step<S>-events<N>`. The highest
//! generation is the newest; N is the length of the event log when it was made, so that a stage that
//! resumes cuts its log to exactly what it was. Inside lie, beside what the caller put there, the BLAKE3 of each
//! file: a checkpoint that is not what was written is never gone on from.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::atomic;
use crate::error::{Error, Result, is_damage};
use crate::links;
use crate::manifest::{Doubt, FileRecord};
use crate::name;
use crate::sums;

/// The file in a checkpoint that says what the others are.
const SUMS: &str = "sums.json";

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
            // The next one must be newer still.
            generation: generation.parse().ok().filter(|generation| *generation < u64::MAX)?,
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
    atomic::replace(&path, |temporary| -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        fs::create_dir(temporary)?;
        fill(temporary).map_err(Into::into)?;
        Ok(record(temporary)?)
    })?;
    older.iter().try_for_each(|checkpoint| discard(&checkpoint.folder))
}

/// Writes the sizes and BLAKE3 of the files in a new checkpoint beside them.
fn record(folder: &Path) -> Result<()> {
    let files = FileRecord::all(folder)?;
    sums::write_json(&folder.join(SUMS), &serde_json::json!({ "files": files }).to_string())
}

/// What of a checkpoint is not as it was written, if anything is.
fn damage(folder: &Path) -> Result<Option<String>> {
    #[derive(Deserialize)]
    struct Sums {
        files: Vec<FileRecord>,
    }
    let path = folder.join(SUMS);
    let recorded = match sums::read_json(&path) {
        Err(Error::Io { source, .. }) if !is_damage(&source) => return Err(Error::reading(&path)(source)),
        Err(error) => return Ok(Some(error.to_string())),
        Ok(text) => serde_json::from_str::<Sums>(&text),
    };
    let named = |path: &Path, problem: &str| format!("{}: {problem}", path.display());
    let recorded = match recorded {
        Err(error) => return Ok(Some(named(&path, &error.to_string()))),
        Ok(recorded) => recorded,
    };
    for file in &recorded.files {
        if let Err(error) = name::check_path(&file.name) {
            return Ok(Some(named(&path, &error.to_string())));
        }
        let path = folder.join(&file.name);
        match file.check_bytes(&path) {
            Ok(()) => {}
            Err(Doubt::Differs(problem)) => return Ok(Some(named(&path, &problem))),
            // What was computed so far is not thrown away for that.
            Err(Doubt::Unread(error)) => return Err(Error::reading(&path)(error)),
        }
    }
    Ok(None)
}

/// What [`settle`] leaves.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Settled {
    pub(crate) newest: Option<Checkpoint>,
    /// What was wrong with newer ones, which were removed.
    pub(crate) damage: Vec<String>,
}

/// The newest checkpoint that is as it was written and that the event log, of length `logged`, reaches; all
/// else is removed.
pub(crate) fn settle(folder: &Path, logged: u64) -> Result<Settled> {
    let mut settled = Settled::default();
    for checkpoint in list(folder)?.into_iter().rev() {
        // A log shorter than the checkpoint says lost data with the power: what it told cannot be remade.
        let usable = settled.newest.is_none() && checkpoint.events <= logged;
        match usable.then(|| damage(&checkpoint.folder)).transpose()? {
            Some(None) => settled.newest = Some(checkpoint),
            problem => {
                settled.damage.extend(problem.flatten());
                discard(&checkpoint.folder)?;
            }
        }
    }
    atomic::sweep(folder)?;
    Ok(settled)
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
        assert_eq!(settle(&folder, 9).unwrap(), Settled::default());
        put(&folder, 100, 5);
        put(&folder, 50, 3);
        let newest = settle(&folder, 9).unwrap().newest.unwrap();
        assert_eq!((newest.step, newest.events), (50, 3));
        assert_eq!(fs::read_to_string(newest.folder.join("w")).unwrap(), "50");
        assert_eq!(atomic::entries(&folder).unwrap().len(), 1);
    }

    #[test]
    fn a_failed_checkpoint_leaves_the_old_one() {
        let root = tempfile::tempdir().unwrap();
        put(root.path(), 10, 0);
        assert!(save(root.path(), 20, 0, |_| Err(io::Error::other("no"))).is_err());
        assert_eq!(settle(root.path(), 0).unwrap().newest.unwrap().step, 10);
    }

    #[test]
    fn a_checkpoint_beyond_the_log_is_not_used() {
        let root = tempfile::tempdir().unwrap();
        put(root.path(), 10, 7);
        assert_eq!(settle(root.path(), 6).unwrap(), Settled::default());
        assert!(atomic::entries(root.path()).unwrap().is_empty());
    }

    #[test]
    fn a_damaged_checkpoint_is_named_and_the_one_before_used() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("checkpoint");
        // Both are there where a kill fell between the new one and the removal of the old.
        put(&folder, 10, 0);
        fs::rename(folder.join("0-step10-events0"), root.path().join("old")).unwrap();
        put(&folder, 20, 0);
        fs::rename(root.path().join("old"), folder.join("0-step10-events0")).unwrap();
        fs::rename(folder.join("0-step20-events0"), folder.join("1-step20-events0")).unwrap();
        fs::write(folder.join("1-step20-events0/w"), "21").unwrap();
        let settled = settle(&folder, 9).unwrap();
        assert_eq!(settled.newest.unwrap().step, 10);
        assert_eq!(settled.damage.len(), 1);
        assert!(settled.damage[0].contains("1-step20-events0/w: its BLAKE3"), "{:?}", settled.damage);
        // Nor is one believed whose record is gone or was changed.
        for change in [None, Some("{\"files\":[]}")] {
            put(&folder, 30, 0);
            let sums = folder.join("1-step30-events0").join(SUMS);
            match change {
                None => fs::remove_file(&sums).unwrap(),
                Some(text) => fs::write(&sums, text).unwrap(),
            }
            let settled = settle(&folder, 9).unwrap();
            assert!(settled.newest.is_none() && settled.damage[0].contains(SUMS), "{settled:?}");
            put(&folder, 0, 0);
        }
    }
}
