//! A store as seen from outside, while others write it: cheap to ask again every second.
//!
//! A [`Watcher`] keeps what it has read and reads only what is new: the journals of runs tell which stages
//! moved, and event logs are followed from where they were left. It never writes, takes no lease, and needs
//! nothing from the runs that it watches.

mod known;
mod logs;
mod looks;
mod machine;
mod outline;
mod responses;
mod verdicts;
mod view;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::PathBuf;
use std::sync::Arc;

use titer_plan::StageHash;
use titer_store::Store;

use crate::Result;
use known::Known;
use logs::StageLog;
pub use looks::asked;
pub(crate) use looks::keep_looks;
pub(crate) use looks::kept as kept_looks;
use machine::Machine;
pub use verdicts::keep as keep_verdicts;
pub(crate) use verdicts::{Beside, beside, difference};
pub use view::{
    Counts, Curve, CurvePoint, DataOutline, Decided, ExperimentLine, ExperimentView, ResponseLine, StageLine,
    StageState, StageView,
};

/// Watches one store.
#[derive(Debug)]
pub struct Watcher {
    store: Store,
    known: BTreeMap<String, Known>,
    /// The stage that was last looked at closely.
    stage: Option<StageLog>,
    machine: Machine,
}

impl Watcher {
    /// Watches `store`; reads nothing yet.
    pub fn new(store: Store) -> Self {
        Self { store, known: BTreeMap::new(), stage: None, machine: Machine::default() }
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The experiments' names, without reading any of them.
    ///
    /// # Errors
    /// When the folder of experiments cannot be read.
    pub fn names(&self) -> Result<Vec<String>> {
        Ok(self.store.experiments()?)
    }

    /// One line per experiment, in the order of names.
    ///
    /// # Errors
    /// When the folder of experiments cannot be read.
    pub fn overview(&mut self) -> Result<Vec<ExperimentLine>> {
        let names = self.names()?;
        self.known.retain(|name, _| names.binary_search(name).is_ok());
        names.iter().map(|name| Ok(self.known(name)?.refresh().line())).collect()
    }

    /// Everything about one experiment. The same value comes back while nothing has changed.
    ///
    /// # Errors
    /// When there is no such experiment, or its plan is damaged.
    pub fn experiment(&mut self, name: &str) -> Result<Arc<ExperimentView>> {
        self.known(name)?.refresh().view()
    }

    /// A stage looked at closely. Follows its log as long as the same stage is asked for.
    pub fn stage(&mut self, hash: &StageHash) -> StageView {
        let store = &self.store;
        let log = match self.stage.take() {
            Some(log) if log.artifact().hash() == hash => log,
            _ => StageLog::of(store.artifact(hash)),
        };
        let log = self.stage.insert(log);
        let mut view = log.read();
        self.machine.look(&log.artifact().state(), &mut view);
        view
    }

    /// What a model was asked in a sealed stage, and what it said.
    ///
    /// # Errors
    /// When the stage is not sealed, has asked nothing, or is damaged.
    pub fn responses(&self, hash: &StageHash) -> Result<Vec<ResponseLine>> {
        responses::of(&self.store.artifact(hash))
    }

    /// The verdicts on what is sealed by now: those that a run has kept, if they rest on all of it; else
    /// decided anew, which takes seconds for a large experiment.
    ///
    /// # Errors
    /// When there is no such experiment, or an artifact is damaged.
    pub fn verdicts(&self, name: &str) -> Result<Decided> {
        verdicts::of(&self.store, name)
    }

    /// Folders to listen to for changes, without what is below them: a large store has more folders than a
    /// system likes to watch, and its journals tell of all that move.
    pub fn watched_folders(&self) -> Vec<PathBuf> {
        let mut folders = vec![self.store.experiments_path()];
        for known in self.known.values() {
            folders.push(known.folder());
            folders.extend(known.running());
        }
        folders.retain(|folder| folder.is_dir());
        folders
    }

    fn known(&mut self, name: &str) -> Result<&mut Known> {
        Ok(match self.known.entry(name.to_owned()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => {
                place.insert(Known::new(self.store.clone(), self.store.experiment(name)?, name))
            }
        })
    }
}
