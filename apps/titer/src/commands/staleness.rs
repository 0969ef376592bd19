//! Says where what is there now is not what was measured.

use titer_lab::Stale;
use titer_plan::Plan;
use titer_store::Store;

use crate::output;

/// What the stored measurements of a plan rest on and that is not what it was; said on stderr.
pub(super) fn say(plan: &Plan) -> Vec<Stale> {
    let stale = titer_lab::stale(plan);
    if !stale.is_empty() {
        output::message(&format!(
            "{}: stale: {}; what is shown is of the old content, `titer run` measures what is there now beside it",
            plan.experiment.name,
            listed(&stale)
        ));
    }
    stale
}

/// Says what has changed since an experiment of this name was planned last.
pub(super) fn say_changes(store: &Store, plan: &Plan) {
    let name = &plan.experiment.name;
    let changes = titer_lab::changes(store, plan);
    if !changes.is_empty() {
        output::message(&format!(
            "since {name} was run, {}; what rests on it is computed anew, and the old results stay in the store",
            listed(&changes)
        ));
    }
}

/// The first few by name.
fn listed(stale: &[Stale]) -> String {
    const SHOWN: usize = 4;
    let mut texts: Vec<String> = stale.iter().take(SHOWN).map(ToString::to_string).collect();
    if stale.len() > SHOWN {
        texts.push(format!("{} more", stale.len() - SHOWN));
    }
    texts.join(", ")
}
