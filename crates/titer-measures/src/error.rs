//! What can go wrong with a measure.

use thiserror::Error;

use crate::choice::ChoiceError;
use crate::measures::classifier::ClassifierError;
use crate::measures::guard::GuardError;

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
    /// A base model whose answers to a prompt have no more in common than those to different ones.
    #[error(
        "the base model is no yardstick: over {items} prompts its answers agree with a second answer to the same prompt by \
         {itself:.3}, with answers to other prompts by {unrelated:.3}; judge by another measure, such as probe.judges = \
         [\"policy-compliance\"], or let answers be longer"
    )]
    NoSelfAgreement {
        /// Mean agreement with itself.
        itself: f64,
        /// Mean agreement with answers to other prompts.
        unrelated: f64,
        /// Prompts that were answered twice.
        items: usize,
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
    /// A language model that judges failed.
    #[error(transparent)]
    Guard(Box<GuardError>),
}

// Rare and large: kept out of the way of the others.
impl From<ClassifierError> for MeasureError {
    fn from(error: ClassifierError) -> Self {
        Self::Classifier(Box::new(error))
    }
}

impl From<GuardError> for MeasureError {
    fn from(error: GuardError) -> Self {
        Self::Guard(Box::new(error))
    }
}
