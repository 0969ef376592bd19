//! `titer status`: what runs, where and since when, what is done and what is left.

use std::path::Path;

use serde_json::{Value, json};
use titer_lab::live::{Counts, ExperimentLine, ExperimentView, StageState, Watcher};
use titer_store::{Experiment, Note, Store};
use titer_view::state::{self, ExperimentState};
use titer_view::table::{Cell, Table};
use titer_view::{sanitise, wording};

use super::{existing, slurm, watch};
use crate::cli::StatusArgs;
use crate::exit::Exit;
use crate::output;

pub(super) fn status(store: &Path, arguments: &StatusArgs) -> anyhow::Result<Exit> {
    let store = Store::open(store)?;
    let mut watcher = Watcher::new(store.clone());
    let Some(name) = &arguments.experiment else {
        let mut rows = Vec::new();
        for line in watcher.overview()? {
            let runs = runs(&store.experiment(&line.name)?)?;
            rows.push((line, runs));
        }
        if arguments.json {
            let all: Vec<Value> = rows.iter().map(|(line, runs)| document(line, runs)).collect();
            output::json(&json!({ "experiments": all }))?;
        } else if rows.is_empty() {
            output::result("no experiment yet\n")?;
        } else {
            output::result(&table(&rows).to_text(output::style(), usize::MAX))?;
        }
        return Ok(Exit::Done);
    };
    let experiment = existing(&store, name)?;
    let (view, runs) = (watcher.experiment(name)?, runs(&experiment)?);
    let done = view.line.counts.sealed == view.line.counts.stages;
    let jobs = slurm::status(&experiment, done)?;
    if arguments.json {
        let mut document = document(&view.line, &runs);
        document["stages"] = watch::stages(&view);
        if let Some((_, jobs)) = jobs {
            document["slurm"] = jobs;
        }
        output::json(&document)?;
    } else {
        output::result(&text(&view, &runs, jobs.map(|(text, _)| text)))?;
    }
    Ok(Exit::Done)
}

/// A run that lives.
struct Run {
    host: String,
    pid: u32,
    /// When it began, in seconds since the Unix epoch; none where it has not said so yet.
    since: Option<f64>,
    /// Seconds since its last sign of life.
    silent: f64,
}

impl Run {
    fn place(&self) -> String {
        format!("{}:{}", self.host, self.pid)
    }
}

fn runs(experiment: &Experiment) -> anyhow::Result<Vec<Run>> {
    let alive = experiment.runs()?;
    if alive.is_empty() {
        return Ok(Vec::new());
    }
    let journal = experiment.follow().read()?;
    let began = |host: &str, pid: u32| {
        let own = journal.iter().rev().filter(|entry| (entry.host.as_str(), entry.pid) == (host, pid));
        own.filter(|entry| matches!(entry.note, Note::Began { .. })).map(|entry| entry.time).next()
    };
    let runs = alive.into_iter().map(|holder| Run {
        since: began(&holder.host, holder.pid),
        silent: holder.age.as_secs_f64(),
        host: holder.host,
        pid: holder.pid,
    });
    Ok(runs.collect())
}

fn document(line: &ExperimentLine, runs: &[Run]) -> Value {
    let mut document = watch::document(line);
    let runs: Vec<Value> = runs
        .iter()
        .map(|run| {
            json!({ "host": run.host, "pid": run.pid, "since": run.since, "seconds_silent": run.silent })
        })
        .collect();
    document["runs"] = runs.into();
    document
}

/// A row per experiment.
fn table(rows: &[(ExperimentLine, Vec<Run>)]) -> Table {
    let now = titer_watch::now();
    let dash = || "-".to_owned();
    let head =
        ["experiment", "state", "done", "running", "waiting", "failed", "left", "since", "alive", "where"];
    let row = |(line, runs): &(ExperimentLine, Vec<Run>)| {
        let Counts { stages, sealed, running, interrupted, failed, waiting } = line.counts;
        let since = runs.iter().filter_map(|run| run.since).min_by(f64::total_cmp);
        let silent = runs.iter().map(|run| run.silent).min_by(f64::total_cmp);
        // Without a living run the last sign of life is the last thing that one wrote down.
        let alive = silent.map(state::ago).or_else(|| line.changed.map(|time| state::ago(now - time)));
        let places: Vec<String> = runs.iter().map(Run::place).collect();
        [
            line.name.clone(),
            ExperimentState::of(line).word().to_owned(),
            format!("{sealed}/{stages}"),
            running.to_string(),
            (waiting + interrupted).to_string(),
            failed.to_string(),
            line.seconds_left.map_or_else(dash, state::left),
            since.map_or_else(dash, |since| state::moment(since, now)),
            alive.unwrap_or_else(dash),
            if places.is_empty() { dash() } else { places.join(" ") },
        ]
        .map(Cell::new)
        .into()
    };
    Table { caption: String::new(), head: head.map(Cell::new).into(), rows: rows.iter().map(row).collect() }
}

/// An experiment, its runs, its jobs, and the stages that run or failed.
fn text(view: &ExperimentView, runs: &[Run], jobs: Option<String>) -> String {
    let (line, now) = (&view.line, titer_watch::now());
    let left = line.seconds_left.map(|left| format!(", about {} left", state::left(left)));
    let mut lines = vec![format!(
        "{}: {}, {}{}",
        line.name,
        ExperimentState::of(line).word(),
        state::percent(line.share),
        left.unwrap_or_default()
    )];
    let Counts { stages, sealed, running, interrupted, failed, waiting } = line.counts;
    lines.push(format!(
        "{}: {sealed} done, {running} running, {waiting} waiting, {interrupted} broken off, {failed} failed",
        wording::count(stages, "stage")
    ));
    for run in runs {
        let since = run.since.map(|since| format!(" since {}", state::moment(since, now)));
        lines.push(format!(
            "process {} on {}{}, last sign of life {}",
            run.pid,
            run.host,
            since.unwrap_or_default(),
            state::ago(run.silent)
        ));
    }
    if runs.is_empty() {
        let last = line.changed.map(|time| format!(", last sign of life {}", state::ago(now - time)));
        lines.push(format!("no run lives{}", last.unwrap_or_default()));
    }
    lines.extend(jobs);
    for stage in &view.stages {
        match &stage.state {
            StageState::Running(holder) => {
                let steps = match (stage.step, stage.steps) {
                    (Some(step), Some(steps)) => format!(", step {step} of {steps}"),
                    _ => String::new(),
                };
                lines.push(format!("running: {}{steps}, by {}:{}", stage.label, holder.host, holder.pid));
            }
            StageState::Failed(error) => lines.push(format!("failed: {}: {error}", stage.label)),
            StageState::Waiting | StageState::Interrupted | StageState::Sealed => {}
        }
    }
    lines.iter().map(|line| sanitise::line(line).into_owned() + "\n").collect()
}
