//! Weights that were dropped to save room, and how they are made anew.
//!
//! A sealed artifact is never edited: manifest and seal stay, and with them what was measured. `dropped.json` beside
//! them names the payload files that were taken away on purpose. One of these that is not there is no damage; one
//! that is not there and not named is.
//!
//! What is made anew is made in `remade/<hash>/`, as any artifact is, with a lease and checkpoints of its own. Once
//! that is sealed, the files go to their old place if they have the bytes that the old manifest states. On another
//! kind of processor they may not: then the new artifact takes the place of the old one as a whole, which moves to
//! `damaged/`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use titer_plan::StageHash;

use crate::artifact::{Artifact, State};
use crate::atomic;
use crate::error::{Error, Result};
use crate::lease::Gate;
use crate::links;
use crate::manifest::{Description, FileRecord, Manifest};
use crate::store::{Begin, Store};
use crate::sums;
use crate::writer::Writer;

/// The ending of files that hold weights.
const WEIGHTS: &str = ".safetensors";

/// What `dropped.json` says.
#[derive(Default, Serialize, Deserialize)]
struct Dropped {
    files: Vec<String>,
}

/// How an artifact came back to what it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remade {
    /// Its weights have the bytes that were dropped; all else of it stayed.
    Same,
    /// They came out otherwise: all of it is new, and the old one is in `damaged/`.
    Anew,
}

impl Artifact {
    /// The names of the payload files that were dropped and are not there; empty where all is.
    pub fn dropped(&self) -> Vec<String> {
        let mut files = self.listed().files;
        files.retain(|name| self.folder().join(name).symlink_metadata().is_err());
        files
    }

    /// Whether a file is not there because it was dropped.
    pub(crate) fn is_dropped(&self, file: &FileRecord) -> bool {
        self.folder().join(&file.name).symlink_metadata().is_err() && self.listed().files.contains(&file.name)
    }

    /// A list that cannot be trusted names nothing: what is missing is then damage, and made anew as that.
    fn listed(&self) -> Dropped {
        let path = self.list_path();
        if !links::is_file(&path) {
            return Dropped::default();
        }
        let text = sums::read_json(&path).ok();
        text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
    }

    /// The list itself, where there is one that can be trusted.
    pub(crate) fn drop_list(&self) -> Option<PathBuf> {
        Some(self.list_path()).filter(|path| links::is_file(path) && sums::read_json(path).is_ok())
    }

    fn list_path(&self) -> PathBuf {
        self.folder().join("dropped.json")
    }
}

/// The files of a sealed artifact that hold weights and are there.
pub(crate) fn weights(artifact: &Artifact, manifest: &Manifest) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for file in manifest.files.iter().filter(|file| is_weights(&file.name)) {
        let path = artifact.folder().join(&file.name);
        links::refuse_below(artifact.folder(), &path)?;
        if links::is_file(&path) {
            found.push(path);
        }
    }
    Ok(found)
}

/// Whether a file's name says that it holds weights.
pub fn is_weights(name: &str) -> bool {
    name.ends_with(WEIGHTS)
}

/// Writes down that these files of an artifact are to go, before they do. Whoever calls holds the gate.
pub(crate) fn announce(artifact: &Artifact, paths: &[PathBuf]) -> Result<()> {
    let mut files = artifact.dropped();
    let names = paths.iter().filter_map(|path| path.strip_prefix(artifact.folder()).ok());
    files.extend(names.map(|name| name.to_string_lossy().into_owned()));
    files.sort();
    files.dedup();
    let path = artifact.list_path();
    let text =
        serde_json::to_string(&Dropped { files }).map_err(|error| Error::writing(&path)(error.into()))?;
    sums::write_json(&path, &text)
}

impl Store {
    /// Begins or resumes the making anew of a sealed artifact whose weights were dropped, in a place beside it. Seal
    /// the writer, then [`put_back`](Self::put_back).
    ///
    /// # Errors
    /// [`Error::Busy`] when another process does so; when the store cannot be written.
    pub fn remake(&self, hash: &StageHash, description: &Description) -> Result<Begin> {
        let (artifact, beside) = (self.artifact(hash), self.beside(hash));
        if artifact.dropped().is_empty() {
            return Ok(Begin::Sealed(artifact));
        }
        atomic::create_folder(beside.folder())?;
        let lease = match self.lease(&beside) {
            // Another process has put it back meanwhile, and removed the place.
            Err(_) if artifact.dropped().is_empty() => return Ok(Begin::Sealed(artifact)),
            lease => lease?,
        };
        if artifact.dropped().is_empty() {
            return Ok(Begin::Sealed(artifact));
        }
        if beside.is_sealed() {
            // A run was killed between its seal and its end.
            drop(lease);
            self.put_back(hash)?;
            return Ok(Begin::Sealed(artifact));
        }
        Writer::new(beside, description.clone(), lease).map(|writer| Begin::Writer(Box::new(writer)))
    }

    /// Puts what was made anew in its place.
    ///
    /// # Errors
    /// When it is not what was made, which is then removed, or the store cannot be written.
    pub fn put_back(&self, hash: &StageHash) -> Result<Remade> {
        let (artifact, beside) = (self.artifact(hash), self.beside(hash));
        let _gate = Gate::pass(&self.gate_path())?;
        let dropped = artifact.dropped();
        let checked = dropped.iter().try_for_each(|name| beside.payload(name).map(|_| ()));
        if let Err(error) = checked {
            atomic::remove(beside.folder())?;
            return Err(error);
        }
        let (was, now) = (artifact.manifest()?, beside.manifest()?);
        let record = |manifest: &Manifest, name: &String| {
            manifest.files.iter().find(|file| file.name == *name).map(|file| file.blake3.clone())
        };
        let same = dropped.iter().all(|name| record(&was, name) == record(&now, name));
        if same {
            for name in &dropped {
                let (from, to) = (beside.folder().join(name), artifact.folder().join(name));
                if let Some(folder) = to.parent() {
                    links::refuse_below(artifact.folder(), folder)?;
                    atomic::create_folder(folder)?;
                }
                atomic::rename(&from, &to)?;
            }
            atomic::remove(&artifact.list_path())?;
            atomic::remove(beside.folder())?;
            return Ok(Remade::Same);
        }
        self.move_away(&artifact)?;
        atomic::rename(beside.folder(), artifact.folder())?;
        Ok(Remade::Anew)
    }

    /// Where the making anew of an artifact stands whose weights were dropped: sealed once they are there again.
    pub fn remaking(&self, hash: &StageHash) -> State {
        if self.artifact(hash).dropped().is_empty() {
            return State::Sealed;
        }
        match self.beside(hash).state() {
            State::Running(holder) => State::Running(holder),
            // Sealed and not put back yet: whoever asks for it next does that.
            State::Sealed | State::Interrupted | State::Absent => State::Interrupted,
        }
    }
}
