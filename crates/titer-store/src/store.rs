//! The store's root: its format, its artifacts, its experiments.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use titer_plan::StageHash;

use crate::artifact::Artifact;
use crate::atomic;
use crate::error::{Error, Result};
use crate::experiment::{self, Experiment};
use crate::lease::{Gate, Lease, LeaseTerms};
use crate::links;
use crate::manifest::Description;
use crate::sums::Remembered;
use crate::writer::Writer;

/// The format of the stores that this code writes, and the newest that it reads.
pub const FORMAT: u64 = 1;

/// A folder of artifacts and experiments. Cheap to clone; any number of processes may share it.
#[derive(Debug, Clone)]
pub struct Store {
    root: Arc<Path>,
    terms: LeaseTerms,
    remembered: Remembered,
}

/// What a stage that wants to be done finds.
#[derive(Debug)]
pub enum Begin {
    /// It was done before: there is nothing to do.
    Sealed(Artifact),
    /// It is this caller's to do, from its last checkpoint if there is one.
    Writer(Box<Writer>),
}

/// Whether an artifact can be built on.
#[derive(Debug)]
pub enum Trust {
    /// It is not finished.
    Absent,
    /// It is what was sealed.
    Whole,
    /// It was not what was sealed, and was moved away.
    Damaged(Error),
}

#[derive(Serialize, Deserialize)]
struct Header {
    format: u64,
}

impl Store {
    /// Opens the store at `root`, which is made where there is none. An existing store may be read-only.
    ///
    /// # Errors
    /// When the folder cannot be made, or has a store of a newer format.
    pub fn open_or_create(root: impl AsRef<Path>) -> Result<Self> {
        let root = root.as_ref();
        match Self::open(root) {
            Err(Error::NoStore { .. }) => {}
            other => return other,
        }
        // The root is the user's own word: it may be a link.
        if !root.is_dir() {
            atomic::create_folder(root)?;
        }
        atomic::write_bytes(&header_path(root), Self::header().as_bytes())?;
        Self::open(root)
    }

    /// Opens the store at `root`.
    ///
    /// # Errors
    /// When there is none, or it has a newer format.
    pub fn open(root: impl AsRef<Path>) -> Result<Self> {
        let root = root.as_ref();
        let path = header_path(root);
        let text = match links::read_text(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Error::NoStore { path: root.to_owned() });
            }
            other => other.map_err(Error::reading(&path))?,
        };
        let header: Header = serde_json::from_str(&text)
            .map_err(|error| Error::Unreadable { path: path.clone(), problem: error.to_string() })?;
        if header.format > FORMAT {
            return Err(Error::NewerFormat { path, found: header.format, supported: FORMAT });
        }
        ["artifacts", "experiments"].iter().try_for_each(|name| links::refuse(&root.join(name)))?;
        Ok(Self { root: root.into(), terms: LeaseTerms::default(), remembered: Remembered::default() })
    }

    /// What says that a folder is a store.
    pub(crate) fn header() -> String {
        format!("{{\"format\":{FORMAT}}}\n")
    }

    pub(crate) fn header_path(&self) -> PathBuf {
        header_path(&self.root)
    }

    /// The same store under other lease terms; all who share a store should agree on them.
    #[must_use]
    pub fn with_lease_terms(mut self, terms: LeaseTerms) -> Self {
        self.terms = terms;
        self
    }

    /// The store's folder, for people.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The artifact of this name, whether or not it exists.
    pub fn artifact(&self, hash: &StageHash) -> Artifact {
        Artifact::new(&self.root.join("artifacts"), hash, self.terms, self.remembered.clone())
    }

    /// The names of all artifacts, sealed or not, sorted; none where there is no folder of them yet.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn artifacts(&self) -> Result<Vec<StageHash>> {
        let path = self.root.join("artifacts");
        let entries = match std::fs::read_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => {
                entries.and_then(Iterator::collect::<io::Result<Vec<_>>>).map_err(Error::reading(&path))?
            }
        };
        let name = |entry: std::fs::DirEntry| entry.file_name().into_string().ok().map(StageHash);
        let mut names: Vec<StageHash> = entries.into_iter().filter_map(name).collect();
        names.sort();
        Ok(names)
    }

    /// Begins or resumes the making of an artifact, unless it is sealed.
    ///
    /// When the lease must be stolen from a writer that fell silent on another host, this waits for
    /// [`LeaseTerms::watch`].
    ///
    /// # Errors
    /// [`Error::Busy`] when another process or thread writes it; when the store cannot be written.
    pub fn begin(&self, hash: &StageHash, description: &Description) -> Result<Begin> {
        let artifact = self.artifact(hash);
        if artifact.is_sealed() {
            self.tidy(&artifact);
            return Ok(Begin::Sealed(artifact));
        }
        atomic::create_folder(artifact.folder())?;
        let lease = self.lease(&artifact)?;
        // Another may have sealed it between the look and the lease.
        if artifact.is_sealed() {
            return Ok(Begin::Sealed(artifact));
        }
        Writer::new(artifact, description.clone(), lease).map(|writer| Begin::Writer(Box::new(writer)))
    }

    /// The experiment of this name, whether or not it was saved.
    ///
    /// # Errors
    /// When the name is no plain file name.
    pub fn experiment(&self, name: &str) -> Result<Experiment> {
        Experiment::new(&self.experiments_path(), self.gate_path(), self.terms, name)
    }

    /// The names of the experiments saved, sorted.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn experiments(&self) -> Result<Vec<String>> {
        experiment::names(&self.experiments_path())
    }

    /// What makes a stage done: its artifact is sealed and every byte of it is what was sealed. One that is
    /// damaged is moved to `damaged/`, so that it is made anew and can still be looked at; what was wrong is
    /// returned.
    ///
    /// # Errors
    /// When it cannot be read, or a damaged artifact cannot be moved.
    pub fn trusted(&self, hash: &StageHash) -> Result<Trust> {
        let artifact = self.artifact(hash);
        if !artifact.is_sealed() {
            return Ok(Trust::Absent);
        }
        self.tidy(&artifact);
        let problem = match artifact.check_payload() {
            Ok(()) => return Ok(Trust::Whole),
            // Nobody knows: what was sealed is not moved for that.
            Err(error @ (Error::Io { .. } | Error::Unread { .. })) => return Err(error),
            Err(problem) => problem,
        };
        atomic::create_folder(&self.damaged_path())?;
        let _gate = Gate::pass(&self.gate_path())?;
        // Another run may have moved it, and even made it anew, meanwhile.
        if !artifact.is_sealed() || artifact.check_payload().is_ok() {
            return self.trusted(hash);
        }
        self.move_away(&artifact)?;
        Ok(Trust::Damaged(problem))
    }

    /// Moves an artifact to `damaged/`, where it can still be looked at. Whoever calls holds the gate.
    pub(crate) fn move_away(&self, artifact: &Artifact) -> Result<()> {
        let folder = self.damaged_path();
        atomic::create_folder(&folder)?;
        let name = atomic::file_name(artifact.folder());
        let free =
            (0..).map(|at| folder.join(format!("{name}-{at}"))).find(|path| path.symlink_metadata().is_err());
        free.map_or(Ok(()), |path| atomic::rename(artifact.folder(), &path))
    }

    pub(crate) fn damaged_path(&self) -> PathBuf {
        self.root.join("damaged")
    }

    /// The place in which an artifact is made anew whose weights were dropped.
    pub(crate) fn beside(&self, hash: &StageHash) -> Artifact {
        Artifact::new(&self.remade_path(), hash, self.terms, self.remembered.clone())
    }

    pub(crate) fn remade_path(&self) -> PathBuf {
        self.root.join("remade")
    }

    /// Removes what a writer left that was killed between seal and end. Reuse does not depend on it, so
    /// a read-only store or another tidier is no error.
    fn tidy(&self, artifact: &Artifact) {
        let checkpoint = artifact.checkpoint_path();
        if (links::is_folder(&checkpoint) || artifact.lease_path().exists())
            && let Ok(_lease) = self.lease(artifact)
        {
            let _ = atomic::remove(&checkpoint);
        }
    }

    pub(crate) fn lease(&self, artifact: &Artifact) -> Result<Lease> {
        Lease::take(&artifact.lease_path(), &self.gate_path(), artifact.terms())
    }

    pub(crate) fn terms(&self) -> LeaseTerms {
        self.terms
    }

    pub(crate) fn gate_path(&self) -> PathBuf {
        self.root.join("store.lock")
    }

    /// The folder of all experiments, for those who want to be told of new ones.
    pub fn experiments_path(&self) -> PathBuf {
        self.root.join("experiments")
    }
}

pub(crate) fn header_path(root: &Path) -> PathBuf {
    root.join("store.json")
}
