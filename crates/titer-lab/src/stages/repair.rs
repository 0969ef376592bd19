//! The stage that repairs a tuned model: a post-fine-tuning-stage defence, and what the model says after it.

use std::collections::BTreeSet;
use std::rc::Rc;

use polars::prelude::{ChunkAgg, ChunkCompareIneq, DataFrame};
use serde_json::{Value, json};
use titer_defences::RepairContext;
use titer_metrics::{probe_frame, response_frame, stack};
use titer_model::Decoder;
use titer_plan::Cost;
use titer_plan::stage::{Asker, RepairStage};
use titer_store::Artifact;

use super::attack::{context as attacker, lent};
use super::probing::Questions;
use super::recorder::write_frame;
use super::train::{defender, write_chat, write_model};
use super::{ADAPTER, PROBES, RESPONSES, Work};
use crate::Result;
use crate::files::read_frame;
use crate::material::Material;

pub(super) fn repair(work: &Work<'_>, spec: &RepairStage) -> Result<Value> {
    // No longer than a short training: an interrupted one begins anew.
    work.writer.resume()?;
    let method = titer_defences::registry::repair(&spec.defence)?;
    let data: Rc<dyn Material> = work.material(&spec.data)?.into();
    let (tuned_artifact, tuned) = work.input(0)?;
    let (_, aligned) = work.input(1)?;
    let base = if spec.base { Some(work.input(2)?.1) } else { None };
    let tuned = with_adapters(&tuned_artifact, &aligned)?.unwrap_or(tuned);
    let data_of_defender = defender(data.as_ref(), &spec.domains, spec.seed)?;
    let context = RepairContext { data: data_of_defender, aligned, base };
    let (model, report) = method.repair(tuned, &context)?;

    let told = read_frame(&tuned_artifact.payload(PROBES)?, &titer_metrics::PROBE_ROWS)?;
    let failed = |source| titer_metrics::Error::Polars { frame: PROBES, source };
    let budget = last_budget(&told).map_err(failed)?;
    let questions = Questions::new(work, data.clone(), &context.aligned)?;
    let name = work.stage.hash.short();
    let answers = match &spec.asker {
        None => questions.ask(&model, &budget, name)?,
        Some(Asker { attack: method, domains, seed }) => {
            let attack = titer_attacks::registry::attack(method)?;
            let lent = lent(work, &data, domains, false)?;
            let attacker = attacker(&lent, method, &attack, domains, *seed)?;
            questions.put_by(&attack, &attacker)?.ask(&model, &budget, name)?
        }
    };
    let (mut probes, mut responses) =
        (vec![probe_frame(&answers.rows)?], vec![response_frame(&answers.responses)?]);
    if spec.way {
        let told = before(&told, budget.steps).map_err(failed)?;
        let answers = read_frame(&tuned_artifact.payload(RESPONSES)?, &titer_metrics::RESPONSES)?;
        responses.push(of_rows(&answers, &told).map_err(failed)?);
        probes.push(told);
    }
    let (rows, texts) = (&titer_metrics::PROBE_ROWS, &titer_metrics::RESPONSES);
    write_frame(work, PROBES, &stack(&probes, rows)?, rows)?;
    write_frame(work, RESPONSES, &stack(&responses, texts)?, texts)?;
    write_chat(work)?;
    write_model(work, model)?;
    Ok(json!({
        "changed": report.changed,
        "considered": report.considered,
        "examples": report.cost.examples,
        "tokens": report.cost.tokens,
        "flops": report.cost.flops,
    }))
}

/// The tuned model with its adapters apart, if it was tuned by adapters.
fn with_adapters(artifact: &Artifact, aligned: &Decoder) -> Result<Option<Decoder>> {
    let folder = match artifact.payload(ADAPTER) {
        Err(titer_store::Error::NoPayload { .. }) => return Ok(None),
        folder => folder?,
    };
    let mut model = aligned.duplicate()?;
    model.load_adapter(&folder)?;
    Ok(Some(model))
}

/// The rows of a frame before the last budget.
fn before(rows: &DataFrame, steps: u64) -> polars::prelude::PolarsResult<DataFrame> {
    rows.filter(&rows.column("budget_steps")?.u64()?.lt(steps))
}

/// The responses whose rows these are.
fn of_rows(responses: &DataFrame, rows: &DataFrame) -> polars::prelude::PolarsResult<DataFrame> {
    let known: BTreeSet<&str> = rows.column("response_id")?.str()?.iter().flatten().collect();
    let ids = responses.column("response_id")?.str()?.iter();
    responses.filter(&ids.map(|id| id.is_some_and(|id| known.contains(id))).collect())
}

/// What had been spent when the tuned model was asked last.
fn last_budget(rows: &DataFrame) -> polars::prelude::PolarsResult<Cost> {
    let steps = rows.column("budget_steps")?.u64()?;
    let last = steps.max().unwrap_or_default();
    let row = steps.iter().position(|steps| steps == Some(last)).unwrap_or_default();
    let count = |name: &str| -> polars::prelude::PolarsResult<u64> {
        Ok(rows.column(name)?.u64()?.get(row).unwrap_or_default())
    };
    let flops = rows.column("budget_flops")?.f64()?.get(row).unwrap_or_default();
    Ok(Cost {
        steps: last,
        examples: count("budget_examples")?,
        distinct_harmful: count("budget_distinct")?,
        flops,
        tokens: count("budget_tokens")?,
        seconds: 0.0,
    })
}
