//! `titer stop`: asks the runs of an experiment to end, and waits until they have.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use titer_lab::cluster::Submission;
use titer_lab::live::{ExperimentView, StageState, Watcher};
use titer_store::{Holder, Request, Store, processes};
use titer_view::{state, wording};

use super::slurm::in_words;
use super::{existing, store_flag};
use crate::cli::StopArgs;
use crate::exit::Exit;
use crate::output;

/// How often it is looked whether they are gone.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How often it is said what is waited for.
const SAY_EVERY: Duration = Duration::from_secs(10);

pub(super) fn stop(store: &Path, arguments: &StopArgs) -> anyhow::Result<Exit> {
    let store = Store::open(store)?;
    let (name, began) = (&arguments.experiment, Instant::now());
    let experiment = existing(&store, name)?;
    // What waits for a node would begin after all that runs has heard.
    let jobs = Submission::read(&experiment)?;
    let living = jobs.as_ref().map_or_else(|| Ok(Vec::new()), Submission::living).unwrap_or_else(|error| {
        output::message(&format!("jobs of Slurm, if any are left, are not ended: {error}"));
        Vec::new()
    });
    let jobs = jobs.filter(|_| !living.is_empty());
    if let Some(jobs) = &jobs {
        output::message(&format!("jobs of Slurm: {}; those that wait are ended", in_words(&living)));
        jobs.cancel(true)?;
    }
    let asked = experiment.runs()?;
    if asked.is_empty() {
        if let Some(jobs) = &jobs {
            jobs.cancel(false)?;
        }
        output::message(&format!("no run of {name} lives"));
        return end(arguments, &[], &[], began);
    }
    experiment.ask(if arguments.now { Request::StopNow } else { Request::Stop })?;
    let what = if arguments.now { "ends at once" } else { "saves a checkpoint of what it computes and ends" };
    output::message(&format!("asked {}: each {what}", processes(&asked)));
    let mut watcher = Watcher::new(store.clone());
    let mut said = Instant::now();
    let left = loop {
        let is_asked =
            |run: &Holder| asked.iter().any(|known| (&known.host, known.pid) == (&run.host, run.pid));
        let left: Vec<Holder> = experiment.runs()?.into_iter().filter(is_asked).collect();
        if left.is_empty() || began.elapsed() >= arguments.wait {
            break left;
        }
        if said.elapsed() >= SAY_EVERY {
            said = Instant::now();
            output::message(&format!("waits for {}", waiting_for(&left, &*watcher.experiment(name)?)));
        }
        thread::sleep(LOOK_EVERY);
    };
    if let Some(jobs) = jobs.as_ref().filter(|_| left.is_empty()) {
        // Those that had begun and did not say so yet.
        jobs.cancel(false)?;
    }
    let (view, flag) = (watcher.experiment(name)?, store_flag(&store));
    if left.is_empty() {
        let counts = view.line.counts;
        output::message(&format!(
            "stopped after {}: {} of {} done",
            wording::duration(began.elapsed().as_secs_f64()),
            counts.sealed,
            wording::count(counts.stages, "stage")
        ));
        if counts.sealed < counts.stages {
            let on = if jobs.is_some() { " --on slurm" } else { "" };
            output::message(&format!("it goes on from here: titer resume {name}{on}{flag}"));
        }
    } else {
        let after = wording::duration(began.elapsed().as_secs_f64());
        output::message(&format!("after {after} there is still {}", waiting_for(&left, &view)));
        let hint = if arguments.now {
            "a process that does not answer is ended on its host by `kill`; nothing that is sealed is lost"
                .to_owned()
        } else {
            format!(
                "it ends where it can save what it does; `titer stop {name} --now{flag}` does not wait for that"
            )
        };
        output::message(&hint);
    }
    end(arguments, &asked, &left, began)
}

/// Processes with their last sign of life, and what they compute.
fn waiting_for(left: &[Holder], view: &ExperimentView) -> String {
    let of = |run: &Holder| {
        let running = view.stages.iter().filter_map(|stage| match &stage.state {
            StageState::Running(holder) if (&holder.host, holder.pid) == (&run.host, run.pid) => {
                Some(stage.label.as_str())
            }
            _ => None,
        });
        let running: Vec<&str> = running.collect();
        let computing =
            if running.is_empty() { String::new() } else { format!(", computing {}", running.join(", ")) };
        let alive = state::ago(run.age.as_secs_f64());
        format!("{run} (last sign of life {alive}{computing})")
    };
    left.iter().map(of).collect::<Vec<_>>().join("; ")
}

fn end(arguments: &StopArgs, asked: &[Holder], left: &[Holder], began: Instant) -> anyhow::Result<Exit> {
    if arguments.json {
        let runs = |runs: &[Holder]| -> Value {
            runs.iter().map(|run| json!({ "host": run.host, "pid": run.pid })).collect()
        };
        output::json(&json!({
            "experiment": arguments.experiment,
            "asked": runs(asked),
            "left": runs(left),
            "seconds": began.elapsed().as_secs_f64(),
        }))?;
    }
    Ok(if left.is_empty() { Exit::Done } else { Exit::Failed })
}
