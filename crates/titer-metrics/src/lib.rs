//! Frame schemas with their meaning, and the frames of an experiment.
//!
//! A frame is a polars table whose columns, types and units are fixed by a [`Schema`] constant, checked
//! on write and on read. What a score means (unit, which way is better) the measure says that made it.
//! This crate opens no file: it reads from and writes to whatever the caller holds open.

mod cell;
mod curves;
mod error;
mod event_file;
mod export;
mod frames;
mod parquet;
mod rows;
mod scalars;
mod schema;

pub use cell::{Befores, before_columns, deciding, with_cell, with_cells};
pub use curves::curves;
pub use error::Error;
pub use event_file::write_events;
pub use export::{Format, export};
pub use frames::{
    ATTACKS, CURVES, PROBE_ROWS, PROBES, RESPONSES, SCORES, TITERS, TRAINING, TRAINING_ROWS, VERDICTS,
};
pub use parquet::{read_parquet, write_parquet};
pub use rows::{ProbeRow, ResponseRow, TrainingRow, probe_frame, response_frame, training_frame};
pub use scalars::{Runs, Scalar, curve_name, curve_scalars, training_scalars};
pub use schema::{Column, Kind, Schema, check, sorted, stack};
