//! What other programs measured, beside the experiments that `titer compare` compares.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;
use titer_exchange::{Ability, LmEval, TamperBench, Tampered};
use titer_plan::spec::ConditionSettings;
use titer_view::comparison::Row;
use titer_view::table::Table;

use crate::cli::CompareArgs;
use crate::exit::Refusal;
use crate::output;

/// Somebody else's figures.
#[derive(Debug, Serialize)]
pub(super) struct Beside {
    /// The defences by TamperBench's rule, and its models, folder by folder.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tamperbench: Vec<Guarded>,
    /// Abilities by lm-eval, defence by defence.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    lm_eval: Vec<Harness>,
}

/// One folder, and the defences by its rule.
#[derive(Debug, Serialize)]
struct Guarded {
    defences: Vec<Tampered>,
    #[serde(flatten)]
    theirs: TamperBench,
}

/// One defence against the undefended model.
#[derive(Debug, Serialize)]
struct Harness {
    experiment: String,
    defence: String,
    from: [PathBuf; 2],
    confidence: f64,
    epsilon: f64,
    abilities: Vec<Ability>,
    left_out: Vec<String>,
}

impl Beside {
    /// For people.
    pub(super) fn tables(&self) -> Vec<Table> {
        let guarded = |one: &Guarded| titer_exchange::tamperbench_table(&one.defences, &one.theirs);
        let harness = |one: &Harness| {
            let called = format!("{} in {}", one.defence, one.experiment);
            titer_exchange::lm_eval_table(&called, &one.abilities, one.confidence, one.epsilon)
        };
        self.tamperbench.iter().map(guarded).chain(self.lm_eval.iter().map(harness)).collect()
    }
}

/// Reads what the arguments name, and says what could not be read or compared.
pub(super) fn read(
    rows: &[Row],
    settings: &[(String, ConditionSettings)],
    arguments: &CompareArgs,
) -> anyhow::Result<Beside> {
    let mut tamperbench = Vec::new();
    for folder in &arguments.tamperbench {
        let theirs = titer_exchange::tamperbench(folder, arguments.utility_drop)?;
        theirs.unread.iter().for_each(|unread| output::message(&format!("not read: {unread}")));
        let epsilon = theirs.epsilon.unwrap_or(arguments.utility_drop);
        let defences = rows.iter().map(|row| titer_exchange::by_their_rule(row, epsilon)).collect();
        tamperbench.push(Guarded { defences, theirs });
    }
    Ok(Beside { tamperbench, lm_eval: harness(rows, settings, arguments)? })
}

fn harness(
    rows: &[Row],
    settings: &[(String, ConditionSettings)],
    arguments: &CompareArgs,
) -> anyhow::Result<Vec<Harness>> {
    let mut runs = BTreeMap::new();
    for (defence, path) in &arguments.lm_eval {
        if !rows.iter().any(|row| row.defence == *defence) {
            let mut known: Vec<&str> = rows.iter().map(|row| row.defence.as_str()).collect();
            known.sort_unstable();
            known.dedup();
            let problem = format!("--lm-eval {defence}: there is no such defence");
            return Err(Refusal::new(problem, format!("there are {}", known.join(", "))).into());
        }
        if runs.insert(defence.as_str(), LmEval::read(path)?).is_some() {
            let problem = format!("--lm-eval {defence} stands there twice");
            return Err(Refusal::new(problem, "name one run for each defence").into());
        }
    }
    let mut compared = Vec::new();
    for row in rows.iter().filter(|row| !row.baseline) {
        let Some(defended) = runs.get(row.defence.as_str()) else { continue };
        let baseline = rows.iter().find(|other| other.baseline && other.experiment == row.experiment);
        let undefended = baseline.and_then(|baseline| runs.get(baseline.defence.as_str()));
        let Some(undefended) = undefended else {
            let problem = format!("--lm-eval {}: nothing to compare with", row.defence);
            let hint = "name the undefended model's results too: --lm-eval none=PATH";
            return Err(Refusal::new(problem, hint).into());
        };
        let of = settings.iter().find(|(experiment, _)| *experiment == row.experiment);
        let Some((_, conditions)) = of else { continue };
        let (confidence, epsilon) = (conditions.confidence, conditions.stability_epsilon);
        let (abilities, left_out) = titer_exchange::abilities(undefended, defended, confidence, epsilon);
        left_out.iter().for_each(|why| output::message(&format!("not compared: {why}")));
        compared.push(Harness {
            experiment: row.experiment.clone(),
            defence: row.defence.clone(),
            from: [undefended, defended].map(|run| run.from.clone()),
            confidence,
            epsilon,
            abilities,
            left_out,
        });
    }
    Ok(compared)
}
