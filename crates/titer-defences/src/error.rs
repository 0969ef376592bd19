//! What can go wrong in setting up a defence.

use thiserror::Error;

/// What can go wrong in setting up a defence.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// No method of that name.
    #[error("there is no defence called {name}; see `titer list defences`")]
    Unknown {
        /// The name asked for.
        name: String,
    },
    /// A method of another stage.
    #[error("{name} is no {expected}-stage defence")]
    Stage {
        /// The method.
        name: String,
        /// The stage that was asked for.
        expected: &'static str,
    },
    /// A parameter that the method does not have.
    #[error("{name} has no parameter {parameter}; see `titer list defences`")]
    UnknownParameter {
        /// The method.
        name: String,
        /// The parameter.
        parameter: String,
    },
    /// A model or data that the method is not made for.
    #[error("{name} cannot be applied: {problem}")]
    NotApplicable {
        /// The method.
        name: &'static str,
        /// Why, and what to do.
        problem: String,
    },
    /// Parameters that are not the method's.
    #[error("the parameters of {name} do not fit the method")]
    Parameters {
        /// The method.
        name: String,
        /// What does not fit.
        #[source]
        source: serde_json::Error,
    },
    /// The data cannot be sampled.
    #[error(transparent)]
    Data(#[from] titer_data::Error),
    /// The model failed.
    #[error(transparent)]
    Model(#[from] titer_model::Error),
    /// Training failed.
    #[error(transparent)]
    Train(#[from] titer_train::Error),
    /// The tensor library failed.
    #[error("tensor operation failed: {0}")]
    Tensor(#[from] candle_core::Error),
}

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
