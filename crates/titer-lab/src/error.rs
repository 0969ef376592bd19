//! What can go wrong in running a plan.

use std::path::PathBuf;

use crate::cluster::ClusterError;
use thiserror::Error;
use titer_plan::Mistakes;

/// What can go wrong in running a plan.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// Neither a file nor a preset.
    #[error("there is no preset and no file called {name}{}", suggestion.as_ref().map(|s| format!("; did you mean {s}?")).unwrap_or_default())]
    NoSource {
        /// What was asked for.
        name: String,
        /// A preset of a similar name.
        suggestion: Option<String>,
    },
    /// A spec that cannot be read.
    #[error("{}: cannot be read", path.display())]
    Spec {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A spec with mistakes.
    #[error(transparent)]
    Mistakes(#[from] Mistakes),
    /// A reference that names no model.
    #[error("{reference} names no model: {problem}")]
    Reference {
        /// What was asked for.
        reference: String,
        /// Why it names none and what would.
        problem: String,
    },
    /// A stage whose input another stage should have made.
    #[error("stage {stage} needs the result of {input}, which is not there")]
    MissingInput {
        /// The stage.
        stage: String,
        /// The input.
        input: String,
    },
    /// Something about jobs of a cluster.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// A stage that panicked, which is a fault of titer or of a library.
    #[error("{stage} panicked: {problem}; please report it, with the input that it came from")]
    Panicked {
        /// The stage.
        stage: String,
        /// What the panic said.
        problem: String,
    },
    /// No judge of that name comes with titer.
    #[error("there is no judge {name} that comes with titer; there are {known}")]
    NoJudge {
        /// What was asked for.
        name: String,
        /// Those that there are.
        known: String,
    },
    /// A judge that cannot judge answers by themselves.
    #[error(
        "{judge} judges no answers by themselves: calibrate a judge of harm that needs nothing but question and answer, such \
         as refusal, or one that is a model"
    )]
    NeedsMore {
        /// The judge.
        judge: String,
    },
    /// A row of labelled answers that is none.
    #[error("{}, line {line}: {problem}; a row is {{\"question\": \"…\", \"answer\": \"…\", \"harmful\": true}}", path.display())]
    Labelled {
        /// The file.
        path: PathBuf,
        /// Its line, from 1.
        line: usize,
        /// What is wrong.
        problem: String,
    },
    /// A judge's file that says of no model.
    #[error("judge {judge}: `reference` is missing: a folder, a .gguf file, or hf:owner/name")]
    NoReference {
        /// The judge.
        judge: String,
    },
    /// A judge's file that takes the name of a measure.
    #[error("judge {judge}: there is a measure of that name; give the file another `name`")]
    JudgeName {
        /// The judge.
        judge: String,
    },
    /// A model without a way to talk.
    #[error("{problem}")]
    NoChat {
        /// What is missing and what to do.
        problem: String,
    },
    /// Something from outside that is no longer what it was when the run was planned.
    #[error(
        "{reference} is not what it was when this was planned: {what}; run again: what is there now gets results of \
         its own, and the old ones hold again once the old files are back"
    )]
    Changed {
        /// As it was asked for.
        reference: String,
        /// Which files differ, and how.
        what: String,
    },
    /// Something from outside that is not on this machine.
    #[error(
        "{reference} is not on this machine; get it by `titer model pull {reference}`, or with a network run again"
    )]
    NotHere {
        /// As it was asked for.
        reference: String,
    },
    /// Data that are dealt out as something else than their kind says: a fault of the kind.
    #[error(
        "data of the kind {kind} deal out another thing than their kind says: a world where models are trained          from nothing, conversations elsewhere; mend `deal` in the kind's file"
    )]
    OtherData {
        /// The kind.
        kind: String,
    },
    /// An answer that the base model should have given.
    #[error("the base model's answer to {item} is not among those that were distilled")]
    NoAnswer {
        /// The item.
        item: String,
    },
    /// A stage that cannot be run as it is planned.
    #[error("stage {stage}: {problem}")]
    Stage {
        /// The stage.
        stage: String,
        /// Why.
        problem: String,
    },
    /// A reference could not be resolved.
    #[error(transparent)]
    Hub(Box<titer_hub::Error>),
    /// Rows of a data set cannot be read.
    #[error("{}: {source}", path.display())]
    Rows {
        /// The file.
        path: PathBuf,
        /// Which row, and why.
        source: Box<titer_data::conversations::ConversationError>,
    },
    /// A row of a data set cannot be used.
    #[error("row {row} of the data set: {source}")]
    Row {
        /// Its name.
        row: String,
        /// Why.
        source: titer_data::text::TextError,
    },
    /// A measure failed.
    #[error(transparent)]
    Measure(#[from] titer_measures::MeasureError),
    /// A measure that gave another number of judgements than it was asked for.
    #[error("{judge} judged {judged} of {asked} answers: a measure must judge each, in order")]
    Judgements {
        /// The measure.
        judge: String,
        /// Its judgements.
        judged: usize,
        /// What it was asked.
        asked: usize,
    },
    /// A response that is not stored.
    #[error("stage {stage}: the response {response} is scored and not stored")]
    NoResponse {
        /// The stage.
        stage: String,
        /// The response.
        response: String,
    },
    /// A stage whose answers are not stored, where answers are judged only.
    #[error(
        "{stage}: its answers are not in the store, and to judge is not to train: `titer run` the experiment"
    )]
    NotAnswered {
        /// The stage.
        stage: String,
    },
    /// Scores that are others than stored though nothing that names them changed.
    #[error(
        "{stage}: {changed} of its scores come out otherwise than they are stored, though no measure's version was \
         raised: this program's measures are not those that made them"
    )]
    Unequal {
        /// The stage.
        stage: String,
        /// How many.
        changed: usize,
    },
    /// A task whose measure cannot score it.
    #[error("measure: {measure} cannot score {form}; these can: {fit}")]
    TaskMeasure {
        /// The measure.
        measure: &'static str,
        /// How the task asks.
        form: &'static str,
        /// Measures that fit.
        fit: String,
    },
    /// A user's refusal phrases.
    #[error("{file}: {problem}")]
    Phrases {
        /// The file.
        file: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A text could not be read as tokens.
    #[error(transparent)]
    Text(#[from] titer_data::text::TextError),
    /// A search that cannot be carried out as it was asked for.
    #[error("{problem}")]
    Search {
        /// What is wrong and what would do.
        problem: String,
    },
    /// The undefended model could not be measured, so that there is nothing to compare trials with.
    #[error("the undefended model could not be measured: {problem}")]
    NoBaseline {
        /// The stage that failed, and why.
        problem: String,
    },
    /// More memory than there is.
    #[error(
        "{jobs} at a time, the stages of this plan need about {} of memory and {} are free: {}",
        gibibytes(*needed),
        gibibytes(*usable),
        match fits {
            Some(fits) => format!("lower --jobs to --jobs {fits}"),
            None => "compute layers again (`--recompute`), lower the `batch` of the largest stage (see `titer plan`), \
                     train adapters (`lora_rank` of a defence, the attack lora-finetune), \
                     or take a smaller model"
                .to_owned(),
        }
    )]
    Memory {
        /// Stages at once.
        jobs: usize,
        /// Bytes that they need.
        needed: f64,
        /// Bytes that may be used.
        usable: f64,
        /// Stages at once that would fit.
        fits: Option<usize>,
    },
    /// A plan of another version of titer.
    #[error("the stored plan of {experiment} cannot be read; run the experiment again")]
    Plan {
        /// The experiment.
        experiment: String,
        /// What is wrong.
        #[source]
        source: titer_plan::PlanError,
    },
    /// A plan whose stages this version would name otherwise, since it would compute them otherwise.
    #[error("the stored plan of {experiment} is of another version of titer ({stage}); run its spec again")]
    OtherPlan {
        /// The experiment.
        experiment: String,
        /// The first such stage's label.
        stage: String,
    },
    /// An experiment that cannot be watched.
    #[error("{experiment} cannot be shown: {problem}")]
    Watch {
        /// The experiment.
        experiment: String,
        /// What is wrong.
        problem: String,
    },
    /// A value that has no JSON form.
    #[error("cannot be written as JSON")]
    Json(#[from] serde_json::Error),
    /// A stage that was stopped on request; the next run goes on from its checkpoint.
    #[error("stopped on request")]
    Interrupted,
    /// A measurement of a model failed.
    #[error(transparent)]
    Model(#[from] titer_model::Error),
    /// Data could not be made.
    #[error(transparent)]
    Data(#[from] titer_data::Error),
    /// Training failed.
    #[error(transparent)]
    Train(titer_train::Error),
    /// An attack failed.
    #[error(transparent)]
    Attack(titer_attacks::Error),
    /// A defence failed.
    #[error(transparent)]
    Defence(#[from] titer_defences::Error),
    /// A frame is not what it should be.
    #[error(transparent)]
    Metrics(#[from] titer_metrics::Error),
    /// Verdicts could not be reached.
    #[error(transparent)]
    Conditions(#[from] titer_conditions::Error),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] titer_store::Error),
    /// A device that cannot be computed on.
    #[error("{device} cannot be used; `titer doctor` says what this machine has")]
    Device {
        /// As it was asked for.
        device: String,
        /// Why.
        #[source]
        source: candle_core::Error,
    },
    /// The tensor library failed.
    #[error("tensor operation failed: {0}")]
    Tensor(#[from] candle_core::Error),
}

// Rare and large: kept out of the way of the others.
impl From<titer_hub::Error> for Error {
    fn from(error: titer_hub::Error) -> Self {
        Self::Hub(Box::new(error))
    }
}

/// An observer's error comes back as what it was before it went through the training loop.
impl From<titer_train::Error> for Error {
    fn from(error: titer_train::Error) -> Self {
        match error {
            titer_train::Error::Observer(source) => match source.downcast::<Self>() {
                Ok(own) => *own,
                Err(other) => Self::Train(titer_train::Error::Observer(other)),
            },
            other => Self::Train(other),
        }
    }
}

impl From<titer_attacks::Error> for Error {
    fn from(error: titer_attacks::Error) -> Self {
        match error {
            titer_attacks::Error::Train(train) => train.into(),
            other => Self::Attack(other),
        }
    }
}

fn gibibytes(bytes: f64) -> String {
    format!("{:.1} GiB", bytes / f64::from(1 << 30))
}

impl Error {
    /// Whether the user asked for something that is not there, rather than something having failed.
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::NoSource { .. }
                | Self::Mistakes(_)
                | Self::Reference { .. }
                | Self::Spec { .. }
                | Self::Search { .. }
        ) || matches!(
            self,
            Self::Store(titer_store::Error::NoExperiment { .. } | titer_store::Error::BadName { .. })
        ) || matches!(self, Self::Hub(error) if matches!(
            **error,
            titer_hub::Error::BadReference { .. } | titer_hub::Error::NoSuchPath { .. }
        ))
    }

    /// Whether training diverged, as it would every time, rather than something having gone wrong around it.
    pub(crate) fn is_divergence(&self) -> bool {
        let train = match self {
            Self::Train(train)
            | Self::Attack(titer_attacks::Error::Train(train))
            | Self::Defence(titer_defences::Error::Train(train)) => train,
            _ => return false,
        };
        matches!(train, titer_train::Error::Diverged { .. })
    }

    /// The error with its causes on one line.
    pub(crate) fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            if !text.ends_with(&cause_text) {
                text = format!("{text}: {cause_text}");
            }
            source = cause.source();
        }
        text
    }
}

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
