//! `titer watch`: the app, or the same as text.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use titer_lab::live::{ExperimentLine, ExperimentView, StageState, Watcher};
use titer_store::Store;
use titer_view::state::{self, ExperimentState};
use titer_view::table::{Cell, Table};
use titer_view::verdict_text;
use titer_watch::Options;

use super::detach;
use crate::cli::WatchArgs;
use crate::exit::Exit;
use crate::output;

pub(super) fn watch(store: &Path, arguments: WatchArgs) -> anyhow::Result<Exit> {
    let store = Store::open(store)?;
    if let Some(name) = &arguments.experiment {
        // Says what there is instead, if there is no such experiment.
        store.experiment(name)?.plan_json()?;
    }
    let dumb = std::env::var("TERM").is_ok_and(|terminal| terminal == "dumb");
    if arguments.once || arguments.json || dumb || !output::is_terminal() {
        return once(store, &arguments);
    }
    open(
        store,
        Options {
            experiment: arguments.experiment,
            colour: arguments.color.into(),
            ascii: arguments.ascii,
            mouse: arguments.mouse,
            read_only: arguments.read_only,
        },
    )
}

/// Opens the app, which starts runs as `titer run --resume --detach` does.
pub(super) fn open(store: Store, options: Options) -> anyhow::Result<Exit> {
    // Nobody may write over the picture.
    output::hush();
    let background = store.clone();
    let start = move |experiment: &str| {
        let arguments = detach::resuming(&background, experiment);
        let started =
            detach::start(&background, experiment, arguments).map_err(|error| format!("{error:#}"))?;
        Ok(started.pid)
    };
    titer_watch::run(store, options, Arc::new(start))?;
    Ok(Exit::Done)
}

/// What the app would show first, as text.
fn once(store: Store, arguments: &WatchArgs) -> anyhow::Result<Exit> {
    let mut watcher = Watcher::new(store);
    match &arguments.experiment {
        None => {
            let lines = watcher.overview()?;
            if arguments.json {
                let experiments: Vec<_> = lines.iter().map(document).collect();
                output::json(&json!({ "experiments": experiments }))?;
            } else if lines.is_empty() {
                output::result("no experiment yet\n")?;
            } else {
                output::result(&overview(&lines).to_text(output::style(), usize::MAX))?;
            }
        }
        Some(name) => {
            let view = watcher.experiment(name)?;
            let decided = watcher.verdicts(name).ok();
            if arguments.json {
                let mut document = document(&view.line);
                let verdicts = decided.as_ref().map(|decided| decided.verdicts.as_ref());
                document["stages"] = stages(&view);
                document["verdicts"] = serde_json::to_value(verdicts)?;
                output::json(&document)?;
            } else {
                output::result(
                    &overview(std::slice::from_ref(&view.line)).to_text(output::style(), usize::MAX),
                )?;
                output::result(&failures(&view))?;
                if let Some(decided) = decided {
                    output::result("\n")?;
                    output::result(&verdict_text::summary(&decided.verdicts, output::style()))?;
                }
            }
        }
    }
    Ok(Exit::Done)
}

/// A row per experiment.
fn overview(lines: &[ExperimentLine]) -> Table {
    let now = titer_watch::now();
    let head = ["experiment", "state", "done", "stages", "left", "failed", "changed", "runs"];
    let row = |line: &ExperimentLine| {
        let dash = || "-".to_owned();
        let runs: Vec<_> = line.runs.iter().map(|run| format!("{}:{}", run.host, run.pid)).collect();
        [
            line.name.clone(),
            ExperimentState::of(line).word().to_owned(),
            state::percent(line.share),
            format!("{}/{}", line.counts.sealed, line.counts.stages),
            line.seconds_left.map_or_else(dash, state::left),
            line.counts.failed.to_string(),
            line.changed.map_or_else(dash, |time| state::ago(now - time)),
            if runs.is_empty() { dash() } else { runs.join(" ") },
        ]
        .map(Cell::new)
        .into()
    };
    Table { caption: String::new(), head: head.map(Cell::new).into(), rows: lines.iter().map(row).collect() }
}

/// A line per failure.
fn failures(view: &ExperimentView) -> String {
    let failed = view.stages.iter().filter_map(|stage| match &stage.state {
        StageState::Failed(error) => {
            Some(titer_view::sanitise::line(&format!("failed: {}: {error}", stage.label)).into_owned() + "\n")
        }
        _ => None,
    });
    failed.collect()
}

/// An experiment for programs.
pub(super) fn document(line: &ExperimentLine) -> Value {
    let counts = &line.counts;
    let runs: Vec<_> = line.runs.iter().map(|run| json!({"host": run.host, "pid": run.pid})).collect();
    json!({
        "name": line.name,
        "summary": line.summary,
        "state": ExperimentState::of(line).word(),
        "share": line.share,
        "counts": {
            "stages": counts.stages,
            "sealed": counts.sealed,
            "running": counts.running,
            "interrupted": counts.interrupted,
            "failed": counts.failed,
            "waiting": counts.waiting,
        },
        "seconds_left": line.seconds_left,
        "changed": line.changed,
        "runs": runs,
        "first": line.control.first,
        "problem": line.problem,
    })
}

/// The stages for programs.
pub(super) fn stages(view: &ExperimentView) -> Value {
    let stage = |stage: &titer_lab::live::StageLine| {
        let (state, error) = match &stage.state {
            StageState::Waiting => ("waiting", None),
            StageState::Running(_) => ("running", None),
            StageState::Interrupted => ("interrupted", None),
            StageState::Failed(error) => ("failed", Some(error)),
            StageState::Sealed => ("sealed", None),
        };
        json!({
            "hash": stage.hash,
            "label": stage.label,
            "state": state,
            "error": error,
            "step": stage.step,
            "steps": stage.steps,
            "seconds": stage.seconds,
        })
    };
    view.stages.iter().map(stage).collect()
}
