//! Helpers of the end-to-end tests: the program as a user runs it, in a place of its own.

mod binary;
mod files;
mod outcome;
mod pages;
mod place;
mod ran;
mod schema;
mod terminal;

pub use binary::{cargo, titer};
pub use files::{files, read, root};
pub use outcome::Outcome;
pub use pages::{generated, table};
pub use place::{Place, TINY};
pub use ran::Ran;
pub use schema::is_valid;
pub use terminal::Terminal;

/// The code of the README compiles.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;
