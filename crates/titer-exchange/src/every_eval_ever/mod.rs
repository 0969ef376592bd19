//! Every Eval Ever, schema 0.3.0 (`evaleval/every_eval_ever`): for each model one JSON document with its results, and
//! beside it a line of JSON for each answer.
//!
//! Paths are those of its datastore: `data/titer/PUBLISHER/MODEL/UUID.json`. All that it has no key for stands under
//! `details` and `additional_details`, whose values are texts there.

mod figures;
mod samples;

use std::path::PathBuf;

use serde_json::{Map, Value, json};
use titer_plan::Arm;

use crate::File;
use crate::error::Error;
use crate::gather::{Evaluated, Group, Model};
use crate::identity::{part, rfc3339, sha256, uuid};
use crate::json;

/// The schema that is written.
pub(crate) const SCHEMA: &str = "0.3.0";

/// The documents and the lines of answers of every model of an experiment; `publisher` is who ran it.
///
/// # Errors
/// When a value cannot be written as JSON.
pub fn every_eval_ever(experiment: &Evaluated, publisher: &str) -> Result<Vec<File>, Error> {
    let mut files = Vec::new();
    for model in &experiment.models {
        let named = Named::of(experiment, model, publisher);
        let lines = samples::lines(model, &named)?;
        let document = document(experiment, model, publisher, &named, &lines)?;
        files.push(File { path: PathBuf::from(&named.document), bytes: json::document(&document)? });
        files.push(File { path: PathBuf::from(&named.samples), bytes: lines });
    }
    Ok(files)
}

/// What a model and its files are called.
struct Named {
    evaluation: String,
    model: String,
    document: String,
    samples: String,
    retrieved: String,
}

impl Named {
    fn of(experiment: &Evaluated, model: &Model, publisher: &str) -> Self {
        let name = &experiment.experiment.name;
        let (owner, called) = (part(publisher), part(&format!("{name}-{}", model.verdict.defence)));
        let retrieved = format!("{:.0}", experiment.times[1].floor());
        let evaluation = format!("titer-{name}/{owner}/{called}/{retrieved}");
        let made: Vec<&str> = model.made_by.iter().map(|[_, hash]| hash.as_str()).collect();
        let id = uuid(&format!("{evaluation} {}", made.join(" ")));
        let folder = format!("data/titer/{owner}/{called}");
        Self {
            evaluation,
            model: format!("{owner}/{called}"),
            document: format!("{folder}/{id}.json"),
            samples: format!("{folder}/{id}_samples.jsonl"),
            retrieved,
        }
    }
}

fn document(
    experiment: &Evaluated,
    model: &Model,
    publisher: &str,
    named: &Named,
    lines: &[u8],
) -> Result<Value, Error> {
    let mut results: Vec<Value> = Vec::new();
    for group in &model.groups {
        results.push(result(experiment, &group_id(group), &group.name(), figures::group(experiment, group)));
    }
    for figure in figures::figures(experiment, &model.verdict) {
        let (id, name) = (figure.id.clone(), figure.name.clone());
        results.push(result(experiment, &id, &name, figure.into()));
    }
    let relationship = if model.as_released { "third_party" } else { "first_party" };
    Ok(json!({
        "schema_version": SCHEMA,
        "evaluation_id": named.evaluation,
        "evaluation_timestamp": rfc3339(experiment.times[0]),
        "retrieved_timestamp": named.retrieved,
        "source_metadata": {
            "source_name": "titer",
            "source_type": "evaluation_run",
            "source_organization_name": publisher,
            "evaluator_relationship": relationship,
        },
        "eval_library": {
            "name": "titer",
            "version": env!("CARGO_PKG_VERSION"),
            "additional_details": { "computed_by": experiment.versions.join(", ") },
        },
        "model_info": model_info(experiment, model, named),
        "evaluation_results": results,
        "detailed_evaluation_results": {
            "format": "jsonl",
            "file_path": named.samples,
            "hash_algorithm": "sha256",
            "checksum": sha256(lines),
            "total_rows": lines.iter().filter(|byte| **byte == b'\n').count(),
        },
    }))
}

fn model_info(experiment: &Evaluated, model: &Model, named: &Named) -> Value {
    let base = experiment.experiment.model.reference();
    let open = if base.starts_with("hf:") || base.starts_with("world:") { "open_weights" } else { "unknown" };
    let verdict = &model.verdict;
    let made: Vec<String> = model.made_by.iter().map(|made| made.join(" ")).collect();
    json!({
        "name": format!("{base} with the defence {}", verdict.defence),
        "id": named.model,
        "inference_engine": { "name": "titer", "version": env!("CARGO_PKG_VERSION") },
        "additional_details": {
            "deployment_type": "self_deployed",
            "model_availability": open,
            "base_model": base,
            "experiment": experiment.experiment.name,
            "experiment_seed": experiment.experiment.seed.to_string(),
            "defence": verdict.defence,
            "defence_methods": model.methods.join(", "),
            "defence_role": verdict.role.name(),
            "threat_model": experiment.experiment.threat_model.name(),
            "made_by_stages": made.join(", "),
            "caveats": experiment.verdicts.caveats.join(" | "),
        },
    })
}

/// The join key of a group's result and its answers.
fn group_id(group: &Group) -> String {
    let arm = if group.arm == Arm::Main { String::new() } else { format!("/{}", group.arm) };
    let when = if group.done { "after" } else { "before" };
    format!("{}/{when}/{}{arm}", group.probe, group.before)
}

/// The metric and the score of a result.
struct Scored {
    metric: Value,
    score: Value,
}

fn result(experiment: &Evaluated, id: &str, name: &str, scored: Scored) -> Value {
    json!({
        "evaluation_result_id": id,
        "evaluation_name": name,
        "source_data": source_data(experiment),
        "metric_config": scored.metric,
        "score_details": scored.score,
    })
}

fn source_data(experiment: &Evaluated) -> Value {
    let [kind, name] = &experiment.data;
    match &experiment.hub {
        Some(hub) => {
            let mut details =
                Map::from_iter([("titer_data".to_owned(), Value::from(format!("{kind} {name}")))]);
            details.extend(hub.revision.iter().map(|commit| ("revision".to_owned(), commit.as_str().into())));
            json!({
                "dataset_name": name,
                "source_type": "hf_dataset",
                "hf_repo": hub.id,
                "additional_details": details,
            })
        }
        None => json!({
            "dataset_name": name,
            "source_type": "other",
            "additional_details": { "titer_data": format!("{kind} {name}") },
        }),
    }
}
