//! From the text of a spec to its plan.

use crate::catalogue::{Catalogue, DataFacts, TaskFacts};
use crate::check;
use crate::document::{Override, parse};
use crate::expand::expand;
use crate::mistake::Mistakes;
use crate::plan::Plan;
use crate::sources::{ADAPTER_SOURCE, MODEL_SOURCE, PlannedSource};
use crate::spec::{Experiment, Model};
use crate::table::{Log, Table};

/// A spec that was read and checked. What it takes in from outside must be looked at before it is a plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    experiment: Experiment,
    data: DataFacts,
    tasks: Vec<TaskFacts>,
}

/// Reads a spec and checks it against the catalogue.
///
/// `file` only names the text in mistakes; `overrides` replace values before anything is checked.
///
/// # Errors
/// Everything wrong with the text or the overrides, all at once.
pub fn read(
    file: &str,
    text: &str,
    overrides: &[Override],
    catalogue: &Catalogue,
) -> Result<Draft, Mistakes> {
    read_filled(file, text, "", overrides, catalogue)
}

/// The same of a spec that need not say all: where it says nothing, `defaults` hold, a spec's text themselves.
///
/// # Errors
/// As [`read`].
pub fn read_filled(
    file: &str,
    text: &str,
    defaults: &str,
    overrides: &[Override],
    catalogue: &Catalogue,
) -> Result<Draft, Mistakes> {
    let mistakes = |mistakes| Mistakes { file: file.to_owned(), mistakes };
    let document = parse(text, defaults, overrides).map_err(mistakes)?;
    let log = Log::default();
    let experiment =
        Table::root(&document, &log).and_then(|root| root.whole(|root| check::experiment(root, catalogue)));
    let found = log.into_sorted();
    match experiment {
        Some((experiment, data)) if found.is_empty() => {
            Ok(Draft { experiment, data, tasks: catalogue.tasks.clone() })
        }
        _ => Err(mistakes(found)),
    }
}

impl Draft {
    /// The world, policy or data set that it names.
    pub fn data(&self) -> &DataFacts {
        &self.data
    }

    /// What it takes in from outside: roles and references. Those of a data set count from its own file.
    pub fn references(&self) -> Vec<(&str, &str)> {
        let model = match &self.experiment.model {
            Model::Checkpoint(model) => {
                let adapter = model.adapter.as_deref().map(|adapter| (ADAPTER_SOURCE, adapter));
                [Some((MODEL_SOURCE, model.checkpoint.as_str())), adapter]
            }
            Model::World(_) => [None, None],
        };
        let data = self.data.sources.iter().map(|(role, reference)| (role.as_str(), reference.as_str()));
        model.into_iter().flatten().chain(data).collect()
    }

    /// Its stages, whose names cover what `sources` are. What is not among them is not here.
    pub fn plan(self, sources: Vec<PlannedSource>) -> Plan {
        expand(self.experiment, self.data, &self.tasks, sources)
    }
}
