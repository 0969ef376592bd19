//! What can go wrong with a model.

use std::path::{Path, PathBuf};

use thiserror::Error;

/// What can go wrong with a model.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read or written.
    #[error("{}: cannot {action}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// A file that holds no valid safetensors.
    #[error("{}: not a whole safetensors file; copy or make it again", path.display())]
    Safetensors {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: safetensors::SafeTensorError,
    },
    /// A configuration that is no valid JSON or lacks a key.
    #[error("{}: not a model configuration", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// A key of a configuration that is missing or of a wrong type.
    #[error("model configuration: {key}: {problem}")]
    Key {
        /// The key.
        key: String,
        /// What is wrong.
        problem: String,
    },
    /// A configuration that this decoder cannot be.
    #[error("model configuration: {key} = {value} is not supported: {remedy}")]
    Unsupported {
        /// The key.
        key: String,
        /// Its value.
        value: String,
        /// What would be.
        remedy: String,
    },
    /// An adapter where none may be, or none where one must be.
    #[error("adapter: {problem}")]
    Adapter {
        /// What is wrong.
        problem: String,
    },
    /// Something wrong inside a file.
    #[error("{}: {cause}", path.display())]
    In {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        cause: Box<Error>,
    },
    /// A file that is not what it should be.
    #[error("{}: {problem}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A tensor whose numbers cannot be used.
    #[error("tensor {name} {problem}")]
    Numbers {
        /// Its name.
        name: String,
        /// What is wrong.
        problem: String,
    },
    /// A tensor that the configuration asks for is not there.
    #[error("tensor {name} of shape {shape:?} is missing")]
    Missing {
        /// Its name.
        name: String,
        /// Its shape by the configuration.
        shape: Vec<usize>,
    },
    /// A tensor that the configuration does not know.
    #[error("tensor {name} does not belong to this model; the configuration does not ask for it")]
    Unexpected {
        /// Its name.
        name: String,
    },
    /// A tensor of another shape than the configuration says.
    #[error("tensor {name} has shape {got:?}, the configuration says {expected:?}")]
    Shape {
        /// Its name.
        name: String,
        /// Shape by the configuration.
        expected: Vec<usize>,
        /// Shape found.
        got: Vec<usize>,
    },
    /// A token outside the vocabulary.
    #[error("token {token} is outside the model's vocabulary of {vocabulary}")]
    Token {
        /// The token.
        token: u32,
        /// Size of the vocabulary.
        vocabulary: usize,
    },
    /// A prompt without tokens.
    #[error("prompt {index} is empty: a model needs at least one token to go on from")]
    EmptyPrompt {
        /// Which of the prompts.
        index: usize,
    },
    /// A prompt without a source of draws of its own.
    #[error("prompt {prompt} has no source of draws: there are {sources}, and each prompt needs one")]
    NoDraws {
        /// Which of the prompts.
        prompt: usize,
        /// Sources given.
        sources: usize,
    },
    /// A continuation without tokens.
    #[error("continuation {index} is empty: there is nothing to score")]
    EmptyContinuation {
        /// Which of the pairs.
        index: usize,
    },
    /// A text that is too long, or a prompt that leaves no room.
    #[error("{tokens} tokens and {new} new ones do not fit into the model's {positions} positions")]
    TooLong {
        /// Tokens of the prompt.
        tokens: usize,
        /// New tokens asked for.
        new: usize,
        /// Positions of the model.
        positions: usize,
    },
    /// The tensor library failed.
    #[error("tensor operation failed: {0}")]
    Tensor(#[from] candle_core::Error),
}

impl Error {
    /// The same, said of a file.
    pub(crate) fn of_file(self, path: &Path) -> Self {
        Self::In { path: path.to_owned(), cause: Box::new(self) }
    }
}

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
