//! A store as an auditor sees it: every byte is read, and all that is wrong is told at once. Nothing is written.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use crate::artifact::Artifact;
use crate::atomic;
use crate::error::Error;
use crate::experiment::Experiment;
use crate::lease;
use crate::links;
use crate::manifest::{FileRecord, Manifest};
use crate::store::Store;
use crate::sums;

/// A file that is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flaw {
    /// The file or folder.
    pub path: PathBuf,
    /// What is wrong with it.
    pub problem: String,
    /// Whether nothing names it, so that nothing would miss it.
    pub foreign: bool,
}

impl Flaw {
    /// Something that should be otherwise.
    pub fn new(path: PathBuf, problem: impl Into<String>) -> Self {
        Self { path, problem: problem.into(), foreign: false }
    }

    /// What an attempt to read `path` came to, by the file that the error itself names.
    pub fn of(error: &Error, path: &Path) -> Self {
        match error {
            Error::Damaged { path, problem, .. } | Error::Unreadable { path, problem } => {
                Self::new(path.clone(), problem)
            }
            Error::Distrusted { path, problem } => Self::new(path.clone(), *problem),
            Error::Link { path } => Self::new(path.clone(), LINK),
            Error::Io { path, source, .. } | Error::Unread { path, source, .. } => {
                Self::new(path.clone(), source.to_string())
            }
            other => Self::new(path.to_owned(), other.to_string()),
        }
    }
}

const LINK: &str = "it is a symbolic link, which no store has";

/// What an auditor finds of an artifact.
#[derive(Debug, Default)]
pub struct Audited {
    /// What it says of itself; none where that is not what was sealed.
    pub manifest: Option<Manifest>,
    /// All that is wrong with its files.
    pub flaws: Vec<Flaw>,
    /// Files of its manifest that are not there, and need not be.
    pub absent: Vec<String>,
    /// Bytes that were read.
    pub bytes: u64,
}

impl Artifact {
    /// Reads every file of a sealed artifact through, never from memory of an earlier look, and looks for files that
    /// its manifest does not name. `may_lack` says of a payload's name whether it may be absent.
    pub fn audit(&self, may_lack: &dyn Fn(&str) -> bool) -> Audited {
        let mut audited = Audited::default();
        let manifest = match self.manifest() {
            Ok(manifest) => manifest,
            Err(error) => {
                audited.flaws.push(Flaw::of(&error, &self.manifest_path()));
                return audited;
            }
        };
        let mut tell = |path: PathBuf, problem: String| audited.flaws.push(Flaw::new(path, problem));
        match links::read(&self.seal_path()) {
            Ok(seal) if seal.trim_ascii() == seal => {}
            Ok(_) => {
                tell(self.seal_path(), "it is not the seal that was written: it has white space".to_owned())
            }
            Err(error) => tell(self.seal_path(), error.to_string()),
        }
        let log = self.log_path();
        let mut named = BTreeSet::new();
        for file in &manifest.files {
            if !named.insert(self.folder().join(&file.name)) {
                tell(self.manifest_path(), format!("it names {} twice", file.name));
            }
        }
        for file in manifest.files.iter().chain([&manifest.log]) {
            let path = self.folder().join(&file.name);
            if path.symlink_metadata().is_err() && (may_lack(&file.name) || self.is_dropped(file)) {
                audited.absent.push(file.name.clone());
                continue;
            }
            match self.look(file, &path) {
                Ok(()) => audited.bytes += file.size,
                Err(problem) => audited.flaws.push(Flaw::new(path, problem)),
            }
        }
        named.extend([self.manifest_path(), self.seal_path(), log]);
        named.extend(self.drop_list());
        // Between seal and end its writer still has these.
        if lease::living_holder(&self.lease_path(), self.terms()).is_some() {
            named.extend([self.lease_path(), self.checkpoint_path()]);
        }
        unnamed(self.folder(), &named, &mut audited.flaws);
        audited.manifest = Some(manifest);
        audited
    }

    fn look(&self, file: &FileRecord, path: &Path) -> Result<(), String> {
        links::refuse_below(self.folder(), path).map_err(|_| LINK.to_owned())?;
        file.check_bytes(path).map_err(|doubt| doubt.to_string())
    }
}

/// Every file below a folder that is not among those named, and every folder that holds none of them.
fn unnamed(folder: &Path, named: &BTreeSet<PathBuf>, flaws: &mut Vec<Flaw>) {
    let entries = match atomic::entries(folder) {
        Ok(entries) => entries,
        Err(error) => return flaws.push(Flaw::of(&error, folder)),
    };
    for path in entries {
        let problem = if named.contains(&path) {
            continue;
        } else if path.is_symlink() {
            LINK
        } else if links::is_folder(&path) && named.iter().any(|name| name.starts_with(&path)) {
            unnamed(&path, named, flaws);
            continue;
        } else {
            "the manifest does not name it"
        };
        flaws.push(Flaw { foreign: true, ..Flaw::new(path, problem) });
    }
}

impl Store {
    /// What is wrong with the store's own file.
    pub fn audit(&self) -> Vec<Flaw> {
        let path = self.header_path();
        let problem = match links::read(&path) {
            Ok(bytes) if bytes == Self::header().as_bytes() => return Vec::new(),
            Ok(_) => "it is not what titer writes there".to_owned(),
            Err(error) => error.to_string(),
        };
        vec![Flaw::new(path, problem)]
    }
}

impl Experiment {
    /// What is wrong with the files that carry their BLAKE3: plan, verdicts, looks, search.
    pub fn audit(&self) -> Vec<Flaw> {
        let flaw = |path: PathBuf| {
            let problem = match links::read_text(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
                Err(error) if error.kind() == io::ErrorKind::InvalidData => "it is no text".to_owned(),
                Err(error) => Flaw::of(&Error::reading(&path)(error), &path).problem,
                Ok(text) => sums::flaw(&text)?.to_owned(),
            };
            Some(Flaw::new(path, problem))
        };
        self.summed().into_iter().filter_map(flaw).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use titer_plan::StageHash;

    use super::*;
    use crate::manifest::{Description, Provenance};
    use crate::store::Begin;

    fn sealed(store: &Store) -> Artifact {
        let hash = StageHash("a".repeat(64));
        let description = Description {
            kind: "align".to_owned(),
            label: "align x".to_owned(),
            spec: json!({}),
            inputs: Vec::new(),
            provenance: Provenance::default(),
        };
        let Begin::Writer(writer) = store.begin(&hash, &description).unwrap() else { panic!("sealed") };
        writer.write_bytes("model/weights", &[7; 1000]).unwrap();
        writer.write_bytes("rows", b"rows").unwrap();
        writer.seal(json!({})).unwrap()
    }

    #[test]
    fn every_file_of_an_artifact_is_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open_or_create(folder.path()).unwrap();
        let artifact = sealed(&store);
        let audit = || artifact.audit(&|_| false);
        assert_eq!((audit().flaws, audit().bytes, store.audit()), (Vec::new(), 1004, Vec::new()));
        let at = |name: &str| artifact.folder().join(name);
        let write = |name: &str, bytes: &[u8]| std::fs::write(at(name), bytes).unwrap();
        write("more", b"");
        write("model/more", b"");
        std::fs::create_dir(at("empty")).unwrap();
        std::os::unix::fs::symlink("rows", at("link")).unwrap();
        write("events.jsonl", b"{}");
        std::fs::remove_file(at("rows")).unwrap();
        write("model/weights", &[7; 999]);
        let found: Vec<PathBuf> = audit().flaws.into_iter().map(|flaw| flaw.path).collect();
        let expected =
            ["model/weights", "rows", "events.jsonl", "empty", "link", "model/more", "more"].map(at);
        assert_eq!(found, expected);
        // What may be absent is said, and is no flaw.
        let audited = artifact.audit(&|name| name == "rows");
        assert_eq!((audited.absent, audited.flaws.len()), (vec!["rows".to_owned()], 6));
    }

    #[test]
    fn what_carries_its_sum_is_what_was_written_to_the_last_byte() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open_or_create(folder.path()).unwrap();
        let experiment = store.experiment("x").unwrap();
        experiment.save("name = \"x\"\n", "{\"a\":1}").unwrap();
        assert_eq!(experiment.audit(), []);
        let path = experiment.folder().join("plan.json");
        let whole = std::fs::read(&path).unwrap();
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut bytes = whole.clone();
                bytes[at] ^= 1 << bit;
                std::fs::write(&path, bytes).unwrap();
                assert_eq!(experiment.audit().len(), 1, "bit {bit} of byte {at}");
            }
        }
    }
}
