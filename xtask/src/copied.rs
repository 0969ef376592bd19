//! Artifacts with the files and the events of another one, for stores that are large and were never computed.

use std::fs;

use anyhow::Result;
use serde_json::Value;
use titer_plan::StageHash;
use titer_store::{Artifact, Begin, Description, Event, Store};

/// What copies are copied from.
pub(crate) struct Copied {
    files: Vec<(String, Vec<u8>)>,
    events: Vec<Event>,
    summary: Value,
}

impl Copied {
    /// Reads a sealed artifact.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn of(artifact: &Artifact) -> Result<Self> {
        let manifest = artifact.manifest()?;
        let file = |name: &str| Ok((name.to_owned(), fs::read(artifact.payload(name)?)?));
        let files = manifest.files.iter().map(|record| file(&record.name)).collect::<Result<_>>()?;
        let events = artifact.events()?.into_iter().map(|record| record.event).collect();
        Ok(Self { files, events, summary: manifest.summary })
    }

    /// Makes an artifact of it, unless there is one of that name.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn seal(&self, store: &Store, hash: &StageHash, description: &Description) -> Result<()> {
        let Begin::Writer(writer) = store.begin(hash, description)? else { return Ok(()) };
        for (name, bytes) in &self.files {
            writer.write_bytes(name, bytes)?;
        }
        for event in &self.events {
            writer.log(event)?;
        }
        writer.seal(self.summary.clone())?;
        Ok(())
    }
}
