//! The command line: what may be typed, with the help that teaches it.

mod attack;
mod compare;
mod export;
mod how;
mod judge;
mod life;
mod model;
mod plan;
mod report;
mod spec;
mod tune;
mod verify;
mod watch;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use titer_lab::Compute;
use titer_plan::Override;
use titer_search::Budget;

pub(crate) use attack::AttackArgs;
pub(crate) use compare::CompareArgs;
pub(crate) use export::{Export, ExportArgs, ExportFormat};
pub(crate) use how::{HowArgs, PackArg, RunOn};
pub(crate) use judge::{JudgeCalibrateArgs, JudgeVerb};
pub(crate) use life::{GcArgs, LogsArgs, ResumeArgs, RmArgs, StatArgs, StatusArgs, StopArgs};
pub(crate) use model::{ModelConvertArgs, ModelGenerateArgs, ModelInfoArgs, ModelPullArgs, ModelVerb};
pub(crate) use plan::PlanArgs;
pub(crate) use report::{ReportArgs, ReportFormat};
pub(crate) use spec::{ExplainArgs, InitArgs};
pub(crate) use tune::TuneArgs;
pub(crate) use verify::{BundleArgs, PackedWeights, VerifyArgs};
pub(crate) use watch::WatchArgs;

/// The store where nothing else is said.
pub(crate) const DEFAULT_STORE: &str = "store";

/// Measures how much an attacker must pay to undo a language model's safety.
#[derive(Debug, Parser)]
#[command(
    name = "titer",
    version,
    about,
    after_help = "Start here:
  titer run apothecary-smoke     a whole experiment on the embedded world, in about a minute
  titer show apothecary-smoke    what came out
  titer report apothecary-smoke  the same as a page with curves
  titer list presets             what else there is to run

Exit codes: 0 done, 1 failed, 2 bad usage or bad spec, 3 done but some stages failed,
4 verify found something, 130 interrupted or out of time (titer resume goes on)"
)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) verb: Verb,
    /// Folder that keeps models, measurements and reports
    #[arg(long, global = true, value_name = "DIR", env = "TITER_STORE", default_value = DEFAULT_STORE)]
    pub(crate) store: PathBuf,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Run an experiment, or go on with it; what was measured before is not measured again
    Run(RunArgs),
    /// Go on with an experiment of the store, as it was planned there
    Resume(ResumeArgs),
    /// Say what runs, where and since when, what is done and what is left
    Status(StatusArgs),
    /// Ask the runs of an experiment to save where they are and end, and wait until they have
    Stop(StopArgs),
    /// Show what the runs of an experiment, or one stage, wrote down
    Logs(LogsArgs),
    /// Watch what runs or ran, in a terminal app: progress, verdicts, curves, responses
    Watch(WatchArgs),
    /// Find out when a model breaks, and by which attack
    Attack(AttackArgs),
    /// Search the best setting of a defence within a budget, and measure it afresh
    Tune(TuneArgs),
    /// Judge an experiment's stored answers anew, without its models
    Rescore(RescoreArgs),
    /// Show the verdicts of an experiment and what decided them
    Show(ShowArgs),
    /// Compare the defences of one or several experiments: titer, verdicts, scores, costs
    Compare(CompareArgs),
    /// Write an experiment's report: verdicts, curves, spec, costs
    Report(ReportArgs),
    /// Show what a run would do and cost; runs nothing
    Plan(PlanArgs),
    /// Say what a key, a section or a method of a spec is for, and what it may hold
    Explain(ExplainArgs),
    /// Print a preset's spec, or all of one that leaves things unsaid, to start one of your own from
    Init(InitArgs),
    /// Print the JSON Schema of a spec, for editors
    Schema,
    /// List what a spec may name, and what the store holds
    List(ListArgs),
    /// Write an experiment's data for other programs
    Export(ExportArgs),
    /// Say what an experiment takes: disk, time, tokens, and what of it others share
    Stat(StatArgs),
    /// Remove an experiment
    Rm(RmArgs),
    /// Remove what no experiment of the store needs
    Gc(GcArgs),
    /// Pack an experiment into one file, to be published beside a claim
    Bundle(BundleArgs),
    /// Check a claim: recompute every hash and verdict of an experiment or a bundle
    Verify(VerifyArgs),
    /// Look at a model, or let it answer
    #[command(subcommand)]
    Model(ModelVerb),
    /// Look at a judge, or find out how often it is right
    #[command(subcommand)]
    Judge(JudgeVerb),
    /// Check this machine: what works, and what to do about the rest
    Doctor(DoctorArgs),
    /// Print completions for a shell
    Completions(CompletionsArgs),
    /// Print the manual page
    Man,
}

/// Of `titer run`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  titer run apothecary
  titer run experiment.toml --jobs 4
  titer run apothecary --set conditions.phi=0.3 --set attack.0.seeds=5
  titer run apothecary --detach          in the background; titer watch apothecary looks at it
  titer run my.toml --budget 30m         begins no stage after half an hour
  titer run my.toml --on slurm --partition gpu --device cuda
                                         as jobs of a cluster, which need nobody to look after them

Ctrl-C stops after the current steps and keeps a checkpoint; a second Ctrl-C stops at once.
Either way, the same command goes on from there, and so does titer resume NAME.

Where the experiment runs already, this follows that run to its end; with --jobs it shares the work.")]
pub(crate) struct RunArgs {
    /// Spec file (TOML), or a preset of `titer list presets`
    #[arg(value_name = "SPEC|PRESET")]
    pub(crate) spec: String,
    /// Change one value of the spec; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_override)]
    pub(crate) set: Vec<Override>,
    /// Go on with an experiment of the store, by its name, as it was planned there
    #[arg(long, conflicts_with = "set")]
    pub(crate) resume: bool,
    /// How it is run.
    #[command(flatten)]
    pub(crate) how: HowArgs,
}

/// Of `titer rescore`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  titer rescore apothecary
  titer rescore mine --device cuda:0     for a classifier that judges

Answers are judged as the measures are now: their versions, the published refusal phrases, or the file that
the spec names by `probe.refusals`. Nothing is trained and no model is asked. Where no measure changed, the
scores must come out as they are stored, and the command fails if they do not.")]
pub(crate) struct RescoreArgs {
    /// Experiment of `titer list experiments`
    pub(crate) experiment: String,
    /// Stages that are judged at the same time
    #[arg(long, value_name = "N", default_value = "1")]
    pub(crate) jobs: NonZeroUsize,
    /// What a classifier computes on
    #[arg(long, value_name = "cpu|cuda[:N,…]|metal", default_value = "cpu")]
    pub(crate) device: Compute,
    /// Print one JSON document
    #[arg(long)]
    pub(crate) json: bool,
}

/// Of `titer show`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  titer show apothecary
  titer show apothecary --defence tar-8-inner-steps --format md
  titer show apothecary --json | jq '.defences[].titer'

How to read it: ✓ the whole confidence interval lies on the good side of the threshold, ✗ on the bad side,
? it straddles it or something was not measured. (10, 13] says that the model still held after 10 steps of
the attack and was broken after 13; > 200 that it was never broken.")]
pub(crate) struct ShowArgs {
    /// Experiment of `titer list experiments`, or a file that `titer bundle` wrote
    #[arg(value_name = "EXPERIMENT|BUNDLE")]
    pub(crate) experiment: String,
    /// Only this defence
    #[arg(long, value_name = "NAME")]
    pub(crate) defence: Option<String>,
    /// How it is written
    #[arg(long, value_enum, default_value_t, conflicts_with = "json")]
    pub(crate) format: TextFormat,
    /// Print one JSON document
    #[arg(long)]
    pub(crate) json: bool,
}

/// How tables are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum TextFormat {
    /// For a terminal
    #[default]
    Text,
    /// Markdown, to be pasted into a page
    Md,
}

/// Of `titer list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// What to list
    #[arg(value_enum)]
    pub(crate) what: Listing,
    /// Print one JSON document
    #[arg(long)]
    pub(crate) json: bool,
}

/// What can be listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Listing {
    /// Experiments that come with titer
    Presets,
    /// Models that a spec or a command may name
    Models,
    /// Attacks, with their parameters
    Attacks,
    /// Defences, with their parameters
    Defences,
    /// What scores a response
    Judges,
    /// What is decided about a defence
    Conditions,
    /// What models are asked to do
    Tasks,
    /// Experiments in the store
    Experiments,
}

/// Of `titer doctor`.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Print one JSON document
    #[arg(long)]
    pub(crate) json: bool,
}

/// Of `titer completions`.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  titer completions bash > ~/.local/share/bash-completion/completions/titer")]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub(crate) shell: Shell,
}

fn parse_override(text: &str) -> Result<Override, String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => {
            Ok(Override { key: key.trim().to_owned(), value: value.trim().to_owned() })
        }
        _ => Err("expected KEY=VALUE, like conditions.phi=0.3".into()),
    }
}

/// `90s`, `30m`, `2h`.
fn parse_time(text: &str) -> Result<Duration, String> {
    let wrong = || "expected a time, like 90s, 30m or 2h".to_owned();
    match text.parse() {
        Ok(Budget::Seconds(seconds)) => Duration::try_from_secs_f64(seconds).map_err(|_| wrong()),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_is_not_there_is_refused_and_named() {
        let refused = |arguments: &[&str], word: &str| {
            let error = Cli::try_parse_from(arguments).expect_err("refused").to_string();
            assert!(error.contains(word), "{error}");
        };
        refused(&["titer", "run", "x", "--device", "cuda:0"], "--features cuda");
        refused(&["titer", "run", "x", "--device", "metal"], "--features metal");
        refused(&["titer", "run", "x", "--on", "lsf"], "slurm");
        refused(&["titer", "run", "x", "--pack", "1"], "ROUND:FIRST");
        refused(&["titer", "run", "x", "--set", "phi"], "KEY=VALUE");
        refused(&["titer", "run", "x", "--jobs", "0"], "--jobs");
        refused(
            &["titer", "model", "generate", "x", "--prompt", "y", "--temperature", "-1"],
            "from 0 to 100",
        );
    }

    #[test]
    fn overrides_keep_what_follows_the_first_equals_sign() {
        let parsed = parse_override("a.b = \"c=d\"").expect("a key and a value");
        assert_eq!(parsed, Override { key: "a.b".into(), value: "\"c=d\"".into() });
    }
}
