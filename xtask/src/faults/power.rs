//! What a failing power leaves of what the layer wrote down: bytes that were not synced are gone, or partly, or came out
//! as zeros; names that were made, moved or removed since their folder was last synced are as before, from some moment
//! on. Folders are apart in this, as a file system may have it: a synced name in a folder whose own name was not synced
//! goes with it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::chance::Chance;

/// What happened to a name. Files and folders go by their inodes, folders above them may move.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Change {
    Made { name: String, inode: u64 },
    Moved { name: String, inode: u64, folder: u64, before: String, replaced: u64 },
    Dropped { name: String, kept: u64 },
}

/// What was not synced when the process died.
#[derive(Debug, Default)]
pub(super) struct Unsynced {
    /// Of files: bytes that are safe, and bytes that were written.
    bytes: BTreeMap<u64, (u64, u64)>,
    /// Of folders, in order.
    names: Vec<(u64, Change)>,
}

impl Unsynced {
    /// What the lines that the layer wrote amount to.
    pub(super) fn of(log: &[String]) -> Result<Self> {
        let mut unsynced = Self::default();
        for line in log {
            unsynced.add(line).with_context(|| format!("the layer wrote: {line}"))?;
        }
        Ok(unsynced)
    }

    fn add(&mut self, line: &str) -> Result<()> {
        let fields: Vec<&str> = line.split('\t').collect();
        let number = |at: usize| -> Result<u64> { Ok(fields.get(at).context("a number")?.parse()?) };
        let name = |at: usize| fields.get(at).map(|name| (*name).to_owned()).context("a name");
        match fields[0] {
            "write" => {
                let entry = self.bytes.entry(number(1)?).or_insert((number(2)?, 0));
                *entry = (entry.0.min(number(2)?), number(3)?);
            }
            "sync" => {
                let synced = number(1)?;
                self.bytes.remove(&synced);
                self.names.retain(|(folder, _)| *folder != synced);
            }
            "make" => self.names.push((number(1)?, Change::Made { name: name(2)?, inode: number(3)? })),
            "move" => {
                let (folder, before, replaced) = (number(1)?, name(2)?, number(6)?);
                let moved = Change::Moved { name: name(4)?, inode: number(5)?, folder, before, replaced };
                self.names.push((number(3)?, moved));
            }
            "drop" => {
                // Its number may soon be another's.
                let gone = number(3)?;
                self.names.retain(|(folder, _)| *folder != gone);
                self.names.push((number(1)?, Change::Dropped { name: name(2)?, kept: number(4)? }));
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether a file that is there would be there after any loss, as far as its own folder goes.
    pub(super) fn is_safe(&self, path: &Path) -> Result<bool> {
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return Ok(false) };
        let (folder, inode) = (fs::symlink_metadata(folder)?.ino(), fs::symlink_metadata(path)?.ino());
        let open = |change: &Change| match change {
            Change::Made { name: other, .. } | Change::Moved { name: other, .. } => **other == *name,
            Change::Dropped { .. } => false,
        };
        let named = !self.names.iter().any(|(changed, change)| *changed == folder && open(change));
        Ok(named && !self.bytes.contains_key(&inode))
    }

    /// Has the power fail: how many files lost bytes, and how many changes of names are undone.
    pub(super) fn lose(&self, store: &Path, kept: &Path, chance: &mut Chance) -> Result<(usize, usize)> {
        let mut bytes = 0;
        let here = inodes(store)?;
        for (inode, (safe, written)) in &self.bytes {
            let Some(path) = here.get(inode).filter(|path| path.is_file()) else { continue };
            bytes += usize::from(cut(path, *safe, *written, chance)?);
        }
        // Of each folder's changes some are on the disk, the later ones are not.
        let folders: BTreeSet<u64> = self.names.iter().map(|(folder, _)| *folder).collect();
        let mut stay: BTreeMap<u64, usize> = BTreeMap::new();
        for folder in folders {
            let changes = self.names.iter().filter(|(changed, _)| *changed == folder).count();
            stay.insert(folder, chance.below(changes + 1));
        }
        let undone: Vec<&(u64, Change)> = self
            .names
            .iter()
            .filter(|(folder, _)| {
                let left = stay.entry(*folder).or_default();
                let stays = *left > 0;
                *left = left.saturating_sub(1);
                !stays
            })
            .collect();
        let mut names = 0;
        for (folder, change) in undone.into_iter().rev() {
            let here = inodes(store)?;
            if let Some(folder) = here.get(folder) {
                names += usize::from(change.undo(folder, &here, kept)?);
            }
        }
        Ok((bytes, names))
    }
}

impl Change {
    /// Whether there was something to undo: a later change may have covered this one.
    fn undo(&self, folder: &Path, here: &BTreeMap<u64, PathBuf>, kept: &Path) -> Result<bool> {
        let is = |path: &Path, inode: u64| fs::symlink_metadata(path).is_ok_and(|found| found.ino() == inode);
        match self {
            Self::Made { name, inode } => {
                let path = folder.join(name);
                if !is(&path, *inode) {
                    return Ok(false);
                }
                remove(&path)?;
            }
            Self::Moved { name, inode, folder: from, before, replaced } => {
                let path = folder.join(name);
                if !is(&path, *inode) {
                    return Ok(false);
                }
                match here.get(from) {
                    Some(from) => fs::rename(&path, from.join(before))?,
                    None => remove(&path)?,
                }
                if *replaced != 0 {
                    fs::rename(kept.join(replaced.to_string()), &path)?;
                }
            }
            Self::Dropped { name, kept: as_number } => {
                let path = folder.join(name);
                if fs::symlink_metadata(&path).is_ok() {
                    return Ok(false);
                }
                match as_number {
                    0 => fs::create_dir(&path)?,
                    number => fs::rename(kept.join(number.to_string()), &path)?,
                }
            }
        }
        Ok(true)
    }
}

fn remove(path: &Path) -> Result<()> {
    let is_folder = fs::symlink_metadata(path)?.is_dir();
    Ok(if is_folder { fs::remove_dir_all(path) } else { fs::remove_file(path) }?)
}

/// Takes away what was not synced of a file, or some of it, or puts zeros in its place; whether it is another then.
fn cut(path: &Path, safe: u64, written: u64, chance: &mut Chance) -> Result<bool> {
    let safe = safe.min(written);
    let part = chance.below((written - safe) as usize);
    let file = fs::File::options().write(true).open(path)?;
    match chance.below(4) {
        0 => file.set_len(safe)?,
        1 => file.set_len(safe + part as u64)?,
        2 => file.write_all_at(&vec![0; part], safe)?,
        _ => file.write_all_at(&vec![0; (written - safe) as usize - part], safe + part as u64)?,
    }
    Ok(written > safe)
}

/// Where each file and folder of a store is.
fn inodes(store: &Path) -> Result<BTreeMap<u64, PathBuf>> {
    fn add(folder: &Path, all: &mut BTreeMap<u64, PathBuf>) -> Result<()> {
        all.insert(fs::symlink_metadata(folder)?.ino(), folder.to_owned());
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let found = fs::symlink_metadata(&path)?;
            if found.is_dir() {
                add(&path, all)?;
            } else {
                all.insert(found.ino(), path);
            }
        }
        Ok(())
    }
    let mut all = BTreeMap::new();
    if store.is_dir() {
        add(store, &mut all)?;
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// What is left of a store, in which these lines happened, after many power failures: content by name.
    fn left(
        happened: impl Fn(&Path, &dyn Fn(&str) -> u64) -> Vec<String>,
    ) -> BTreeSet<BTreeMap<String, String>> {
        let mut all = BTreeSet::new();
        for seed in 0..60 {
            let place = tempfile::tempdir().unwrap();
            let (store, kept) = (place.path().join("store"), place.path().join("kept"));
            fs::create_dir(&store).unwrap();
            fs::create_dir(&kept).unwrap();
            let inode = |name: &str| fs::symlink_metadata(store.join(name)).unwrap().ino();
            let log = happened(&store, &inode);
            Unsynced::of(&log).unwrap().lose(&store, &kept, &mut Chance::new(seed)).unwrap();
            let entries = fs::read_dir(&store).unwrap().map(|entry| entry.unwrap().path());
            let content = |path: PathBuf| {
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                (name, fs::read_to_string(path).unwrap())
            };
            all.insert(entries.map(content).collect());
        }
        all
    }

    /// A file is written under another name and renamed: what the lines say, with the syncs that `synced` names.
    fn written(synced: &[&str]) -> BTreeSet<BTreeMap<String, String>> {
        left(|store, inode| {
            fs::write(store.join(".new"), "new").unwrap();
            let (folder, file) = (inode(""), inode(".new"));
            let mut log = vec![format!("make\t{folder}\t.new\t{file}"), format!("write\t{file}\t0\t3")];
            let sync = |what: &str, inode: u64, log: &mut Vec<String>| {
                if synced.contains(&what) {
                    log.push(format!("sync\t{inode}"));
                }
            };
            sync("file", file, &mut log);
            fs::rename(store.join(".new"), store.join("x")).unwrap();
            log.push(format!("move\t{folder}\t.new\t{folder}\tx\t{file}\t0"));
            sync("folder", folder, &mut log);
            log
        })
    }

    #[test]
    fn what_was_synced_stays_and_all_else_may_go() {
        let file = |name: &str, content: &str| BTreeMap::from([(name.to_owned(), content.to_owned())]);
        assert_eq!(written(&["file", "folder"]), BTreeSet::from([file("x", "new")]));
        let nothing = BTreeMap::new();
        assert_eq!(written(&["file"]), BTreeSet::from([nothing, file(".new", "new"), file("x", "new")]));
        // The classic fault: the name is there, and the content is not.
        let torn = written(&["folder"]);
        assert!(torn.contains(&file("x", "")) && torn.contains(&file("x", "\0\0\0")), "{torn:?}");
        assert!(torn.iter().all(|left| left.contains_key("x")), "{torn:?}");
    }
}
