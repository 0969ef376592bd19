//! The arguments of `titer export`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Of `titer export`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  titer export apothecary --what probes --format parquet --out probes.parquet
  titer export apothecary --what verdicts --format csv
  titer export apothecary --what curves --format tensorboard --out runs")]
pub(crate) struct ExportArgs {
    /// Experiment of `titer list experiments`
    pub(crate) experiment: String,
    /// Which data
    #[arg(long, value_enum)]
    pub(crate) what: Export,
    /// File format
    #[arg(long, value_enum)]
    pub(crate) format: ExportFormat,
    /// File to write [default: stdout]; of tensorboard the folder that holds the runs
    #[arg(long, value_name = "FILE|DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Print what was written as one JSON document
    #[arg(long, requires = "out")]
    pub(crate) json: bool,
}

/// What can be exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Export {
    /// A row per response, with its score
    Probes,
    /// A row per run, budget and probe: means over items
    Curves,
    /// A row per logged training step and loss term
    Training,
    /// A row per defence and condition
    Verdicts,
    /// A row per defence, reference, probes, kind of break and set of attacks
    Titers,
    /// A row per defence and attack: break budget and titer, the cells of the heat map
    Attacks,
    /// A row per defence, attack, measure and moment: harmful score, accuracy and ability, before and after
    Scores,
    /// A row per response: prompt and response, word for word
    Responses,
}

/// A file format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormat {
    /// Columns with their types
    Parquet,
    /// Comma-separated values with a header line
    Csv,
    /// One array of objects
    Json,
    /// Event files of TensorBoard, a folder for each stage (training) or run (curves)
    Tensorboard,
}
