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
    /// A method that trains nothing.
    #[error("{name} is not trained: its model is the aligned one")]
    NotTrained {
        /// The method.
        name: String,
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
}

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
