//! `titer run --on slurm`: submits, follows, and is what the jobs run.

use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Instant;

use anyhow::Context as _;
use serde_json::{Value, json};
use titer_lab::cluster::{self, ClusterOptions, Job, Outcome, Submission, Submitted};
use titer_lab::{Interrupt, Part, RunOptions, RunSummary, Source, StageFailure};
use titer_plan::Plan;
use titer_store::{Experiment, Store};
use titer_view::wording;
use titer_watch::Options;

use super::run::{computing_flags, end, say_counts, say_failures, stop_on_ctrl_c, with_all_here};
use super::{adversary, staleness, store_flag, watch};
use crate::cli::{HowArgs, PackArg, RunArgs, RunOn};
use crate::exit::{Exit, Refusal};
use crate::output;
use crate::progress;

/// Refuses what cannot be had together.
pub(super) fn check(how: &HowArgs) -> anyhow::Result<()> {
    let refuse = |problem: &str, hint: &str| Err(Refusal::new(problem, hint).into());
    match how.on {
        RunOn::Local if how.slurm.asks() && how.slurm.pack.is_none() => refuse(
            "partition, account, time, memory and the like are Slurm's",
            "add --on slurm, or leave them out",
        ),
        RunOn::Slurm if how.budget.is_some() => refuse(
            "--budget ends a run in this process, and jobs of a cluster go on without it",
            "bound each job by --time, or end them by titer stop",
        ),
        _ => Ok(()),
    }
}

/// Submits what is left of an experiment and follows its jobs.
pub(super) fn run(store: &Store, source: &Source, plan: Plan, arguments: &RunArgs) -> anyhow::Result<Exit> {
    let how = &arguments.how;
    let plan = if arguments.resume { plan } else { with_all_here(source, &arguments.set, plan)? };
    if adversary::wants_search(&plan) {
        return Err(Refusal::new(
            "a search for attacks decides what it tries next by what it found, and cannot be submitted as a plan of jobs",
            "let one job run all of it: sbatch --wrap 'titer run SPEC'",
        )
        .into());
    }
    if !arguments.resume {
        staleness::say_changes(store, &plan);
        titer_lab::check_rows(source, &arguments.set, &plan)?;
    }
    let (name, flag) = (&plan.experiment.name, store_flag(store));
    let submitted = cluster::submit(&plan, source, store, &options(store, name, arguments)?)?;
    let (submission, jobs) = match submitted {
        Submitted::Nothing(failed) => {
            output::message("nothing is left to submit");
            return finish(store, &plan, failed, false, 0.0, arguments);
        }
        Submitted::Already(submission, jobs) => {
            output::message(&format!(
                "{name} is submitted already: round {}, {}",
                submission.round,
                in_words(&jobs)
            ));
            (submission, jobs)
        }
        Submitted::Round(submission) => {
            output::message(&format!(
                "round {} of {name}: {} in {} of jobs, and one that closes the round; what they say: {}",
                submission.round,
                wording::count(submission.packs(), "pack"),
                wording::count(submission.arrays.len(), "array"),
                store.experiment(name)?.cluster_dir().display()
            ));
            (submission, Vec::new())
        }
    };
    if how.slurm.closes {
        return Ok(Exit::Done);
    }
    output::message(&format!("look at it: titer status {name}{flag}; stop it: titer stop {name}{flag}"));
    if how.tui {
        return watch::open(store.clone(), Options::of(name.clone()));
    }
    if how.detach {
        if how.json {
            output::json(&document(name, &submission, &jobs))?;
        }
        return Ok(Exit::Done);
    }
    output::message("this follows the jobs (Ctrl-C ends the following and not the jobs)");
    let began = Instant::now();
    let outcome = {
        let progress = progress::reporter(&titer_lab::estimate(&plan, Some(store)));
        cluster::follow(&plan, store, progress.as_ref())?
    };
    let seconds = began.elapsed().as_secs_f64();
    match outcome {
        Outcome::Done(failed) => finish(store, &plan, failed, false, seconds, arguments),
        Outcome::Left { stages, ended } => {
            let ended = if ended.is_empty() { String::new() } else { format!(" ({})", ended.join(", ")) };
            output::message(&format!(
                "no job of {name} is left{ended}, and {} to do; what they said: {}",
                wording::count(stages, "stage"),
                store.experiment(name)?.cluster_dir().display()
            ));
            finish(store, &plan, Vec::new(), true, seconds, arguments)
        }
    }
}

/// What the cluster is to run.
fn options(store: &Store, name: &str, arguments: &RunArgs) -> anyhow::Result<ClusterOptions> {
    let how = &arguments.how;
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let root =
        store.root().canonicalize().with_context(|| format!("cannot find {}", store.root().display()))?;
    let text = |path: &Path| -> anyhow::Result<String> {
        Ok(path.to_str().with_context(|| format!("{} is no UTF-8", path.display()))?.to_owned())
    };
    let mut command = vec![text(&program)?, "run".to_owned(), name.to_owned(), "--resume".to_owned()];
    command.push(format!("--store={}", text(&root)?));
    command.push(format!("--device={}", how.device));
    command.extend(how.recompute.then(|| "--recompute".to_owned()));
    command.extend(how.weights.then(|| "--weights".to_owned()));
    let mut closing = vec!["--on=slurm".to_owned(), "--closes".to_owned()];
    closing.extend(how.slurm.words());
    closing.extend(how.jobs.map(|jobs| format!("--jobs={jobs}")));
    Ok(ClusterOptions {
        command,
        closing,
        compute: how.device.clone(),
        recompute: how.recompute,
        weights: how.weights,
        slurm: how.slurm.options(how.jobs),
        closes: how.slurm.closes,
    })
}

/// Says how it went, and what came out of it.
fn finish(
    store: &Store,
    plan: &Plan,
    failed: Vec<StageFailure>,
    interrupted: bool,
    seconds: f64,
    arguments: &RunArgs,
) -> anyhow::Result<Exit> {
    let cached = plan.stages.iter().filter(|stage| store.artifact(&stage.hash).is_sealed()).count();
    let summary = RunSummary { computed: 0, cached, failed, interrupted, out_of_time: false, seconds };
    end(store, plan, &summary, arguments)
}

fn document(name: &str, submission: &Submission, jobs: &[Job]) -> Value {
    json!({
        "experiment": name,
        "round": submission.round,
        "packs": submission.packs(),
        "jobs": submission.jobs(),
        "already": jobs,
    })
}

/// `3 jobs run on n1 n2, 12 wait`.
pub(super) fn in_words(jobs: &[Job]) -> String {
    let count =
        |running: bool| jobs.iter().filter(|job| job.runs() == running).map(Job::count).sum::<usize>();
    let (running, waiting) = (count(true), count(false));
    let mut nodes: Vec<&str> = jobs.iter().filter(|job| job.runs()).map(|job| job.place.as_str()).collect();
    nodes.sort_unstable();
    nodes.dedup();
    let on = if nodes.is_empty() { String::new() } else { format!(" on {}", nodes.join(" ")) };
    format!("{} running{on}, {waiting} waiting", wording::count(running, "job"))
}

/// What is to be known of an experiment's jobs, for a line of `titer status`; none where it has none, and where it is
/// done and nobody can ask after them.
pub(super) fn status(experiment: &Experiment, done: bool) -> anyhow::Result<Option<(String, Value)>> {
    let Some(submission) = Submission::read(experiment)? else { return Ok(None) };
    let from = format!("round {} submitted from {}", submission.round, submission.host);
    Ok(Some(match submission.living() {
        Ok(jobs) => {
            let text = if jobs.is_empty() { "no job is left".to_owned() } else { in_words(&jobs) };
            (format!("Slurm: {from}: {text}"), json!({ "round": submission.round, "jobs": jobs }))
        }
        Err(_) if done => return Ok(None),
        // Slurm may not be within reach of whoever looks.
        Err(error) => (
            format!("Slurm: {from}; {error}"),
            json!({ "round": submission.round, "jobs": null, "problem": error.to_string() }),
        ),
    }))
}

/// What one job of a round does: its pack, and what of others that needs and is not there.
pub(super) fn work(store: &Path, arguments: &RunArgs, pack: PackArg) -> anyhow::Result<Exit> {
    let (how, store) = (&arguments.how, Store::open(store)?);
    let (_, plan) = titer_lab::stored(&store, &arguments.spec)?;
    let experiment = store.experiment(&arguments.spec)?;
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<usize>().ok());
    let element = number("SLURM_ARRAY_TASK_ID").unwrap_or(0);
    let stages = cluster::pack(&experiment, pack.round, pack.first + element)?;
    let since = Submission::read(&experiment)?.map_or(0.0, |submission| submission.began);
    let failed = cluster::settled_failures(&experiment, since)?.into_iter().filter_map(|(hash, error)| {
        let label = plan.stage(&hash)?.label.clone();
        Some(StageFailure { hash, label, error, diverged: false })
    });
    let part = Part { stages, failed: failed.collect() };
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let cores = number("SLURM_CPUS_PER_TASK").unwrap_or(cores).clamp(1, cores);
    let estimate = titer_lab::estimate(&plan.needed_for(&part.stages), Some(&store));
    let estimate = if how.recompute { estimate.recomputing() } else { estimate };
    let options = RunOptions {
        compute: how.device.clone(),
        jobs: titer_lab::jobs(&estimate, None, &how.device)?.min(cores),
        threads: cores,
        judge_only: false,
        recompute: how.recompute,
        budget: None,
        weights: how.weights,
    };
    let interrupt = Interrupt::ending(|| std::process::exit(130));
    stop_on_ctrl_c(&interrupt)?;
    let summary = {
        let progress = progress::reporter(&estimate);
        titer_lab::run_part(&plan, &part, &store, &options, &interrupt, progress.as_ref())?
    };
    say_counts(&summary);
    say_failures(&summary);
    let flags = computing_flags(arguments);
    if summary.interrupted {
        output::message(&format!(
            "interrupted; the job that closes the round submits what is left, or: titer resume {}{flags}{}",
            arguments.spec,
            store_flag(&store)
        ));
    }
    Ok(match (summary.interrupted, summary.failed.is_empty()) {
        (true, _) => Exit::Interrupted,
        (false, false) => Exit::Partial,
        (false, true) => Exit::Done,
    })
}
