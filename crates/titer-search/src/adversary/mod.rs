//! The attacker that searches: against each defence the cheapest attack of each mechanism that it finds, over all methods
//! and settings that it may try. What it finds joins the experiment's attacks and is tried on every defence with seeds that the
//! search never saw, so that the statistics are those of any experiment and luck in the search buys nothing.

mod hunt;
mod learn;
mod planner;
mod record;
mod space;

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::time::Instant;

use titer_lab::{Error, Interrupt, Result, Source, plan};
use titer_plan::{Override, Plan};
use titer_store::Store;

use hunt::{Hunt, Request, seed_of};
use planner::{Planner, first, stated};
pub use record::{AttackTrial, Attempt, Attempts, Origin};
use space::{Stated, spaces};

use super::runner::{Runner, TuneOptions, Watch};

/// How a search for attacks went.
#[derive(Debug, Clone, PartialEq)]
pub struct Searched {
    /// The experiment with what was found among its attacks; as the spec has it where the search is not over.
    pub plan: Plan,
    /// Every trial.
    pub attempts: Attempts,
    /// Whether it was stopped on request; the same call goes on.
    pub interrupted: bool,
}

/// Searches attacks against every defence of an experiment whose spec has an adversary, and plans the experiment with
/// what was found. The same call goes on after an interruption, or when no round begins any more because the time
/// `ends`: every trial is a stage, and comes to what it came to.
///
/// # Errors
/// When the spec has no adversary, no method can be carried out, or the store fails. Trials that fail are no errors.
pub fn find_attacks(
    source: &Source,
    overrides: &[Override],
    store: &Store,
    options: &TuneOptions,
    interrupt: &Interrupt,
    watch: &dyn Watch,
    ends: Option<Instant>,
) -> Result<Searched> {
    let base = plan(source, overrides)?;
    let Some(settings) = base.experiment.adversary.clone() else {
        return Err(Error::Search { problem: "the spec has no [adversary]".to_owned() });
    };
    let mut planner = Planner::new(source, overrides, &base, &settings);
    let (methods, left_out) = planner.methods();
    if methods.is_empty() {
        return Err(Error::Search {
            problem: "the adversary has no method that can be carried out".to_owned(),
        });
    }
    let steps = base.experiment.probe.cadence.last().copied().unwrap_or(0);
    let spaces = spaces(&settings, methods, steps);
    let experiment = &base.experiment;
    let attempts = Attempts {
        experiment: experiment.name.clone(),
        unit: experiment.conditions.budget.unit().to_owned(),
        left_out,
        defences: Vec::new(),
        finished: false,
    };
    let stored = store.experiment(&experiment.name)?;
    // As long as nothing is found, the measurements of an earlier search stay there.
    if !stored.exists() {
        stored.save(&source.text, &serde_json::to_string_pretty(&base)?)?;
    }
    let mut runner = Runner::new(store, options, interrupt, watch, Vec::new());
    let mut searched = Searched { plan: base.clone(), attempts, interrupted: false };

    let warm: Vec<Stated> = experiment
        .attack
        .iter()
        .flat_map(|entry| stated(entry, &titer_attacks::registry::methods()))
        .collect();
    let new = |label: &str, warm: &[Stated]| -> Vec<Hunt<'_>> {
        let in_each = spaces.iter().map(|space| {
            let seed = seed_of(experiment.seed, label, space.mechanism);
            Hunt::new(label, space, experiment.conditions.budget, seed, warm)
        });
        in_each.collect()
    };
    let (undefended, defended): (Vec<_>, Vec<_>) =
        experiment.defence.iter().partition(|entry| entry.is_baseline());
    let mut hunts: Vec<Hunt<'_>> = undefended.iter().flat_map(|entry| new(&entry.label, &warm)).collect();
    let mut flow = go(&mut hunts, &mut planner, &mut runner, &mut searched.attempts, &[], ends)?;
    if flow.is_continue() {
        // What broke the undefended model is tried on every defence.
        let mut warm = warm;
        warm.extend(hunts.iter().flat_map(Hunt::found));
        let done = hunts.len();
        hunts.extend(defended.iter().flat_map(|entry| new(&entry.label, &warm)));
        let (before, after) = hunts.split_at_mut(done);
        flow = go(after, &mut planner, &mut runner, &mut searched.attempts, before, ends)?;
    }
    searched.interrupted = flow.is_break();
    if flow.is_continue() {
        searched.plan = planner.whole(&hunts)?;
        searched.attempts.finished = true;
    }
    searched.attempts.save(store)?;
    Ok(searched)
}

/// What one search asks for in a round: its place among the searches, the request, and what it is planned as, with its
/// operations, or why it cannot be.
type Planned = (usize, Request, Result<(Plan, f64), String>);

/// Carries searches on to their ends, all of them side by side.
fn go(
    hunts: &mut [Hunt<'_>],
    planner: &mut Planner<'_>,
    runner: &mut Runner<'_>,
    attempts: &mut Attempts,
    before: &[Hunt<'_>],
    ends: Option<Instant>,
) -> Result<ControlFlow<()>> {
    let kept = |hunts: &[Hunt<'_>]| -> Vec<Attempt> {
        let of = |hunt: &Hunt<'_>| Attempt {
            defence: hunt.victim.clone(),
            mechanism: hunt.space.mechanism,
            trials: hunt.trials.clone(),
        };
        before.iter().chain(hunts).map(of).collect()
    };
    loop {
        let mut round: Vec<Planned> = Vec::new();
        for (index, hunt) in hunts.iter_mut().enumerate() {
            for request in hunt.next() {
                let part = planner.trial(&hunt.victim, &request).map_err(|mistakes| first(&mistakes));
                round.push((index, request, part));
            }
        }
        if round.is_empty() {
            attempts.defences = kept(hunts);
            return Ok(ControlFlow::Continue(()));
        }
        let named = |(index, request, part): &Planned| {
            let hunt = &hunts[*index];
            let name = format!("{} {} trial {}: ", hunt.victim, hunt.space.mechanism.name(), request.trial);
            part.as_ref().ok().map(|(part, _)| (name, part.clone()))
        };
        let plans: Vec<(String, Plan)> = round.iter().filter_map(named).collect();
        let late = ends.is_some_and(|ends| Instant::now() >= ends);
        if late || runner.run(&heading(&round, hunts), &plans)?.is_break() {
            attempts.defences = kept(hunts);
            return Ok(ControlFlow::Break(()));
        }
        for (index, request, part) in round {
            let (reached, flops) = match part {
                Ok((part, flops)) => (planner.reached(&part, runner)?, flops),
                Err(problem) => (Err(problem), 0.0),
            };
            hunts[index].learn(&request, reached, flops);
        }
        hunts.iter_mut().for_each(Hunt::turn);
        attempts.defences = kept(hunts);
        attempts.save(runner.store)?;
    }
}

fn heading(round: &[Planned], hunts: &[Hunt<'_>]) -> String {
    let most = round.iter().map(|(_, request, _)| {
        let steps = request.cadence.last().copied().unwrap_or(0);
        steps * request.stated.batch.unwrap_or(1)
    });
    let victims: BTreeSet<&str> = round.iter().map(|(index, ..)| hunts[*index].victim.as_str()).collect();
    let whom = match victims.len() {
        1 => victims.into_iter().collect::<String>(),
        count => format!("{count} models"),
    };
    format!("{} attacks on {whom}, up to {} examples", round.len(), most.max().unwrap_or(0))
}
