//! Content-addressed artifacts, leases, event logs and checkpoints on disk.
//!
//! This is the only crate that spells a path inside a store:
//!
//! ```text
//! store.json                   {"format": 1}
//! store.lock                   held for the instant in which a lease is taken or released
//! artifacts/<hash>/
//!   manifest.json              spec, inputs, version, host, git revision, timings, files
//!   model.safetensors, …       payload
//!   events.jsonl               append-only, one event per line, with its sequence number
//!   checkpoint/                until sealed: the last whole checkpoint
//!   lease.json                 until sealed: who writes; its modification time is the heartbeat
//!   SEALED                     written last; holds the manifest's BLAKE3
//!   dropped.json               payload files that were dropped to save room
//! remade/<hash>/               where an artifact is made anew whose weights were dropped
//! claims/                      artifacts that living processes work with
//! trash/                       what is being removed
//! damaged/<hash>-<n>/          artifacts that were not what was sealed, moved away to be made anew
//! experiments/<name>/          spec.toml, plan.json, report/, search.json
//!   journal.jsonl              what its runs began, finished and failed; no result depends on it
//!   runs/                      one lease for each living run
//!   cluster/                   what a cluster was asked to do, and what its jobs said
//!   control.json               what people ask of them
//!   verdicts.json              as of the end of the last run
//!   output.log                 what runs in the background had to say
//! ```
//!
//! Invariants:
//! - Every file but the event log is written to a temporary sibling, fsynced and renamed; names that
//!   start with `.` are leftovers of a killed writer and are swept by the next one.
//! - A reader never sees half an artifact, and a sealed artifact is never edited.
//! - At whatever moment a writer is killed, the next one goes on from the last whole checkpoint, with
//!   the event log cut to what it was at that checkpoint.
//! - No symbolic link inside a store is followed, and only what the store named is removed.
//! - What is read was checked: payloads, checkpoints, logs of sealed artifacts, plans, verdicts and searches carry
//!   their BLAKE3.
//! - No tensors and no frames: payloads are files that callers fill.
//!
//! Unix only: process liveness and file identity come from there.

mod artifact;
mod atomic;
mod audit;
mod bundle;
mod checkpoint;
mod claim;
mod clock;
mod cluster;
mod collect;
mod control;
mod dropped;
mod error;
mod events;
mod experiment;
mod holder;
mod journal;
mod lease;
mod links;
mod lock;
mod manifest;
mod name;
mod named;
mod scratch;
mod store;
mod sums;
mod unpack;
mod usage;
mod writer;

pub use artifact::{Artifact, Progress, State};
pub use audit::{Audited, Flaw};
pub use bundle::{Packed, Packing, Weights};
pub use checkpoint::Checkpoint;
pub use claim::Claim;
pub use cluster::Submitting;
pub use collect::{Collected, Left, Order, Removed, Taken};
pub use control::{Control, Request};
pub use dropped::{Remade, is_weights};
pub use error::{Error, Result};
pub use events::{Event, EventReader, Record};
pub use experiment::{Experiment, Presence};
pub use holder::{Holder, processes};
pub use journal::{Entry, Journal, JournalReader, Note};
pub use lease::LeaseTerms;
pub use manifest::{Description, FileRecord, Machine, Manifest, Provenance};
pub use scratch::Scratch;
pub use store::{Begin, FORMAT, Store, Trust};
pub use unpack::Bundle;
pub use usage::{FileKind, Usage};
pub use writer::{Writer, instructions};

#[cfg(test)]
mod tests {
    pub(crate) mod crash;
}
