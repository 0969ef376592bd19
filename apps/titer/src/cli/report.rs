//! The arguments of `titer report`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Of `titer report`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  titer report apothecary                      HTML and Markdown, beside the experiment in the store
  titer report apothecary --out . --format md")]
pub(crate) struct ReportArgs {
    /// Experiment of `titer list experiments`, or a file that `titer bundle` wrote
    #[arg(value_name = "EXPERIMENT|BUNDLE")]
    pub(crate) experiment: String,
    /// Folder to write to [default: the experiment's, in the store]
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Kind of report; may be repeated [default: html and md]
    #[arg(long, value_enum)]
    pub(crate) format: Vec<ReportFormat>,
    /// Print what was written as one JSON document
    #[arg(long)]
    pub(crate) json: bool,
}

/// A kind of report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportFormat {
    /// One self-contained page
    Html,
    /// Markdown, with a picture file for each figure
    Md,
    /// All that the others show, as data
    Json,
}
