//! Why there is no report.

/// What stands in the way of a report.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The verdicts cannot be decided.
    #[error(transparent)]
    Results(#[from] titer_lab::Error),
    /// The frame of curves cannot be made.
    #[error("the curves cannot be drawn")]
    Curves(#[from] titer_metrics::Error),
    /// A frame has not the columns that it should have.
    #[error("a frame of the experiment has not the columns that it should have")]
    Frame(#[from] polars::prelude::PolarsError),
    /// The resolved spec cannot be written as TOML.
    #[error("the resolved spec cannot be written")]
    Spec(#[from] toml::ser::Error),
}
