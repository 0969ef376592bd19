//! What can go wrong in training.

use std::path::PathBuf;

use thiserror::Error;

/// What can go wrong in training.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// A trainable parameter that the loss does not reach: somewhere the graph is cut.
    #[error(
        "parameter {parameter} received no gradient: an operator without a backward pass cuts the graph above it"
    )]
    NoGradient {
        /// The parameter's name.
        parameter: String,
    },
    /// A gradient that is not a number: the run diverged.
    #[error("the gradient at step {step} has norm {norm}: training diverged; lower the learning rate")]
    Diverged {
        /// The step.
        step: u64,
        /// The gradient's norm.
        norm: f64,
    },
    /// A checkpoint that is torn or belongs to other settings.
    #[error("{}: {problem}; remove the checkpoint to begin again", path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// Numbers for an anchor that are not of its weights.
    #[error("the importance of weights does not fit the anchor: {problem}")]
    Anchor {
        /// What is wrong.
        problem: String,
    },
    /// A part of the model that is to be trained, of which the model has nothing.
    #[error("the part that is to be trained does not fit the model: {problem}")]
    Part {
        /// What does not fit.
        problem: String,
    },
    /// State for an objective that keeps none, or not the state that it keeps.
    #[error("the objective cannot take up the checkpoint's state: {problem}")]
    ObjectiveState {
        /// What is wrong.
        problem: String,
    },
    /// What an objective asks others for, such as a judge, failed.
    #[error(transparent)]
    Objective(Box<dyn std::error::Error + Send + Sync>),
    /// The model failed.
    #[error(transparent)]
    Model(#[from] titer_model::Error),
    /// The data cannot be sampled.
    #[error(transparent)]
    Data(#[from] titer_data::Error),
    /// The tensor library failed.
    #[error("tensor operation failed: {0}")]
    Tensor(#[from] candle_core::Error),
    /// Whoever watches the run failed.
    #[error(transparent)]
    Observer(Box<dyn std::error::Error + Send + Sync>),
}

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
