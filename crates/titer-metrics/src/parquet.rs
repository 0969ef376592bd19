//! Frames as Parquet: what the store keeps. The file says which schema it was written for.

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};

use polars::error::PolarsError;
use polars::prelude::{Column, DataFrame};
use polars_io::mmap::MmapBytesReader;
use polars_io::prelude::{KeyValueMetadata, ParquetCompression, ParquetReader, ParquetWriter, SerReader};

use crate::error::Error;
use crate::schema::{Kind, Schema, sorted};

/// The key of the file's metadata that holds `name/version` of the schema.
const KEY: &str = "titer.schema";

/// Writes a frame, sorted; the same rows always give the same bytes.
///
/// # Errors
/// Where the frame does not match the schema, or writing fails.
pub fn write_parquet(frame: &DataFrame, schema: &Schema, writer: impl Write) -> Result<(), Error> {
    let mut frame = sorted(frame, schema)?;
    ParquetWriter::new(writer)
        .with_compression(ParquetCompression::Snappy)
        .with_key_value_metadata(Some(KeyValueMetadata::from_static(vec![(KEY.into(), schema.to_string())])))
        .set_parallel(false)
        .finish(&mut frame)
        .map_err(Error::polars(schema.name))?;
    Ok(())
}

/// Reads a frame back, checked and sorted. `reader` is an open file or a `Cursor` over bytes.
///
/// # Errors
/// Where the bytes are no Parquet file, the file was written for another schema or version, or a
/// column does not match.
pub fn read_parquet(reader: impl MmapBytesReader, schema: &Schema) -> Result<DataFrame, Error> {
    // The library panics on some files whose parts contradict each other.
    catch_unwind(AssertUnwindSafe(|| read(reader, schema))).unwrap_or_else(|_| {
        let problem = "the file is damaged: the library panicked on it";
        Err(Error::polars(schema.name)(PolarsError::ComputeError(problem.into())))
    })
}

fn read(reader: impl MmapBytesReader, schema: &Schema) -> Result<DataFrame, Error> {
    let fail = Error::polars(schema.name);
    let mut reader = ParquetReader::new(reader);
    let metadata = reader.get_metadata().map_err(&fail)?;
    let written = metadata.key_value_metadata().iter().flatten().find(|pair| pair.key.as_str() == KEY);
    let got = written.and_then(|pair| pair.value.as_ref()).map_or("no schema", |value| value.as_str());
    if !schema.reads(got) {
        return Err(Error::Version { frame: schema.name, expected: schema.to_string(), got: got.into() });
    }
    sorted(&with_flags(reader.finish().map_err(&fail)?, schema)?, schema)
}

/// The frame with the flags that a version before did not have.
fn with_flags(mut frame: DataFrame, schema: &Schema) -> Result<DataFrame, Error> {
    let flags = schema.columns.iter().filter(|column| column.kind == Kind::Flag);
    for flag in flags {
        if frame.column(flag.name).is_err() {
            let never = Column::new(flag.name.into(), vec![false; frame.height()]);
            frame.with_column(never).map_err(Error::polars(schema.name))?;
        }
    }
    Ok(frame)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use titer_plan::Probe;

    use super::*;
    use crate::frames::{PROBE_ROWS, RESPONSES};
    use crate::rows::{probe_frame, tests::row};
    use crate::schema::{flag, text};

    fn written() -> (DataFrame, Vec<u8>) {
        let frame =
            probe_frame(&[row(3, Probe::Seen, "a", 1.0), row(0, Probe::HarmlessTask, "b", 0.25)]).unwrap();
        let mut bytes = Vec::new();
        write_parquet(&frame, &PROBE_ROWS, &mut bytes).unwrap();
        (frame, bytes)
    }

    #[test]
    fn comes_back_as_it_was_and_always_as_the_same_bytes() {
        let (frame, bytes) = written();
        assert_eq!(read_parquet(Cursor::new(&bytes), &PROBE_ROWS).unwrap(), frame);
        assert_eq!(written().1, bytes);
    }

    #[test]
    fn flags_that_came_later_are_false_in_files_from_before() {
        const BEFORE: Schema = Schema {
            name: "small",
            version: 3,
            oldest: 3,
            columns: &[text("item"), flag("old")],
            order: &["item"],
        };
        const AFTER: Schema =
            Schema { version: 4, columns: &[text("item"), flag("old"), flag("new")], ..BEFORE };
        let mut bytes = Vec::new();
        let frame = polars::df!("item" => ["a", "b"], "old" => [true, false]).unwrap();
        write_parquet(&frame, &BEFORE, &mut bytes).unwrap();
        let read = read_parquet(Cursor::new(&bytes), &AFTER).unwrap();
        let expected =
            polars::df!("item" => ["a", "b"], "old" => [true, false], "new" => [false, false]).unwrap();
        assert_eq!(read, expected);
        // Where more than flags changed, or the file is a later one, nothing is guessed.
        for other in [Schema { oldest: 4, ..AFTER }, Schema { name: "other", ..AFTER }] {
            let error = read_parquet(Cursor::new(&bytes), &other).unwrap_err();
            assert!(matches!(error, Error::Version { .. }), "{error}");
        }
        let mut bytes = Vec::new();
        write_parquet(&expected, &AFTER, &mut bytes).unwrap();
        assert!(matches!(read_parquet(Cursor::new(&bytes), &BEFORE), Err(Error::Version { .. })));
    }

    #[test]
    fn another_schema_version_is_refused() {
        let newer = Schema { version: PROBE_ROWS.version + 1, oldest: PROBE_ROWS.version + 1, ..PROBE_ROWS };
        let error = read_parquet(Cursor::new(&written().1), &newer).unwrap_err();
        assert_eq!(
            error.to_string(),
            "frame `probe-rows`: expected schema probe-rows/5, got probe-rows/4; rerun the stage that wrote it"
        );
        assert!(matches!(read_parquet(Cursor::new(&written().1), &RESPONSES), Err(Error::Version { .. })));
    }

    #[test]
    fn a_frame_that_does_not_match_is_not_written() {
        let mut bytes = Vec::new();
        write_parquet(&written().0, &RESPONSES, &mut bytes).unwrap_err();
        assert!(bytes.is_empty());
    }

    #[test]
    fn torn_files_are_errors() {
        let bytes = written().1;
        for length in [0, 3, bytes.len() / 2, bytes.len() - 1] {
            let torn = read_parquet(Cursor::new(&bytes[..length]), &PROBE_ROWS);
            assert!(matches!(torn, Err(Error::Polars { .. })), "{length} bytes");
        }
    }
}
