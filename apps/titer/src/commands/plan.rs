//! `titer plan`.

use std::path::Path;

use serde::Serialize;
use serde_json::json;
use titer_lab::{Estimate, Results, StageEstimate};
use titer_plan::{Ladder, Plan, SeedsAtLook};
use titer_store::Store;
use titer_view::table::{Cell, Table};
use titer_view::wording;

use super::power_text;
use super::run::read_plan;
use super::staleness;
use crate::cli::PlanArgs;
use crate::exit::{Exit, Refusal};
use crate::output;

pub(super) fn plan(store: &Path, arguments: &PlanArgs) -> anyhow::Result<Exit> {
    let (_, plan) = read_plan(&arguments.spec, &arguments.set)?;
    // A plan runs nothing, so it makes no store either.
    let store = if store.exists() { Some(Store::open(store)?) } else { None };
    if let Some(store) = &store {
        staleness::say_changes(store, &plan);
    }
    for source in plan.not_here() {
        output::message(&format!(
            "{} {} is not on this machine; the names of the stages that need it are provisional",
            source.role, source.reference
        ));
    }
    if arguments.power {
        return power(store.as_ref(), plan, arguments);
    }
    let estimate = titer_lab::estimate(&plan, store.as_ref());
    let looks = looks(&plan);
    if arguments.json {
        let stages: Vec<_> = estimate.stages.iter().map(stage_json).collect();
        output::json(&json!({
            "experiment": plan.experiment.name,
            "stages": stages,
            "sources": plan.sources,
            "provisional": plan.not_here().next().is_some(),
            "seconds_total": estimate.seconds_total,
            "memory_bytes_per_job": estimate.memory_bytes(1),
            "disk_bytes": estimate.disk_bytes,
            "unknown": estimate.unknown,
            "looks": looks,
        }))?;
    } else {
        output::result(&text(&plan.experiment.name, &estimate))?;
        if !looks.is_empty() {
            output::result(&looks_text(&looks))?;
        }
    }
    Ok(Exit::Done)
}

/// What the planned seeds can decide.
fn power(store: Option<&Store>, plan: Plan, arguments: &PlanArgs) -> anyhow::Result<Exit> {
    let experiment = plan.experiment.clone();
    let earlier = match (store, &arguments.from) {
        (Some(store), Some(name)) => Some(Results::load(store, name)?),
        (Some(store), None) => Some(Results::of(plan, store)?),
        (None, Some(name)) => {
            let problem = format!("there is no store, so that {name} is not in it");
            return Err(Refusal::new(problem, "leave --from out, or name the store with --store").into());
        }
        (None, None) => None,
    };
    let power = titer_lab::planned_power(&experiment, earlier.as_ref(), &arguments.assume)?;
    if arguments.json {
        output::json(&json!({ "experiment": experiment.name, "power": power }))?;
    } else {
        output::result(&power_text::text(&experiment.name, &power, output::style()))?;
    }
    Ok(Exit::Done)
}

/// One look of a plan that adds seeds until all is decided.
#[derive(Serialize)]
struct PlannedLook {
    /// Its number, from 1.
    look: usize,
    /// Seeds of what is open then, at most.
    seeds: SeedsAtLook,
    /// The level at which it is judged.
    alpha: f64,
    /// Stages up to it, where everything stays open.
    stages: usize,
}

/// The looks of a plan; none of one that measures all its seeds.
fn looks(plan: &Plan) -> Vec<PlannedLook> {
    if !plan.grows() {
        return Vec::new();
    }
    let ladder = Ladder::of(&plan.experiment);
    let levels = ladder.levels(1.0 - plan.experiment.conditions.confidence);
    let looks = ladder.seeds().iter().zip(levels).enumerate();
    looks
        .map(|(index, (&seeds, alpha))| PlannedLook {
            look: index + 1,
            seeds,
            alpha,
            stages: plan.part(|cell| ladder.look_of(cell) <= index).stages.len(),
        })
        .collect()
}

fn looks_text(looks: &[PlannedLook]) -> String {
    let row = |look: &PlannedLook| {
        let SeedsAtLook { defence, attack, tuning } = look.seeds;
        let numbers = [look.look, defence as usize, attack as usize, tuning as usize];
        let mut row: Vec<Cell> = numbers.iter().map(|number| Cell::new(number.to_string())).collect();
        row.extend([Cell::new(format!("{:.4}", look.alpha)), Cell::new(look.stages.to_string())]);
        row
    };
    let head = ["look", "defence seeds", "attack seeds", "tuning seeds", "level α", "stages up to it"];
    let table = Table {
        caption: String::new(),
        head: head.map(Cell::new).into(),
        rows: looks.iter().map(row).collect(),
    };
    let text = "Seeds are added look by look until all is decided; stages and costs are those of the last look, at most.";
    format!("\n{}\n{text}\n", table.to_text(output::style(), usize::MAX))
}

fn stage_json(stage: &StageEstimate) -> serde_json::Value {
    json!({
        "hash": stage.hash,
        "kind": stage.kind,
        "label": stage.label,
        "cached": stage.cached,
        "steps": stage.steps,
        "flops": stage.flops,
        "seconds": stage.seconds,
        "memory_bytes": stage.memory_bytes,
        "disk_bytes": stage.disk_bytes,
    })
}

fn text(experiment: &str, estimate: &Estimate) -> String {
    let row = |stage: &StageEstimate| {
        let cost = if stage.cached { "done".into() } else { wording::duration(stage.seconds) };
        vec![
            Cell::new(stage.hash.short()),
            Cell::new(cost),
            Cell::new(stage.steps.to_string()),
            Cell::new(&stage.label),
        ]
    };
    let table = Table {
        caption: String::new(),
        head: ["artifact", "time", "steps", "stage"].map(Cell::new).into(),
        rows: estimate.stages.iter().map(row).collect(),
    };
    let cached = estimate.stages.iter().filter(|stage| stage.cached).count();
    let stages = wording::count(estimate.stages.len(), "stage");
    let cost = match &estimate.unknown {
        _ if cached == estimate.stages.len() => "nothing is left to do".to_owned(),
        Some(why) => format!("what it costs is unknown: {why}"),
        None => format!(
            "about {} of work left on one thread; {} of memory for each stage at a time, {} of disk",
            wording::duration(estimate.seconds_total),
            wording::bytes(estimate.memory_bytes(1)),
            wording::bytes(estimate.disk_bytes),
        ),
    };
    format!("{}\n{experiment}: {stages}, {cached} done; {cost}\n", table.to_text(output::style(), usize::MAX))
}
