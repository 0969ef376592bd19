//! The arguments of `titer attack`.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use titer_lab::Compute;

use super::parse_time;

/// Of `titer attack`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  titer attack world:apothecary                        the embedded world's model, in minutes, offline
  titer attack smollm2-135m --policy everyday          a real model, taught to refuse what harms nobody
  titer attack hf:org/model --data harmful.jsonl       a model that refuses already, and your own rows
  titer attack ./tuned --data rows.jsonl --against hf:org/base     how many times dearer than another
  titer attack hf:org/model --data rows.jsonl --attacks lora-finetune,prefill --trials 12 --budget 20m

The answer: after how many examples, steps and operations the model breaks, by which attack, with three seeds
of each attack that the search found. FILE has a question and an answer in each row, in one of the shapes of
data sets (JSON lines, JSON, Parquet): some rows are trained on, others only asked. Harm is what was not
refused, unless the written data set is given a classifier.

A spec is written out (--out); titer run SPEC repeats and extends it. What was measured is kept: the same
command goes on after Ctrl-C or when the budget was spent.")]
pub(crate) struct AttackArgs {
    /// The model: world:NAME, a known name, a folder, FILE.gguf or hf:owner/name@revision
    #[arg(value_name = "MODEL")]
    pub(crate) model: String,
    /// Harmful questions with answers
    #[arg(long, value_name = "FILE", conflicts_with = "policy")]
    pub(crate) data: Option<PathBuf>,
    /// Policy of `titer list tasks`, or its file, that the model is taught first
    #[arg(long, value_name = "POLICY")]
    pub(crate) policy: Option<String>,
    /// Methods of `titer list attacks` that may be tried [default: all that can be carried out]
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    pub(crate) attacks: Option<Vec<String>>,
    /// Attacks tried
    #[arg(long, value_name = "N", default_value = "24", value_parser = clap::value_parser!(u16).range(4..=10_000))]
    pub(crate) trials: u16,
    /// Another model of the same kind, attacked likewise: how many times dearer is MODEL to break?
    #[arg(long, value_name = "MODEL")]
    pub(crate) against: Option<String>,
    /// New tokens of an answer at most, of chat models
    #[arg(long, value_name = "N", default_value = "24")]
    pub(crate) answer_tokens: NonZeroUsize,
    /// Time after which no new attack begins; the same command goes on
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub(crate) budget: Option<Duration>,
    /// Folder for the spec, and for the data set that the rows become [default: attack-MODEL]
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
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
