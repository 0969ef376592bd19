//! Frames for other programs.

use std::fmt;
use std::io::Write;
use std::str::FromStr;

use polars::prelude::DataFrame;
use polars_io::prelude::{CsvWriter, JsonFormat, JsonWriter, SerWriter};

use crate::error::Error;
use crate::parquet::write_parquet;
use crate::schema::{Schema, sorted};

/// A file format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Columns with their types; what the store itself keeps.
    Parquet,
    /// Comma-separated values with a header line.
    Csv,
    /// One JSON array of objects.
    Json,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 3] = [Self::Parquet, Self::Csv, Self::Json];

    /// The name used on the command line, also the extension of files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::Csv => "csv",
            Self::Json => "json",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Format {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|format| format.name() == word).ok_or_else(|| Error::Format(word.into()))
    }
}

/// Writes a frame, sorted, in `format`.
///
/// # Errors
/// Where the frame does not match the schema, or writing fails.
pub fn export(
    frame: &DataFrame,
    schema: &Schema,
    format: Format,
    mut writer: impl Write,
) -> Result<(), Error> {
    let mut sorted = sorted(frame, schema)?;
    match format {
        Format::Parquet => return write_parquet(frame, schema, writer),
        Format::Csv => CsvWriter::new(&mut writer).finish(&mut sorted),
        Format::Json => JsonWriter::new(&mut writer).with_json_format(JsonFormat::Json).finish(&mut sorted),
    }
    .map_err(Error::polars(schema.name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frames::RESPONSES;
    use crate::rows::{ResponseRow, response_frame};

    #[track_caller]
    fn check(format: &str, expected: &str) {
        let row = |id: &str, prompt: &str, response: &str| ResponseRow {
            response_id: id.into(),
            prompt: prompt.into(),
            response: response.into(),
            ..ResponseRow::default()
        };
        let frame =
            response_frame(&[row("b", "x, y", "say \"no\""), row("a", "p", "take A\nthen B")]).unwrap();
        let mut bytes = Vec::new();
        export(&frame, &RESPONSES, format.parse().unwrap(), &mut bytes).unwrap();
        assert_eq!(String::from_utf8_lossy(&bytes), expected);
    }

    #[test]
    fn csv_quotes_what_needs_it() {
        check(
            "csv",
            "response_id,prompt,response,question,answer,reference,continuations,cut\n\
             a,p,\"take A\nthen B\",\"\",\"\",\"\",\"\",false\nb,\"x, y\",\"say \"\"no\"\"\",\"\",\"\",\"\",\"\",false\n",
        );
    }

    #[test]
    fn json_is_one_array_of_objects() {
        check(
            "json",
            "[{\"response_id\":\"a\",\"prompt\":\"p\",\"response\":\"take A\\nthen B\",REST},\
             {\"response_id\":\"b\",\"prompt\":\"x, y\",\"response\":\"say \\\"no\\\"\",REST}]"
                .replace(
                    "REST",
                    "\"question\":\"\",\"answer\":\"\",\"reference\":\"\",\"continuations\":\"\",\"cut\":false",
                )
                .as_str(),
        );
    }

    #[test]
    fn unknown_formats_name_the_known_ones() {
        let error = "xlsx".parse::<Format>().unwrap_err();
        assert_eq!(error.to_string(), "unknown format `xlsx`; expected parquet, csv or json");
    }
}
