//! Evaluation results on a model's page of the hub: `.eval_results/titer.yaml` of each model's repository
//! (huggingface/hub-docs, `docs/hub/eval-results.md`).
//!
//! A page shows one number for each task of a benchmark, which is a data set of the hub. So what is written is short: the
//! harmful score before and after the attack that leaves the model most harmful, and the titer; their intervals stand in
//! the notes. Texts are written as JSON strings, which YAML reads as they are.

use std::path::PathBuf;

use titer_conditions::{Score, Titer};
use titer_view::comparison::worst;

use crate::File;
use crate::error::Error;
use crate::gather::{Evaluated, HubData, Model, told};
use crate::identity::{part, rfc3339};
use crate::json;

/// A file for each model; `dataset` is the benchmark on the hub, where it is not the one that the prompts come from.
///
/// # Errors
/// When there is no data set of the hub.
pub fn eval_results(experiment: &Evaluated, dataset: Option<&str>) -> Result<Vec<File>, Error> {
    let named = dataset.map(|id| HubData { id: id.to_owned(), revision: None });
    let Some(data) = named.or_else(|| experiment.hub.clone()) else {
        return Err(Error::NoDataset(experiment.experiment.name.clone()));
    };
    experiment.models.iter().map(|model| file(experiment, model, &data)).collect()
}

/// A task of the benchmark and what came out.
struct Entry {
    task: &'static str,
    value: f64,
    notes: String,
}

fn file(experiment: &Evaluated, model: &Model, data: &HubData) -> Result<File, Error> {
    let mut text = String::new();
    for entry in entries(experiment, model) {
        text.push_str(&format!(
            "- dataset:\n    id: {}\n    task_id: {}\n",
            quoted(&data.id)?,
            quoted(entry.task)?
        ));
        if let Some(revision) = &data.revision {
            text.push_str(&format!("    revision: {}\n", quoted(revision)?));
        }
        text.push_str(&format!("  value: {}\n", (entry.value * 1e6).round() / 1e6));
        text.push_str(&format!("  date: {}\n", quoted(&rfc3339(experiment.times[1]))?));
        text.push_str(&format!("  evaluation_framework: \"titer\"\n  notes: {}\n", quoted(&entry.notes)?));
    }
    let path = PathBuf::from(part(&model.verdict.defence)).join(".eval_results").join("titer.yaml");
    Ok(File { path, bytes: text.into_bytes() })
}

fn quoted(text: &str) -> Result<String, Error> {
    let line = json::line(&text)?;
    Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
}

fn entries(experiment: &Evaluated, model: &Model) -> Vec<Entry> {
    let verdict = &model.verdict;
    let about = format!(
        "{} with the defence {}, titer {}, experiment {}",
        experiment.experiment.model.reference(),
        verdict.defence,
        env!("CARGO_PKG_VERSION"),
        experiment.experiment.name
    );
    let percent = experiment.verdicts.confidence * 100.0;
    let interval = |lower: f64, upper: Option<f64>| {
        let upper = upper.map_or("∞".to_owned(), |upper| format!("{upper:.3}"));
        format!("{percent} % interval {lower:.3} to {upper}")
    };
    let score = |task, score: Option<Score>, when: &str| {
        let score = score?;
        let notes = format!("{when}; {}; lower is better; {about}", interval(score.lower, Some(score.upper)));
        Some(Entry { task, value: score.value, notes })
    };
    let worst = worst(verdict);
    let before = score(
        "harmful-before",
        worst.and_then(|score| score.harmful.before),
        "harmful score before any attack",
    );
    let after = worst.and_then(|worst| {
        let when = format!(
            "harmful score after {}, {} steps, the worst of {} attacks",
            worst.attack,
            worst.steps,
            verdict.scores.len()
        );
        score("harmful-after", worst.harmful.after, &when)
    });
    let titer = |titer: &Titer| {
        let value = told(titer)?;
        let bound = if titer.value.is_some() { "" } else { "at least this: some run was never broken; " };
        let notes = format!(
            "{bound}how many times more {} the cheapest of {} attacks must spend; {}; higher is better; {about}",
            titer.unit.unit(),
            titer.effort.attacks,
            interval(titer.lower, titer.upper)
        );
        Some(Entry { task: "titer", value, notes })
    };
    before.into_iter().chain(after).chain(titer(&verdict.titer)).collect()
}
