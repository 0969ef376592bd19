//! What a store leaves for its readers, and what of it must never change.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use titer_store::Store;
use titer_tests::{Place, Ran};

use super::chance::Chance;

/// Everything that readers get: verdicts, titers, and the frames that they rest on.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Left(Vec<(&'static str, String)>);

const READ: [(&str, &[&str]); 5] = [
    ("show", &["show", "tiny", "--json"]),
    ("verdicts", &["export", "tiny", "--what", "verdicts", "--format", "csv"]),
    ("titers", &["export", "tiny", "--what", "titers", "--format", "csv"]),
    ("probes", &["export", "tiny", "--what", "probes", "--format", "csv"]),
    ("responses", &["export", "tiny", "--what", "responses", "--format", "csv"]),
];

impl Left {
    /// What the experiment in a place leaves.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) fn of(place: &Place) -> Result<Self> {
        let mut left = Vec::new();
        for (what, arguments) in READ {
            let ran = place.run(arguments);
            ensure!(ran.code() == Some(0), "{ran}");
            left.push((what, ran.stdout));
        }
        Ok(Self(left))
    }

    /// Whether `titer show` said this.
    pub(super) fn shows(&self, shown: &str) -> bool {
        self.0.first().is_some_and(|(_, text)| text == shown)
    }

    pub(super) fn bytes(&self) -> usize {
        self.0.iter().map(|(_, text)| text.len()).sum()
    }

    /// Holds a place against this.
    ///
    /// # Errors
    /// When it leaves anything else: the first line that differs.
    pub(super) fn check(&self, place: &Place, fault: &str) -> Result<()> {
        let now = Self::of(place)?;
        for ((what, then), (_, now)) in self.0.iter().zip(&now.0) {
            let differs = then.lines().zip(now.lines()).find(|(then, now)| then != now);
            ensure!(then == now, "after {fault}: {what} came out otherwise: {differs:?}");
        }
        Ok(())
    }
}

/// Whether an auditor finds nothing in a place whose experiment came to its end.
///
/// # Errors
/// When one does.
pub(super) fn audited(place: &Place, fault: &str) -> Result<()> {
    let ran = place.run(&["verify", "tiny"]);
    ensure!(ran.code() == Some(0), "after {fault}: {ran}");
    Ok(())
}

/// The manifest, which names the BLAKE3 of all else, and the log of each sealed artifact.
pub(super) type Seals = BTreeMap<String, (Vec<u8>, Vec<u8>)>;

/// What is sealed in a place; nothing where there is no store yet.
pub(super) fn seals(place: &Place) -> Result<Seals> {
    let Ok(store) = Store::open(place.path("store")) else { return Ok(Seals::new()) };
    let mut seals = Seals::new();
    for hash in store.artifacts()? {
        let artifact = store.artifact(&hash);
        if artifact.is_sealed() {
            let manifest = fs::read(artifact.manifest_path()).context("a sealed artifact has a manifest")?;
            seals.insert(hash.0.clone(), (manifest, fs::read(artifact.log_path()).unwrap_or_default()));
        }
    }
    Ok(seals)
}

/// Whether nothing that was sealed has changed or gone.
///
/// # Errors
/// When something has.
pub(super) fn kept(before: &Seals, now: &Seals, fault: &str) -> Result<()> {
    for (hash, seal) in before {
        ensure!(now.get(hash) == Some(seal), "after {fault}: {hash} was sealed, and is not what it was");
    }
    Ok(())
}

/// All files of a folder, sorted; links are not followed.
pub(super) fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (path, kind) = (entry.path(), entry.file_type()?);
        if kind.is_dir() {
            found.extend(files(&path)?);
        } else if kind.is_file() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// A place whose store is a copy of another's.
pub(super) fn copy(of: &Place) -> Result<Place> {
    let place = Place::new();
    for file in files(&of.path("store"))? {
        let below = file.strip_prefix(of.path("store"))?;
        let to = place.path("store").join(below);
        fs::create_dir_all(to.parent().context("a file lies in a folder")?)?;
        fs::copy(&file, &to)?;
    }
    Ok(place)
}

/// A place whose store is a copy of another's without some of its stages, and without the experiment now and then: a run
/// has less to do in it. How much of a whole run that is, about.
pub(super) fn lacking(of: &Place, chance: &mut Chance) -> Result<(Place, f64)> {
    let place = copy(of)?;
    let hashes = Store::open(place.path("store"))?.artifacts()?;
    for _ in 0..=chance.below(2) {
        let hash = &hashes[chance.below(hashes.len())];
        let _ = fs::remove_dir_all(place.artifact(&hash.0));
    }
    if chance.below(4) == 0 {
        fs::remove_dir_all(place.path("store/experiments"))?;
    }
    Ok((place, 0.15))
}

/// Whether a run ended well, or said what stood in its way.
pub(super) fn ended_well(ran: &Ran, fault: &str) -> Result<bool> {
    ensure!(!ran.stderr.contains("panicked"), "after {fault}: {ran}");
    match ran.code() {
        Some(0) => Ok(true),
        Some(_) => Ok(false),
        None => anyhow::bail!("after {fault}: ended by a signal: {ran}"),
    }
}
