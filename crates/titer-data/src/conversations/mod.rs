//! Data sets of conversations: JSON lines, JSON lists and Parquet, in the shapes that public data sets have.
//!
//! Bytes come in, conversations go out, and every complaint names the row and the column.

mod error;
mod options;
mod rows;
mod shape;

use std::collections::{BTreeSet, HashMap};
use std::io::BufRead;

use bytes::Bytes;

pub use error::{ConversationError, Place};
pub use options::{Columns, Options};
use rows::Row;
pub use shape::Shape;

use crate::text::Message;

/// One conversation of a data set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conversation {
    /// The turns, at least one, none of them blank.
    pub messages: Vec<Message>,
    /// What it is about, where the data set says so.
    pub domain: Option<String>,
    /// What the data set calls it; where it does not, the number of its row, from 1.
    pub id: String,
}

/// The conversations of a data set, and what was found on the way.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Conversations {
    /// In the order of their rows.
    pub conversations: Vec<Conversation>,
    /// Rows there were.
    pub rows: usize,
    /// Rows left out because a message of theirs is blank.
    pub blank: Vec<Place>,
    /// Indices into `conversations` of those with the messages of an earlier one, each with the earlier.
    pub duplicates: Vec<(usize, usize)>,
}

impl Conversations {
    /// Reads a file of any format, told by its first bytes.
    ///
    /// # Errors
    /// As the readers of the formats.
    pub fn read(bytes: impl Into<Bytes>, options: &Options) -> Result<Self, ConversationError> {
        let bytes = bytes.into();
        let text = bytes.strip_prefix(rows::BYTE_ORDER_MARK).unwrap_or(&bytes);
        if bytes.starts_with(b"PAR1") {
            Self::from_parquet(bytes, options)
        } else if bytes.starts_with(&[0x1f, 0x8b]) || bytes.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
            Err(ConversationError::Compressed)
        } else if text.trim_ascii_start().starts_with(b"[") {
            Self::from_json(&bytes, options)
        } else {
            Self::from_jsonl(&*bytes, options)
        }
    }

    /// Reads JSON lines. Blank lines are passed over.
    ///
    /// # Errors
    /// When a line is too long, no UTF-8, no JSON object, or has not the shape; when no row is left.
    pub fn from_jsonl(reader: impl BufRead, options: &Options) -> Result<Self, ConversationError> {
        Self::from_rows(rows::Lines::new(reader), options)
    }

    /// Reads a JSON list of objects.
    ///
    /// # Errors
    /// When it is none, or a row has not the shape; when no row is left.
    pub fn from_json(bytes: &[u8], options: &Options) -> Result<Self, ConversationError> {
        Self::from_rows(rows::json(bytes)?, options)
    }

    /// Reads a Parquet file.
    ///
    /// # Errors
    /// When it is none or damaged, or a row has not the shape; when no row is left.
    pub fn from_parquet(bytes: impl Into<Bytes>, options: &Options) -> Result<Self, ConversationError> {
        Self::from_rows(rows::parquet(bytes.into())?.into_iter().map(Ok), options)
    }

    fn from_rows(
        rows: impl IntoIterator<Item = Result<Row, ConversationError>>,
        options: &Options,
    ) -> Result<Self, ConversationError> {
        let mut read = Self::default();
        let mut shape = None;
        let mut domains = BTreeSet::new();
        for row in rows {
            let row = row?;
            read.rows += 1;
            let shape = match &shape {
                Some(shape) => shape,
                None => shape.insert(Shape::of(&row, &options.columns)?),
            };
            if !options.flags_hold(&row)? {
                continue;
            }
            let labels = shape.labels(&row)?;
            let Some(domain) = options.domain(&labels) else {
                domains.extend(labels);
                continue;
            };
            domains.extend(labels);
            let messages = shape.messages(&row)?;
            if messages.is_empty() || messages.iter().any(|message| message.content.trim().is_empty()) {
                read.blank.push(row.place);
                continue;
            }
            let id = match shape.id(&row)? {
                Some(id) => id,
                None => read.rows.to_string(),
            };
            read.conversations.push(Conversation { messages, domain, id });
        }
        if let Some(missing) = options.domains.iter().find(|domain| !domains.contains(*domain)) {
            let there = domains.into_iter().collect();
            return Err(ConversationError::UnknownDomain { domain: missing.clone(), there });
        }
        if read.conversations.is_empty() {
            return Err(ConversationError::Nothing { rows: read.rows });
        }
        read.duplicates = duplicates(&read.conversations);
        Ok(read)
    }
}

fn duplicates(conversations: &[Conversation]) -> Vec<(usize, usize)> {
    let mut first = HashMap::with_capacity(conversations.len());
    let seen = conversations.iter().enumerate().map(|(at, conversation)| {
        let earlier = *first.entry(&conversation.messages).or_insert(at);
        (at, earlier)
    });
    seen.filter(|(at, earlier)| at != earlier).collect()
}
