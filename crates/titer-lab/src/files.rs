//! Reading whole files, with the file named when that fails.

use std::io::{self, Cursor};
use std::path::Path;

use polars::prelude::DataFrame;
use titer_metrics::{Schema, read_parquet};

use crate::Result;

/// All bytes of a file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path)
        .map_err(|source| titer_model::Error::File { path: path.to_owned(), action: "read", source }.into())
}

/// The text of a file. Bytes that are no text are an error, since any other text in their place would be a guess.
pub(crate) fn read_text(path: &Path) -> Result<String> {
    text(path, read(path)?)
}

/// The bytes of the file at `path` as text.
pub(crate) fn text(path: &Path, bytes: Vec<u8>) -> Result<String> {
    String::from_utf8(bytes).map_err(|error| {
        let source = io::Error::new(io::ErrorKind::InvalidData, error);
        titer_model::Error::File { path: path.to_owned(), action: "read as text", source }.into()
    })
}

/// A frame of that schema. The file is read and not mapped: a disk that fails under a map ends the process.
pub(crate) fn read_frame(path: &Path, schema: &Schema) -> Result<DataFrame> {
    Ok(read_parquet(Cursor::new(read(path)?), schema)?)
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::{fs, thread};

    use titer_metrics::{PROBE_ROWS, probe_frame, write_parquet};

    use super::*;

    #[test]
    fn a_frame_is_read_and_not_mapped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("probes.parquet");
        // What passes through a pipe can be read, and cannot be mapped.
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        let frame = probe_frame(&[]).unwrap();
        let mut bytes = Vec::new();
        write_parquet(&frame, &PROBE_ROWS, &mut bytes).unwrap();
        let read = thread::scope(|scope| {
            scope.spawn(|| fs::write(&path, bytes).unwrap());
            read_frame(&path, &PROBE_ROWS).unwrap()
        });
        assert_eq!(read, frame);
    }
}
