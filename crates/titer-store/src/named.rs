//! What the experiments of a store name, and what titer itself put into an artifact.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::Deserialize;
use titer_plan::StageHash;

use crate::artifact::Artifact;
use crate::atomic;
use crate::error::{Error, Result};
use crate::links;
use crate::name;
use crate::store::Store;

/// The artifacts that experiments name, read again only where a plan changed.
#[derive(Default)]
pub(crate) struct Named {
    plans: BTreeMap<String, Option<(SystemTime, u64)>>,
    by: BTreeMap<String, BTreeSet<StageHash>>,
    all: BTreeSet<StageHash>,
}

impl Named {
    pub(crate) fn all(&self) -> &BTreeSet<StageHash> {
        &self.all
    }

    /// Of all experiments but one.
    pub(crate) fn read(&mut self, store: &Store, but: Option<&str>) -> Result<()> {
        let names = store.experiments()?;
        self.by.retain(|name, _| names.contains(name));
        for name in names.iter().filter(|name| Some(name.as_str()) != but) {
            let stamp = store.experiment(name)?.plan_stamp();
            if self.plans.get(name) != Some(&stamp) || !self.by.contains_key(name) {
                self.by.insert(name.clone(), Self::of(store, name)?);
                self.plans.insert(name.clone(), stamp);
            }
        }
        self.all = self.by.values().flatten().cloned().collect();
        Ok(())
    }

    /// Of one experiment.
    pub(crate) fn of(store: &Store, name: &str) -> Result<BTreeSet<StageHash>> {
        #[derive(Deserialize)]
        struct Plan {
            stages: Vec<Stage>,
        }
        #[derive(Deserialize)]
        struct Stage {
            hash: StageHash,
        }
        let unnamed =
            |source: Error| Error::Unnamed { experiment: name.to_owned(), source: Box::new(source) };
        let experiment = store.experiment(name)?;
        let plan: Plan =
            serde_json::from_str(&experiment.plan_json().map_err(unnamed)?).map_err(|error| {
                unnamed(Error::Unreadable {
                    path: experiment.folder().to_owned(),
                    problem: error.to_string(),
                })
            })?;
        Ok(plan.stages.into_iter().map(|stage| stage.hash).collect())
    }
}

impl Artifact {
    /// Whether it says of itself that it was finished, and has no seal: someone removed that, or a process was killed
    /// just before it wrote it.
    pub fn has_lost_its_seal(&self) -> bool {
        !self.is_sealed() && links::is_folder(self.folder()) && links::is_file(&self.manifest_path())
    }
}

impl Store {
    /// The artifacts that an experiment's plan names, there or not.
    ///
    /// # Errors
    /// When there is no such experiment, or its plan cannot be read.
    pub fn named(&self, experiment: &str) -> Result<BTreeSet<StageHash>> {
        Named::of(self, experiment)
    }
}

/// The first thing in an artifact's folder that titer did not write, if there is one.
pub(crate) fn strange(artifact: &Artifact) -> Result<Option<PathBuf>> {
    /// `below` is the folder's name within the artifact, with a `/` at its end.
    fn look(folder: &Path, below: &str, is_known: &dyn Fn(&str) -> bool) -> Result<Option<PathBuf>> {
        for path in atomic::entries(folder)? {
            let name = format!("{below}{}", atomic::file_name(&path));
            let own = below.is_empty() && name::OWN.contains(&name.as_str());
            let found = if links::is_folder(&path) {
                // What a checkpoint holds is its stage's.
                let inside: &dyn Fn(&str) -> bool = if own { &|_| true } else { is_known };
                look(&path, &format!("{name}/"), inside)?
            } else {
                let fine = links::is_file(&path) && (own || atomic::is_temporary(&path) || is_known(&name));
                (!fine).then_some(path)
            };
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }
    // What was being written, or is damaged, may hold whatever a payload may be called.
    let manifest = artifact.manifest().ok();
    let is_known = |name: &str| match &manifest {
        Some(manifest) => manifest.files.iter().any(|file| file.name == name),
        None => name::check_payload(name).is_ok(),
    };
    look(artifact.folder(), "", &is_known)
}
