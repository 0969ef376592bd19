//! What is measured of a model's answers: a file per measure, in [`measures`].
//!
//! A measure sees what was asked and what came back ([`Exchange`]), never a model, so that what was answered
//! once can be judged again. It judges batches: some are models themselves. [`registry`] lists all of them.

pub mod choice;
mod error;
mod measure;
pub mod measures;
mod own;
pub mod registry;
pub mod text;

pub use error::MeasureError;
pub use measure::{Better, Continuation, Exchange, Facts, Judgement, Making, Measure, Need, Parts, Reads};
pub use own::{Own, Twice};
