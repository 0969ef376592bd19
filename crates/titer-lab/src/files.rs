//! Reading whole files, with the file named when that fails.

use std::path::Path;

use crate::Result;

/// All bytes of a file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path)
        .map_err(|source| titer_model::Error::File { path: path.to_owned(), action: "read", source }.into())
}
