//! Rows of JSON lines, JSON lists, tables and plain lines, as JSON objects.

use std::io::{BufRead, Read as _};

use csv_core::ReadFieldResult;
use serde_json::{Map, Value};

use super::{ConversationError, Place};
use crate::text::python_json;

pub(super) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The column of plain lines.
const PROMPT: &str = "prompt";

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

pub(super) fn row(place: Place, value: Value) -> Result<Row, ConversationError> {
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

    /// The next line that is not blank, and its place.
    fn text(&mut self) -> Result<Option<(Place, &str)>, ConversationError> {
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
            if !line(self.line, &self.buffer).is_empty() {
                break;
            }
        }
        let place = Place::Line(self.line);
        let text = std::str::from_utf8(line(self.line, &self.buffer)).map_err(|error| {
            let problem = format!("no UTF-8 from byte {} on", error.valid_up_to() + 1);
            ConversationError::Row { place, problem }
        })?;
        Ok(Some((place, text)))
    }

    /// The next object.
    fn advance(&mut self) -> Result<Option<Row>, ConversationError> {
        let Some((place, text)) = self.text()? else { return Ok(None) };
        let value: Value = python_json(text).map_err(|error| {
            // The parser counts lines within its input, which is one line.
            let column = error.column();
            let said = error.to_string();
            let said = said.split(" at line ").next().unwrap_or_default();
            ConversationError::Row { place, problem: format!("no JSON: {said} at character {column}") }
        })?;
        row(place, value).map(Some)
    }
}

/// The bytes of a line of that number that say something.
fn line(number: usize, bytes: &[u8]) -> &[u8] {
    let bytes = match number {
        1 => bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes),
        _ => bytes,
    };
    // RFC 7464 puts a record separator before each value.
    bytes.strip_prefix(b"\x1e").unwrap_or(bytes).trim_ascii()
}

/// Each line that is not blank as a row of one prompt; none where some line looks like JSON or the first like the head of
/// a table, since broken rows are no prompts.
pub(super) fn prompts(bytes: &[u8]) -> Option<Vec<Result<Row, ConversationError>>> {
    let mut written = bytes.split(|byte| *byte == b'\n').enumerate();
    let structured = |(at, bytes): (usize, &[u8])| {
        let line = line(at + 1, bytes);
        line.starts_with(b"{") || line.starts_with(b"[{") || line.contains(&b'\t') || line.contains(&0)
    };
    if written.any(structured) {
        return None;
    }
    let (mut lines, mut rows) = (Lines::new(bytes), Vec::new());
    loop {
        let row = match lines.text() {
            Ok(None) => return Some(rows),
            Ok(Some((place, text))) => {
                let values = Map::from_iter([(PROMPT.to_owned(), Value::from(text))]);
                Ok(Row { place, values })
            }
            Err(error) => Err(error),
        };
        rows.push(row);
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
    let wrong = |problem: String| ConversationError::Format { format: "JSON", problem };
    let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    let text = std::str::from_utf8(bytes).map_err(|error| wrong(error.to_string()))?;
    match python_json(text).map_err(|error| wrong(error.to_string()))? {
        Value::Array(list) => Ok((1..).zip(list).map(|(number, value)| row(Place::Row(number), value))),
        other => Err(wrong(format!("expected a list, got {}", kind(&other)))),
    }
}

/// Names of columns, and rows.
pub(super) type Table = (Vec<String>, Vec<Result<Row, ConversationError>>);

/// Keys under which a file of one object holds its rows.
const WRAPPERS: [&str; 5] = ["data", "rows", "examples", "instances", "train"];

/// The objects of a text that is no JSON lines: one object around a list of rows, or objects over several lines or
/// after each other; none where it is something else.
pub(super) fn objects(bytes: &[u8]) -> Option<Vec<Result<Row, ConversationError>>> {
    let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    let values = serde_json::Deserializer::from_slice(bytes).into_iter::<Value>();
    let mut values: Vec<Value> = values.collect::<Result<_, _>>().ok()?;
    if let [Value::Object(only)] = values.as_mut_slice() {
        let lists = only
            .values()
            .filter(|value| value.as_array().is_some_and(|rows| rows.iter().all(Value::is_object)));
        if lists.count() == 1
            && let Some(Value::Array(rows)) = WRAPPERS.iter().find_map(|key| only.remove(*key))
        {
            values = rows;
        } else if !bytes.contains(&b'\n') {
            // One line of JSON lines.
            return None;
        }
    }
    Some((1..).zip(values).map(|(number, value)| row(Place::Row(number), value)).collect())
}

/// What a table's head would be as a row.
pub(super) fn head(line: &[u8]) -> Row {
    let names = match table(&[line.trim_ascii(), b"\n"].concat()) {
        Ok((names, _)) => names,
        Err(_) => Vec::new(),
    };
    let values = names.into_iter().map(|name| (name, Value::from(""))).collect();
    Row { place: Place::Row(0), values }
}

/// The names and rows of a table of comma- or tab-separated texts with a head.
pub(super) fn table(bytes: &[u8]) -> Result<Table, ConversationError> {
    let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    let head = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let delimiter = if head.contains(&b'\t') && !head.contains(&b',') { b'\t' } else { b',' };
    let wrong = |problem: &str| ConversationError::Format { format: "CSV", problem: problem.to_owned() };
    let records = records(bytes, delimiter).ok_or_else(|| {
        wrong("a quote is opened and never closed, so that the rows after it would be one field")
    })?;
    let mut records = records.into_iter();
    let names = records.next().ok_or_else(|| wrong("it is empty"))?;
    let names: Option<Vec<String>> = names.into_iter().map(|name| String::from_utf8(name).ok()).collect();
    let names = names.ok_or_else(|| wrong("its head is no UTF-8"))?;
    let rows = (1..).zip(records).map(|(number, record)| {
        let place = Place::Row(number);
        let wrong = |problem: String| ConversationError::Row { place, problem };
        if record.len() != names.len() {
            return Err(wrong(format!("{} fields, and the head has {}", record.len(), names.len())));
        }
        let fields = record
            .into_iter()
            .map(|field| String::from_utf8(field).map(Value::from).map_err(|_| wrong("no UTF-8".to_owned())));
        let values: Vec<Value> = fields.collect::<Result<_, _>>()?;
        Ok(Row { place, values: names.iter().cloned().zip(values).collect() })
    });
    let rows = rows.collect();
    Ok((names, rows))
}

/// A record that is read after the last one of a table, unless a quote was left open.
const END: &[u8] = b"\n\x1eend of the table\n";

/// The fields of each record of a table, the head first; none where a quote is left open.
fn records(bytes: &[u8], delimiter: u8) -> Option<Vec<Vec<Vec<u8>>>> {
    let mut reader = csv_core::ReaderBuilder::new().delimiter(delimiter).build();
    let (mut records, mut record, mut field) = (Vec::new(), Vec::new(), Vec::new());
    let mut buffer = [0; 4096];
    // What is empty says that no more comes.
    let (mut bytes, mut more) = (bytes, [END, b""].into_iter());
    loop {
        if bytes.is_empty() {
            bytes = more.next().unwrap_or_default();
        }
        let (result, read, wrote) = reader.read_field(bytes, &mut buffer);
        bytes = &bytes[read..];
        field.extend_from_slice(&buffer[..wrote]);
        match result {
            ReadFieldResult::InputEmpty | ReadFieldResult::OutputFull => {}
            ReadFieldResult::Field { record_end } => {
                record.push(std::mem::take(&mut field));
                if record_end {
                    records.push(std::mem::take(&mut record));
                }
            }
            ReadFieldResult::End => {
                let last = records.pop()?;
                return (last == [END.trim_ascii().to_vec()]).then_some(records);
            }
        }
    }
}
