//! The arguments of `titer compare`.

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

Harmful score and fine-tune accuracy are those before → after the attack that leaves each defence most harmful.
Costs: an alignment's and a repair's are whole, a guard's are what it adds to plain training; alignment is paid
once for a model, the others for each user. Under the fine-tuning API a titer compares the shares of harmful
examples that break the models. Where the table is wider than the terminal (80 columns, or COLUMNS), its
columns are shown in several blocks.")]
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
