//! `titer logs`: what the runs of an experiment, or one of its stages, wrote down.

use std::path::Path;
use std::thread;
use std::time::Duration;

use serde_json::json;
use titer_plan::{Plan, PlannedStage, StageHash};
use titer_store::{Entry, Experiment, Record, Store};
use titer_view::{journal, sanitise, state};

use crate::cli::LogsArgs;
use crate::exit::{Exit, Refusal};
use crate::output;

/// How often it is looked for more.
const LOOK_EVERY: Duration = Duration::from_millis(300);
/// What stands before each line of what runs in the background had to say.
const OUTPUT: &str = "| ";

pub(super) fn logs(store: &Path, arguments: &LogsArgs) -> anyhow::Result<Exit> {
    let store = Store::open(store)?;
    let plan = titer_lab::stored_plan(&store, &arguments.experiment)?;
    let experiment = store.experiment(&arguments.experiment)?;
    match &arguments.stage {
        Some(words) => {
            let stage = find(&plan, words)?;
            of_stage(&store, &experiment, stage, arguments)?;
        }
        None => of_experiment(&experiment, &plan, arguments)?,
    }
    Ok(Exit::Done)
}

/// The stage that someone means.
fn find<'p>(plan: &'p Plan, words: &str) -> Result<&'p PlannedStage, Refusal> {
    let exact: Vec<&PlannedStage> = plan.stages.iter().filter(|stage| stage.label == words).collect();
    let fits = |stage: &&PlannedStage| stage.hash.0.starts_with(words) || stage.label.contains(words);
    let found = if exact.is_empty() { plan.stages.iter().filter(fits).collect() } else { exact };
    match found.as_slice() {
        [stage] => Ok(stage),
        [] => {
            let problem = format!("no stage of {} is called {words}", plan.experiment.name);
            Err(Refusal::new(problem, "titer plan lists them, with their artifacts"))
        }
        several => {
            const SHOWN: usize = 6;
            let names: Vec<String> = several
                .iter()
                .take(SHOWN)
                .map(|stage| format!("{} ({})", stage.label, stage.hash.short()))
                .collect();
            let more = if several.len() > SHOWN { ", …" } else { "" };
            let problem = format!("{} stages are called {words}", several.len());
            Err(Refusal::new(problem, format!("name one of {}{more}", names.join(", "))))
        }
    }
}

fn of_experiment(experiment: &Experiment, plan: &Plan, arguments: &LogsArgs) -> anyhow::Result<()> {
    let mut reader = experiment.follow();
    let entries = reader.read()?;
    let (said, mut end) = experiment.said(None)?;
    let (entries, said) = (last(&entries, arguments.number), lines(&said));
    let said = last(&said, arguments.number);
    if arguments.json {
        let document = json!({ "experiment": arguments.experiment, "entries": entries, "output": said });
        return output::json(&document);
    }
    output::result(&entries.iter().map(|entry| told(entry, plan)).collect::<String>())?;
    output::result(&said.iter().map(|line| spoken(line)).collect::<String>())?;
    if entries.is_empty() && said.is_empty() {
        output::message(&format!("no run of {} wrote anything down", arguments.experiment));
    }
    if !arguments.follow {
        return Ok(());
    }
    loop {
        // Whether one lives is asked first, so that what it wrote last is seen.
        let lives = !experiment.runs()?.is_empty();
        output::result(&reader.read()?.iter().map(|entry| told(entry, plan)).collect::<String>())?;
        let (more, now) = experiment.said(Some(end))?;
        // What is not a whole line yet comes with the rest of it.
        let whole = if lives { more.rfind('\n').map_or(0, |at| at + 1) } else { more.len() };
        end = now - (more.len() - whole) as u64;
        output::result(&lines(&more[..whole]).iter().map(|line| spoken(line)).collect::<String>())?;
        if !lives {
            return Ok(());
        }
        thread::sleep(LOOK_EVERY);
    }
}

fn of_stage(
    store: &Store,
    experiment: &Experiment,
    stage: &PlannedStage,
    arguments: &LogsArgs,
) -> anyhow::Result<()> {
    let artifact = store.artifact(&stage.hash);
    let mut reader = artifact.follow();
    let records = reader.read()?;
    let records = last(&records, arguments.number);
    if arguments.json {
        let (hash, label) = (&stage.hash, &stage.label);
        return output::json(&json!({ "stage": hash, "label": label, "events": records }));
    }
    output::result(&records.iter().map(event).collect::<String>())?;
    if records.is_empty() {
        output::message(&format!("{} has logged nothing", stage.label));
    }
    if !arguments.follow {
        return Ok(());
    }
    loop {
        let over = artifact.is_sealed() || experiment.runs()?.is_empty();
        output::result(&reader.read()?.iter().map(event).collect::<String>())?;
        if over {
            return Ok(());
        }
        thread::sleep(LOOK_EVERY);
    }
}

/// An entry of the journal as a line.
fn told(entry: &Entry, plan: &Plan) -> String {
    let label = |hash: &StageHash| match plan.stage(hash) {
        Some(stage) => stage.label.clone(),
        // Of an earlier plan.
        None => hash.short().to_owned(),
    };
    let text = journal::sentence(&entry.note, &label);
    let when = state::moment(entry.time, titer_watch::now());
    sanitise::line(&format!("{when} {}:{} {text}", entry.host, entry.pid)).into_owned() + "\n"
}

/// A line of what a run in the background had to say.
fn spoken(line: &str) -> String {
    format!("{OUTPUT}{}\n", sanitise::line(line))
}

/// An event of a stage as a line.
fn event(record: &Record) -> String {
    let when = state::moment(record.time, titer_watch::now());
    let step = record.event.step.map(|step| format!(" {step}")).unwrap_or_default();
    let line = format!("{when} {}{step} {}", record.event.kind, record.event.data);
    sanitise::line(&line).into_owned() + "\n"
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

/// The last so many.
fn last<T>(all: &[T], number: usize) -> &[T] {
    &all[all.len().saturating_sub(number)..]
}
