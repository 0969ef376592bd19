//! The arguments of `titer tune`.

use std::num::NonZeroUsize;

use clap::Args;
use titer_lab::Compute;
use titer_plan::Override;
use titer_search::Budget;

use super::parse_override;

/// Of `titer tune`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  titer tune apothecary --defence adversarial-loss --over rate=1e-4..2e-3:log --over lambda=0.1..10:log
  titer tune apothecary --defence tar-8-inner-steps --over steps=50..400 --over 'inner_steps=[4, 8, 16]' --budget 20m
  titer tune apothecary --defence tar-8-inner-steps --over rate=1e-4..2e-3:log --budget 2e13 --trials 40

Without --over it lists the defence's parameters.

The spec's own setting is the first trial. Trials climb three rungs: ability; the strongest attacks with one
seed each, of which the better half goes on; everything. What fails stability, diverges or is outranked is
stopped early and listed with its reason. The best setting under which stability and trainability hold is
measured once more with fresh seeds, since it was chosen for its luck too. Under the fine-tuning API the
lowest harmful score is looked for, under stability and the accuracy of what users ordered.

A budget in operations gives the same trials on every machine and for every number of jobs; one in seconds
counts what stages took on this machine, added up. What the undefended model takes is not counted.

Ctrl-C stops; the same command goes on and ends with the same result. What was found is kept in the store as
the experiment SPEC-tune-LABEL: titer show, report and export know it.")]
pub(crate) struct TuneArgs {
    /// Spec file (TOML), or a preset of `titer list presets`
    #[arg(value_name = "SPEC|PRESET")]
    pub(crate) spec: String,
    /// The defence to tune, by its label in the spec
    #[arg(long, value_name = "LABEL")]
    pub(crate) defence: String,
    /// A parameter to search over; may be repeated
    #[arg(long, value_name = "KEY=LOW..HIGH[:log]|KEY=[a,b]")]
    pub(crate) over: Vec<String>,
    /// What the trials may take: operations (3e13) or seconds of stages (90s, 20m, 2h)
    #[arg(long, value_name = "FLOPS|TIME")]
    pub(crate) budget: Option<Budget>,
    /// Trials at most [default: 16 where there is no budget]
    #[arg(long, value_name = "N")]
    pub(crate) trials: Option<NonZeroUsize>,
    /// Of the order of trials
    #[arg(long, value_name = "S", default_value_t = 0)]
    pub(crate) seed: u64,
    /// Change one value of the spec; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_override)]
    pub(crate) set: Vec<Override>,
    /// Stages that run at the same time [default: as many as cores and memory allow]
    #[arg(long, value_name = "N")]
    pub(crate) jobs: Option<NonZeroUsize>,
    /// What the stages compute on
    #[arg(long, value_name = "cpu|cuda[:N,…]|metal", default_value = "cpu")]
    pub(crate) device: Compute,
    /// Print one JSON document
    #[arg(long)]
    pub(crate) json: bool,
}
