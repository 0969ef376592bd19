//! JSON whose strings hold no character that moves a cursor, hides text or breaks a line.
//!
//! JSON itself lets everything above U+001F stand as it is: the C1 controls, bidirectional marks, and the line
//! separators at which other programs split a file of lines.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, PrettyFormatter, Serializer};
use titer_view::sanitise;

/// A formatter that writes such characters as escapes.
struct Escaped<F>(F);

/// One JSON document, indented, with a line break at its end.
pub(crate) fn document(value: &impl Serialize) -> Result<Vec<u8>, serde_json::Error> {
    write(value, PrettyFormatter::new())
}

/// One line of JSON, with its line break.
pub(crate) fn line(value: &impl Serialize) -> Result<Vec<u8>, serde_json::Error> {
    write(value, CompactFormatter)
}

fn write<F: Formatter>(value: &impl Serialize, formatter: F) -> Result<Vec<u8>, serde_json::Error> {
    let mut bytes = Vec::new();
    value.serialize(&mut Serializer::with_formatter(&mut bytes, Escaped(formatter)))?;
    bytes.push(b'\n');
    Ok(bytes)
}

impl<F: Formatter> Formatter for Escaped<F> {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut plain = 0;
        for (place, unsafe_one) in fragment.char_indices().filter(|(_, c)| sanitise::is_unsafe(*c)) {
            writer.write_all(&fragment.as_bytes()[plain..place])?;
            for unit in unsafe_one.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
            plain = place + unsafe_one.len_utf8();
        }
        writer.write_all(&fragment.as_bytes()[plain..])
    }

    fn begin_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_array(writer)
    }

    fn end_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array(writer)
    }

    fn begin_array_value<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_array_value(writer, first)
    }

    fn end_array_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array_value(writer)
    }

    fn begin_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object(writer)
    }

    fn end_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object(writer)
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_object_key(writer, first)
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object_value(writer)
    }

    fn end_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object_value(writer)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn hostile_text_comes_back_as_it_was_and_is_written_as_escapes() {
        let hostile = "\u{1b}]0;x\u{7} a\u{85}b\u{2028}c\u{202e}d\u{9b}31m \"quoted\" \u{e0041}é日本\n\u{7f}";
        let value = json!({ "answer": [hostile], hostile: 1 });
        for bytes in [line(&value).unwrap(), document(&value).unwrap()] {
            assert_eq!(serde_json::from_slice::<Value>(&bytes).unwrap(), value);
            let text = String::from_utf8(bytes).unwrap();
            assert!(!text.trim_end().contains(|c| sanitise::is_unsafe(c) && c != '\n'), "{text:?}");
            assert!(text.contains("é日本") && text.contains("\\udb40\\udc41"), "{text}");
        }
        assert_eq!(line(&value).unwrap().iter().filter(|byte| **byte == b'\n').count(), 1);
    }

    #[test]
    fn a_document_is_laid_out_as_serde_json_does() {
        let value = json!({ "a": [1, { "b": null }], "c": {}, "d": [] });
        let expected = serde_json::to_string_pretty(&value).unwrap() + "\n";
        assert_eq!(String::from_utf8(document(&value).unwrap()).unwrap(), expected);
        assert_eq!(line(&value).unwrap(), (serde_json::to_string(&value).unwrap() + "\n").into_bytes());
    }
}
