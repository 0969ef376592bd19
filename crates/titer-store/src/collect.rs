//! Takes away what nobody needs: artifacts that no experiment names, what damage and kills left, and, where that is
//! asked for, checkpoints and weights.
//!
//! Everything is decided and moved to `trash/` while the store's gate is held, through which every lease and every
//! claim is taken; the bytes go afterwards. Never taken: what a living process writes or claims, what is younger than
//! the grace period, what a plan names (but for weights and checkpoints, as asked for), and what titer did not write.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::Serialize;
use titer_plan::StageHash;

use crate::artifact::Artifact;
use crate::atomic;
use crate::claim;
use crate::dropped;
use crate::error::{Error, Result};
use crate::lease::{self, Gate};
use crate::links;
use crate::name;
use crate::named::{Named, strange};
use crate::store::Store;
use crate::usage::Freed;

/// A process that was silent for this long beyond a lease's limit is taken for gone, however short the grace period.
const SILENCE: Duration = Duration::from_secs(60);

/// What is to be taken away.
#[derive(Debug, Clone, Default)]
pub struct Order {
    /// What changed less long ago stays.
    pub grace: Duration,
    /// Whether it is only said what would go.
    pub dry_run: bool,
    /// Whether checkpoints of stages go that were broken off: they begin anew then.
    pub checkpoints: bool,
    /// Sealed artifacts whose weights go.
    pub weights: BTreeSet<StageHash>,
    /// Artifacts that stay though no experiment names them.
    pub keep: BTreeSet<StageHash>,
}

/// What something is that was taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Taken {
    /// An artifact that no experiment names.
    Artifact,
    /// An artifact that was not what was sealed.
    Damaged,
    /// Weights of a sealed artifact, which can be made anew.
    Weights,
    /// A checkpoint of a stage that was broken off.
    Checkpoint,
    /// What a killed process left.
    Leftover,
    /// An experiment's own files.
    Experiment,
}

/// One thing that was taken away, or would be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Removed {
    /// What it is.
    pub what: Taken,
    /// Where it was, from the store's folder.
    pub path: PathBuf,
    /// For people, where it has a label.
    pub label: Option<String>,
    /// What that frees on the disk.
    pub bytes: u64,
}

/// One thing that stays though it could be thought to go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Left {
    /// Where it is, from the store's folder.
    pub path: PathBuf,
    /// Why it stays.
    pub why: String,
}

/// What was taken away, or would be, and what was not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Collected {
    /// What went, or would.
    pub removed: Vec<Removed>,
    /// What stays, with the reason.
    pub left: Vec<Left>,
}

impl Store {
    /// Takes away what nobody needs.
    ///
    /// # Errors
    /// When a plan cannot be read, so that nobody knows what it names, or the store cannot be written; what went
    /// before that is gone wholly or not at all.
    pub fn collect(&self, order: &Order) -> Result<Collected> {
        for folder in [self.damaged_path(), self.remade_path(), self.claims_path(), trash(self)] {
            links::refuse(&folder)?;
        }
        // Most of the reading is done before anybody has to wait.
        let mut named = Named::default();
        named.read(self, None)?;
        let gate = Gate::pass(&self.gate_path())?;
        named.read(self, None)?;
        let mut at = Collecting::new(self, gate.now(), order.grace, order.dry_run)?;
        for hash in self.artifacts()? {
            let artifact = self.artifact(&hash);
            // What is no artifact, or a link to one, is left and told.
            if !name::is_hash(&hash.0) || !links::is_folder(artifact.folder()) {
                at.leave(artifact.folder(), "it is no artifact");
                continue;
            }
            if !named.all().contains(&hash) && !order.keep.contains(&hash) {
                at.unnamed(&artifact)?;
                continue;
            }
            if order.weights.contains(&hash) {
                at.weights(&artifact)?;
            }
            at.within(&artifact, order.checkpoints)?;
        }
        at.leftovers()?;
        drop(gate);
        at.end()
    }

    /// Takes an experiment away, and with `artifacts` those that no other experiment names.
    ///
    /// # Errors
    /// When there is no such experiment, a run of it lives, or, with `artifacts`, a plan cannot be read.
    pub fn remove_experiment(&self, name: &str, artifacts: bool, dry_run: bool) -> Result<Collected> {
        let experiment = self.experiment(name)?;
        if !links::is_folder(experiment.folder()) {
            return Err(Error::NoExperiment {
                path: experiment.folder().to_owned(),
                present: self.experiments()?,
            });
        }
        let own = if artifacts && experiment.exists() { Named::of(self, name)? } else { BTreeSet::new() };
        let mut others = Named::default();
        if artifacts {
            others.read(self, Some(name))?;
        }
        let gate = Gate::pass(&self.gate_path())?;
        let runs = experiment.runs()?;
        if !runs.is_empty() {
            return Err(Error::Alive { experiment: name.to_owned(), runs });
        }
        if artifacts {
            others.read(self, Some(name))?;
        }
        let mut at = Collecting::new(self, gate.now(), Duration::ZERO, dry_run)?;
        let (files, strange) = experiment.files()?;
        for path in files {
            at.take(Taken::Experiment, &path, None)?;
        }
        for path in &strange {
            at.leave(path, "titer did not write it");
        }
        for hash in own.difference(others.all()) {
            let artifact = self.artifact(hash);
            if links::is_folder(artifact.folder()) {
                at.unnamed(&artifact)?;
            }
        }
        if !dry_run {
            // Only what is empty goes.
            experiment.folders().iter().for_each(|folder| drop(std::fs::remove_dir(folder)));
        }
        drop(gate);
        at.end()
    }
}

/// One collection, while the gate is held.
struct Collecting<'a> {
    store: &'a Store,
    now: SystemTime,
    grace: Duration,
    /// After how much silence a process is taken for gone.
    patience: Duration,
    dry_run: bool,
    claimed: BTreeSet<StageHash>,
    freed: Freed,
    /// What was moved to the trash, to be removed once the gate is open.
    trash: Vec<PathBuf>,
    collected: Collected,
}

impl<'a> Collecting<'a> {
    fn new(store: &'a Store, now: SystemTime, grace: Duration, dry_run: bool) -> Result<Self> {
        let patience = grace.max(store.terms().limit + SILENCE);
        let claimed = claim::claimed(store, now, patience)?;
        let (freed, trash, collected) = Default::default();
        Ok(Self { store, now, grace, patience, dry_run, claimed, freed, trash, collected })
    }

    /// An artifact that no experiment names.
    fn unnamed(&mut self, artifact: &Artifact) -> Result<()> {
        if let Some(why) = self.needed(artifact)? {
            self.leave(artifact.folder(), &why);
            return Ok(());
        }
        if let Some(strange) = strange(artifact)? {
            self.leave(&strange, "titer did not write it, so that its artifact stays");
            return Ok(());
        }
        let label = artifact.manifest().ok().map(|manifest| manifest.label);
        self.take(Taken::Artifact, artifact.folder(), label)
    }

    /// The weights of an artifact.
    fn weights(&mut self, artifact: &Artifact) -> Result<()> {
        // One that is damaged is told by whoever reads it, and made anew as a whole.
        let Ok(manifest) = artifact.manifest() else { return Ok(()) };
        let paths = dropped::weights(artifact, &manifest)?;
        if paths.is_empty() {
            return Ok(());
        }
        if let Some(why) = self.needed(artifact)? {
            self.leave(artifact.folder(), &why);
            return Ok(());
        }
        if !self.dry_run {
            dropped::announce(artifact, &paths)?;
        }
        paths.iter().try_for_each(|path| self.take(Taken::Weights, path, Some(manifest.label.clone())))
    }

    /// What kills left in an artifact that stays.
    fn within(&mut self, artifact: &Artifact, checkpoints: bool) -> Result<()> {
        let checkpoint = artifact.checkpoint_path();
        let idle = links::is_folder(&checkpoint) && self.needed(artifact)?.is_none();
        if idle && artifact.is_sealed() {
            self.take(Taken::Leftover, &checkpoint, None)?;
        } else if idle && checkpoints {
            self.take(Taken::Checkpoint, &checkpoint, None)?;
        }
        let mut folders = vec![artifact.folder().to_owned()];
        folders.extend(atomic::entries(artifact.folder())?.into_iter().filter(|path| links::is_folder(path)));
        for folder in folders {
            self.temporaries(&folder, Some(artifact))?;
        }
        Ok(())
    }

    /// What damage and kills left around the artifacts.
    fn leftovers(&mut self) -> Result<()> {
        let root = self.store.root().to_owned();
        for path in atomic::entries(&self.store.damaged_path())? {
            let name = atomic::file_name(&path);
            let ours = name.rsplit_once('-').is_some_and(|(hash, _)| name::is_hash(hash));
            if ours && links::is_folder(&path) && self.is_old(&path) {
                self.take(Taken::Damaged, &path, None)?;
            }
        }
        for path in atomic::entries(&self.store.remade_path())? {
            let hash = StageHash(atomic::file_name(&path));
            let place = self.store.beside(&hash);
            let ours = name::is_hash(&hash.0) && links::is_folder(&path);
            let done = self.store.artifact(&hash).dropped().is_empty();
            if ours && (done || self.is_old(&path)) && self.is_idle(&place)? {
                self.take(Taken::Leftover, &path, None)?;
            }
        }
        for path in claim::stale(self.store, self.now, self.patience)? {
            self.take(Taken::Leftover, &path, None)?;
        }
        for path in atomic::entries(&trash(self.store))? {
            // A collection that was killed left it, which had said all of it before.
            self.trash.push(path);
        }
        self.temporaries(&root, None)?;
        for folder in atomic::entries(&self.store.experiments_path())? {
            if links::is_folder(&folder) {
                self.temporaries(&folder, None)?;
                self.temporaries(&folder.join("report"), None)?;
            }
        }
        Ok(())
    }

    /// Temporary siblings of killed writers in a folder.
    fn temporaries(&mut self, folder: &Path, of: Option<&Artifact>) -> Result<()> {
        if !links::is_folder(folder) {
            return Ok(());
        }
        for path in atomic::entries(folder)? {
            // A living writer's is young, or its artifact is leased.
            let old = atomic::is_temporary(&path) && atomic::age(&path, self.now) > self.patience;
            let idle = match of {
                Some(artifact) if old => self.is_idle(artifact)?,
                _ => old,
            };
            if idle {
                self.take(Taken::Leftover, &path, None)?;
            }
        }
        Ok(())
    }

    /// Why an artifact stays, if it does.
    fn needed(&self, artifact: &Artifact) -> Result<Option<String>> {
        Ok(if self.claimed.contains(artifact.hash()) {
            Some("a run that lives works with it".to_owned())
        } else if !self.is_idle(artifact)? || !self.is_idle(&self.store.beside(artifact.hash()))? {
            Some("it is being written".to_owned())
        } else if !self.is_old(artifact.folder()) || !self.is_old(&artifact.log_path()) {
            let grace = humantime::format_duration(Duration::from_secs(self.grace.as_secs()));
            Some(format!("it changed less than {grace} ago"))
        } else {
            None
        })
    }

    fn is_idle(&self, artifact: &Artifact) -> Result<bool> {
        lease::is_over(&artifact.lease_path(), self.now, self.patience)
    }

    fn is_old(&self, path: &Path) -> bool {
        self.grace.is_zero() || path.symlink_metadata().is_err() || atomic::age(path, self.now) > self.grace
    }

    fn leave(&mut self, path: &Path, why: &str) {
        let path = self.below(path);
        self.collected.left.push(Left { path, why: why.to_owned() });
    }

    fn take(&mut self, what: Taken, path: &Path, label: Option<String>) -> Result<()> {
        if path.symlink_metadata().is_err() {
            // Its own writer has taken it away this moment.
            return Ok(());
        }
        let bytes = self.freed.by_all(path)?;
        self.collected.removed.push(Removed { what, path: self.below(path), label, bytes });
        if self.dry_run {
            return Ok(());
        }
        let folder = trash(self.store);
        atomic::create_folder(&folder)?;
        let hidden = atomic::file_name(&atomic::sibling(path));
        let to = folder.join(hidden.trim_start_matches('.'));
        atomic::moment();
        std::fs::rename(path, &to).map_err(Error::writing(path))?;
        self.trash.push(to);
        Ok(())
    }

    fn below(&self, path: &Path) -> PathBuf {
        path.strip_prefix(self.store.root()).unwrap_or(path).to_owned()
    }

    /// Removes what was moved away; the gate is open again.
    fn end(self) -> Result<Collected> {
        if !self.dry_run {
            self.trash.iter().try_for_each(|path| atomic::remove(path))?;
            let _ = std::fs::remove_dir(trash(self.store));
        }
        Ok(self.collected)
    }
}

fn trash(store: &Store) -> PathBuf {
    store.root().join("trash")
}
