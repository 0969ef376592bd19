//! An artifact as its one writer sees it: from the lease to the seal.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde_json::Value;

use crate::artifact::Artifact;
use crate::atomic;
use crate::checkpoint::{self, Checkpoint};
use crate::clock;
use crate::error::{Error, Result};
use crate::events::{Event, EventLog};
use crate::lease::{self, Lease};
use crate::links;
use crate::manifest::{Description, FileRecord, LOG, Manifest};
use crate::name;

/// The right to write one artifact. Dropping it gives the right back and leaves the artifact to be
/// resumed; [`seal`](Self::seal) finishes it. Every method may be called from any thread.
#[derive(Debug)]
pub struct Writer {
    artifact: Artifact,
    description: Description,
    lease: Lease,
    log: Mutex<EventLog>,
    resumed_from: Mutex<Option<u64>>,
    distrusted: Mutex<Vec<String>>,
    began: Instant,
    started: String,
}

impl Writer {
    /// Sweeps what a killed writer left, and opens the log.
    pub(crate) fn new(artifact: Artifact, description: Description, lease: Lease) -> Result<Self> {
        atomic::sweep(artifact.folder())?;
        let log = Mutex::new(EventLog::open(artifact.log_path())?);
        Ok(Self {
            artifact,
            description,
            lease,
            log,
            resumed_from: Mutex::new(None),
            distrusted: Mutex::new(Vec::new()),
            began: Instant::now(),
            started: clock::now_rfc3339(),
        })
    }

    /// The artifact that is being written.
    pub fn artifact(&self) -> &Artifact {
        &self.artifact
    }

    /// The newest whole checkpoint, with the event log cut to what it was when that was made. Without a
    /// checkpoint the log is emptied. Call this first; what is logged from then on is what an
    /// uninterrupted run would have logged.
    ///
    /// # Errors
    /// When the artifact cannot be written any more.
    pub fn resume(&self) -> Result<Option<Checkpoint>> {
        let newest = self.latest_checkpoint()?;
        let events = newest.as_ref().map_or(0, |checkpoint| checkpoint.events);
        self.events().cut(usize::try_from(events).unwrap_or(usize::MAX))?;
        *lock(&self.resumed_from) = newest.as_ref().map(|checkpoint| checkpoint.step);
        Ok(newest)
    }

    /// The newest checkpoint that is as it was written; others are removed, and the manifest names those that were
    /// damaged. The log stays as it is: see
    /// [`resume`](Self::resume).
    ///
    /// # Errors
    /// When the artifact cannot be written any more.
    pub fn latest_checkpoint(&self) -> Result<Option<Checkpoint>> {
        self.check()?;
        let settled = checkpoint::settle(&self.artifact.checkpoint_path(), self.events().next())?;
        lock(&self.distrusted).extend(settled.damage);
        Ok(settled.newest)
    }

    /// Cuts the first event of a step beyond `step`, and all after it.
    ///
    /// # Errors
    /// When the artifact cannot be written any more.
    pub fn truncate_events_after(&self, step: u64) -> Result<()> {
        self.check()?;
        self.events().cut_after(step)
    }

    /// Forgets checkpoint and log: the stage begins anew.
    ///
    /// # Errors
    /// When the artifact cannot be written any more.
    pub fn restart(&self) -> Result<()> {
        self.check()?;
        checkpoint::discard(&self.artifact.checkpoint_path())?;
        self.events().cut(0)?;
        *lock(&self.resumed_from) = None;
        Ok(())
    }

    /// Writes a payload file by a closure that is given the path to create. `name` may have folders:
    /// `model/config.json`.
    ///
    /// # Errors
    /// When the closure fails, the name is not usable, or the artifact cannot be written any more.
    pub fn write<T, E>(&self, name: &str, fill: impl FnOnce(&Path) -> Result<T, E>) -> Result<T>
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        atomic::replace(&self.payload_path(name)?, fill)
    }

    /// Writes a payload file with these bytes.
    ///
    /// # Errors
    /// When the name is not usable, or the artifact cannot be written any more.
    pub fn write_bytes(&self, name: &str, bytes: &[u8]) -> Result<()> {
        atomic::write_bytes(&self.payload_path(name)?, bytes)
    }

    /// Appends an event to the log and returns its sequence number.
    ///
    /// # Errors
    /// When the artifact cannot be written any more.
    pub fn log(&self, event: &Event) -> Result<u64> {
        self.check()?;
        self.events().append(event)
    }

    /// Makes a whole checkpoint: the closure fills the folder that it is given. The older one goes once
    /// the new one is durable. Log what belongs to the work so far before: what is logged later is cut
    /// from the log when a stage resumes here.
    ///
    /// # Errors
    /// When the closure fails (the older checkpoint then stays), or the artifact cannot be written any
    /// more.
    pub fn checkpoint<E>(&self, step: u64, fill: impl FnOnce(&Path) -> Result<(), E>) -> Result<()>
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.check()?;
        let events = {
            let log = self.events();
            log.sync()?;
            log.next()
        };
        checkpoint::save(&self.artifact.checkpoint_path(), step, events, fill)
    }

    /// Says that the stage is alive, besides the heartbeat that comes by itself.
    ///
    /// # Errors
    /// When another process took the artifact over.
    pub fn beat(&self) -> Result<()> {
        self.check()?;
        self.lease.beat()
    }

    /// Finishes the artifact: manifest, then the seal, then the checkpoint goes.
    ///
    /// # Errors
    /// When the artifact cannot be written any more; it can then be resumed.
    pub fn seal(self, summary: Value) -> Result<Artifact> {
        self.check()?;
        self.events().sync()?;
        let folder = self.artifact.folder();
        let mut files = Vec::new();
        collect_payload(folder, "", &mut files)?;
        files.sort_by(|a, b| a.name.cmp(&b.name));
        let Description { kind, label, spec, inputs, provenance } = self.description.clone();
        let manifest = Manifest {
            hash: self.artifact.hash().clone(),
            kind,
            label,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            git: provenance.git,
            features: provenance.features,
            device: provenance.device,
            machine: provenance.machine,
            spec,
            inputs,
            host: lease::host(),
            started: self.started.clone(),
            finished: clock::now_rfc3339(),
            wall_seconds: self.began.elapsed().as_secs_f64(),
            resumed_from: *lock(&self.resumed_from),
            distrusted: lock(&self.distrusted).clone(),
            instructions: instructions(),
            summary,
            files,
            log: FileRecord::of(&self.artifact.log_path(), LOG.to_owned())?,
        };
        let path = self.artifact.manifest_path();
        let mut bytes = serde_json::to_vec_pretty(&manifest).map_err(|e| Error::writing(&path)(e.into()))?;
        bytes.push(b'\n');
        atomic::write_bytes(&path, &bytes)?;
        self.check()?;
        atomic::write_bytes(&self.artifact.seal_path(), blake3::hash(&bytes).to_hex().as_bytes())?;
        atomic::remove(&self.artifact.checkpoint_path())?;
        Ok(self.artifact.clone())
    }

    /// Fails when the artifact is no longer this writer's.
    fn check(&self) -> Result<()> {
        self.lease.check().map_err(|lost| match self.artifact.is_sealed() {
            true => Error::Sealed { path: self.artifact.folder().to_owned() },
            false => lost,
        })
    }

    fn payload_path(&self, name: &str) -> Result<PathBuf> {
        name::check_payload(name)?;
        self.check()?;
        let path = self.artifact.folder().join(name);
        if let Some(folder) = path.parent() {
            atomic::create_folder(folder)?;
        }
        Ok(path)
    }

    fn events(&self) -> MutexGuard<'_, EventLog> {
        lock(&self.log)
    }
}

/// Records the payload files under `folder`; `prefix` is the folder's name and a `/`.
fn collect_payload(folder: &Path, prefix: &str, files: &mut Vec<FileRecord>) -> Result<()> {
    for path in atomic::entries(folder)? {
        let name = format!("{prefix}{}", atomic::file_name(&path));
        if name::check_payload(&name).is_err() {
            continue;
        }
        links::refuse(&path)?;
        if path.is_dir() {
            // A writer killed in this folder left its temporary file here.
            atomic::sweep(&path)?;
            collect_payload(&path, &format!("{name}/"), files)?;
        } else {
            files.push(FileRecord::of(&path, name)?);
        }
    }
    Ok(())
}

/// The instruction sets of this machine by which results of floating-point arithmetic may differ.
pub fn instructions() -> Vec<String> {
    #[cfg(target_arch = "x86_64")]
    let found = [
        ("avx2", std::is_x86_feature_detected!("avx2")),
        ("fma", std::is_x86_feature_detected!("fma")),
        ("avx512f", std::is_x86_feature_detected!("avx512f")),
    ];
    #[cfg(not(target_arch = "x86_64"))]
    let found: [(&str, bool); 0] = [];
    let present = found.into_iter().filter(|(_, present)| *present).map(|(name, _)| name.to_owned());
    std::iter::once(std::env::consts::ARCH.to_owned()).chain(present).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is guarded is whole after every statement, so a panic elsewhere spoils nothing.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
