//! Tasks beside the policy that need no download: one to fine-tune on, two to stay good at.
//!
//! [`data_to_text`] is the harmless task of trainability; a [`Task`] measures stability, those that come with
//! titer and users' own.

pub mod data_to_text;
mod task;

use serde::de::DeserializeOwned;

use crate::{Error, Result};

pub use task::{Asked, Form, Paragraph, Question, Sentence, Task};

/// The questions that come with titer, as TOML.
pub const GENERAL_KNOWLEDGE: &str = include_str!("../../../../data/tasks/general-knowledge.toml");

/// The prose that comes with titer, as TOML.
pub const HELD_OUT: &str = include_str!("../../../../data/tasks/held-out.toml");

fn read<T: DeserializeOwned>(text: &str) -> Result<T> {
    toml::from_str(text).map_err(|error| Error::Syntax { of: "task", problem: error.to_string() })
}

fn wrong<T>(key: &str, problem: impl Into<String>) -> Result<T> {
    Err(Error::Definition { of: "task", key: key.to_owned(), problem: problem.into() })
}
