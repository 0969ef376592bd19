//! By what answers are scored, and what is asked beside a policy's or data set's prompts.

use std::collections::BTreeSet;

use serde_json::json;

use crate::catalogue::{Catalogue, DataFacts, TaskFacts, UnderTest};
use crate::limits::Limits;
use crate::sources::judge_role;
use crate::table::Table;
use crate::values::Values;
use crate::vocabulary::Probe;

/// The judges of harm where none is named: the first of the data's own.
pub(crate) fn default_judges<'a>(limits: &Limits<'a>) -> Vec<&'a str> {
    let own = limits.data.and_then(|data| data.measures.get(&Probe::Seen));
    own.into_iter().flatten().map(|measure| measure.name.as_str()).take(1).collect()
}

/// The names of the judges of harm, where one is called by its file; whom two of them would be is a mistake.
pub(crate) fn judge_names(table: &Table<'_>, judges: &mut [String], limits: &Limits<'_>) -> Option<()> {
    for judge in judges.iter_mut() {
        if let Some(facts) = limits.catalogue.judges.iter().find(|facts| facts.called == *judge) {
            judge.clone_from(&facts.measure.name);
        }
    }
    let mut names = BTreeSet::new();
    match judges.iter().find(|judge| !names.insert(judge.as_str())) {
        Some(twice) => {
            let problem = format!("two judges are called {twice}");
            table.reject("judges", problem, "name each once, and give one of your own another `name`")
        }
        None => Some(()),
    }
}

/// The data with the judges that a spec names beside their own: how they score, and where their models are.
pub(crate) fn with_judges(data: &DataFacts, judges: &[String], catalogue: &Catalogue) -> DataFacts {
    let mut data = data.clone();
    let own = |data: &DataFacts, name: &String| {
        data.measures.get(&Probe::Seen).is_some_and(|own| own.iter().any(|measure| measure.name == *name))
    };
    let named: Vec<&String> = judges.iter().filter(|name| !own(&data, name)).collect();
    for name in named {
        let Some(facts) = catalogue.judges.iter().find(|facts| facts.measure.name == *name) else { continue };
        for (_, measures) in data.measures.iter_mut().filter(|(probe, _)| probe.is_harmful()) {
            measures.push(facts.measure.clone());
        }
        data.sources.push((judge_role(name), facts.reference.clone()));
    }
    data
}

/// Tasks of the user's own must be told apart, and a world's model cannot be asked them.
pub(crate) fn tasks(table: &Table<'_>, values: &mut Values, limits: &Limits<'_>) -> Option<()> {
    let Some(named) = values.get("tasks").and_then(|tasks| tasks.as_array()) else {
        values.insert_default("tasks", json!([]));
        return Some(());
    };
    if limits.data.is_some_and(|data| data.model == UnderTest::Trained) {
        return table.reject("tasks", "a world's model speaks no English", "leave it out");
    }
    let of = |name: &serde_json::Value| {
        limits.catalogue.tasks.iter().find(|task| Some(task.called.as_str()) == name.as_str())
    };
    let tasks: Vec<&TaskFacts> = named.iter().filter_map(of).collect();
    for (at, task) in tasks.iter().enumerate() {
        if !matches!(task.probe, Probe::Task(_)) || tasks[..at].iter().any(|other| other.probe == task.probe)
        {
            let problem = format!("there is another probe named {}", task.probe);
            return table.reject("tasks", problem, "give the task another `name`");
        }
    }
    Some(())
}
