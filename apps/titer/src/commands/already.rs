//! Where an experiment runs already: its run is followed to its end, so that two commands do not do one thing.

use std::time::Instant;

use titer_lab::{Followed, RunSummary};
use titer_plan::Plan;
use titer_store::{Store, processes};

use super::store_flag;
use crate::cli::RunArgs;
use crate::exit::Exit;
use crate::output;
use crate::progress;

/// What to do in the background where the experiment runs already: nothing. None where it does not, or where the
/// work is to be shared.
pub(super) fn in_background(store: &Store, plan: &Plan, arguments: &RunArgs) -> anyhow::Result<Option<Exit>> {
    let runs = titer_lab::runs_of(plan, store)?;
    if runs.is_empty() || arguments.how.jobs.is_some() {
        return Ok(None);
    }
    let (name, who, flag) = (&plan.experiment.name, processes(&runs), store_flag(store));
    output::message(&format!(
        "{name} is already running: {who}; no other run was started (--jobs N would share the work)"
    ));
    output::message(&format!("look at it: titer status {name}{flag}; stop it: titer stop {name}{flag}"));
    if arguments.how.json {
        let runs: Vec<_> =
            runs.iter().map(|run| serde_json::json!({ "host": run.host, "pid": run.pid })).collect();
        output::json(&serde_json::json!({ "experiment": name, "already": runs }))?;
    }
    Ok(Some(Exit::Done))
}

/// Follows what runs already, to its end. How that went; none where there is nothing to follow, or where this run is
/// to see to the rest.
pub(super) fn follow(store: &Store, plan: &Plan, arguments: &RunArgs) -> anyhow::Result<Option<RunSummary>> {
    let name = &plan.experiment.name;
    let runs = titer_lab::runs_of(plan, store)?;
    if runs.is_empty() {
        return Ok(None);
    }
    let who = processes(&runs);
    if arguments.how.jobs.is_some() {
        output::message(&format!("{name} is already running: {who}; this run shares the work"));
        return Ok(None);
    }
    output::message(&format!(
        "{name} is already running: {who}; this follows it (Ctrl-C ends the following and not the run; --jobs N \
         would share the work)"
    ));
    let began = Instant::now();
    let estimate = titer_lab::estimate(plan, Some(store));
    let followed = {
        let progress = progress::reporter(&estimate);
        titer_lab::follow(plan, store, &runs, progress.as_ref())?
    };
    let sealed = || plan.stages.iter().filter(|stage| store.artifact(&stage.hash).is_sealed()).count();
    let summary = |failed, interrupted| RunSummary {
        computed: 0,
        cached: sealed(),
        failed,
        interrupted,
        out_of_time: false,
        seconds: began.elapsed().as_secs_f64(),
    };
    Ok(match followed {
        // All is there: this run finds it, and says what came out.
        Followed::Ended { failed, .. } if failed.is_empty() => None,
        Followed::Ended { failed, .. } => Some(summary(failed, false)),
        Followed::Stopped => {
            output::message(&format!("{who} was stopped before all was done"));
            Some(summary(Vec::new(), true))
        }
        Followed::Gone => {
            output::message(&format!("{who} ended without a word; this run goes on with what is left"));
            None
        }
    })
}
