//! What of an experiment that adds seeds was asked for by now, as its last run kept it: cheap to ask, where results
//! would have to be read and judged.

use serde::{Deserialize, Serialize};
use titer_plan::{Open, Plan};
use titer_store::{Experiment, Store};

use crate::Result;

/// What was open after each look.
#[derive(Default, Serialize, Deserialize)]
struct Kept {
    open: Vec<Vec<Open>>,
}

/// Keeps what is open after each look so far, for whoever looks next.
///
/// # Errors
/// When the store cannot be written.
pub(crate) fn keep_looks(experiment: &Experiment, open: &[Vec<Open>]) -> Result<()> {
    Ok(experiment.save_looks(&serde_json::to_string(&Kept { open: open.to_vec() })?)?)
}

/// What was kept; where nothing can be read, no look is over.
pub(crate) fn kept(experiment: &Experiment) -> Vec<Vec<Open>> {
    let json = experiment.looks_json().ok().flatten();
    json.and_then(|json| serde_json::from_str::<Kept>(&json).ok()).unwrap_or_default().open
}

/// What of the plan of a stored experiment was asked for by now: all of it where all seeds are measured.
///
/// # Errors
/// When the store knows no such name.
pub fn asked(store: &Store, plan: Plan) -> Result<Plan> {
    if !plan.grows() {
        return Ok(plan);
    }
    Ok(plan.asked(&kept(&store.experiment(&plan.experiment.name)?)))
}
