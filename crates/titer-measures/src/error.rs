//! What can go wrong with a measure.

use thiserror::Error;

use crate::choice::ChoiceError;
use crate::measures::classifier::ClassifierError;

/// What can go wrong with a measure.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MeasureError {
    /// No measure has this name.
    #[error("there is no measure {name}; there are {known}")]
    Unknown {
        /// The name.
        name: String,
        /// Those that there are.
        known: String,
    },
    /// A stage was planned by a program with another version of a measure.
    #[error(
        "{measure} was planned in version {planned}, and this program has version {version}: plan anew, or `titer rescore` \
         the experiment"
    )]
    Version {
        /// The measure.
        measure: String,
        /// As planned.
        planned: u32,
        /// As it is.
        version: u32,
    },
    /// The data lack what a measure needs.
    #[error("{measure} needs {what}; these data have none")]
    Lacks {
        /// The measure.
        measure: String,
        /// What is missing.
        what: &'static str,
    },
    /// Settings of another shape.
    #[error("settings of {measure}: {problem}")]
    Settings {
        /// The measure.
        measure: String,
        /// What is wrong.
        problem: String,
    },
    /// Phrases that cannot be used.
    #[error("refusal phrases of {measure}: {problem}")]
    Phrases {
        /// The measure.
        measure: String,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// An exchange without what the measure looks at.
    #[error("{measure} cannot judge {item}: {problem}")]
    Exchange {
        /// The measure.
        measure: &'static str,
        /// The item.
        item: String,
        /// What is wrong.
        problem: String,
    },
    /// A multiple-choice question that is none.
    #[error("{item}: {source}")]
    Choice {
        /// The item.
        item: String,
        /// Why.
        source: ChoiceError,
    },
    /// The classifier failed.
    #[error(transparent)]
    Classifier(Box<ClassifierError>),
}

// Rare and large: kept out of the way of the others.
impl From<ClassifierError> for MeasureError {
    fn from(error: ClassifierError) -> Self {
        Self::Classifier(Box::new(error))
    }
}
