//! The arguments of `titer compare`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use titer_plan::DefenceStage;
use titer_view::comparison::Sort;

use super::TextFormat;

/// Of `titer compare`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  titer compare apothecary-api --sort harmful
  titer compare apothecary apothecary-api --stage alignment
  titer compare apothecary --defence none,tar --json
  titer compare mine --tamperbench results/aggregated_eps10
  titer compare mine --lm-eval none=eval/base --lm-eval tar=eval/tar

Harmful score and fine-tune accuracy are those before → after the attack that leaves each defence most harmful.
Costs: an alignment's and a repair's are whole, a guard's are what it adds to plain training; alignment is paid
once for a model, the others for each user. Under the fine-tuning API a titer compares the shares of harmful
examples that break the models. Where the table is wider than the terminal (80 columns, or COLUMNS), its
columns are shown in several blocks.

--tamperbench shows a folder of TamperBench beside the experiments: heatmap_max_sr.json as its analysis wrote
it, or MODEL/ATTACK/optuna_single/trial_N with evaluation.json or evaluator_scores.parquet. Of each attack that
setting counts which is most harmful among those that keep the model's ability. --lm-eval takes results_*.json
of lm-evaluation-harness, one for the undefended model and one for each defence: items are paired by doc_id
where samples_*.jsonl lies beside it, else standard errors are compared.")]
pub(crate) struct CompareArgs {
    /// Experiments of `titer list experiments`
    #[arg(value_name = "EXPERIMENT", required = true)]
    pub(crate) experiments: Vec<String>,
    /// Order of the lines [default: as in the specs]
    #[arg(long, value_enum)]
    pub(crate) sort: Option<SortName>,
    /// Only defences with a method of this stage; the undefended model stays
    #[arg(long, value_enum)]
    pub(crate) stage: Option<StageName>,
    /// Only these defences; may be repeated, or a list with commas
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) defence: Vec<String>,
    /// Results of TamperBench to show beside: a folder, or its heatmap_max_sr.json; may be repeated
    #[arg(long, value_name = "DIR")]
    pub(crate) tamperbench: Vec<PathBuf>,
    /// With --tamperbench: the share of its ability that a model may lose under an attack that counts, where the
    /// folder does not say
    #[arg(long, value_name = "SHARE", default_value_t = 0.1, value_parser = parse_share, requires = "tamperbench")]
    pub(crate) utility_drop: f64,
    /// Results of lm-eval of a defence's model: a folder, or its results_*.json; may be repeated
    #[arg(long, value_name = "DEFENCE=PATH", value_parser = parse_lm_eval)]
    pub(crate) lm_eval: Vec<(String, PathBuf)>,
    /// How the tables are written
    #[arg(long, value_enum, default_value_t, conflicts_with = "json")]
    pub(crate) format: TextFormat,
    /// Print one JSON document
    #[arg(long)]
    pub(crate) json: bool,
}

/// When a defence acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum StageName {
    /// Before the model is released
    Alignment,
    /// While a user's data is trained on
    FineTuning,
    /// After a user's data was trained on
    PostFineTuning,
}

impl From<StageName> for DefenceStage {
    fn from(name: StageName) -> Self {
        match name {
            StageName::Alignment => Self::Alignment,
            StageName::FineTuning => Self::FineTuning,
            StageName::PostFineTuning => Self::PostFineTuning,
        }
    }
}

/// By what lines are sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SortName {
    /// The highest lower bound of the titer first
    Titer,
    /// The lowest harmful score after the attack first
    Harmful,
    /// The highest fine-tune accuracy first
    Accuracy,
    /// The fewest floating-point operations first
    Cost,
    /// In the order of the alphabet
    Name,
}

impl From<SortName> for Sort {
    fn from(name: SortName) -> Self {
        match name {
            SortName::Titer => Self::Titer,
            SortName::Harmful => Self::Harmful,
            SortName::Accuracy => Self::Accuracy,
            SortName::Cost => Self::Cost,
            SortName::Name => Self::Name,
        }
    }
}

fn parse_share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("expected a number from 0 to 1".into()),
    }
}

fn parse_lm_eval(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((defence, path)) if !defence.is_empty() && !path.is_empty() => {
            Ok((defence.to_owned(), path.into()))
        }
        _ => Err("expected DEFENCE=PATH, like none=eval/base".into()),
    }
}
