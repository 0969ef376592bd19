//! An artifact as readers see it: absent, being written, broken off, or sealed.

use std::io;
use std::path::{Path, PathBuf};

use titer_plan::StageHash;

use crate::error::{Error, Result};
use crate::events::{self, EventReader, Record};
use crate::holder::Holder;
use crate::lease::{self, LeaseTerms};
use crate::links;
use crate::manifest::{Doubt, FileRecord, LOG, Manifest};
use crate::name;
use crate::sums::Remembered;

/// One artifact of a store. Reading never writes, so any number of readers may look at any time.
#[derive(Debug, Clone)]
pub struct Artifact {
    hash: StageHash,
    folder: PathBuf,
    terms: LeaseTerms,
    remembered: Remembered,
}

/// Where an artifact stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Nothing was written yet.
    Absent,
    /// A living process writes it.
    Running(Holder),
    /// Its writer ended before the end; the next one goes on from the last checkpoint.
    Interrupted,
    /// Finished; never changes again.
    Sealed,
}

/// How far an artifact has come.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// Where it stands.
    pub state: State,
    /// The last step logged.
    pub step: Option<u64>,
    /// The last event logged.
    pub last: Option<Record>,
}

impl Artifact {
    pub(crate) fn new(artifacts: &Path, hash: &StageHash, terms: LeaseTerms, remembered: Remembered) -> Self {
        Self { hash: hash.clone(), folder: artifacts.join(name::of_hash(&hash.0)), terms, remembered }
    }

    /// Its name.
    pub fn hash(&self) -> &StageHash {
        &self.hash
    }

    /// Whether it is finished.
    pub fn is_sealed(&self) -> bool {
        links::is_folder(&self.folder) && links::is_file(&self.seal_path())
    }

    /// What it says of itself.
    ///
    /// # Errors
    /// When it is not sealed, or its manifest is not the one that was sealed.
    pub fn manifest(&self) -> Result<Manifest> {
        links::refuse(&self.folder)?;
        let (seal, path) = (self.seal_path(), self.manifest_path());
        let sealed = match links::read(&seal) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Error::NotSealed { path: self.folder.clone() });
            }
            other => other.map_err(Error::reading(&seal))?,
        };
        links::refuse(&path)?;
        let bytes = links::read(&path).map_err(|error| self.doubted(&path, error.into()))?;
        if blake3::hash(&bytes).to_hex().as_bytes() != sealed.trim_ascii() {
            return Err(self.damaged(&path, "it is not the manifest that was sealed".to_owned()));
        }
        let manifest: Manifest =
            serde_json::from_slice(&bytes).map_err(|error| self.damaged(&path, error.to_string()))?;
        if manifest.hash != self.hash {
            return Err(self.damaged(&path, format!("it belongs to artifact {}", manifest.hash)));
        }
        if let Some(name) = manifest.foreign_name() {
            return Err(self.damaged(&path, format!("it names {name:?}, which no artifact has")));
        }
        Ok(manifest)
    }

    /// The path of a payload file, or of a folder of them, whose bytes are those that were sealed. What this
    /// process read through before, and what did not change since by size, times and inode, is not read again.
    ///
    /// # Errors
    /// When the artifact is not sealed, has no such payload, or a file is not what was sealed or was dropped.
    pub fn payload(&self, name: &str) -> Result<PathBuf> {
        name::check_payload(name)?;
        let manifest = self.manifest()?;
        let within = |file: &&FileRecord| {
            file.name.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let mut files = manifest.files.iter().filter(within).peekable();
        let path = self.folder.join(name);
        if files.peek().is_none() {
            let present = manifest.files.iter().map(|file| file.name.clone()).collect();
            return Err(Error::NoPayload { path, present });
        }
        files.try_for_each(|file| {
            if self.is_dropped(file) {
                return Err(Error::Dropped { path: self.folder.join(&file.name), hash: self.hash.clone() });
            }
            self.check(file, |file, path| self.remembered.check(file, path))
        })?;
        Ok(path)
    }

    /// Reads every file through and compares it with the manifest. What was dropped to save room is no damage.
    ///
    /// # Errors
    /// Names the first file that is damaged or gone.
    pub fn verify(&self) -> Result<()> {
        let manifest = self.manifest()?;
        manifest
            .files
            .iter()
            .chain([&manifest.log])
            .filter(|file| !self.is_dropped(file))
            .try_for_each(|file| self.check(file, FileRecord::check_bytes))
    }

    /// The same for what this process did not read through yet.
    ///
    /// # Errors
    /// Names the first file that is damaged or gone.
    pub fn check_payload(&self) -> Result<()> {
        let manifest = self.manifest()?;
        let bytes = |file: &FileRecord, path: &Path| self.remembered.check(file, path);
        let mut there = manifest.files.iter().filter(|file| !self.is_dropped(file));
        there.try_for_each(|file| self.check(file, bytes))
    }

    /// All events logged so far; a torn last line is ignored.
    ///
    /// # Errors
    /// When the log cannot be read, has a line that is no event, or is not the one that was sealed.
    pub fn events(&self) -> Result<Vec<Record>> {
        links::refuse(&self.folder)?;
        if self.is_sealed() {
            let log = self.manifest()?.log;
            self.check(&log, |file, path| self.remembered.check(file, path))?;
        }
        events::read_all(&self.log_path())
    }

    /// A reader that follows the log from its start.
    pub fn follow(&self) -> EventReader {
        EventReader::new(self.log_path())
    }

    /// Where it stands, by its seal and its lease.
    pub fn state(&self) -> State {
        if self.is_sealed() {
            State::Sealed
        } else if !links::is_folder(&self.folder) {
            State::Absent
        } else if let Some(holder) = lease::living_holder(&self.lease_path(), self.terms) {
            State::Running(holder)
        } else {
            State::Interrupted
        }
    }

    /// How far it has come, from its lease and the end of its log: cheap enough to ask every second.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn progress(&self) -> Result<Progress> {
        let state = self.state();
        links::refuse(&self.folder)?;
        let tail = events::read_tail(&self.log_path())?;
        let step = tail.iter().rev().find_map(|record| record.event.step);
        Ok(Progress { state, step, last: tail.into_iter().next_back() })
    }

    fn check(&self, file: &FileRecord, how: impl Fn(&FileRecord, &Path) -> Result<(), Doubt>) -> Result<()> {
        let path = self.folder.join(&file.name);
        links::refuse_below(&self.folder, &path)?;
        how(file, &path).map_err(|doubt| self.doubted(&path, doubt))
    }

    fn doubted(&self, path: &Path, doubt: Doubt) -> Error {
        match doubt {
            Doubt::Differs(problem) => self.damaged(path, problem),
            Doubt::Unread(source) => {
                Error::Unread { path: path.to_owned(), source, artifact: self.folder.clone() }
            }
        }
    }

    fn damaged(&self, path: &Path, problem: String) -> Error {
        Error::Damaged { path: path.to_owned(), problem, artifact: self.folder.clone() }
    }

    pub(crate) fn terms(&self) -> LeaseTerms {
        self.terms
    }

    /// Its folder, for those who want to be told of changes.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where its manifest is.
    pub fn manifest_path(&self) -> PathBuf {
        self.folder.join("manifest.json")
    }

    pub(crate) fn seal_path(&self) -> PathBuf {
        self.folder.join("SEALED")
    }

    /// Where its event log is.
    pub fn log_path(&self) -> PathBuf {
        self.folder.join(LOG)
    }

    pub(crate) fn lease_path(&self) -> PathBuf {
        self.folder.join("lease.json")
    }

    pub(crate) fn checkpoint_path(&self) -> PathBuf {
        self.folder.join("checkpoint")
    }
}
