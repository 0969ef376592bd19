//! How much room things take in a store.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::Serialize;

use crate::artifact::Artifact;
use crate::atomic;
use crate::dropped;
use crate::error::{Error, Result};
use crate::experiment::Experiment;
use crate::links;

/// What a file of a store is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileKind {
    /// Weights of models and adapters.
    Weights,
    /// What was measured.
    Frames,
    /// Weights and optimiser states of stages that are not finished.
    Checkpoints,
    /// What happened.
    Logs,
    /// Reports.
    Reports,
    /// Specs, plans, manifests, tokenizers, answers.
    Other,
}

/// Bytes by what they are for. A file that several artifacts share counts once in one account.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    bytes: BTreeMap<FileKind, u64>,
    seen: BTreeSet<(u64, u64)>,
}

impl Usage {
    /// Bytes of one kind.
    pub fn of(&self, kind: FileKind) -> u64 {
        self.bytes.get(&kind).copied().unwrap_or(0)
    }

    /// All bytes.
    pub fn total(&self) -> u64 {
        self.bytes.values().sum()
    }

    /// The kinds that there are, with their bytes.
    pub fn kinds(&self) -> impl Iterator<Item = (FileKind, u64)> {
        self.bytes.iter().map(|(kind, bytes)| (*kind, *bytes))
    }

    /// Adds what an artifact takes, finished or not; returns how much of it was not counted before.
    ///
    /// # Errors
    /// When a folder of it cannot be read.
    pub fn add_artifact(&mut self, artifact: &Artifact) -> Result<u64> {
        let before = self.total();
        walk(artifact.folder(), &mut |path, metadata| {
            let below = path.strip_prefix(artifact.folder()).unwrap_or(path);
            let name = atomic::file_name(path);
            let kind = match name.rsplit_once('.').map(|(_, ending)| ending) {
                _ if below.starts_with("checkpoint") => FileKind::Checkpoints,
                _ if dropped::is_weights(&name) => FileKind::Weights,
                Some("parquet") => FileKind::Frames,
                Some("jsonl") => FileKind::Logs,
                _ => FileKind::Other,
            };
            self.add(kind, metadata);
        })?;
        Ok(self.total() - before)
    }

    /// Adds what an experiment's own folder takes: no artifacts.
    ///
    /// # Errors
    /// When a folder of it cannot be read.
    pub fn add_experiment(&mut self, experiment: &Experiment) -> Result<()> {
        let reports = experiment.report_dir();
        walk(experiment.folder(), &mut |path, metadata| {
            let name = atomic::file_name(path);
            let kind = match name.rsplit_once('.').map(|(_, ending)| ending) {
                _ if path.starts_with(&reports) => FileKind::Reports,
                Some("jsonl" | "log") => FileKind::Logs,
                _ => FileKind::Other,
            };
            self.add(kind, metadata);
        })
    }

    fn add(&mut self, kind: FileKind, metadata: &Metadata) {
        if self.seen.insert((metadata.dev(), metadata.ino())) {
            *self.bytes.entry(kind).or_default() += metadata.len();
        }
    }
}

/// Shows every plain file in a folder and those below it. Links are not followed; what vanishes meanwhile is left out.
pub(crate) fn walk(folder: &Path, file: &mut impl FnMut(&Path, &Metadata)) -> Result<()> {
    for path in atomic::entries(folder)? {
        let metadata = match path.symlink_metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other.map_err(Error::reading(&path))?,
        };
        if metadata.is_dir() {
            walk(&path, file)?;
        } else if metadata.is_file() {
            file(&path, &metadata);
        }
    }
    Ok(())
}

/// What removing files frees: a file that is known by several names goes with the last of them.
#[derive(Debug, Default)]
pub(crate) struct Freed {
    links: BTreeMap<(u64, u64), u64>,
}

impl Freed {
    /// What goes when this name of a file goes, after all that was asked for before.
    pub(crate) fn by(&mut self, metadata: &Metadata) -> u64 {
        let gone = self.links.entry((metadata.dev(), metadata.ino())).or_default();
        *gone += 1;
        if *gone >= metadata.nlink() { metadata.len() } else { 0 }
    }

    /// The same of all in a folder.
    pub(crate) fn by_all(&mut self, path: &Path) -> Result<u64> {
        if !links::is_folder(path) {
            return Ok(path.symlink_metadata().map_or(0, |metadata| self.by(&metadata)));
        }
        let mut bytes = 0;
        walk(path, &mut |_, metadata| bytes += self.by(metadata))?;
        Ok(bytes)
    }
}
