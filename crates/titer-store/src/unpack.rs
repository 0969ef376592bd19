//! Opens a bundle, which may come from a stranger: into a temporary folder that goes again, with names that a store
//! has and no others, files only, and bounds on their number and sizes.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use tar::EntryType;
use tempfile::TempDir;

use crate::atomic;
use crate::bundle::{ABOUT, About, ENVIRONMENT, OF_ARTIFACT, OF_EXPERIMENT, Weights};
use crate::error::{Error, Result};
use crate::links;
use crate::name;
use crate::store::Store;
use crate::sums;

/// Bytes that any bundle may come to.
const ROOM: u64 = 64 << 20;
/// How many times as large as itself a bundle may come to beyond that: logs compress by 20.
const GROWTH: u64 = 200;
/// Files at most: ten for each of 100,000 stages.
const MOST_FILES: usize = 1_000_000;

/// A bundle that was opened: a store in a temporary folder, which goes when this is dropped.
#[derive(Debug)]
pub struct Bundle {
    _folder: TempDir,
    store: Store,
    about: About,
    environment: String,
}

impl Bundle {
    /// Unpacks the bundle at `path`.
    ///
    /// # Errors
    /// When it cannot be read, is no bundle, or holds what no bundle has; nothing is left of it then.
    pub fn open(path: &Path) -> Result<Self> {
        let wrong = |problem: String| Error::Bundle { path: path.to_owned(), problem };
        let file = File::open(path).map_err(Error::reading(path))?;
        let size = file.metadata().map_err(Error::reading(path))?.len();
        let folder = tempfile::Builder::new().prefix("titer-bundle-").tempdir();
        let folder = folder.map_err(Error::writing(&std::env::temp_dir()))?;
        let most = size.saturating_mul(GROWTH).saturating_add(ROOM);
        let files = unpack(file, folder.path(), most).map_err(|problem| match problem {
            Problem::Archive(problem) => wrong(problem),
            Problem::Disk(error) => error,
        })?;
        let text = |name: &str| -> Result<String> {
            if !files.contains(name) {
                return Err(wrong(format!("it has no {name}")));
            }
            let path = folder.path().join(name);
            let text = links::read_text(&path).map_err(|error| wrong(format!("{name}: {error}")))?;
            sums::without_sum(&text).map_err(|problem| wrong(format!("{name}: {problem}")))
        };
        let about: About =
            serde_json::from_str(&text(ABOUT)?).map_err(|error| wrong(format!("{ABOUT}: {error}")))?;
        if about.format != About::FORMAT {
            let format = about.format;
            return Err(wrong(format!(
                "it has format {format}, this titer reads {}: upgrade titer",
                About::FORMAT
            )));
        }
        let environment = text(ENVIRONMENT)?;
        let store = Store::open(folder.path()).map_err(|error| wrong(error.to_string()))?;
        if !store.experiment(&about.experiment)?.exists() {
            return Err(wrong(format!("it has no plan of {}", about.experiment)));
        }
        Ok(Self { _folder: folder, store, about, environment })
    }

    /// The store that was in it.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The experiment in it.
    pub fn experiment(&self) -> &str {
        &self.about.experiment
    }

    /// The weights in it.
    pub fn weights(&self) -> Weights {
        self.about.weights
    }

    /// What computed the stages, a JSON object.
    pub fn environment(&self) -> &str {
        &self.environment
    }
}

/// Why a bundle cannot be unpacked.
enum Problem {
    /// It is not what a bundle is.
    Archive(String),
    /// It cannot be written here.
    Disk(Error),
}

impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Self {
        Self::Archive(error.to_string())
    }
}

/// Unpacks an archive of at most `most` bytes, and returns the names in it.
fn unpack(file: File, folder: &Path, most: u64) -> Result<BTreeSet<String>, Problem> {
    let decoder = zstd::Decoder::new(file)?;
    let mut archive = tar::Archive::new(Bounded { inner: decoder, left: most });
    let mut names = BTreeSet::new();
    // As they stand: what would be longer names or sparse files elsewhere are entries of a kind that no bundle has.
    for entry in archive.entries()?.raw(true) {
        let mut entry = entry?;
        let bytes = entry.path_bytes().into_owned();
        let shown = String::from_utf8_lossy(&bytes).into_owned();
        let refused = |problem: &str| Problem::Archive(format!("{shown:?}: {problem}"));
        if entry.header().entry_type() != EntryType::Regular {
            return Err(refused("it is no plain file"));
        }
        let name = String::from_utf8(bytes).map_err(|_| refused("its name is no text"))?;
        if !has_place(&name) {
            return Err(refused("no bundle has a file of that name"));
        }
        if names.len() == MOST_FILES {
            return Err(refused(&format!("it is more than file {MOST_FILES}")));
        }
        let mut above = Path::new(&name).ancestors().skip(1).filter_map(Path::to_str);
        if above.any(|above| names.contains(above)) {
            return Err(refused("it lies below a file"));
        }
        let path = folder.join(&name);
        // The names of two files may be one on this file system.
        if !names.insert(name) || path.symlink_metadata().is_ok() {
            return Err(refused("it is there twice"));
        }
        let parent = path.parent().unwrap_or(folder);
        std::fs::create_dir_all(parent).map_err(|error| Problem::Disk(Error::writing(parent)(error)))?;
        copy(&mut entry, &path)?;
    }
    // To the end, where the checksum of all stands.
    io::copy(&mut archive.into_inner(), &mut io::sink())?;
    Ok(names)
}

/// Writes what is read to a new file. Which of the two failed is told apart.
fn copy(reader: &mut impl Read, path: &Path) -> Result<(), Problem> {
    let disk = |error: io::Error| Problem::Disk(Error::writing(path)(error));
    let mut file = links::options().write(true).create_new(true).open(path).map_err(disk)?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(()),
            count => io::Write::write_all(&mut file, &buffer[..count]).map_err(disk)?,
        }
    }
}

/// Whether a file of this name is one that bundles have. Such a name leads nowhere but into the store.
fn has_place(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    match parts.as_slice() {
        [file] => [ABOUT, ENVIRONMENT].contains(file) || Path::new(file) == header_name(),
        ["experiments", experiment, file] => name::check(experiment).is_ok() && OF_EXPERIMENT.contains(file),
        ["artifacts", hash, file @ ..] if !file.is_empty() => {
            let file = file.join("/");
            name::of_hash(hash) == *hash
                && (OF_ARTIFACT.contains(&file.as_str()) || name::check_payload(&file).is_ok())
        }
        _ => false,
    }
}

fn header_name() -> PathBuf {
    PathBuf::from(atomic::file_name(&crate::store::header_path(Path::new(""))))
}

/// A reader that gives so many bytes and no more.
struct Bounded<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.left = self.left.checked_sub(count as u64).ok_or_else(|| {
            io::Error::other(format!(
                "it unpacks to more than {GROWTH} times its size and {} MiB",
                ROOM >> 20
            ))
        })?;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    /// An archive of these entries: kind, name, content.
    fn archive(entries: &[(EntryType, &str, &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (kind, name, content) in entries {
            let mut header = tar::Header::new_ustar();
            // As it stands: a careful writer would refuse these names.
            header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
            header.set_entry_type(*kind);
            header.set_size(content.len() as u64);
            header.set_cksum();
            bytes.extend(header.as_bytes());
            bytes.extend(*content);
            bytes.extend(vec![0; content.len().next_multiple_of(512) - content.len()]);
        }
        bytes.extend([0; 1024]);
        bytes
    }

    /// What opening these bytes under zstd comes to.
    fn opened(tar: &[u8]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.tar.zst");
        std::fs::write(&path, zstd::encode_all(tar, 1).unwrap()).unwrap();
        match Bundle::open(&path) {
            Ok(_) => "opened".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[track_caller]
    fn refused(entries: &[(EntryType, &str, &[u8])], why: &str) {
        let said = opened(&archive(entries));
        assert!(said.contains("x.tar.zst: not a bundle") && said.contains(why), "{said}");
    }

    #[test]
    fn what_a_stranger_may_put_into_a_bundle_is_refused() {
        let file = EntryType::Regular;
        for name in [
            "../evil",
            "/etc/passwd",
            "artifacts/../../evil",
            "artifacts/a/../b",
            "artifacts/a/.ssh",
            "artifacts/a/checkpoint/x",
            "artifacts/a/lease.json",
            "artifacts//x",
            "experiments/../plan.json",
            "experiments/x/journal.jsonl",
            "experiments/x/runs/y.json",
            "store.lock",
            "evil",
            "",
        ] {
            refused(&[(file, name, b"x")], "no bundle has a file of that name");
        }
        for kind in [EntryType::Symlink, EntryType::Link, EntryType::Directory, EntryType::GNUSparse] {
            refused(&[(kind, "store.json", b"")], "no plain file");
        }
        refused(&[(EntryType::GNULongName, "store.json", b"../evil"), (file, "x", b"")], "no plain file");
        refused(&[(file, "store.json", b"a"), (file, "store.json", b"b")], "twice");
        refused(&[(file, "artifacts/a/b", b"a"), (file, "artifacts/a/b/c", b"b")], "below a file");
        refused(&[(file, "artifacts/a/b/c", b"a"), (file, "artifacts/a/b", b"b")], "twice");
        refused(&[], "it has no bundle.json");
        refused(&[(file, ABOUT, b"{}")], "bundle.json");
    }

    #[test]
    fn a_small_bundle_that_unpacks_to_much_is_refused() {
        let much = vec![0; (ROOM + (8 << 20)) as usize];
        let name = "artifacts/a/model";
        let said = opened(&archive(&[(EntryType::Regular, name, &much)]));
        assert!(said.contains("unpacks to more"), "{said}");
    }

    #[test]
    fn a_torn_bundle_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.tar.zst");
        let whole = zstd::encode_all(&archive(&[(EntryType::Regular, "store.json", b"{}")])[..], 1).unwrap();
        for length in 0..whole.len() {
            let mut file = File::create(&path).unwrap();
            file.write_all(&whole[..length]).unwrap();
            assert!(Bundle::open(&path).is_err(), "{length} bytes");
        }
    }

    proptest! {
        #[test]
        fn no_name_that_has_a_place_leads_out(name in "(artifacts/|experiments/)?[a-z./\\\\]{0,20}") {
            if has_place(&name) {
                let plain = Path::new(&name).components().all(|part| matches!(part, std::path::Component::Normal(_)));
                prop_assert!(plain && !name.contains("//"), "{name}");
            }
        }
    }
}
