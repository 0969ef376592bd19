//! Results in the shapes of other programs: written for them, and read from them.
//!
//! An experiment is first [`gather`]ed as those programs see one: models, each with results and the answers behind
//! them. A file for each format then says the same in its words. Writers are pure and hand out names and bytes;
//! what models answered is untrusted text, so that no character that moves a cursor or breaks a line is written raw.
//! Readers name file and key where something is not what it should be.

mod beside;
mod error;
mod eval_results;
mod every_eval_ever;
mod foreign;
mod gather;
mod identity;
mod inspect;
mod json;
mod lm_eval;
mod tamperbench;

pub use beside::{by_their_rule, lm_eval_table, tamperbench_table};
pub use error::Error;
pub use eval_results::eval_results;
pub use every_eval_ever::every_eval_ever;
pub use foreign::Foreign;
pub use gather::{Answer, Evaluated, Group, HubData, Judge, Model, gather};
pub use inspect::inspect;
pub use lm_eval::{Ability, By, LmEval, abilities};
pub use tamperbench::{Figures, TamperBench, Tampered, TamperedBy, tamperbench};

use std::path::PathBuf;

/// A file to be written: where, below the folder that was asked for, and what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// The relative path; each part is a plain file name.
    pub path: PathBuf,
    /// The content.
    pub bytes: Vec<u8>,
}
