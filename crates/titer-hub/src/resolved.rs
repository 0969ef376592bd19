//! A reference resolved.

use std::path::PathBuf;

use serde::Serialize;

use crate::Reference;

/// Where a reference leads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Resolved {
    /// A folder, or one file.
    pub path: PathBuf,
    /// As asked for.
    pub reference: Reference,
    /// Of a repository on the hub: the commit that the revision stood at.
    pub commit: Option<String>,
    /// The files that matter, sorted by name.
    pub files: Vec<Content>,
}

/// One file of what a reference leads to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Content {
    /// Relative to the folder, with `/`; of a lone file its own name.
    pub name: String,
    /// Its size.
    pub bytes: u64,
}

impl Resolved {
    /// The files' paths, in the order of [`Resolved::files`].
    pub fn paths(&self) -> impl Iterator<Item = PathBuf> {
        let lone = self.path.is_file();
        self.files.iter().map(move |file| if lone { self.path.clone() } else { self.path.join(&file.name) })
    }
}
