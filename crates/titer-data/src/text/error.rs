//! What can be wrong with tokenizers, templates and conversations.

use thiserror::Error;

use super::Role;

/// What can be wrong with tokenizers, templates and conversations.
#[derive(Debug, Error, Clone, PartialEq)]
#[non_exhaustive]
pub enum TextError {
    /// A `tokenizer.json` that makes no tokenizer.
    #[error("tokenizer.json: {problem}")]
    Tokenizer {
        /// What the parser says.
        problem: String,
    },
    /// A GGUF vocabulary that makes no tokenizer.
    #[error("tokenizer.ggml.{key}: {problem}")]
    Gguf {
        /// The metadata key, after `tokenizer.ggml.`.
        key: &'static str,
        /// What is wrong with it and what would be right.
        problem: String,
    },
    /// A text that the tokenizer cannot encode, or tokens that it cannot decode.
    #[error("the tokenizer failed: {problem}")]
    Coding {
        /// What it says.
        problem: String,
    },
    /// A tokenizer with tokens that the model has no embedding for.
    #[error(
        "token {id} ({token:?}) has no row in the model's embedding of {rows} rows: the tokenizer belongs to \
         another model"
    )]
    VocabularyAboveModel {
        /// The largest token id.
        id: u32,
        /// Its text.
        token: String,
        /// Rows of the embedding.
        rows: usize,
    },
    /// A `tokenizer_config.json` of the wrong shape.
    #[error("tokenizer_config.json: {key}: {problem}")]
    Config {
        /// The key.
        key: String,
        /// What is wrong with it and what would be right.
        problem: String,
    },
    /// A file beside a `tokenizer.json` of the wrong shape.
    #[error("{file}: {key}: {problem}")]
    Beside {
        /// Its name.
        file: String,
        /// The key.
        key: String,
        /// What is wrong with it and what would be right.
        problem: String,
    },
    /// A template that is no Jinja, or fails on a conversation.
    #[error("chat template{}: {problem}", at_line(*line))]
    Template {
        /// The line, from 1, where it is known.
        line: Option<usize>,
        /// What is wrong.
        problem: String,
    },
    /// A template that refuses a conversation by `raise_exception`.
    #[error("the chat template refuses the conversation{}: {message}", at_line(*line))]
    Raised {
        /// The line, from 1, where it is known.
        line: Option<usize>,
        /// In the template's own words.
        message: String,
    },
    /// A template that does not end, or writes without end.
    #[error("chat template: stopped after {limit}: it loops or repeats without end")]
    Unbounded {
        /// The limit that was hit.
        limit: String,
    },
    /// A date that is none.
    #[error("{year}-{month}-{day} is no date")]
    Date {
        /// Year.
        year: i32,
        /// Month, from 1.
        month: u32,
        /// Day, from 1.
        day: u32,
    },
    /// A conversation without an answer to learn.
    #[error("the conversation has no {} message: there is nothing to supervise", Role::Assistant)]
    NothingToLearn,
    /// An answer whose prompt the template writes otherwise once the conversation goes on.
    #[error(
        "message {message}: the template writes what precedes this answer otherwise when the answer is there \
         (they part at {at:?}): the prompt of training would not be the prompt of use"
    )]
    PromptDiffers {
        /// Index of the answer among the messages.
        message: usize,
        /// What the prompt says from where the two part.
        at: String,
    },
    /// A template that opens a block of thought in the prompt.
    #[error(
        "the chat template leaves a block of thought open in the prompt, so that what is taught would be thought and \
         no answer: give the model a template that closes it (of Qwen's, enable_thinking = false)"
    )]
    OpenThought,
    /// An answer after which the template writes no end-of-turn token.
    #[error(
        "message {message}: the template writes no end-of-turn token after this answer: a model that learnt \
         it would not stop"
    )]
    NoEndOfTurn {
        /// Index of the answer among the messages.
        message: usize,
    },
    /// An answer that holds the text of an end-of-turn token.
    #[error("message {message}: the answer holds the end-of-turn token {token:?}")]
    EndOfTurnInAnswer {
        /// Index of the answer among the messages.
        message: usize,
        /// The token.
        token: String,
    },
    /// A conversation longer than the model's positions.
    #[error("{tokens} tokens are more than the model's {positions} positions: shorten it")]
    TooLong {
        /// Its tokens.
        tokens: usize,
        /// Positions of the model.
        positions: usize,
    },
}

fn at_line(line: Option<usize>) -> String {
    line.map(|line| format!(", line {line}")).unwrap_or_default()
}
