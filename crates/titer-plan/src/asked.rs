//! By what answers are scored, and what is asked beside a policy's or data set's prompts.

use serde_json::json;

use crate::catalogue::{TaskFacts, UnderTest};
use crate::limits::Limits;
use crate::table::Table;
use crate::values::Values;
use crate::vocabulary::Probe;

/// The judges of harm where none is named: the first of the data's own.
pub(crate) fn default_judges<'a>(limits: &Limits<'a>) -> Vec<&'a str> {
    let own = limits.data.and_then(|data| data.measures.get(&Probe::Seen));
    own.into_iter().flatten().map(|measure| measure.name.as_str()).take(1).collect()
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
