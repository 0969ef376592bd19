//! Logs of Inspect AI (version 2 of its format, as JSON): one for each model before any attack, and one for each attack
//! on it, so that `inspect view` shows what was asked, what was answered and how it was scored.
//!
//! An item is a sample; the seeds of defence and attack are its epochs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde_json::{Map, Value, json};
use titer_plan::{Arm, Before, Marks};

use crate::File;
use crate::error::Error;
use crate::gather::{Answer, Evaluated, Group, Model};
use crate::identity::{part, rfc3339, short};
use crate::json;

/// The logs of every model of an experiment.
///
/// # Errors
/// When a value cannot be written as JSON.
pub fn inspect(experiment: &Evaluated) -> Result<Vec<File>, Error> {
    let mut files = Vec::new();
    for model in &experiment.models {
        for (moment, groups) in moments(model) {
            let task = format!("{}-{}-{moment}", experiment.experiment.name, model.verdict.defence);
            let id = short(&format!("{task} {:?}", model.made_by));
            let log = log(experiment, model, &moment, &groups, &task, &id);
            let time = rfc3339(experiment.times[0]).replace(':', "-").replace('Z', "+00-00");
            let path = PathBuf::from(format!("{time}_{}_{id}.json", part(&task)));
            files.push(File { path, bytes: json::document(&log)? });
        }
    }
    Ok(files)
}

/// What belongs into one log: all that was asked before attacks, and of each attack its end.
fn moments(model: &Model) -> Vec<(String, Vec<&Group>)> {
    let mut moments: Vec<(String, Vec<&Group>)> = Vec::new();
    for group in &model.groups {
        let moment = match (&group.before, group.done) {
            (Before::Nothing | Before::Attack(_), false) => "before-attacks".to_owned(),
            (before, true) => format!("after-{before}"),
            (before, false) => format!("before-{before}"),
        };
        match moments.iter_mut().find(|(known, _)| *known == moment) {
            Some((_, groups)) => groups.push(group),
            None => moments.push((moment, vec![group])),
        }
    }
    moments
}

/// The score's name in a log: a column of its viewer.
fn column(group: &Group) -> &'static str {
    if group.lower_is_better() { "harm" } else { "ability" }
}

/// An item's name in a log: the same item may be asked in two arms, and by two measurements.
fn sample_id(group: &Group, answer: &Answer) -> String {
    let arm = if group.arm == Arm::Main { String::new() } else { format!("{}/", group.arm) };
    let set = if group.before == Before::Nothing { "stability/" } else { "" };
    format!("{arm}{set}{}/{}", group.probe, answer.item)
}

fn log(
    experiment: &Evaluated,
    model: &Model,
    moment: &str,
    groups: &[&Group],
    task: &str,
    id: &str,
) -> Value {
    let seeds: BTreeSet<(u64, u64)> = groups
        .iter()
        .flat_map(|group| &group.answers)
        .map(|answer| (answer.defence_seed, answer.attack_seed))
        .collect();
    let epochs: BTreeMap<(u64, u64), usize> = seeds.into_iter().zip(1..).collect();
    let name = format!("titer/{}-{}", experiment.experiment.name, part(&model.verdict.defence));
    let samples: Vec<Value> = groups
        .iter()
        .flat_map(|group| group.answers.iter().map(|answer| sample(group, answer, &epochs, &name, id)))
        .collect();
    let ids: BTreeSet<String> =
        groups.iter().flat_map(|group| group.answers.iter().map(|answer| sample_id(group, answer))).collect();
    let [started, ended] = experiment.times.map(|time| rfc3339(time).replace('Z', "+00:00"));
    let [kind, data] = &experiment.data;
    let columns: BTreeSet<&str> = groups.iter().map(|group| column(group)).collect();
    json!({
        "version": 2,
        "status": "success",
        "eval": {
            "eval_id": short(&format!("eval {id}")),
            "run_id": short(&format!("run {id}")),
            "created": started,
            "task": task,
            "task_id": short(&format!("task {id}")),
            "task_version": 0,
            "task_display_name": format!("{} {moment}", model.verdict.defence),
            "dataset": {
                "name": format!("{kind} {data}"),
                "samples": ids.len(),
                "sample_ids": ids,
                "shuffled": false,
            },
            "model": name,
            "model_generate_config": {},
            "config": { "epochs": epochs.len().max(1) },
            "packages": { "titer": env!("CARGO_PKG_VERSION") },
            "metadata": header(experiment, model, moment),
        },
        "plan": { "name": "plan", "steps": [{ "solver": "titer", "params": {} }], "config": {} },
        "results": {
            "total_samples": samples.len(),
            "completed_samples": samples.len(),
            "scores": columns.into_iter().map(|name| score(groups, name)).collect::<Vec<_>>(),
        },
        "stats": { "started_at": started, "completed_at": ended, "model_usage": {} },
        "samples": samples,
    })
}

/// What a log says of the model, beside its answers.
fn header(experiment: &Evaluated, model: &Model, moment: &str) -> Value {
    json!({
        "base_model": experiment.experiment.model.reference(),
        "experiment": experiment.experiment.name,
        "defence": model.verdict.defence,
        "methods": model.methods,
        "role": model.verdict.role.name(),
        "threat_model": experiment.experiment.threat_model.name(),
        "moment": moment,
        "made_by": model.made_by,
        "computed_by": experiment.versions,
        "caveats": experiment.verdicts.caveats,
        "titer": model.verdict.titer,
        "conditions": model.verdict.conditions.iter().map(|(name, verdict)| {
            (name.name().to_owned(), verdict.verdict.name().into())
        }).collect::<Map<String, Value>>(),
    })
}

/// The mean of a column, and of each probe in it the interval that titer has of it.
fn score(groups: &[&Group], name: &str) -> Value {
    let groups: Vec<&Group> = groups.iter().copied().filter(|group| column(group) == name).collect();
    let answers: usize = groups.iter().map(|group| group.answers.len()).sum();
    let mean =
        groups.iter().map(|group| group.mean() * group.answers.len() as f64).sum::<f64>() / answers as f64;
    let metric = |name: &str, value: f64| json!({ "name": name, "value": value, "params": {} });
    let mut metrics = Map::from_iter([("mean".to_owned(), metric("mean", mean))]);
    for group in &groups {
        let called = format!("mean of {}", group.name());
        let mut of = metric(&called, group.mean());
        if let Some(interval) = group.interval {
            of["metadata"] = json!({ "lower": interval.lower, "upper": interval.upper });
        }
        metrics.insert(called, of);
    }
    json!({ "name": name, "scorer": name, "scored_samples": answers, "params": {}, "metrics": metrics })
}

fn sample(
    group: &Group,
    answer: &Answer,
    epochs: &BTreeMap<(u64, u64), usize>,
    model: &str,
    log: &str,
) -> Value {
    let said = &answer.said;
    let epoch = epochs.get(&(answer.defence_seed, answer.attack_seed)).copied().unwrap_or(1);
    let id = sample_id(group, answer);
    let unique = |what: &str| short(&format!("{log} {id} {epoch} {what}"));
    let reply = json!({
        "id": unique("answer"), "role": "assistant", "content": said.answer, "source": "generate", "model": model,
    });
    let stop = if said.cut { "max_tokens" } else { "stop" };
    let marks: Map<String, Value> =
        Marks::ALL.iter().map(|(name, mark)| ((*name).to_owned(), mark(&answer.marks).into())).collect();
    let value = json!({
        "value": answer.score,
        "answer": said.answer,
        "metadata": { "judge": group.judge.name, "marks": marks },
    });
    json!({
        "id": id,
        "epoch": epoch,
        "input": said.question,
        "target": said.reference,
        "messages": [
            { "id": unique("question"), "role": "user", "content": said.question, "source": "input" },
            reply,
        ],
        "output": {
            "model": model,
            "choices": [{ "message": reply, "stop_reason": stop }],
            "completion": said.answer,
        },
        "scores": Map::from_iter([(column(group).to_owned(), value)]),
        "metadata": {
            "probe": group.probe.name(),
            "defence_seed": answer.defence_seed,
            "attack_seed": answer.attack_seed,
            "steps": answer.steps,
            "prompt": said.prompt,
            "continuations": said.continuations,
        },
        "store": {},
        "events": [],
        "model_usage": {},
        "attachments": {},
        "uuid": unique("sample"),
    })
}
