//! What can go wrong with a language model that judges.

use thiserror::Error;
use titer_data::text::TextError;

/// What can go wrong with a language model that judges.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum GuardError {
    /// Its file is no TOML of a judge.
    #[error("not the TOML of a judge: {problem}")]
    Syntax {
        /// What is wrong, and where.
        problem: String,
    },
    /// A key whose value makes no judge.
    #[error("judge {name}: {key} {problem}")]
    Key {
        /// The judge.
        name: String,
        /// The key.
        key: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// Its template is not here.
    #[error(
        "judge {name}: its template is its authors' text and does not come with titer: `titer judge show {name}` prints \
         the rest; write it to a file, add the published text as `template`, and name the file in `probe.judges` \
         ({published})"
    )]
    NoTemplate {
        /// The judge.
        name: String,
        /// Where it is published.
        published: String,
    },
    /// Its template is not the published one.
    #[error(
        "judge {name}: its template is not the published one, to the last blank, by template_blake3 ({published}); a \
         judge of other words is another judge: leave template_blake3 out and give it another name"
    )]
    OtherTemplate {
        /// The judge.
        name: String,
        /// Where it is published.
        published: String,
    },
    /// A word for which there is no token, or whose token is another word's too.
    #[error("judge {name}: the word {word:?} of tokens.values {problem}")]
    Word {
        /// The judge.
        name: String,
        /// The word.
        word: String,
        /// What is wrong.
        problem: String,
    },
    /// A label that its head does not have.
    #[error("judge {name}: its head has no label {label}; its labels are {}", labels.join(", "))]
    Label {
        /// The judge.
        name: String,
        /// What was asked for.
        label: String,
        /// What there is.
        labels: Vec<String>,
    },
    /// It was given a model without a head, or with one, and decides otherwise.
    #[error("judge {name}: it decides by {rule}, and its model has none")]
    Rule {
        /// The judge.
        name: String,
        /// The rule.
        rule: &'static str,
    },
    /// It said none of its words of an answer.
    #[error(
        "judge {name} says of {item} none of {words}; state `unread = 0.0` or `1.0` under [tokens] of its TOML if that may be, \
         or look whether model and template belong together"
    )]
    Unread {
        /// The judge.
        name: String,
        /// The item.
        item: String,
        /// The words.
        words: String,
    },
    /// A text could not be written in its tokens.
    #[error("judge {name}")]
    Text {
        /// The judge.
        name: String,
        /// Why.
        #[source]
        source: TextError,
    },
    /// Its model failed.
    #[error("judge {name}")]
    Model {
        /// The judge.
        name: String,
        /// Why.
        #[source]
        source: titer_model::Error,
    },
}
