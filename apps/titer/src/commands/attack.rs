//! `titer attack`: when does this model break, and by which attack?

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use titer_lab::{Interrupt, Results, RunOptions, Source};
use titer_plan::Component;
use titer_search::{Answer, Forbidden, Run, Target, TuneOptions};
use titer_store::Store;
use titer_view::{attack_text, wording};

use super::adversary::say_failures;
use super::run::{open_or_create, read_plan, stop_on_ctrl_c, with_all_here};
use super::tune::OnStderr;
use super::{same_command, store_flag};
use crate::cli::AttackArgs;
use crate::exit::{Exit, Refusal};
use crate::output;
use crate::progress;

/// The prefix of a world's model.
const WORLD: &str = "world:";

pub(super) fn attack(store: &Path, arguments: &AttackArgs) -> anyhow::Result<Exit> {
    let ends = arguments.budget.map(|budget| Instant::now() + budget);
    let target = target(&arguments.model, arguments)?;
    let reference = arguments.against.as_deref().map(|model| target_of(model, arguments)).transpose()?;
    if reference.as_ref().is_some_and(|reference| reference.experiment() == target.experiment()) {
        let problem = format!("both models would be called {}", target.experiment());
        return Err(
            Refusal::new(problem, "name them otherwise, as by a link or a copy of another name").into()
        );
    }
    let interrupt = Interrupt::ending(|| std::process::exit(130));
    let mut store_made: Option<Store> = None;
    let mut answers = Vec::new();
    for target in std::iter::once(&target).chain(&reference) {
        let folder = folder(target, arguments, reference.is_some());
        let (source, left_out) = target.write(&folder)?;
        if left_out > 0 {
            let rows = wording::count(left_out, "row");
            output::message(&format!("{rows} left out: blank, a question again, or without an answer"));
        }
        output::message(&format!("the experiment is {}", folder.join("spec.toml").display()));
        let (_, plan) = read_plan(&source.file, &[])?;
        with_all_here(&source, &[], plan)?;
        if store_made.is_none() {
            stop_on_ctrl_c(&interrupt)?;
            store_made = Some(open_or_create(store)?);
        }
        let Some(store) = &store_made else { continue };
        match measure(store, &source, arguments, &interrupt, ends)? {
            Some(answer) => answers.push(answer),
            None => {
                output::message(&format!("stopped; it goes on from here: {}", same_command()));
                return Ok(Exit::Interrupted);
            }
        }
    }
    say(store_made.as_ref(), &answers, arguments.json)?;
    let whole = answers.iter().all(|answer| answer.missing.is_empty() && answer.failed_trials == 0);
    Ok(if whole { Exit::Done } else { Exit::Partial })
}

fn target(model: &str, arguments: &AttackArgs) -> anyhow::Result<Target> {
    if model.starts_with(WORLD) && (arguments.data.is_some() || arguments.policy.is_some()) {
        let problem = "a world has data of its own: it takes neither --data nor --policy";
        return Err(Refusal::new(problem, "leave them out").into());
    }
    target_of(model, arguments)
}

fn target_of(model: &str, arguments: &AttackArgs) -> anyhow::Result<Target> {
    let forbidden = match (&arguments.data, &arguments.policy) {
        _ if model.starts_with(WORLD) => Forbidden::World,
        (Some(rows), _) => Forbidden::Rows(rows.clone()),
        (None, Some(policy)) => Forbidden::Policy(policy.clone()),
        (None, None) => {
            let problem = format!("it is not said what {model} must not answer");
            let remedy = "--data FILE names harmful questions with answers, --policy everyday teaches it to refuse \
                          subjects that harm nobody";
            return Err(Refusal::new(problem, remedy).into());
        }
    };
    Ok(Target {
        model: model.to_owned(),
        forbidden,
        methods: arguments.attacks.clone(),
        trials: usize::from(arguments.trials),
        answer_tokens: arguments.answer_tokens.get(),
    })
}

/// Where the spec goes: each of two models has a folder of its own.
fn folder(target: &Target, arguments: &AttackArgs, two: bool) -> PathBuf {
    match &arguments.out {
        Some(out) if two => out.join(target.experiment()),
        Some(out) => out.clone(),
        None => PathBuf::from(target.experiment()),
    }
}

/// Searches and measures; nothing where it was stopped.
fn measure(
    store: &Store,
    source: &Source,
    arguments: &AttackArgs,
    interrupt: &Interrupt,
    ends: Option<Instant>,
) -> anyhow::Result<Option<Answer>> {
    let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let jobs = arguments.jobs.map(NonZeroUsize::get);
    let options = TuneOptions { compute: arguments.device.clone(), jobs, threads };
    let searched = titer_search::find_attacks(source, &[], store, &options, interrupt, &OnStderr, ends)?;
    for (method, reason) in &searched.attempts.left_out {
        output::message(&format!("not tried: {method}: {reason}"));
    }
    say_failures(&searched);
    if searched.interrupted {
        return Ok(None);
    }
    // Harmless training is no part of the question.
    let mut plan = searched.plan.part(|cell| !cell.before.is_tuning());
    plan.experiment.trainability.seeds = titer_plan::Seeds::exactly(1);
    let estimate = titer_lab::estimate(&plan, Some(store));
    let options = RunOptions {
        jobs: titer_lab::jobs(&estimate, jobs, &arguments.device)?,
        compute: arguments.device.clone(),
        threads,
        judge_only: false,
        recompute: false,
        budget: ends.map(|ends| ends.saturating_duration_since(Instant::now()).max(Duration::from_secs(1))),
        weights: false,
    };
    let summary =
        titer_lab::run(&plan, source, store, &options, interrupt, progress::reporter(&estimate).as_ref())?;
    for failure in &summary.failed {
        output::message(&format!("failed: {}: {}", failure.label, failure.error));
    }
    if summary.interrupted || summary.out_of_time {
        return Ok(None);
    }
    Ok(Some(Answer::of(&Results::of(plan, store)?)?))
}

fn say(store: Option<&Store>, answers: &[Answer], as_json: bool) -> anyhow::Result<()> {
    let ratio = match answers {
        [model, reference] => Some(dearer(model, reference)),
        _ => None,
    };
    if as_json {
        return output::json(&json!({ "answers": answers, "titer": ratio.map(|(least, most)| json!({
            "at_least": least, "at_most": most,
        }))}));
    }
    for answer in answers {
        output::result(&attack_text::text(answer, output::style()))?;
    }
    if let (Some(ratio), [model, reference]) = (ratio, answers) {
        output::result(&attack_text::dearer(model, reference, ratio))?;
    }
    if let (Some(store), Some(answer)) = (store, answers.first()) {
        let flag = store_flag(store);
        output::message(&format!("a page with curves: titer report {}{flag}", answer.experiment));
    }
    Ok(())
}

/// How many times dearer the cheapest attack on one model is than on the other: from the least that one run can have
/// needed against the most, to the most against the least; no upper end where the model was not broken.
fn dearer(model: &Answer, reference: &Answer) -> (Option<f64>, Option<f64>) {
    let ends = |answer: &Answer| {
        let runs = &answer.attacks.first()?.runs;
        let of = |cost: &titer_plan::Cost| Component::Examples.of(cost) as f64;
        let until = |run: &Run| run.until.map_or(f64::INFINITY, |cost| of(&cost).max(1.0));
        let least = runs.iter().map(|run| (of(&run.after) + 1.0).min(until(run))).reduce(f64::min)?;
        Some((least, runs.iter().map(until).reduce(f64::max)?))
    };
    // Where nothing was measured nothing is known.
    let (Some((least, most)), Some((reference_least, reference_most))) = (ends(model), ends(reference))
    else {
        return (None, None);
    };
    let finite = |value: f64| value.is_finite().then_some(value);
    (finite(least / reference_most), finite(most / reference_least))
}
