//! `titer run`.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use serde_json::json;
use titer_lab::{Compute, Interrupt, Results, RunOptions, RunSummary, Source};
use titer_plan::{Override, Plan};
use titer_store::Store;
use titer_view::{looks, verdict_text, wording};
use titer_watch::Options;

use super::{adversary, already, detach, slurm, staleness, store_flag, watch};
use crate::cli::{RunArgs, RunOn};
use crate::exit::Exit;
use crate::output;
use crate::progress;

pub(super) fn run(store: &Path, arguments: &RunArgs) -> anyhow::Result<Exit> {
    slurm::check(&arguments.how)?;
    if let Some(pack) = arguments.how.slurm.pack {
        return slurm::work(store, arguments, pack);
    }
    let (store, source, mut plan) = if arguments.resume {
        let store = Store::open(store)?;
        let (source, plan) = titer_lab::stored(&store, &arguments.spec)?;
        staleness::say(&plan);
        (store, source, plan)
    } else {
        // A spec with mistakes makes no store.
        let (source, plan) = read_plan(&arguments.spec, &arguments.set)?;
        (open_or_create(store)?, source, plan)
    };
    if arguments.how.on == RunOn::Slurm {
        return slurm::run(&store, &source, plan, arguments);
    }
    if arguments.how.own_session {
        detach::leave_session()?;
    }
    if arguments.how.detach || arguments.how.tui {
        if let Some(exit) = already::in_background(&store, &plan, arguments)? {
            return if arguments.how.tui {
                watch::open(store, Options::of(plan.experiment.name))
            } else {
                Ok(exit)
            };
        }
        let started = detach::start(&store, &plan.experiment.name, detach::same_arguments())?;
        if arguments.how.tui {
            return watch::open(store, Options::of(plan.experiment.name));
        }
        return detach::say(&store, &plan.experiment.name, &started, arguments.how.json);
    }
    if !arguments.resume {
        plan = with_all_here(&source, &arguments.set, plan)?;
    }
    if let Some(summary) = already::follow(&store, &plan, arguments)? {
        return end(&store, &plan, &summary, arguments);
    }
    if !arguments.resume {
        staleness::say_changes(&store, &plan);
        if titer_lab::estimate(&plan, Some(&store)).stages.iter().any(|stage| !stage.cached) {
            explaining_delay(READING, || titer_lab::check_rows(&source, &arguments.set, &plan))?;
        }
    }
    let interrupt = Interrupt::ending(|| std::process::exit(130));
    stop_on_ctrl_c(&interrupt)?;
    if adversary::wants_search(&plan) {
        let searched = adversary::search(&store, &source, arguments, &interrupt)?;
        if searched.interrupted {
            return Ok(Exit::Interrupted);
        }
        plan = searched.plan;
    }
    let estimate = titer_lab::estimate(&plan, Some(&store));
    let estimate = if arguments.how.recompute { estimate.recomputing() } else { estimate };
    let jobs = titer_lab::jobs(&estimate, arguments.how.jobs.map(NonZeroUsize::get), &arguments.how.device)?;
    let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let recompute = arguments.how.recompute;
    let compute = arguments.how.device.clone();
    let (budget, weights) = (arguments.how.budget, arguments.how.weights);
    let options = RunOptions { compute, jobs, threads, judge_only: false, recompute, budget, weights };
    let summary = {
        let progress = match plan.grows() {
            true => progress::reporter_from(&estimate, &plan.asked(&[])),
            false => progress::reporter(&estimate),
        };
        titer_lab::run(&plan, &source, &store, &options, &interrupt, progress.as_ref())?
    };
    end(&store, &plan, &summary, arguments)
}

/// Says how a run went, and what came out of it.
pub(super) fn end(
    store: &Store,
    plan: &Plan,
    summary: &RunSummary,
    arguments: &RunArgs,
) -> anyhow::Result<Exit> {
    say_outcome(summary, arguments, (store, &plan.experiment.name));
    show(store, plan, summary, arguments.how.json)?;
    Ok(match (summary.interrupted || summary.out_of_time, summary.failed.is_empty()) {
        (true, _) => Exit::Interrupted,
        (false, false) => Exit::Partial,
        (false, true) => Exit::Done,
    })
}

/// The plan of a spec or preset, without a network.
pub(super) fn read_plan(spec: &str, overrides: &[Override]) -> anyhow::Result<(Source, Plan)> {
    let source = titer_lab::source(spec)?;
    let plan = explaining_delay(READING, || titer_lab::plan(&source, overrides))?;
    Ok((source, plan))
}

/// The plan with everything that it names on this machine.
pub(super) fn with_all_here(source: &Source, overrides: &[Override], plan: Plan) -> anyhow::Result<Plan> {
    if plan.not_here().next().is_none() {
        return Ok(plan);
    }
    titer_lab::fetch(&plan, &mut progress::DownloadBars::new())?;
    Ok(explaining_delay(READING, || titer_lab::plan(source, overrides))?)
}

/// Silence longer than this is explained.
const PATIENCE: Duration = Duration::from_secs(2);
const READING: &str = "reading models and data through, once: they are known by their content";

/// Does the work, and says why it takes long where it does.
pub(super) fn explaining_delay<T>(why: &'static str, work: impl FnOnce() -> T) -> T {
    let (working, waiting) = mpsc::channel::<()>();
    thread::spawn(move || {
        if waiting.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            output::message(why);
        }
    });
    let outcome = work();
    drop(working);
    outcome
}

/// The store, made where there is none.
pub(super) fn open_or_create(store: &Path) -> anyhow::Result<Store> {
    Ok(Store::open_or_create(store)?)
}

/// The first Ctrl-C asks the run to stop where it can go on later; the second ends the process.
pub(super) fn stop_on_ctrl_c(interrupt: &Interrupt) -> anyhow::Result<()> {
    let interrupt = interrupt.clone();
    ctrlc::set_handler(move || {
        if interrupt.raised() {
            std::process::exit(130);
        }
        interrupt.raise();
        output::message("stopping: each running stage saves a checkpoint (Ctrl-C again stops at once)");
    })?;
    Ok(())
}

/// Says how many stages went how.
pub(super) fn say_counts(summary: &RunSummary) {
    output::message(&format!(
        "{} computed, {} cached, {} failed in {}",
        summary.computed,
        summary.cached,
        summary.failed.len(),
        wording::duration(summary.seconds)
    ));
}

/// Says what failed, and why.
pub(super) fn say_failures(summary: &RunSummary) {
    for failure in &summary.failed {
        output::message(&format!("failed: {}: {}", failure.label, failure.error));
    }
}

fn say_outcome(summary: &RunSummary, arguments: &RunArgs, (store, name): (&Store, &str)) {
    say_counts(summary);
    say_failures(summary);
    let stopped = if summary.interrupted { "interrupted" } else { "out of time" };
    if summary.interrupted || summary.out_of_time {
        let flag = store_flag(store);
        let flags = computing_flags(arguments);
        output::message(&format!("{stopped}; it goes on from here: titer resume {name}{flags}{flag}"));
    }
}

/// The arguments that say how stages are computed, as they were typed.
pub(super) fn computing_flags(arguments: &RunArgs) -> String {
    let mut flags = String::new();
    if arguments.how.on == RunOn::Slurm {
        flags.push_str(" --on slurm");
    }
    if let Some(jobs) = arguments.how.jobs {
        flags.push_str(&format!(" --jobs {jobs}"));
    }
    if arguments.how.recompute {
        flags.push_str(" --recompute");
    }
    if arguments.how.device != Compute::Cpu {
        flags.push_str(&format!(" --device {}", arguments.how.device));
    }
    flags
}

/// The verdicts. A run that did not come to its end may have none.
fn show(store: &Store, plan: &Plan, summary: &RunSummary, as_json: bool) -> anyhow::Result<()> {
    let name = &plan.experiment.name;
    let decide = || Results::load(store, name).and_then(|results| results.verdicts());
    let verdicts = match (summary.interrupted, summary.failed.is_empty() && !summary.out_of_time) {
        (true, _) => None,
        (false, false) => decide().ok(),
        (false, true) => Some(decide()?),
    };
    if let Some(verdicts) = &verdicts {
        // For whoever looks next; nothing here depends on it.
        let _ = titer_lab::live::keep_verdicts(store, name, verdicts);
    }
    if as_json {
        let failed: Vec<_> = summary
            .failed
            .iter()
            .map(|failure| json!({"hash": failure.hash, "label": failure.label, "error": failure.error}))
            .collect();
        return output::json(&json!({
            "experiment": name,
            "computed": summary.computed,
            "cached": summary.cached,
            "failed": failed,
            "interrupted": summary.interrupted,
            "out_of_time": summary.out_of_time,
            "seconds": summary.seconds,
            "verdicts": verdicts,
        }));
    }
    if let Some(verdicts) = verdicts {
        output::result(&verdict_text::summary(&verdicts, output::style()))?;
        if summary.out_of_time {
            output::message(&looks::still_open(&verdicts));
        }
        let flag = store_flag(store);
        output::message(&format!(
            "what decided each verdict: titer show {name}{flag}; a page with curves: titer report {name}{flag}"
        ));
    }
    Ok(())
}
