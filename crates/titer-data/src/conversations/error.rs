//! What can be wrong with a data set.

use std::fmt;

use thiserror::Error;

/// Where in a file, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// A line of text.
    Line(usize),
    /// A row of a list or table.
    Row(usize),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(f, "line {line}"),
            Self::Row(row) => write!(f, "row {row}"),
        }
    }
}

/// What can be wrong with a data set.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConversationError {
    /// A file that is not of its format at all.
    #[error("{format}: {problem}")]
    Format {
        /// The format.
        format: &'static str,
        /// What the parser says.
        problem: String,
    },
    /// A file of a format that is known and not read.
    #[error("the file is {format}")]
    Foreign {
        /// What it is, and what to do.
        format: &'static str,
    },
    /// A file that comes to more than is taken in.
    #[error("{format}: it comes to more than {} MiB: split it, or decompress it yourself", .most >> 20)]
    TooLarge {
        /// The format.
        format: &'static str,
        /// The limit, in bytes.
        most: usize,
    },
    /// More rows than may be are unusable.
    #[error(
        "{first} ({count} of {rows} rows cannot be used; one in {} may be){}", super::ONE_IN, others(.kinds)
    )]
    Unusable {
        /// What is wrong with the first of them.
        first: Box<ConversationError>,
        /// How many.
        count: usize,
        /// Rows there are.
        rows: usize,
        /// How many are of each kind, with the first of it; kinds in the order of their first rows.
        kinds: Vec<(usize, ConversationError)>,
    },
    /// A row that cannot be read.
    #[error("{place}: {problem}")]
    Row {
        /// Where.
        place: Place,
        /// What is wrong with it.
        problem: String,
    },
    /// A column of a row that holds what it should not.
    #[error("{place}, column {column}: {problem}")]
    Column {
        /// Where.
        place: Place,
        /// The column, with the way into it.
        column: String,
        /// What is wrong with it and what would be right.
        problem: String,
    },
    /// Columns of no shape that titer knows.
    #[error(
        "{place}: the columns {} are of no known shape (messages; conversations; prompt and response; \
         instruction, input and output): name the columns of the prompt and the response{}",
        .there.join(", "), preferred(.there)
    )]
    UnknownShape {
        /// Where.
        place: Place,
        /// The columns there are.
        there: Vec<String>,
    },
    /// Columns that were named so that they make no conversation.
    #[error("columns: {problem}")]
    Columns {
        /// What is wrong.
        problem: &'static str,
    },
    /// A domain asked for that no row has.
    #[error("no row is of domain {}; there are {}", .domains.join(" or "), list(.there))]
    UnknownDomain {
        /// Asked for.
        domains: Vec<String>,
        /// Those there are.
        there: Vec<String>,
    },
    /// Nothing left.
    #[error("none of the {rows} rows makes a conversation that passes the filters")]
    Nothing {
        /// Rows there were.
        rows: usize,
    },
}

impl ConversationError {
    /// What it has in common with others of its kind: all but the place and the numbers.
    fn kind(&self) -> String {
        let words = match self {
            Self::Row { problem, .. } => problem.split(':').next().unwrap_or_default().to_owned(),
            Self::Column { column, problem, .. } => format!("{column}: {problem}"),
            Self::UnknownShape { there, .. } => there.join(","),
            other => other.to_string(),
        };
        words.chars().filter(|c| !c.is_ascii_digit()).collect()
    }
}

/// The first of each kind among what is wrong with rows, and how many there are.
pub(super) fn by_kind(wrong: &[ConversationError]) -> Vec<(usize, ConversationError)> {
    let mut kinds: Vec<(String, usize, &ConversationError)> = Vec::new();
    for error in wrong {
        let kind = error.kind();
        match kinds.iter_mut().find(|(known, ..)| *known == kind) {
            Some((_, count, _)) => *count += 1,
            None => kinds.push((kind, 1, error)),
        }
    }
    kinds.into_iter().map(|(_, count, first)| (count, first.clone())).collect()
}

/// Kinds that are told at most.
const MOST_KINDS: usize = 8;

/// How many rows are of each kind, where there are several.
fn others(kinds: &[(usize, ConversationError)]) -> String {
    if kinds.len() < 2 {
        return String::new();
    }
    let said = kinds.iter().take(MOST_KINDS).map(|(count, first)| format!("{count} as {first}"));
    format!("; of each kind: {}", said.collect::<Vec<_>>().join(", "))
}

/// What to do with preference pairs.
fn preferred(there: &[String]) -> &'static str {
    let has = |name: &str| there.iter().any(|column| column == name);
    match (has("chosen") && has("rejected"), has("prompt")) {
        (true, true) => {
            "; of pairs name a side: prompt = \"prompt\", response = \"rejected\" (or \"chosen\")"
        }
        (true, false) => "; of pairs name a side: messages = \"rejected\" (or \"chosen\")",
        (false, _) => "",
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
