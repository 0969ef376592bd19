//! A bundle: one experiment of a store in one compressed file, to be published beside a claim.
//!
//! A bundle is a store of its own, as a tar archive under zstd: the same names, and in `bundle.json` what was left out
//! by choice. The same store always makes the same bytes: names are sorted, and nobody's time, owner or mode is in it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Cursor, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use titer_plan::StageHash;

use crate::artifact::Artifact;
use crate::atomic;
use crate::dropped::is_weights;
use crate::error::{Error, Result};
use crate::links;
use crate::manifest::{FileRecord, LOG};
use crate::name;
use crate::store::Store;
use crate::sums;

/// What says what a bundle is.
pub(crate) const ABOUT: &str = "bundle.json";
/// What computed the stages, and where.
pub(crate) const ENVIRONMENT: &str = "environment.json";
/// The files of an experiment that go with it: what runs said and were asked is no part of a claim.
pub(crate) const OF_EXPERIMENT: [&str; 5] =
    ["spec.toml", "plan.json", "verdicts.json", "looks.json", "search.json"];
/// The files of an artifact beside its payload.
pub(crate) const OF_ARTIFACT: [&str; 3] = ["manifest.json", LOG, "SEALED"];

/// How hard zstd tries: at most a second for a world's experiment.
const LEVEL: i32 = 12;
/// The logarithm of how far back it looks, the most that readers accept unasked: stages are asked the same questions.
const WINDOW: u32 = 27;

/// Which weights go into a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Weights {
    /// None: verdicts rest on frames.
    #[default]
    None,
    /// Those of adapters.
    Adapters,
    /// All: every stage can be computed again from the bundle.
    All,
}

impl Weights {
    /// Whether a payload of this name is left out.
    pub fn leave_out(self, name: &str) -> bool {
        let file = name.rsplit_once('/').map_or(name, |(_, file)| file);
        let weights = is_weights(file);
        match self {
            Self::None => weights,
            Self::Adapters => weights && !file.starts_with("adapter"),
            Self::All => false,
        }
    }
}

/// What a bundle says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct About {
    /// The form of the bundle.
    pub(crate) format: u64,
    /// The experiment in it.
    pub(crate) experiment: String,
    /// The weights in it.
    pub(crate) weights: Weights,
}

impl About {
    /// The form of the bundles that this code writes, and the only one that it reads.
    pub(crate) const FORMAT: u64 = 1;
}

/// What goes into a bundle.
#[derive(Debug, Clone)]
pub struct Packing<'a> {
    /// The experiment's name.
    pub experiment: &'a str,
    /// Its stages; those that are not sealed are left out.
    pub stages: &'a [StageHash],
    /// Which weights.
    pub weights: Weights,
    /// What computed it, a JSON object.
    pub environment: &'a str,
}

/// What went into a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Packed {
    /// Stages.
    pub stages: usize,
    /// Files.
    pub files: usize,
    /// Weight files that were left out.
    pub left_out: usize,
    /// Bytes of the files.
    pub bytes: u64,
    /// Bytes of the bundle.
    pub packed: u64,
}

/// Where the content of a file comes from.
enum Content {
    Text(String),
    File(PathBuf, u64),
}

impl Store {
    /// Writes a bundle, by a temporary sibling and a rename.
    ///
    /// # Errors
    /// When there is no such experiment, one of its files is not what was sealed, or the bundle cannot be written.
    pub fn pack(&self, packing: &Packing<'_>, out: &Path) -> Result<Packed> {
        let about = About {
            format: About::FORMAT,
            experiment: packing.experiment.to_owned(),
            weights: packing.weights,
        };
        let told = |json: &str| {
            let wrong =
                || Error::Bundle { path: out.to_owned(), problem: "what it says is no object".to_owned() };
            sums::with_sum(json).map(Content::Text).ok_or_else(wrong)
        };
        let json = serde_json::to_string(&about).map_err(|error| Error::writing(out)(error.into()))?;
        let mut files = BTreeMap::from([
            (ABOUT.to_owned(), told(&json)?),
            (ENVIRONMENT.to_owned(), told(packing.environment)?),
            (atomic::file_name(&self.header_path()), Content::Text(Self::header())),
        ]);
        let experiment = self.experiment(packing.experiment)?;
        experiment.plan_json()?;
        for file in OF_EXPERIMENT {
            let path = experiment.folder().join(file);
            if let Ok(metadata) = path.symlink_metadata() {
                links::refuse(&path)?;
                let name = format!("experiments/{}/{file}", packing.experiment);
                files.insert(name, Content::File(path, metadata.len()));
            }
        }
        let (mut stages, mut left_out) = (0, 0);
        for hash in packing.stages {
            let artifact = self.artifact(hash);
            if artifact.is_sealed() {
                stages += 1;
                left_out += gather(&artifact, packing.weights, &mut files)?;
            }
        }
        let bytes = files.values().map(Content::size).sum();
        let count = files.len();
        atomic::replace(out, |temporary| write(temporary, &files))?;
        let packed = out.metadata().map_err(Error::reading(out))?.len();
        Ok(Packed { stages, files: count, left_out, bytes, packed })
    }
}

/// Adds an artifact's files, each read through first. How many were left out.
fn gather(artifact: &Artifact, weights: Weights, files: &mut BTreeMap<String, Content>) -> Result<usize> {
    let audited = artifact.audit(&|_| false);
    let folder = format!("artifacts/{}", name::of_hash(&artifact.hash().0));
    let (Some(manifest), None) = (audited.manifest, audited.flaws.first()) else {
        let flaw = audited.flaws.into_iter().next();
        let (path, problem) = flaw.map_or_else(Default::default, |flaw| (flaw.path, flaw.problem));
        return Err(Error::Damaged { path, problem, artifact: artifact.folder().to_owned() });
    };
    let mut left_out = 0;
    for file in &manifest.files {
        let FileRecord { name, size, .. } = file;
        let path = artifact.folder().join(name);
        if weights.leave_out(name) {
            left_out += 1;
        } else if artifact.is_dropped(file) {
            return Err(Error::Dropped { path, hash: artifact.hash().clone() });
        } else {
            files.insert(format!("{folder}/{name}"), Content::File(path, *size));
        }
    }
    for name in OF_ARTIFACT {
        let path = artifact.folder().join(name);
        // A stage that logs nothing may have no log.
        if let Ok(metadata) = path.symlink_metadata() {
            files.insert(format!("{folder}/{name}"), Content::File(path, metadata.len()));
        }
    }
    Ok(left_out)
}

impl Content {
    fn size(&self) -> u64 {
        match self {
            Self::Text(text) => text.len() as u64,
            Self::File(_, size) => *size,
        }
    }
}

fn write(path: &Path, files: &BTreeMap<String, Content>) -> Result<()> {
    let file = links::options().write(true).create_new(true).open(path).map_err(Error::writing(path))?;
    let mut encoder = compressor(file).map_err(Error::writing(path))?;
    archive(&mut encoder, files)?;
    let written = encoder.finish().and_then(|file| file.into_inner().map_err(io::IntoInnerError::into_error));
    written.map(|_| ()).map_err(Error::writing(path))
}

fn compressor(file: File) -> io::Result<zstd::Encoder<'static, BufWriter<File>>> {
    let mut encoder = zstd::Encoder::new(BufWriter::new(file), LEVEL)?;
    encoder.include_checksum(true)?;
    encoder.window_log(WINDOW)?;
    encoder.long_distance_matching(true)?;
    Ok(encoder)
}

fn archive(out: &mut impl Write, files: &BTreeMap<String, Content>) -> Result<()> {
    let mut tar = tar::Builder::new(out);
    for (name, content) in files {
        let add = |tar: &mut tar::Builder<_>, mut reader: &mut dyn Read| {
            let mut header = tar::Header::new_ustar();
            header.set_path(name)?;
            header.set_size(content.size());
            header.set_mode(0o644);
            header.set_mtime(0);
            header.set_uid(0);
            header.set_gid(0);
            header.set_cksum();
            tar.append(&header, &mut reader)
        };
        match content {
            Content::Text(text) => {
                add(&mut tar, &mut Cursor::new(text)).map_err(Error::writing(Path::new(name)))?
            }
            Content::File(path, size) => {
                let file = links::open(path).map_err(Error::reading(path))?;
                let mut reader = file.take(*size);
                add(&mut tar, &mut reader).map_err(Error::reading(path))?;
                // A tar whose sizes are not those of its files cannot be read.
                if reader.limit() > 0 {
                    let problem = "it became shorter while it was read".to_owned();
                    return Err(Error::Unreadable { path: path.clone(), problem });
                }
            }
        }
    }
    tar.finish().map_err(Error::writing(Path::new("archive")))
}
