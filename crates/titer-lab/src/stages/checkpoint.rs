//! Takes in what was made elsewhere: a model, a data set, a classifier. It stays where it is: the artifact
//! remembers what it was, so that no later stage measures another one under the same name.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use titer_hub::Resolved;
use titer_store::Artifact;

use super::Work;
use crate::checkpoints::{locate, read_chat, shape};
use crate::files::read;
use crate::progress::RunEvent;
use crate::{Error, Result};

/// What the artifact of a checkpoint stage holds.
const CHECKPOINT: &str = "checkpoint.json";

/// What was taken in.
#[derive(Serialize, Deserialize)]
struct TakenIn {
    /// As it was asked for.
    reference: String,
    /// The commit, of a model from the hub.
    commit: Option<String>,
    /// BLAKE3 of its files.
    identity: String,
}

pub(super) fn take_in(work: &Work<'_>, reference: &str) -> Result<Value> {
    let located = found(work, reference)?;
    // What cannot be used is said now, before hours of other stages.
    let config = shape(&located.path)?;
    read_chat(&located.path)?.tokenizer().check_vocabulary(config.vocab_size)?;
    remember(work, reference, located)
}

/// The same for a data set or a classifier, which the stages that use it check.
pub(super) fn take_in_source(work: &Work<'_>, reference: &str) -> Result<Value> {
    let located = found(work, reference)?;
    remember(work, reference, located)
}

fn found(work: &Work<'_>, reference: &str) -> Result<Resolved> {
    work.writer.resume()?;
    match locate(reference, &mut Downloading::of(work)) {
        Err(Error::Hub(error)) if matches!(*error, titer_hub::Error::Cancelled { .. }) => {
            Err(Error::Interrupted)
        }
        located => located,
    }
}

fn remember(work: &Work<'_>, reference: &str, located: Resolved) -> Result<Value> {
    let identity = located.identity()?;
    let taken_in = TakenIn { reference: reference.to_owned(), commit: located.commit, identity };
    work.writer.write_bytes(CHECKPOINT, &serde_json::to_vec_pretty(&taken_in)?)?;
    Ok(Value::Null)
}

/// Shows a download as the stage's progress, and stops it on request.
struct Downloading<'a> {
    work: &'a Work<'a>,
    bytes: u64,
    of: u64,
}

impl<'a> Downloading<'a> {
    fn of(work: &'a Work<'a>) -> Self {
        Self { work, bytes: 0, of: 0 }
    }

    fn show(&self) {
        let stage = self.work.stage;
        let (hash, label) = (&stage.hash, stage.label.as_str());
        self.work.progress.event(RunEvent::Advanced { hash, label, done: self.bytes, of: self.of });
    }
}

impl titer_hub::Progress for Downloading<'_> {
    fn started(&mut self, _: &str, bytes: Option<u64>, present: u64) {
        (self.bytes, self.of) = (present, bytes.unwrap_or(present));
        self.show();
    }

    fn advanced(&mut self, bytes: u64) {
        self.bytes += bytes;
        self.show();
    }

    fn finished(&mut self) {
        self.bytes = self.of;
        self.show();
    }

    fn cancelled(&self) -> bool {
        self.work.interrupt.raised()
    }
}

/// Where what a stage took in is, if `artifact` is one; found again and compared.
pub(super) fn taken_in(artifact: &Artifact) -> Result<Option<PathBuf>> {
    let record = match artifact.payload(CHECKPOINT) {
        Err(titer_store::Error::NoPayload { .. }) => return Ok(None),
        record => record?,
    };
    let taken: TakenIn = serde_json::from_slice(&read(&record)?)?;
    let reference = match &taken.commit {
        Some(commit) => pinned(&taken.reference, commit),
        None => taken.reference.clone(),
    };
    let located = locate(&reference, &mut ())?;
    if located.identity()? != taken.identity {
        return Err(Error::Changed { reference: taken.reference, path: located.path });
    }
    Ok(Some(located.path))
}

/// The same reference at exactly this commit.
fn pinned(reference: &str, commit: &str) -> String {
    let (repository, file) = match reference.strip_prefix("hf:").and_then(|rest| rest.split_once(':')) {
        Some((repository, file)) => (format!("hf:{repository}"), format!(":{file}")),
        None => (reference.to_owned(), String::new()),
    };
    let repository = repository.split_once('@').map_or(repository.as_str(), |(name, _)| name);
    format!("{repository}@{commit}{file}")
}

#[cfg(test)]
mod tests {
    use super::pinned;

    #[test]
    fn a_reference_is_pinned_to_a_commit() {
        assert_eq!(pinned("hf:a/b", "c0ffee"), "hf:a/b@c0ffee");
        assert_eq!(pinned("hf:a/b@main", "c0ffee"), "hf:a/b@c0ffee");
        assert_eq!(pinned("hf:a/b@main:x.gguf", "c0ffee"), "hf:a/b@c0ffee:x.gguf");
    }
}
