//! Tasks beside the policy that need no download: one to fine-tune on, two to stay good at.
//!
//! [`data_to_text`] is the harmless task of trainability; [`MultipleChoice`] and [`HeldOut`] measure
//! stability.

pub mod data_to_text;
mod held_out;
mod multiple_choice;

pub use held_out::{HeldOut, Paragraph};
pub use multiple_choice::{MultipleChoice, Question};

/// The questions that come with titer, as TOML.
pub const GENERAL_KNOWLEDGE: &str = include_str!("../../../../data/tasks/general-knowledge.toml");

/// The prose that comes with titer, as TOML.
pub const HELD_OUT: &str = include_str!("../../../../data/tasks/held-out.toml");
