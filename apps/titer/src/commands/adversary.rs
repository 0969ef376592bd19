//! The search for attacks that a run begins with where its spec has an adversary.

use std::num::NonZeroUsize;
use std::time::Instant;

use titer_lab::{Interrupt, Source};
use titer_plan::Plan;
use titer_search::{Searched, TuneOptions};
use titer_store::Store;
use titer_view::wording;

use super::same_command;
use super::tune::OnStderr;
use crate::cli::RunArgs;
use crate::exit::Refusal;
use crate::output;

/// Whether attacks are to be searched before the plan is whole.
pub(super) fn wants_search(plan: &Plan) -> bool {
    plan.experiment.adversary.as_ref().is_some_and(|adversary| adversary.found.is_empty())
}

/// Searches, and says what was found.
pub(super) fn search(
    store: &Store,
    source: &Source,
    arguments: &RunArgs,
    interrupt: &Interrupt,
) -> anyhow::Result<Searched> {
    if arguments.resume {
        return Err(Refusal::new(
            "the search for attacks has not come to its end, and only the spec says what it may try",
            "go on by the command that began it: titer run SPEC",
        )
        .into());
    }
    let options = TuneOptions {
        compute: arguments.how.device.clone(),
        jobs: arguments.how.jobs.map(NonZeroUsize::get),
        threads: std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
    };
    let ends = arguments.how.budget.map(|budget| Instant::now() + budget);
    let searched =
        titer_search::find_attacks(source, &arguments.set, store, &options, interrupt, &OnStderr, ends)?;
    if searched.interrupted {
        output::message(&format!("interrupted; it goes on from here: {}", same_command()));
        return Ok(searched);
    }
    for (method, reason) in &searched.attempts.left_out {
        output::message(&format!("not tried: {method}: {reason}"));
    }
    say_failures(&searched);
    let found = searched.plan.experiment.adversary.iter().flat_map(|adversary| &adversary.found);
    for weakness in found {
        let attacks: Vec<String> = weakness.attacks.iter().map(ToString::to_string).collect();
        output::message(&format!(
            "{}, {}: {} in {}, {:.1e} operations",
            weakness.defence,
            weakness.mechanism.name(),
            attacks.join(", "),
            wording::count(weakness.trials, "trial"),
            weakness.flops
        ));
    }
    Ok(searched)
}

/// Says which attacks of a search failed, the first with its reason.
pub(super) fn say_failures(searched: &Searched) {
    let trials = searched.attempts.defences.iter().flat_map(|attempt| &attempt.trials);
    let failed: Vec<_> = trials.filter(|trial| trial.failed).collect();
    if let Some(first) = failed.first() {
        let count = wording::count(failed.len(), "attack");
        output::message(&format!("{count} of the search failed; the first: {}: {}", first.attack, first.end));
    }
}
