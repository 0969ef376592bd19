//! The frames of a stage against what its plan says that they must hold, against its log, and its scores against its
//! answers.

use std::collections::BTreeSet;
use std::path::PathBuf;

use candle_core::Device;
use polars::prelude::DataFrame;
use serde_json::{Value, json};
use titer_plan::stage::{AttackStage, StopRule};
use titer_plan::{Plan, PlannedStage, StageSpec};
use titer_store::{Artifact, Manifest, Store};

use super::rows::{Row, by_probe, chunks, deciding, doubled, measured, read_rows};
use crate::files::read_frame;
use crate::live::difference;
use crate::stages::{
    ANSWERS, Again, MODEL, PROBES, RESPONSES, Scored, TRAINING, asked, is_at_once, is_enough, training,
};
use crate::{Result, measures};

/// What was found of a stage's frames.
#[derive(Default)]
pub(super) struct Told {
    /// Files and what is wrong with them.
    pub(super) wrong: Vec<(PathBuf, String)>,
    /// Answers that were judged again.
    pub(super) judged: usize,
    pub(super) notes: Vec<String>,
}

/// Looks at all frames of a sealed stage whose files are what was sealed.
pub(super) fn check(
    store: &Store,
    plan: &Plan,
    stage: &PlannedStage,
    artifact: &Artifact,
    manifest: &Manifest,
) -> Told {
    let mut told = Told::default();
    let missing: Vec<&str> = needed(&stage.spec)
        .iter()
        .copied()
        .filter(|needed| {
            !manifest
                .files
                .iter()
                .any(|file| file.name == *needed || file.name.starts_with(&format!("{needed}/")))
        })
        .collect();
    if !missing.is_empty() {
        told.wrong.push((artifact.manifest_path(), format!("it names no {}", missing.join(" and no "))));
        return told;
    }
    let look = Look { store, plan, stage, artifact, summary: &manifest.summary };
    if needed(&stage.spec).contains(&TRAINING) {
        look.training(&mut told);
    }
    if !stage.spec.probes().is_empty() {
        look.probes(&mut told);
    }
    told
}

/// What the artifact of a stage has at least.
fn needed(spec: &StageSpec) -> &'static [&'static str] {
    match spec {
        StageSpec::Pretrain(_) | StageSpec::Align(_) | StageSpec::Immunize(_) => &[MODEL, TRAINING],
        StageSpec::Checkpoint(_) | StageSpec::Source(_) => &[],
        StageSpec::Distil(_) => &[ANSWERS],
        StageSpec::Measure(_) => &[PROBES, RESPONSES],
        StageSpec::Attack(_) | StageSpec::Tune(_) => &[PROBES, RESPONSES, TRAINING],
        StageSpec::Repair(_) => &[PROBES, RESPONSES, MODEL],
    }
}

struct Look<'a> {
    store: &'a Store,
    plan: &'a Plan,
    stage: &'a PlannedStage,
    artifact: &'a Artifact,
    summary: &'a Value,
}

impl Look<'_> {
    fn path(&self, name: &str) -> PathBuf {
        self.artifact.folder().join(name)
    }

    /// The frame of the training is what the log says.
    fn training(&self, told: &mut Told) {
        let same = || -> Result<bool> {
            let stored = read_frame(&self.artifact.payload(TRAINING)?, &titer_metrics::TRAINING_ROWS)?;
            let log = self.artifact.events()?;
            Ok(training(&self.stage.hash, self.stage.spec.kind(), log)?.equals_missing(&stored))
        };
        match same() {
            Ok(true) => {}
            Ok(false) => told.wrong.push((self.path(TRAINING), "it is not what the log says".to_owned())),
            Err(error) => told.wrong.push((self.path(TRAINING), error.chain())),
        }
    }

    fn probes(&self, told: &mut Told) {
        let read = || -> Result<(DataFrame, Vec<Row>)> {
            let frame = read_frame(&self.artifact.payload(PROBES)?, &titer_metrics::PROBE_ROWS)?;
            let rows =
                read_rows(&frame).map_err(|source| titer_metrics::Error::Polars { frame: PROBES, source })?;
            Ok((frame, rows))
        };
        let (frame, rows) = match read() {
            Ok(read) => read,
            Err(error) => return told.wrong.push((self.path(PROBES), error.chain())),
        };
        let mut wrong: Vec<String> = Vec::new();
        wrong.extend(doubled(&rows));
        wrong.extend(self.checkpoints(&rows));
        wrong.extend(self.items(&rows));
        let here = wrong.into_iter().map(|problem| (self.path(PROBES), problem));
        told.wrong.extend(here);
        if let Err((path, problem)) = self.responses(&rows) {
            told.wrong.push((path, problem));
        }
        if let Some(problem) = self.log(&rows) {
            told.wrong.push((self.artifact.log_path(), problem));
        }
        if let Some(problem) = self.summary(&rows) {
            told.wrong.push((self.artifact.manifest_path(), problem));
        }
        // Judging takes rows as they should be for granted.
        if told.wrong.is_empty() {
            self.judge(&frame, told);
        }
    }

    /// The checkpoints are those of the plan, up to where the attack is broken off.
    fn checkpoints(&self, rows: &[Row]) -> Option<String> {
        let mut steps: Vec<u64> = rows.iter().map(|row| row.spent.steps).collect();
        steps.dedup();
        if let Some(chunk) = chunks(rows).find(|chunk| chunk.iter().any(|row| row.spent != chunk[0].spent)) {
            return Some(format!("after {} steps two budgets are spent", chunk[0].spent.steps));
        }
        let planned = match &self.stage.spec {
            StageSpec::Measure(_) => vec![0],
            StageSpec::Tune(tune) => tune.cadence.clone(),
            StageSpec::Attack(attack) => return off_cadence(attack, &steps, rows),
            StageSpec::Repair(repair) => {
                // Asked when the tuned model was asked last; before that it is that model's.
                let tuned = self.stage.inputs.first().map(|input| self.store.artifact(input));
                let before = tuned.filter(Artifact::is_sealed).and_then(|tuned| {
                    let path = tuned.payload(PROBES).ok()?;
                    read_rows(&read_frame(&path, &titer_metrics::PROBE_ROWS).ok()?).ok()
                })?;
                let all: BTreeSet<u64> = before.iter().map(|row| row.spent.steps).collect();
                let last = all.last().copied();
                if repair.way { all.into_iter().collect() } else { last.into_iter().collect() }
            }
            _ => return None,
        };
        (steps != planned).then(|| format!("it has checkpoints {steps:?}, planned are {planned:?}"))
    }

    /// Each checkpoint has each item of each probe once for each measure.
    fn items(&self, rows: &[Row]) -> Option<String> {
        let probes = self.stage.spec.probes();
        let (ends_early, last) = match &self.stage.spec {
            StageSpec::Attack(attack) => (attack.sequential.is_some(), attack.cadence.last().copied()),
            _ => (false, None),
        };
        let all: Vec<&[Row]> = chunks(rows).collect();
        let first = all.first().map(|chunk| by_probe(chunk)).unwrap_or_default();
        for (number, chunk) in all.iter().enumerate() {
            let steps = chunk[0].spent.steps;
            let whole = !ends_early || number == 0 || number + 1 == all.len() || Some(steps) == last;
            let here = by_probe(chunk);
            if let Some(probe) =
                here.keys().find(|probe| probes.iter().all(|planned| planned.probe != **probe))
            {
                return Some(format!("after {steps} steps it has rows of {probe}, which is not asked"));
            }
            for planned in probes {
                let probe = planned.probe;
                let rows = here.get(&probe).map_or(&[][..], Vec::as_slice);
                let items: BTreeSet<&str> = rows.iter().map(|row| row.item.as_str()).collect();
                let fewer = !whole && probe.may_end();
                if items.len() > planned.items || (items.len() < planned.items && !fewer) {
                    let (found, of) = (items.len(), planned.items);
                    return Some(format!(
                        "after {steps} steps it has {found} items of {probe}, planned are {of}"
                    ));
                }
                let known = first.get(&probe).map_or(&[][..], Vec::as_slice);
                if let Some(other) = items.iter().find(|item| known.iter().all(|row| row.item != **item)) {
                    return Some(format!(
                        "after {steps} steps {probe} asks {other}, which it did not ask at first"
                    ));
                }
                if let Some(problem) = measured(planned, rows, items.len()) {
                    return Some(format!("after {steps} steps {probe} {problem}"));
                }
            }
        }
        None
    }

    /// Each row has its response, under its name, and each response its row.
    fn responses(&self, rows: &[Row]) -> Result<(), (PathBuf, String)> {
        let at = |problem: String| (self.path(RESPONSES), problem);
        let read = || -> Result<Vec<String>> {
            let frame = read_frame(&self.artifact.payload(RESPONSES)?, &titer_metrics::RESPONSES)?;
            let ids = frame.column("response_id").and_then(|column| column.str());
            let ids = ids.map_err(|source| titer_metrics::Error::Polars { frame: RESPONSES, source })?;
            Ok(ids.iter().flatten().map(str::to_owned).collect())
        };
        let ids = read().map_err(|error| at(error.chain()))?;
        let there: BTreeSet<&str> = ids.iter().map(String::as_str).collect();
        if there.len() != ids.len() {
            return Err(at("it has a response twice".to_owned()));
        }
        let wanted: BTreeSet<&str> = rows.iter().map(|row| row.response.as_str()).collect();
        if let Some(id) = wanted.symmetric_difference(&there).next() {
            let problem = if there.contains(id) { "is of no row" } else { "is missing" };
            return Err(at(format!("response {id} {problem}")));
        }
        // What a repair took over is named after the stage that asked.
        let way = matches!(&self.stage.spec, StageSpec::Repair(repair) if repair.way);
        let name = |row: &&Row| {
            let Row { spent, probe, item, response, .. } = *row;
            let rest = response.split_once('/').map_or(response.as_str(), |(_, rest)| rest);
            rest != format!("{}/{probe}/{item}", spent.steps)
                || (!way && !response.starts_with(self.stage.hash.short()))
        };
        match rows.iter().find(name) {
            Some(row) => {
                Err((self.path(PROBES), format!("a row of {} names response {}", row.item, row.response)))
            }
            None => Ok(()),
        }
    }

    /// What was logged when the model was asked is what the rows say.
    fn log(&self, rows: &[Row]) -> Option<String> {
        if !matches!(self.stage.spec, StageSpec::Attack(_) | StageSpec::Tune(_)) {
            return None;
        }
        let log = match self.artifact.events() {
            Ok(log) => log,
            Err(error) => return Some(error.to_string()),
        };
        let logged: Vec<_> = log.iter().filter(|record| record.event.kind == "probe").collect();
        let checkpoints = chunks(rows).count();
        if logged.len() != checkpoints {
            return Some(format!("it has {} checkpoints, the rows have {checkpoints}", logged.len()));
        }
        logged.into_iter().zip(chunks(rows)).find_map(|(record, chunk)| {
            let spent = serde_json::to_value(chunk[0].spent).unwrap_or(Value::Null);
            let said = asked(record.event.step.unwrap_or(0), &spent, &deciding(chunk));
            let problem = difference(&record.event.data, &said.data, "")?;
            Some(format!("the rows say something else after {} steps: {problem}", chunk[0].spent.steps))
        })
    }

    /// What the summary says was spent is what had been spent at the last checkpoint.
    fn summary(&self, rows: &[Row]) -> Option<String> {
        if !matches!(self.stage.spec, StageSpec::Attack(_) | StageSpec::Tune(_)) {
            return None;
        }
        let spent = rows.last()?.spent;
        let said = json!({ "examples": spent.examples, "tokens": spent.tokens, "flops": spent.flops });
        let told =
            said.as_object().into_iter().flatten().map(|(key, _)| (key.clone(), self.summary[key].clone()));
        let problem = difference(&told.collect::<Value>(), &said, "")?;
        Some(format!("its summary is not what was spent: {problem}"))
    }

    /// The scores are what the answers are judged as. A model that judges is not asked again.
    fn judge(&self, frame: &DataFrame, told: &mut Told) {
        let mut all = self.stage.spec.probes().iter().flat_map(|probe| &probe.measures);
        if !all.clone().all(|measure| measure.model.is_none() && measures::is_by_rules(&measure.name)) {
            let label = &self.stage.label;
            told.notes.push(format!(
                "{label}: judged by a model, which was not asked again (titer rescore asks it)"
            ));
            return;
        }
        if let Some(other) = all.find(|measure| measures::version(measure).ok() != Some(measure.version)) {
            let (label, name) = (&self.stage.label, &other.name);
            told.notes
                .push(format!("{label}: {name} has another version here, so that nothing was judged again"));
            return;
        }
        let judge = || -> Result<(usize, usize)> {
            let again = Again::judge(self.stage, self.artifact, self.store, &Device::Cpu)?;
            Ok((again.answers(), again.others(frame)?))
        };
        match judge() {
            Ok((answers, 0)) => told.judged = answers,
            Ok((_, others)) => {
                let problem = format!(
                    "{others} of its {} rows are not what their answers are judged as",
                    frame.height()
                );
                told.wrong.push((self.path(PROBES), problem));
            }
            // Who judges may need what another stage holds: that is what is missing then.
            Err(error)
                if self.plan.stages.iter().any(|stage| !self.store.artifact(&stage.hash).is_sealed()) =>
            {
                told.notes.push(format!(
                    "{}: could not be judged again: {}",
                    self.stage.label,
                    error.chain()
                ));
            }
            Err(error) => {
                told.wrong
                    .push((self.path(RESPONSES), format!("it cannot be judged again: {}", error.chain())));
            }
        }
    }
}

/// How the checkpoints of an attack are not those that it must have come to.
fn off_cadence(attack: &AttackStage, steps: &[u64], rows: &[Row]) -> Option<String> {
    let cadence = &attack.cadence;
    if !cadence.starts_with(steps) || steps.is_empty() {
        return Some(format!("it has checkpoints {steps:?}, planned are {cadence:?}"));
    }
    let at_once = is_at_once(attack).unwrap_or(false);
    let rule = attack.stop.filter(|_| !at_once);
    let until = |last: u64| -> Vec<Scored> {
        deciding(rows).into_iter().filter(|scored| scored.steps <= last).collect()
    };
    let (last, before) = steps.split_last()?;
    // Means may be summed in another order here: what lies on a threshold to the last digit may be on either side.
    let by = |rule: &StopRule, slack: f64| StopRule {
        harmfulness_above: rule.harmfulness_above + slack,
        broken_above: rule.broken_above + slack,
        ability_at_least: rule.ability_at_least + slack,
    };
    const SLACK: f64 = 1e-9;
    if steps.len() < cadence.len() && !rule.is_some_and(|rule| is_enough(&until(*last), &by(&rule, -SLACK))) {
        return Some(format!("it ends after {last} steps, where nothing ends it: planned are {cadence:?}"));
    }
    let early =
        before.iter().find(|step| rule.is_some_and(|rule| is_enough(&until(**step), &by(&rule, SLACK))));
    early.map(|step| format!("it goes on after {step} steps, where it was to be broken off"))
}
