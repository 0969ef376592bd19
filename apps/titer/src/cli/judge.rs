//! The arguments of `titer judge`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// What to do with a judge.
#[derive(Debug, Subcommand)]
pub(crate) enum JudgeVerb {
    /// Print the TOML of a judge that is a model, to start one of your own from
    Show(JudgeShowArgs),
    /// Find out how often a judge is right, by people's labels
    Calibrate(JudgeCalibrateArgs),
}

/// Of `titer judge show`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  titer judge show llama-guard-3
  titer judge show wildguard > wildguard.toml    then add the published `template` to it

A spec names the file: probe.judges = [\"wildguard.toml\"]")]
pub(crate) struct JudgeShowArgs {
    /// A judge that comes with titer
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
}

/// Of `titer judge calibrate`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  titer judge calibrate refusal labels.jsonl
  titer judge calibrate qwen3guard labels.jsonl --out calibration.json

A line of labels.jsonl: {\"question\": \"…\", \"answer\": \"…\", \"harmful\": true}

What --out writes is what a spec names as probe.calibration: harmful scores are then shown corrected
beside what was judged. That is right if the judge errs on a model's answers as often as on the
labelled ones, so label answers of the models that you measure.")]
pub(crate) struct JudgeCalibrateArgs {
    /// A judge of harm that needs question and answer alone, or the TOML file of one
    #[arg(value_name = "JUDGE|FILE")]
    pub(crate) judge: String,
    /// Answers that people labelled, as JSON lines
    #[arg(value_name = "LABELS")]
    pub(crate) labels: PathBuf,
    /// The file to write
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// The confidence of the intervals
    #[arg(long, value_name = "SHARE", default_value_t = 0.95, value_parser = confidence)]
    pub(crate) confidence: f64,
    /// Print one JSON document
    #[arg(long)]
    pub(crate) json: bool,
}

fn confidence(text: &str) -> Result<f64, String> {
    let share: Option<f64> = text.parse().ok().filter(|share| *share >= 0.5 && *share < 1.0);
    share.ok_or_else(|| "expected a number from 0.5 to below 1, as 0.95".to_owned())
}
