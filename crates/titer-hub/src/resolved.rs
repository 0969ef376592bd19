//! A reference resolved, and the identity of its content.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use blake3::Hasher;
use serde::Serialize;

use crate::{Error, Reference, Result};

/// Read at a time; large enough that hashing it by several threads pays.
const CHUNK: usize = 4 << 20;
/// Changed when the way of hashing changes.
const DOMAIN: &[u8] = b"titer content 1";

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

    /// BLAKE3 in hexadecimal over the names, sizes and contents of [`Resolved::files`], streamed. The
    /// same content has the same identity wherever it lies: on the hub, in a folder, at another commit.
    /// A lone file counts by its content alone, so that renaming it changes nothing.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn identity(&self) -> Result<String> {
        let lone = self.path.is_file();
        let mut whole = Hasher::new();
        whole.update(DOMAIN);
        for (file, path) in self.files.iter().zip(self.paths()) {
            let name = if lone { "" } else { file.name.as_str() };
            let (bytes, hash) = digest(&path)?;
            whole.update(&(name.len() as u64).to_le_bytes());
            whole.update(name.as_bytes());
            whole.update(&bytes.to_le_bytes());
            whole.update(hash.as_bytes());
        }
        Ok(whole.finalize().to_hex().to_string())
    }
}

/// Size and hash of a file as it is now. Plain reads: a mapped file that shrinks would end the process.
fn digest(path: &Path) -> Result<(u64, blake3::Hash)> {
    let mut file = File::open(path).map_err(Error::reading(path))?;
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; CHUNK];
    let mut bytes = 0;
    loop {
        let mut filled = 0;
        while filled < buffer.len() {
            match file.read(&mut buffer[filled..]).map_err(Error::reading(path))? {
                0 => break,
                count => filled += count,
            }
        }
        hasher.update_rayon(&buffer[..filled]);
        bytes += filled as u64;
        if filled < buffer.len() {
            return Ok((bytes, hasher.finalize()));
        }
    }
}
