//! Data sets of conversations: JSON lines, JSON lists, CSV, Parquet, Arrow and plain lines, compressed or not, in the
//! shapes that public data sets have.
//!
//! Bytes come in, conversations go out, and every complaint names the row and the column.

mod arrow;
mod error;
mod layout;
mod options;
mod parquet;
mod rows;
mod shape;
mod thrift;
mod unpack;

use std::collections::{BTreeSet, HashMap};
use std::io::BufRead;

use bytes::Bytes;
use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

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
    /// What else it is about, of what was asked for.
    pub others: Vec<String>,
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
    /// Rows left out because they cannot be used, and why: at most one in [`ONE_IN`].
    pub unusable: Vec<ConversationError>,
    /// Indices into `conversations` of those with the messages of an earlier one, each with the earlier.
    pub duplicates: Vec<(usize, usize)>,
}

impl Conversation {
    /// Bytes that it takes in memory, about.
    fn room(&self) -> usize {
        let words = |message: &Message| message.content.len() + size_of::<Message>();
        self.messages.iter().map(words).sum::<usize>() + self.id.len() + size_of::<Self>()
    }
}

/// Bytes that the conversations of a file may come to in memory: beside the file when it is decompressed.
const MOST_ROOM: usize = unpack::MOST / 4 * 3;

/// Of so many rows one may be unusable.
pub const ONE_IN: usize = 10;

/// And so many of them all.
const MOST_UNUSABLE: usize = 1_000_000;

/// First bytes of formats that are known and not read, and what to do with them.
const FOREIGN: [(&[u8], &str); 2] = [
    (b"PK\x03\x04", "a ZIP archive: unpack it first (unzip)"),
    (b"version https://git-lfs", "a pointer of Git LFS: run `git lfs pull` in its repository"),
];

/// Where a TAR archive says what it is, and how (POSIX.1-1988).
const TAR: (usize, &[u8]) = (257, b"ustar");

impl Conversations {
    /// Reads a file of any format, compressed or not, told by its first bytes.
    ///
    /// # Errors
    /// As the readers of the formats; when it is damaged, or comes to more than 1 GiB when it is decompressed.
    pub fn read(bytes: impl Into<Bytes>, options: &Options) -> Result<Self, ConversationError> {
        Self::read_file("", bytes, options)
    }

    /// The same of a file of that name: if it ends in `.txt`, compressed or not, text that is neither JSON nor a table is
    /// prompts without answers, one a line.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_file(
        name: &str,
        bytes: impl Into<Bytes>,
        options: &Options,
    ) -> Result<Self, ConversationError> {
        let bytes = unpack::unpacked(bytes.into(), unpack::MOST)?;
        let text = bytes.strip_prefix(rows::BYTE_ORDER_MARK).unwrap_or(&bytes);
        if bytes.starts_with(b"PAR1") {
            return Self::from_parquet(bytes, options);
        }
        if arrow::is_arrow(&bytes) {
            return Self::from_arrow(&bytes, options);
        }
        if bytes.get(TAR.0..).is_some_and(|rest| rest.starts_with(TAR.1)) {
            return Err(ConversationError::Foreign { format: "a TAR archive: unpack it first (tar -x)" });
        }
        if let Some((_, format)) = FOREIGN.iter().find(|(magic, _)| bytes.starts_with(magic)) {
            return Err(ConversationError::Foreign { format });
        }
        if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
            return Err(ConversationError::Foreign {
                format: "UTF-16: save it as UTF-8 (iconv -f UTF-16 -t UTF-8)",
            });
        }
        let text = text.trim_ascii_start();
        let first_line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
        if text.starts_with(b"[") {
            Self::from_json(&bytes, options)
        } else if text.starts_with(b"{") && !is_object(first_line) || is_alone(text) {
            match rows::objects(text) {
                Some(rows) => Self::from_rows(rows, options),
                None => Self::from_jsonl(&*bytes, options),
            }
        } else if first_line.first().is_some_and(|byte| byte.is_ascii_alphabetic() || *byte == b'"')
            && Shape::of(&rows::head(first_line), &options.columns).is_ok()
        {
            Self::from_rows(rows::table(&bytes)?.1, options)
        } else if let Some(prompts) = is_plain(name).then(|| rows::prompts(&bytes)).flatten() {
            Self::from_rows(prompts, options)
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
        Self::from_rows(parquet::rows(bytes.into(), unpack::MOST)?.into_iter().map(Ok), options)
    }

    /// Reads an Arrow file or stream.
    ///
    /// # Errors
    /// When it is none, damaged or cut, or a row has not the shape; when no row is left.
    pub fn from_arrow(bytes: &[u8], options: &Options) -> Result<Self, ConversationError> {
        Self::from_rows(arrow::rows(bytes, unpack::MOST)?.into_iter().map(Ok), options)
    }

    fn from_rows(
        rows: impl IntoIterator<Item = Result<Row, ConversationError>>,
        options: &Options,
    ) -> Result<Self, ConversationError> {
        Self::within(MOST_ROOM, rows, options)
    }

    fn within(
        most: usize,
        rows: impl IntoIterator<Item = Result<Row, ConversationError>>,
        options: &Options,
    ) -> Result<Self, ConversationError> {
        let mut read = Self::default();
        let mut shape: Option<Shape> = None;
        let mut domains = BTreeSet::new();
        let mut room = 0;
        for row in rows {
            read.rows += 1;
            let before = read.conversations.len();
            match row.and_then(|row| read.take(&row, &mut shape, &mut domains, options)) {
                Ok(()) => {}
                Err(error @ ConversationError::Columns { .. }) => return Err(error),
                Err(error) => read.unusable.push(error),
            }
            // A small file may come to very many rows, and a short row to more in memory than in the file.
            room += read.conversations[before..].iter().map(Conversation::room).sum::<usize>();
            if room > most {
                return Err(ConversationError::TooLarge { format: "its rows in memory", most });
            }
            if read.unusable.len() > MOST_UNUSABLE {
                break;
            }
        }
        if read.unusable.len() > MOST_UNUSABLE.min(read.rows / ONE_IN) {
            let (count, rows) = (read.unusable.len(), read.rows);
            let kinds = error::by_kind(&read.unusable);
            let first = Box::new(read.unusable.swap_remove(0));
            return Err(ConversationError::Unusable { first, count, rows, kinds });
        }
        let missing = options.domains.iter().filter(|domain| !domains.contains(*domain));
        let missing: Vec<String> = missing.cloned().collect();
        if !missing.is_empty() {
            let there = domains.into_iter().collect();
            return Err(ConversationError::UnknownDomain { domains: missing, there });
        }
        if read.conversations.is_empty() {
            return Err(ConversationError::Nothing { rows: read.rows });
        }
        read.duplicates = duplicates(&read.conversations);
        Ok(read)
    }

    /// Takes a row in, or leaves it out.
    fn take(
        &mut self,
        row: &Row,
        known: &mut Option<Shape>,
        domains: &mut BTreeSet<String>,
        options: &Options,
    ) -> Result<(), ConversationError> {
        // Rows of another shape than those before them stand in merged files.
        if known.as_ref().is_none_or(|shape| !shape.fits(row)) {
            let other = Shape::of(row, &options.columns)?;
            // Among rows with answers one without is a mistake, and no prompt alone.
            if known.as_ref().is_none_or(|shape| other.is_answered() || !shape.is_answered()) {
                *known = Some(other);
            }
        }
        let Some(shape) = known else { return Ok(()) };
        if !options.flags_hold(row)? {
            return Ok(());
        }
        let labels = shape.labels(row)?;
        let domain = options.domain(&labels);
        domains.extend(labels.iter().cloned());
        let Some(domain) = domain else { return Ok(()) };
        let messages = shape.messages(row)?;
        if messages.is_empty() || messages.iter().any(|message| message.content.trim().is_empty()) {
            self.blank.push(row.place);
            return Ok(());
        }
        let id = shape.id(row)?.unwrap_or_else(|| self.rows.to_string());
        let wanted = |label: &String| options.domains.is_empty() || options.domains.contains(label);
        let others = labels.into_iter().filter(|label| wanted(label) && Some(label) != domain.as_ref());
        let others = others.collect();
        self.conversations.push(Conversation { messages, domain, others, id });
        Ok(())
    }

    /// What was left out and why, for people; nothing where nothing was.
    pub fn left_out(&self) -> Option<String> {
        let mut parts = Vec::new();
        for (count, first) in error::by_kind(&self.unusable) {
            parts.push(format!("{count} cannot be used ({first})"));
        }
        if let Some(first) = self.blank.first() {
            parts.push(format!("{} have a blank message ({first})", self.blank.len()));
        }
        (!parts.is_empty()).then(|| format!("of {} rows are left out: {}", self.rows, parts.join("; ")))
    }
}

/// Whether a file of that name holds plain text, as far as a name says.
fn is_plain(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let whole = [".gz", ".zst", ".xz", ".bz2"].iter().find_map(|end| name.strip_suffix(end));
    whole.unwrap_or(&name).ends_with(".txt")
}

/// Whether a line is a JSON object by itself.
fn is_object(line: &[u8]) -> bool {
    serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(line).is_ok()
}

/// Whether a text is one line with one JSON object.
fn is_alone(text: &[u8]) -> bool {
    let text = text.trim_ascii();
    text.starts_with(b"{") && !text.contains(&b'\n') && is_object(text)
}

/// A question as it is compared with others: case, spacing, punctuation and Unicode form make no difference.
pub fn same_question(question: &str) -> String {
    let plain: String = question.nfkc().flat_map(char::to_lowercase).collect();
    let written = |c: &char| c.is_alphanumeric() || is_combining_mark(*c);
    let words: String = plain.chars().filter(written).collect();
    if words.is_empty() { plain.trim().to_owned() } else { words }
}

fn duplicates(conversations: &[Conversation]) -> Vec<(usize, usize)> {
    let mut first = HashMap::with_capacity(conversations.len());
    let seen = conversations.iter().enumerate().map(|(at, conversation)| {
        let earlier = *first.entry(&conversation.messages).or_insert(at);
        (at, earlier)
    });
    seen.filter(|(at, earlier)| at != earlier).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_rows_are_bounded_by_what_they_take_in_memory() {
        let text = "{\"prompt\":\"a\"}\n".repeat(10_000);
        let read = |most| Conversations::within(most, rows::Lines::new(text.as_bytes()), &Options::default());
        assert_eq!(read(10 << 20).unwrap().rows, 10_000);
        assert!(matches!(read(1 << 20), Err(ConversationError::TooLarge { .. })));
    }
}
