//! Rows of JSON lines, JSON lists and Parquet files, as JSON objects.

use std::io::{BufRead, Read as _};
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use serde_json::{Map, Value};

use super::{ConversationError, Place};

pub(super) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Bytes of a line at most: more than any context holds.
const LONGEST_LINE: usize = 16 << 20;

/// A row: its place and its columns.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) place: Place,
    pub(super) values: Map<String, Value>,
}

impl Row {
    pub(super) fn wrong(&self, column: &str, problem: impl Into<String>) -> ConversationError {
        ConversationError::Column { place: self.place, column: column.to_owned(), problem: problem.into() }
    }
}

fn row(place: Place, value: Value) -> Result<Row, ConversationError> {
    match value {
        Value::Object(values) => Ok(Row { place, values }),
        other => {
            let kind = kind(&other);
            Err(ConversationError::Row { place, problem: format!("expected an object, got {kind}") })
        }
    }
}

/// What a value is, for messages.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// The rows of JSON lines.
pub(super) struct Lines<R> {
    reader: R,
    line: usize,
    buffer: Vec<u8>,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader, line: 0, buffer: Vec::new() }
    }

    /// The next line that is not blank.
    fn advance(&mut self) -> Result<Option<Row>, ConversationError> {
        loop {
            self.line += 1;
            let place = Place::Line(self.line);
            let wrong = |problem| ConversationError::Row { place, problem };
            self.buffer.clear();
            let mut bounded = (&mut self.reader).take(LONGEST_LINE as u64 + 1);
            let read = bounded.read_until(b'\n', &mut self.buffer);
            if read.map_err(|error| wrong(error.to_string()))? == 0 {
                return Ok(None);
            }
            if self.buffer.len() > LONGEST_LINE {
                return Err(wrong(format!("longer than {} MiB", LONGEST_LINE >> 20)));
            }
            let bytes = match self.line {
                1 => self.buffer.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&self.buffer),
                _ => &self.buffer,
            };
            let bytes = bytes.trim_ascii();
            if bytes.is_empty() {
                continue;
            }
            let text = std::str::from_utf8(bytes)
                .map_err(|error| wrong(format!("no UTF-8 from byte {} on", error.valid_up_to() + 1)))?;
            let value = serde_json::from_str(text).map_err(|error| {
                // The parser counts lines within its input, which is one line.
                let column = error.column();
                let said = error.to_string();
                let said = said.split(" at line ").next().unwrap_or_default();
                wrong(format!("no JSON: {said} at character {column}"))
            })?;
            return row(place, value).map(Some);
        }
    }
}

impl<R: BufRead> Iterator for Lines<R> {
    type Item = Result<Row, ConversationError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.advance().transpose()
    }
}

/// The rows of a JSON list.
pub(super) fn json(
    bytes: &[u8],
) -> Result<impl Iterator<Item = Result<Row, ConversationError>>, ConversationError> {
    let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    let list: Vec<Value> = serde_json::from_slice(bytes)
        .map_err(|error| ConversationError::Format { format: "JSON", problem: error.to_string() })?;
    Ok((1..).zip(list).map(|(number, value)| row(Place::Row(number), value)))
}

/// The rows of a Parquet file.
pub(super) fn parquet(bytes: Bytes) -> Result<Vec<Row>, ConversationError> {
    let wrong = |problem| ConversationError::Format { format: "Parquet", problem };
    // The library panics on some damaged files.
    let read = catch_unwind(AssertUnwindSafe(|| {
        let file = SerializedFileReader::new(bytes).map_err(|error| wrong(error.to_string()))?;
        let mut rows = Vec::new();
        for (number, row) in (1..).zip(file.get_row_iter(None).map_err(|error| wrong(error.to_string()))?) {
            let place = Place::Row(number);
            let read = row.map_err(|error| ConversationError::Row { place, problem: error.to_string() })?;
            rows.push(self::row(place, read.to_json_value())?);
        }
        Ok(rows)
    }));
    read.unwrap_or_else(|_| Err(wrong("the file is damaged: the library panicked on it".to_owned())))
}
