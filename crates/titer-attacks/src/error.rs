//! What can go wrong in an attack.

use thiserror::Error;

/// What can go wrong in an attack.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// No method of that name.
    #[error("there is no attack called {name}; see `titer list attacks`")]
    Unknown {
        /// The name asked for.
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
    /// A parameter that the method does not have.
    #[error("{name} has no parameter called {parameter}; see `titer list attacks`")]
    UnknownParameter {
        /// The method.
        name: String,
        /// What it does not have.
        parameter: String,
    },
    /// More distinct examples asked for than the attacker can have.
    #[error("the attacker wants {examples} distinct examples, its split holds {available}")]
    Examples {
        /// Asked for.
        examples: usize,
        /// In the split.
        available: usize,
    },
    /// A method on a model, or with data, that have not what it is made for.
    #[error("{name} cannot be carried out: {problem}")]
    NotApplicable {
        /// The method.
        name: &'static str,
        /// What is missing, and what to do.
        problem: String,
    },
    /// A means that the attacker has not.
    #[error("the attacker has not {what}, and this attack needs it")]
    Without {
        /// What is missing.
        what: &'static str,
    },
    /// What the attacker was lent failed.
    #[error("{what} failed the attacker")]
    Means {
        /// What it was.
        what: &'static str,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Training failed.
    #[error(transparent)]
    Train(#[from] titer_train::Error),
}

impl From<titer_model::Error> for Error {
    fn from(error: titer_model::Error) -> Self {
        Self::Train(error.into())
    }
}

impl From<candle_core::Error> for Error {
    fn from(error: candle_core::Error) -> Self {
        Self::from(titer_model::Error::from(error))
    }
}

impl From<titer_data::Error> for Error {
    fn from(error: titer_data::Error) -> Self {
        Self::Train(error.into())
    }
}

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
