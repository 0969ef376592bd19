//! Frames as Parquet: what the store keeps. The file says which schema it was written for.

use std::io::Write;

use polars::io::mmap::MmapBytesReader;
use polars::prelude::{
    DataFrame, KeyValueMetadata, ParquetCompression, ParquetReader, ParquetWriter, SerReader,
};

use crate::error::Error;
use crate::schema::{Schema, sorted};

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
    let fail = Error::polars(schema.name);
    let mut reader = ParquetReader::new(reader);
    let metadata = reader.get_metadata().map_err(&fail)?;
    let written = metadata.key_value_metadata().iter().flatten().find(|pair| pair.key.as_str() == KEY);
    let got = written.and_then(|pair| pair.value.as_ref()).map_or("no schema", |value| value.as_str());
    if got != schema.to_string() {
        return Err(Error::Version { frame: schema.name, expected: schema.to_string(), got: got.into() });
    }
    sorted(&reader.finish().map_err(&fail)?, schema)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use titer_plan::Probe;

    use super::*;
    use crate::frames::{PROBE_ROWS, RESPONSES};
    use crate::rows::{probe_frame, tests::row};

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
    fn another_schema_version_is_refused() {
        let newer = Schema { version: PROBE_ROWS.version + 1, ..PROBE_ROWS };
        let error = read_parquet(Cursor::new(&written().1), &newer).unwrap_err();
        assert_eq!(
            error.to_string(),
            "frame `probe-rows`: expected schema probe-rows/4, got probe-rows/3; rerun the stage that wrote it"
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
