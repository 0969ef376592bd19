//! What can be wrong with data.

use thiserror::Error;

use crate::conversations::ConversationError;
use crate::dataset::Mistake;
use crate::text::TextError;

/// What can be wrong with data.
#[derive(Debug, Error, Clone, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// An example whose answer is empty or has no prompt before it.
    #[error(
        "an example of {tokens} tokens cannot be supervised from token {supervised_from}: at least one \
         token must come before the answer and one belong to it"
    )]
    Supervision {
        /// First supervised token.
        supervised_from: usize,
        /// Tokens of the example.
        tokens: usize,
    },
    /// Supervised spans that contradict each other or the tokens.
    #[error(
        "the tokens {start}..{end} cannot be supervised: a span lies within the {tokens} tokens of its \
         example, is not empty, and begins at {free} or later, after the span before it"
    )]
    Spans {
        /// First token of the span.
        start: usize,
        /// First token after it.
        end: usize,
        /// First token that it might have begun with.
        free: usize,
        /// Tokens of the example.
        tokens: usize,
    },
    /// A sampler without examples or with an empty batch.
    #[error("cannot draw {batch} of {examples} examples: both must be at least 1")]
    NothingToSample {
        /// Examples there are.
        examples: usize,
        /// Examples asked for.
        batch: usize,
    },
    /// A batch of distinct examples that is larger than the data.
    #[error(
        "a batch of {batch} distinct examples cannot be drawn from {examples}: lower the batch or add examples"
    )]
    BatchAboveData {
        /// Examples there are.
        examples: usize,
        /// Examples asked for.
        batch: usize,
    },
    /// A window of lengths that does not lie between batch and data.
    #[error(
        "a window of {window} must hold the batch of {batch} and be no larger than the {examples} examples"
    )]
    Window {
        /// Neighbours in the order of length.
        window: usize,
        /// Examples asked for.
        batch: usize,
        /// Examples there are.
        examples: usize,
    },
    /// A world, policy or task file that is no TOML of the right shape.
    #[error("{of} definition: {problem}")]
    Syntax {
        /// What the file would define.
        of: &'static str,
        /// What the parser says, with line and key.
        problem: String,
    },
    /// A file whose values make no world, policy or task.
    #[error("{of} definition: {key}: {problem}")]
    Definition {
        /// What the file would define.
        of: &'static str,
        /// The key.
        key: String,
        /// What is wrong with it and what would be right.
        problem: String,
    },
    /// Two splits that share an item.
    #[error(
        "the splits {first} and {second} both hold {item}: attacker, defender and probes must not share items"
    )]
    Overlap {
        /// One split.
        first: &'static str,
        /// The other.
        second: &'static str,
        /// The first item that both hold.
        item: String,
    },
    /// More items asked for than a split holds.
    #[error(
        "{wanted} items were asked of a split of {available}: ask fewer, or change the sizes or shares that make the split"
    )]
    TooFewItems {
        /// Asked for.
        wanted: usize,
        /// In the split.
        available: usize,
    },
    /// A definition with mistakes, one a line.
    #[error("{of} definition: {}", lines(.mistakes))]
    Mistakes {
        /// What the file would define.
        of: &'static str,
        /// At least one.
        mistakes: Vec<Mistake>,
    },
    /// Several things that are wrong at once, one a line.
    #[error("{}", lines(.0))]
    Several(Vec<Error>),
    /// A data set that holds less than its definition promises.
    #[error(
        "the data set has {available} rows of {of} with a question of their own, and {wanted} are wanted{}: lower its \
         counts or add rows", repeats(*.repeated)
    )]
    TooFewRows {
        /// The domain, or which source.
        of: String,
        /// Asked for.
        wanted: usize,
        /// In the files.
        available: usize,
        /// Rows whose question stands in another row before.
        repeated: usize,
    },
    /// A domain that the world does not have.
    #[error("the world has no domain {domain} in its split {split}")]
    UnknownDomain {
        /// The domain.
        domain: String,
        /// The split.
        split: &'static str,
    },
    /// A subject that a split of a policy does not have.
    #[error("the policy has no subject {subject:?} in its split {split}; it has {known}")]
    UnknownSubject {
        /// The subject.
        subject: String,
        /// The split.
        split: &'static str,
        /// The subjects that it has.
        known: String,
    },
    /// A word that the world does not have.
    #[error("the world has no word {word:?}; its prompts look like: {example}")]
    UnknownWord {
        /// The word.
        word: String,
        /// A prompt that it understands.
        example: String,
    },
    /// A text that names no item.
    #[error("{text:?} names no item here; items look like {example}")]
    UnknownItem {
        /// The text.
        text: String,
        /// An item's name.
        example: String,
    },
    /// A tokenizer, template or conversation.
    #[error(transparent)]
    Text(#[from] TextError),
    /// A data set.
    #[error(transparent)]
    Conversations(#[from] ConversationError),
}

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Nothing, the one problem, or all of them.
    pub(crate) fn all(mut problems: Vec<Self>) -> Result<()> {
        match problems.len() {
            0 => Ok(()),
            1 => Err(problems.swap_remove(0)),
            _ => Err(Self::Several(problems)),
        }
    }

    /// What it says, thing by thing.
    pub fn parts(&self) -> Vec<String> {
        match self {
            Self::Several(problems) => problems.iter().flat_map(Self::parts).collect(),
            Self::Mistakes { mistakes, .. } => mistakes.iter().map(ToString::to_string).collect(),
            other => vec![other.to_string()],
        }
    }
}

fn lines(things: &[impl ToString]) -> String {
    things.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn repeats(count: usize) -> String {
    if count == 0 { String::new() } else { format!(" ({count} repeat a question of other rows)") }
}
