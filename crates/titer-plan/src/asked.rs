//! Reads by what answers are scored, and what is asked beside a policy's or data set's prompts.

use crate::catalogue::{Catalogue, DataFacts, DataKind};
use crate::kind::{Each, Text, Word};
use crate::table::Table;
use crate::vocabulary::Probe;

/// What scores answers to harmful prompts: of the data's own measures, the first where none is named.
pub(crate) fn judges(table: &mut Table<'_>, data: Option<&DataFacts>) -> Option<Vec<String>> {
    let known = data.and_then(|data| data.measures.get(&Probe::Seen));
    let known: Vec<_> =
        known.into_iter().flatten().map(|measure| (measure.name.as_str(), &measure.name)).collect();
    let read = match data {
        Some(_) => {
            table.optional("judges", Each(Word(&known)))?.map(|all| all.into_iter().cloned().collect())
        }
        None => table.optional("judges", Each(Text))?,
    };
    let judges: Vec<String> =
        read.unwrap_or_else(|| known.first().map(|(_, name)| (*name).clone()).into_iter().collect());
    let twice = judges.iter().enumerate().find(|(at, judge)| judges[..*at].contains(judge));
    match twice {
        Some((_, judge)) => table.reject("judges", format!("{judge} is named twice"), "name it once"),
        None => Some(judges),
    }
}

/// Tasks of the user's own.
pub(crate) fn tasks(
    table: &mut Table<'_>,
    catalogue: &Catalogue,
    data: Option<&DataFacts>,
) -> Option<Vec<String>> {
    let known: Vec<_> = catalogue.tasks.iter().map(|task| (task.called.as_str(), task)).collect();
    let tasks = table.optional("tasks", Each(Word(&known)))?.unwrap_or_default();
    if data.is_some_and(|data| data.kind == DataKind::World) && !tasks.is_empty() {
        return table.reject("tasks", "a world's model speaks no English", "leave it out");
    }
    for (at, task) in tasks.iter().enumerate() {
        if !matches!(task.probe, Probe::Task(_)) || tasks[..at].iter().any(|other| other.probe == task.probe)
        {
            let problem = format!("there is another probe named {}", task.probe);
            return table.reject("tasks", problem, "give the task another `name`");
        }
    }
    Some(tasks.into_iter().map(|task| task.called.clone()).collect())
}
