//! What a command looks at: an experiment of the store, or one in a bundle.

use std::path::Path;

use titer_lab::Stale;
use titer_plan::Plan;
use titer_store::{Bundle, Store};

use super::staleness;

/// An experiment, wherever it is. That of a bundle lies in a temporary folder, which goes when this is dropped.
pub(super) struct Opened {
    store: Store,
    /// The experiment's name.
    pub(super) experiment: String,
    bundle: Option<Bundle>,
}

impl Opened {
    /// The experiment of that name in the store; where it has none, the bundle in the file of that name.
    pub(super) fn new(store: &Path, asked: &str) -> anyhow::Result<Self> {
        let stored = Store::open(store);
        let known =
            stored.as_ref().is_ok_and(|store| store.experiment(asked).is_ok_and(|saved| saved.exists()));
        if !known && Path::new(asked).is_file() {
            let bundle = Bundle::open(Path::new(asked))?;
            let (store, experiment) = (bundle.store().clone(), bundle.experiment().to_owned());
            return Ok(Self { store, experiment, bundle: Some(bundle) });
        }
        Ok(Self { store: stored?, experiment: asked.to_owned(), bundle: None })
    }

    /// The store that it is in.
    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    /// The bundle that it is in, if it is in one.
    pub(super) fn bundle(&self) -> Option<&Bundle> {
        self.bundle.as_ref()
    }

    /// What the measurements rest on and that is not what it was; said on stderr. Of a bundle nobody can say: what it
    /// was made from lies elsewhere.
    pub(super) fn stale(&self, plan: &Plan) -> Vec<Stale> {
        if self.bundle.is_some() { Vec::new() } else { staleness::say(plan) }
    }
}
