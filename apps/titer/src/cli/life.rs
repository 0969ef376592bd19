//! The arguments of the verbs that look after experiments: status, stop, resume, logs, stat, rm, gc.

use std::time::Duration;

use clap::{Args, ValueEnum};
use titer_lab::Policy;

use super::{HowArgs, RunArgs, parse_time};

/// Of `titer status`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  titer status
  titer status apothecary
  titer status apothecary --json | jq '.counts'

It reads the store and disturbs no run. Times are those of Greenwich.")]
pub(crate) struct StatusArgs {
    /// Experiment of `titer list experiments` [default: all of them]
    pub(crate) experiment: Option<String>,
    /// Print one JSON document
    #[arg(long)]
    pub(crate) json: bool,
}

/// Of `titer stop`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  titer stop apothecary
  titer stop apothecary --now

The runs of the experiment are asked through the store, on whatever host they are: each finishes its step, saves
a checkpoint and ends. With --now each ends as it is, and what was done since the last checkpoint is done again.
titer resume goes on. No process is signalled.")]
pub(crate) struct StopArgs {
    /// Experiment of `titer list experiments`
    pub(crate) experiment: String,
    /// Without a checkpoint of what they do this moment
    #[arg(long)]
    pub(crate) now: bool,
    /// How long to wait until they are gone
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = parse_time)]
    pub(crate) wait: Duration,
    /// Print one JSON document
    #[arg(long)]
    pub(crate) json: bool,
}

/// Of `titer resume`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  titer resume apothecary
  titer resume apothecary --detach
  titer resume apothecary --budget 2h --jobs 4
  titer resume apothecary --on slurm     what is left as jobs of a cluster

The experiment goes on as the store has it planned, overrides and all; no spec is read. Where it runs already,
this follows that run to its end; with --jobs it shares the work. Runs that were told to hold go on.")]
pub(crate) struct ResumeArgs {
    /// Experiment of `titer list experiments`
    pub(crate) experiment: String,
    /// How it is run.
    #[command(flatten)]
    pub(crate) how: HowArgs,
}

impl From<ResumeArgs> for RunArgs {
    fn from(arguments: ResumeArgs) -> Self {
        Self { spec: arguments.experiment, set: Vec::new(), resume: true, how: arguments.how }
    }
}

/// Of `titer logs`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  titer logs apothecary
  titer logs apothecary --follow         until no run of it lives
  titer logs apothecary full-finetune    the events of the one stage whose name has these words
  titer logs apothecary 0123abcd -n 5    … whose artifact begins with these digits

Of an experiment: what its runs began, finished and failed, then what runs in the background had to say.")]
pub(crate) struct LogsArgs {
    /// Experiment of `titer list experiments`
    pub(crate) experiment: String,
    /// A stage of it: the first digits of its artifact, its name, or words of it
    pub(crate) stage: Option<String>,
    /// Go on printing what comes, until no run of the experiment lives
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// Lines from the end
    #[arg(short, long, value_name = "N", default_value_t = 30)]
    pub(crate) number: usize,
    /// Print one JSON document
    #[arg(long, conflicts_with = "follow")]
    pub(crate) json: bool,
}

/// Of `titer stat`.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  titer stat apothecary

Bytes count once where artifacts share a file. Times of stages are those of the runs that sealed them; processor
time is that of all runs that ended by themselves.")]
pub(crate) struct StatArgs {
    /// Experiment of `titer list experiments`
    pub(crate) experiment: String,
    /// Print one JSON document
    #[arg(long)]
    pub(crate) json: bool,
}

/// Of `titer rm`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  titer rm old --dry-run                 what would go
  titer rm old                           its plan, reports and logs; what it measured stays for others
  titer rm old --artifacts               that too, but for what another experiment names

Refused while a run of it lives. What titer did not write stays, and is named.")]
pub(crate) struct RmArgs {
    /// Experiment of `titer list experiments`
    pub(crate) experiment: String,
    /// Remove also what it measured and trained, but for what another experiment names
    #[arg(long)]
    pub(crate) artifacts: bool,
    /// Only say what would be removed
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Print one JSON document
    #[arg(long)]
    pub(crate) json: bool,
}

/// Of `titer gc`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  titer gc --dry-run
  titer gc --policy intermediate         also weights that only led to other models
  titer gc --policy weights,checkpoints  all that can be computed again

Always goes what no experiment names, what was moved to damaged/, and what killed runs left. What a living run
works with, and what changed within the grace period, stays. An artifact without its weights keeps everything
that was measured: it can be shown, reported and exported, and a later stage that needs the weights has them
computed again. titer resume EXPERIMENT --weights brings them back.

What searches (tune, attack) tried is named by no experiment: let a search come to its end first.")]
pub(crate) struct GcArgs {
    /// What goes besides; may be repeated, or a list with commas
    #[arg(long, value_enum, value_delimiter = ',', value_name = "POLICY")]
    pub(crate) policy: Vec<PolicyName>,
    /// What changed less long ago stays
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = parse_time)]
    pub(crate) grace: Duration,
    /// Only say what would be removed
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Print one JSON document
    #[arg(long)]
    pub(crate) json: bool,
}

/// What may go besides what nobody names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PolicyName {
    /// Checkpoints of stages that were broken off, with their optimiser states: they begin anew
    Checkpoints,
    /// Weights of models that another model was made from, once all that needs them is done
    Intermediate,
    /// Weights of all models, once all that needs them is done
    Weights,
}

impl From<PolicyName> for Policy {
    fn from(name: PolicyName) -> Self {
        match name {
            PolicyName::Checkpoints => Self::Checkpoints,
            PolicyName::Intermediate => Self::Intermediate,
            PolicyName::Weights => Self::Weights,
        }
    }
}
