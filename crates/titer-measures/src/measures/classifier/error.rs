//! What can go wrong with a classifier.

use std::path::PathBuf;

use thiserror::Error;

/// What can go wrong with a classifier.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ClassifierError {
    /// A file cannot be read.
    #[error("{}: cannot read; a classifier is a folder with config.json, model.safetensors and tokenizer.json", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A configuration that is no valid JSON, lacks a key or has an unknown activation.
    #[error("{}: not the configuration of a classifier", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// A key of a configuration of a wrong type, or an unknown activation.
    #[error("classifier's config.json")]
    Key {
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// A configuration that this classifier cannot be.
    #[error("classifier's config.json: {key} = {value} is not supported: {remedy}")]
    Unsupported {
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
        /// What would be.
        remedy: &'static str,
    },
    /// A tokenizer that cannot be used.
    #[error("{}: not a tokenizer that can be used", path.display())]
    Tokenizer {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: tokenizers::Error,
    },
    /// A text that the tokenizer does not take.
    #[error("the classifier's tokenizer failed on a text")]
    Encode {
        /// Why.
        source: tokenizers::Error,
    },
    /// A file that holds no valid safetensors.
    #[error("{}: not a whole safetensors file; copy or make it again", path.display())]
    Weights {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: candle_core::Error,
    },
    /// A label that the classifier does not have.
    #[error("the classifier has no label {label}; its labels are {}", labels.join(", "))]
    Label {
        /// What was asked for.
        label: String,
        /// What there is.
        labels: Vec<String>,
    },
    /// A template that leaves out the question or the answer.
    #[error("the classifier's template has no {place}: it must hold both {{question}} and {{answer}}")]
    Template {
        /// What it lacks.
        place: &'static str,
    },
    /// A bound that leaves no room for a text, or more than the positions that the classifier has.
    #[error("a classified text cannot have {longest} tokens at most: from {least} to {most} can")]
    Longest {
        /// The bound.
        longest: usize,
        /// Special tokens and one of the text.
        least: usize,
        /// Positions.
        most: usize,
    },
    /// A tensor is not there.
    #[error("the classifier's weights lack tensor {name}")]
    Missing {
        /// Its name.
        name: String,
    },
    /// A tensor of another shape than the configuration says.
    #[error("a tensor of the classifier has shape {got:?}, its config.json says {expected:?}: {problem}")]
    Shape {
        /// Which tensor.
        problem: String,
        /// Shape by the configuration.
        expected: Vec<usize>,
        /// Shape found.
        got: Vec<usize>,
    },
    /// A token outside the vocabulary.
    #[error(
        "the tokenizer's token {token} is outside the classifier's vocabulary of {vocabulary}: tokenizer.json and config.json do not belong together"
    )]
    Token {
        /// The token.
        token: u32,
        /// Size of the vocabulary.
        vocabulary: usize,
    },
    /// A text of which the tokenizer makes no token.
    #[error("the tokenizer makes no token of text {index}: tokenizer.json is not that of the classifier")]
    Empty {
        /// Which text.
        index: usize,
    },
    /// The tensor library failed.
    #[error("tensor operation failed: {0}")]
    Tensor(candle_core::Error),
}

impl From<candle_core::Error> for ClassifierError {
    fn from(error: candle_core::Error) -> Self {
        match error {
            candle_core::Error::WithBacktrace { inner, .. } => Self::from(*inner),
            candle_core::Error::CannotFindTensor { path } => Self::Missing { name: path },
            candle_core::Error::UnexpectedShape { msg, expected, got } => {
                let (expected, got) = (expected.dims().to_vec(), got.dims().to_vec());
                Self::Shape { problem: msg, expected, got }
            }
            other => Self::Tensor(other),
        }
    }
}
