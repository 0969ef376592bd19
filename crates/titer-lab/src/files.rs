//! Reading whole files, with the file named when that fails.

use std::fs::File;
use std::path::Path;

use polars::prelude::DataFrame;
use titer_metrics::{Schema, read_parquet};

use crate::Result;

/// All bytes of a file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path)
        .map_err(|source| titer_model::Error::File { path: path.to_owned(), action: "read", source }.into())
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
