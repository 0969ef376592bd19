//! The arguments of `titer verify` and `titer bundle`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use titer_lab::Compute;

/// Of `titer verify`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  titer verify apothecary
  titer verify apothecary.tar.zst --json
  titer verify apothecary --replay 3

Every name, hash, row and verdict is made anew and compared with what is stored; nothing is written. Who rewrote
all of a store consistently is found by --replay only. Stages that are not finished are listed and are no findings.

Exit codes: 0 nothing found, 4 something found, 3 nothing found but some stages could not be replayed here,
1 the store or the bundle cannot be read, 2 there is no such experiment")]
pub(crate) struct VerifyArgs {
    /// Experiment of `titer list experiments`, or a file that `titer bundle` wrote
    #[arg(value_name = "EXPERIMENT|BUNDLE")]
    pub(crate) experiment: String,
    /// Compute so many stages again, drawn at random, in a temporary store beside this one, and compare
    #[arg(long, value_name = "N")]
    pub(crate) replay: Option<usize>,
    /// Of the draw
    #[arg(long, value_name = "S", default_value_t = 0, requires = "replay")]
    pub(crate) seed: u64,
    /// What stages are computed on again
    #[arg(long, value_name = "cpu|cuda[:N,…]|metal", default_value = "cpu", requires = "replay")]
    pub(crate) device: Compute,
    /// Print one JSON document
    #[arg(long)]
    pub(crate) json: bool,
}

/// Of `titer bundle`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  titer bundle apothecary --out apothecary.tar.zst
  titer bundle apothecary --weights all --out apothecary-with-weights.tar.zst

A bundle is a tar archive under zstd. `titer verify`, `show`, `export` and `report` take it in place of an
experiment's name. Without weights the stages that start from a model cannot be replayed from it. The same store
gives the same bytes.")]
pub(crate) struct BundleArgs {
    /// Experiment of `titer list experiments`
    pub(crate) experiment: String,
    /// Which weights go with it
    #[arg(long, value_enum, default_value_t)]
    pub(crate) weights: PackedWeights,
    /// The file to write
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// Print one JSON document
    #[arg(long)]
    pub(crate) json: bool,
}

/// Which weights go into a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum PackedWeights {
    /// None: verdicts rest on frames
    #[default]
    None,
    /// Those of adapters
    Adapters,
    /// All: every stage can be computed again from the bundle
    All,
}
