//! Reading whole files, with the file named when that fails.

use std::fs::File;
use std::io;
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

/// A frame of that schema.
pub(crate) fn read_frame(path: &Path, schema: &Schema) -> Result<DataFrame> {
    let file = File::open(path).map_err(|source| titer_model::Error::File {
        path: path.to_owned(),
        action: "read",
        source,
    })?;
    Ok(read_parquet(file, schema)?)
}
