//! Why results cannot be written for another program.

/// What stands in the way.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The experiment cannot be read.
    #[error(transparent)]
    Results(#[from] titer_lab::Error),
    /// A frame is not what it should be.
    #[error(transparent)]
    Frame(#[from] titer_metrics::Error),
    /// A frame has not the columns that it should have.
    #[error("a frame of the experiment has not the columns that it should have")]
    Columns(#[from] polars::prelude::PolarsError),
    /// A row of `probes` names an answer that `responses` has not.
    #[error("frame `probes`: no row of `responses` is called `{0}`; run the experiment again")]
    Answer(String),
    /// A value cannot be written as JSON.
    #[error("a result cannot be written as JSON")]
    Json(#[from] serde_json::Error),
    /// Nothing was measured.
    #[error("nothing of {0} is measured yet")]
    Empty(String),
    /// The hub's evaluation results belong to a data set of the hub, and none is named.
    #[error("{0} is not measured on a data set of the hub")]
    NoDataset(String),
}
