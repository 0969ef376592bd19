//! What `titer plan` may be told.

use std::str::FromStr;

use clap::Args;
use titer_lab::GivenSpread;
use titer_plan::Override;

use super::parse_override;

/// Of `titer plan`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  titer plan apothecary --set attack.0.seeds=10
  titer plan apothecary --power          what its seeds can decide, by earlier runs or stated spreads
  titer plan apothecary --power --assume titer.attack=0.5 --set attack.0.seeds=5")]
pub(crate) struct PlanArgs {
    /// Spec file (TOML), or a preset of `titer list presets`
    #[arg(value_name = "SPEC|PRESET")]
    pub(crate) spec: String,
    /// Change one value of the spec; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_override)]
    pub(crate) set: Vec<Override>,
    /// Print, in place of the stages, the chance that the planned seeds decide each condition
    ///
    /// Of resistance: that it is shown where harm is half of φ; of the others: where the defence changes nothing.
    /// How far seeds and items lie apart comes from what the store holds of this plan, or of another experiment
    /// (--from), else it is assumed; the output says which.
    #[arg(long)]
    pub(crate) power: bool,
    /// Take the spreads from this experiment of the store
    #[arg(long, value_name = "EXPERIMENT", requires = "power")]
    pub(crate) from: Option<String>,
    /// State a standard deviation; may be repeated
    ///
    /// QUANTITY is titer or carried (logarithms of ratios of break budgets), harm, ability, refusals, quality (shares)
    /// or learning (logarithm of a ratio of steps); PART is defence or attack (between seeds), item, or gap (the width
    /// between two checkpoints).
    #[arg(long, value_name = "QUANTITY.PART=NUMBER", requires = "power", value_parser = GivenSpread::from_str)]
    pub(crate) assume: Vec<GivenSpread>,
    /// Print one JSON document
    #[arg(long)]
    pub(crate) json: bool,
}
