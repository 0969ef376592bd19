//! What has come of a file, and whether it is what the hub says.
//!
//! The hub knows a small file by git's hash of it, a SHA-1 over its length and content. In the place of a large one git has
//! a pointer of Git LFS, a short text made of the SHA-256 and the length, and the hub tells git's hash of that. `hf-hub` 1.0
//! drops the SHA-256 itself from the hub's answer (its field is named otherwise). The pointer's hash decides as well:
//! only the content with the right SHA-256 and length makes that pointer.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use sha1::{Digest, Sha1};
use sha2::Sha256;

use crate::repository::Facts;
use crate::{Error, Result};

const CHUNK: usize = 256 << 10;

/// Git's hash of what begins with `content`, of `length` bytes in all.
fn git(length: u64, content: &[u8]) -> Sha1 {
    Sha1::new().chain_update(format!("blob {length}\0")).chain_update(content)
}

/// Git's hash of the pointer to a large file.
pub(crate) fn pointer(sha256: &str, size: u64) -> String {
    let text = format!("version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n");
    hex(&git(text.len() as u64, text.as_bytes()).finalize())
}

/// Of content as it comes.
enum Hasher {
    Small(Sha1),
    Large(Sha256),
}

impl Hasher {
    fn of(facts: &Facts) -> Self {
        if facts.large { Self::Large(Sha256::new()) } else { Self::Small(git(facts.size, &[])) }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Small(hasher) => hasher.update(bytes),
            Self::Large(hasher) => hasher.update(bytes),
        }
    }
}

/// What has come of a file.
pub(crate) struct Partial<'a> {
    pub(crate) path: PathBuf,
    file: File,
    facts: &'a Facts,
    pub(crate) length: u64,
    hasher: Hasher,
    /// Whether some of it is from an earlier attempt or call.
    pub(crate) resumed: bool,
}

impl<'a> Partial<'a> {
    pub(crate) fn open(path: PathBuf, facts: &'a Facts) -> Result<Self> {
        let mut file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(Error::writing(&path))?;
        let mut hasher = Hasher::of(facts);
        let mut buffer = vec![0; CHUNK];
        let mut length = 0;
        loop {
            let count = file.read(&mut buffer).map_err(Error::reading(&path))?;
            if count == 0 {
                break;
            }
            hasher.update(&buffer[..count]);
            length += count as u64;
        }
        Ok(Self { path, file, facts, length, hasher, resumed: length > 0 })
    }

    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(Error::writing(&self.path))?;
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }

    pub(crate) fn clear(&mut self) -> Result<()> {
        let emptied = self.file.set_len(0).and_then(|()| self.file.seek(SeekFrom::Start(0)));
        emptied.map_err(Error::writing(&self.path))?;
        self.length = 0;
        self.hasher = Hasher::of(self.facts);
        self.resumed = false;
        Ok(())
    }

    /// Refuses what cannot fit, before anything is sent.
    pub(crate) fn check_room(&self) -> Result<()> {
        let needed = self.facts.size.saturating_sub(self.length);
        // A filesystem that does not tell is found out while writing.
        let Ok(found) = rustix::fs::fstatvfs(&self.file) else { return Ok(()) };
        let free = found.f_bavail.saturating_mul(found.f_frsize);
        if needed <= free {
            return Ok(());
        }
        let reason = format!("{needed} bytes are needed, {free} are free");
        Err(Error::DiskFull { path: self.path.clone(), reason })
    }

    /// The name of the content among the blobs.
    ///
    /// # Errors
    /// [`Error::WrongHash`] where it is not what the hub says.
    pub(crate) fn name(&self) -> Result<String> {
        let (name, found) = match &self.hasher {
            Hasher::Small(hasher) => {
                let oid = hex(&hasher.clone().finalize());
                (oid.clone(), oid)
            }
            Hasher::Large(hasher) => {
                let sha256 = hex(&hasher.clone().finalize());
                let oid = pointer(&sha256, self.length);
                (sha256, oid)
            }
        };
        if found == self.facts.oid {
            return Ok(name);
        }
        let (file, expected) = (self.facts.file.clone(), self.facts.oid.clone());
        Err(Error::WrongHash { file, found, expected })
    }

    /// Puts it among the blobs.
    pub(crate) fn keep(&self, blob: &Path) -> Result<()> {
        self.file.sync_all().map_err(Error::writing(&self.path))?;
        std::fs::rename(&self.path, blob).map_err(Error::writing(blob))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_gits() {
        assert_eq!(hex(&git(0, b"").finalize()), "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
        assert_eq!(hex(&git(12, b"hello world\n").finalize()), "3b18e512dba79e4c8300dd08aeb37f8e728b8dad");
    }

    /// lysandre/arxiv-nlp on the hub, flax_model.msgpack, as the documentation of `HfApi.list_repo_tree` shows it.
    #[test]
    fn a_pointer_is_the_hubs() {
        let sha256 = "d88b0d6a6ff9c3f8151f9d3228f57092aaea997f09af009eefd7373a77b5abb9";
        assert_eq!(pointer(sha256, 497_764_107), "8095a62ccb4d806da7666fcda07467e2d150218e");
    }
}
