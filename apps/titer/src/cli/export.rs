//! The arguments of `titer export`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Of `titer export`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  titer export apothecary --what probes --format parquet --out probes.parquet
  titer export apothecary --what verdicts --format csv
  titer export apothecary --what curves --format tensorboard --out runs
  titer export apothecary --what results --format every-eval-ever --by my-lab --out eee
  titer export apothecary --what results --format eval-results --dataset my-lab/bench --out cards
  titer export apothecary --what results --format inspect --out logs

`results` are what other people's tools show of an experiment: harm and ability before and after each attack,
titers, break budgets, conditions, and the answers behind them. They have formats of their own: every-eval-ever
(JSON and JSONL by its schema 0.3.0), eval-results (the files of a model's page on the hub) and inspect (logs for
`inspect view`). All other data are tables: parquet, csv, json.")]
pub(crate) struct ExportArgs {
    /// Experiment of `titer list experiments`, or a file that `titer bundle` wrote
    #[arg(value_name = "EXPERIMENT|BUNDLE")]
    pub(crate) experiment: String,
    /// Which data
    #[arg(long, value_enum)]
    pub(crate) what: Export,
    /// File format
    #[arg(long, value_enum)]
    pub(crate) format: ExportFormat,
    /// File to write [default: stdout]; of tensorboard and of results the folder to write to
    #[arg(long, value_name = "FILE|DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Of every-eval-ever: who publishes the results, a person or an organization
    #[arg(long, value_name = "NAME")]
    pub(crate) by: Option<String>,
    /// Of eval-results: the benchmark's data set on the hub [default: the one that the harmful prompts come from]
    #[arg(long, value_name = "OWNER/NAME", value_parser = parse_dataset)]
    pub(crate) dataset: Option<String>,
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
    /// Everything that came out, for other people's tools: every-eval-ever, eval-results, inspect
    Results,
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
    /// Every Eval Ever: JSON for each model, and JSONL of its answers
    EveryEvalEver,
    /// Files of models' pages on the hub: .eval_results/titer.yaml
    EvalResults,
    /// Logs of Inspect AI
    Inspect,
}

/// A data set's name on the hub.
fn parse_dataset(text: &str) -> Result<String, String> {
    let plain = |part: &str| {
        let fit = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        !part.is_empty() && !part.starts_with('.') && part.chars().all(fit)
    };
    match text.split_once('/') {
        Some((owner, name)) if plain(owner) && plain(name) => Ok(text.to_owned()),
        _ => Err("expected OWNER/NAME of a data set of the hub, like my-lab/bench".into()),
    }
}
