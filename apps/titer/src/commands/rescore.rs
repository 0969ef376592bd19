//! `titer rescore`.

use std::num::NonZeroUsize;
use std::path::Path;

use serde_json::json;
use titer_lab::{Interrupt, Results, RunOptions};
use titer_store::Store;
use titer_view::wording;

use super::run::stop_on_ctrl_c;
use super::store_flag;
use crate::cli::RescoreArgs;
use crate::exit::Exit;
use crate::output;
use crate::progress;

pub(super) fn rescore(store: &Path, arguments: &RescoreArgs) -> anyhow::Result<Exit> {
    let (store, name) = (Store::open(store)?, &arguments.experiment);
    let (_, plan) = titer_lab::stored(&store, name)?;
    let estimate = titer_lab::estimate(&plan, Some(&store));
    let threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let (compute, jobs) = (arguments.device.clone(), arguments.jobs.get());
    let options = RunOptions {
        compute,
        jobs,
        threads,
        judge_only: true,
        recompute: false,
        budget: None,
        weights: false,
    };
    let interrupt = Interrupt::ending(|| std::process::exit(130));
    stop_on_ctrl_c(&interrupt)?;
    let rescored = {
        let progress = progress::reporter(&estimate);
        titer_lab::rescore(name, &store, &options, &interrupt, progress.as_ref())?
    };
    if !rescored.interrupted && rescored.failed.is_empty() {
        // For whoever looks next; nothing here depends on it.
        let decided = Results::load(&store, name).and_then(|results| results.verdicts());
        let _ = decided.and_then(|verdicts| titer_lab::live::keep_verdicts(&store, name, &verdicts));
    }
    for failure in &rescored.failed {
        output::message(&format!("failed: {}: {}", failure.label, failure.error));
    }
    if arguments.json {
        let failed: Vec<_> = rescored
            .failed
            .iter()
            .map(|failure| json!({"hash": failure.hash, "label": failure.label, "error": failure.error}))
            .collect();
        output::json(&json!({
            "experiment": name,
            "stages": rescored.stages,
            "answers": rescored.answers,
            "changed": rescored.changed,
            "failed": failed,
            "interrupted": rescored.interrupted,
        }))?;
    } else {
        output::result(&format!(
            "{} of {} judged anew: {} changed\n",
            wording::count(rescored.answers, "answer"),
            wording::count(rescored.stages, "stage"),
            wording::count(rescored.changed, "score"),
        ))?;
        if !rescored.failed.is_empty() {
            let flag = store_flag(&store);
            output::message(&format!("what is missing is computed by: titer resume {name}{flag}"));
        }
    }
    Ok(match (rescored.interrupted, rescored.failed.is_empty()) {
        (true, _) => Exit::Interrupted,
        (false, false) => Exit::Partial,
        (false, true) => Exit::Done,
    })
}
