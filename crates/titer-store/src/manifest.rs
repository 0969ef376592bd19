//! What a sealed artifact says of itself.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use titer_plan::StageHash;

use crate::atomic;
use crate::error::{Error, Result, is_damage};
use crate::links;
use crate::name;

/// What every artifact calls its event log.
pub(crate) const LOG: &str = "events.jsonl";

/// What is known of an artifact before it is made.
#[derive(Debug, Clone, PartialEq)]
pub struct Description {
    /// The stage's kind: `pretrain`, `attack`, …
    pub kind: String,
    /// For people: `full-finetune/rate=3e-5`.
    pub label: String,
    /// The stage's resolved spec.
    pub spec: Value,
    /// The artifacts that it is made from.
    pub inputs: Vec<StageHash>,
    /// What computes it.
    pub provenance: Provenance,
}

/// The program and the machine that compute an artifact: for whoever asks later. No name depends on it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Provenance {
    /// The git revision of the code, where known; it ends in `-dirty` where the sources were others.
    pub git: Option<String>,
    /// The features that the program was built with.
    pub features: Vec<String>,
    /// What is computed on: `cpu`, `cuda`, `metal`.
    pub device: Option<String>,
    /// The machine, where known.
    pub machine: Option<Machine>,
}

/// A machine, as it says of itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Machine {
    /// The processor's model.
    pub processor: String,
    /// Its logical cores.
    pub cores: usize,
    /// Its memory, bytes.
    pub memory: u64,
    /// The operating system and its version.
    pub system: String,
}

/// What a sealed artifact says of itself: what it is, how it was made, and its files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The artifact's name.
    pub hash: StageHash,
    /// The stage's kind.
    pub kind: String,
    /// For people.
    pub label: String,
    /// The version of titer that made it.
    pub version: String,
    /// The git revision of the code, where known; it ends in `-dirty` where the sources were others.
    pub git: Option<String>,
    /// The features that the program was built with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<String>,
    /// What was computed on: `cpu`, `cuda`, `metal`; none in manifests of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// The machine; none in manifests of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<Machine>,
    /// The stage's resolved spec.
    pub spec: Value,
    /// The artifacts that it was made from.
    pub inputs: Vec<StageHash>,
    /// The host that sealed it.
    pub host: String,
    /// When the writer that sealed it began, RFC 3339.
    pub started: String,
    /// When it was sealed, RFC 3339.
    pub finished: String,
    /// How long the writer that sealed it worked, in seconds.
    pub wall_seconds: f64,
    /// The step of the checkpoint from which that writer went on; none when it did all the work, and
    /// only then are the times those of the whole stage.
    pub resumed_from: Option<u64>,
    /// What was wrong with checkpoints that were therefore not gone on from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub distrusted: Vec<String>,
    /// The instructions that its processor has for arithmetic: others may round differently.
    #[serde(default)]
    pub instructions: Vec<String>,
    /// What the stage says of its result.
    pub summary: Value,
    /// Its payload, sorted by name.
    pub files: Vec<FileRecord>,
    /// Its event log.
    pub log: FileRecord,
}

impl Manifest {
    /// A name among its files that no artifact has. It might lead out of the artifact, whose files are read, packed and
    /// removed by what the manifest calls them.
    pub(crate) fn foreign_name(&self) -> Option<&str> {
        let foreign = |file: &&FileRecord| name::check_payload(&file.name).is_err();
        let log = Some(&self.log).filter(|log| log.name != LOG);
        self.files.iter().find(foreign).or(log).map(|file| file.name.as_str())
    }
}

/// A file as it was when sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRecord {
    /// Its name within the artifact; `/` between folder and file.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its BLAKE3, hexadecimal.
    pub blake3: String,
}

/// Why a file is not known to be what was written.
#[derive(Debug)]
pub(crate) enum Doubt {
    /// It is another, or not there.
    Differs(String),
    /// It cannot be read now.
    Unread(io::Error),
}

impl From<io::Error> for Doubt {
    fn from(error: io::Error) -> Self {
        if is_damage(&error) { Self::Differs(error.to_string()) } else { Self::Unread(error) }
    }
}

impl std::fmt::Display for Doubt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Differs(problem) => f.write_str(problem),
            Self::Unread(error) => write!(f, "cannot read: {error}"),
        }
    }
}

impl FileRecord {
    /// Reads the file at `path` through.
    pub(crate) fn of(path: &Path, name: String) -> Result<Self> {
        Self::read(path, name).map_err(Error::reading(path))
    }

    /// The same, with the system's own word where it cannot be read.
    pub(crate) fn read(path: &Path, name: String) -> io::Result<Self> {
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(links::open(path)?)?;
        Ok(Self { name, size: hasher.count(), blake3: hasher.finalize().to_hex().to_string() })
    }

    /// Every file in a folder and those below it, sorted by name.
    pub(crate) fn all(folder: &Path) -> Result<Vec<Self>> {
        fn add(folder: &Path, prefix: &str, files: &mut Vec<FileRecord>) -> Result<()> {
            for path in atomic::entries(folder)? {
                let name = format!("{prefix}{}", atomic::file_name(&path));
                if links::is_folder(&path) {
                    add(&path, &format!("{name}/"), files)?;
                } else {
                    files.push(FileRecord::of(&path, name)?);
                }
            }
            Ok(())
        }
        let mut files = Vec::new();
        add(folder, "", &mut files)?;
        files.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(files)
    }

    /// How the file at `path` differs in size, by its metadata alone.
    pub(crate) fn check_size(&self, path: &Path) -> Result<(), Doubt> {
        let found = path.symlink_metadata()?.len();
        if found == self.size {
            return Ok(());
        }
        Err(Doubt::Differs(format!("it has {found} bytes, not {} as when it was written", self.size)))
    }

    /// How the file at `path` differs, by all of its bytes.
    pub(crate) fn check_bytes(&self, path: &Path) -> Result<(), Doubt> {
        self.check_size(path)?;
        self.check_sum(&Self::read(path, self.name.clone())?.blake3)
    }

    /// How a file with this BLAKE3 differs.
    pub(crate) fn check_sum(&self, found: &str) -> Result<(), Doubt> {
        if found == self.blake3 {
            return Ok(());
        }
        Err(Doubt::Differs(format!("its BLAKE3 is {found}, not {} as when it was written", self.blake3)))
    }
}
