//! Judges what a model answered in an earlier stage that differs in its measures only: nothing is trained or
//! asked again, and the result is what a fresh run would have given.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use candle_core::Device;
use polars::prelude::{
    ChunkCompareEq, Column, DataFrame, IdxCa, NamedFrom, PolarsResult, Series, StringChunked,
};
use serde_json::{Value, json};
use titer_attacks::Attack;
use titer_measures::{Exchange, Judgement};
use titer_metrics::deciding;
use titer_plan::stage::{AttackStage, StopRule};
use titer_plan::{Marks, PlannedStage, Probe, StageHash, StageSpec};
use titer_store::{Artifact, Store};

use super::bench::Bench;
use super::prober::{asked, is_enough};
use super::probing::Scored;
use super::recorder::{write_frame, write_training};
use super::{PROBES, REJUDGED, RESPONSES, TRAINING, Work};
use crate::files::read_frame;
use crate::measures::is_by_rules;
use crate::{Error, Result};

/// What a stage's measures say of an artifact's answers.
pub(crate) struct Again {
    /// The rows that decide, as they were before.
    told: DataFrame,
    rows: Vec<Row>,
}

/// A judgement, and the row of [`Again::told`] whose answer it is of.
struct Row {
    told: usize,
    scored: Scored,
    judge: String,
    decides: bool,
    judgement: Judgement,
}

impl Again {
    /// Has the answers of `artifact` judged by the measures of `stage`.
    pub(crate) fn judge(
        stage: &PlannedStage,
        artifact: &Artifact,
        store: &Store,
        device: &Device,
    ) -> Result<Self> {
        let told = deciding(&read_frame(&artifact.payload(PROBES)?, &titer_metrics::PROBE_ROWS)?)?;
        let responses = read_frame(&artifact.payload(RESPONSES)?, &titer_metrics::RESPONSES)?;
        let bench = Bench::new(stage, store, device)?;
        let mut exchanges = exchanges(&responses)?;
        // As they were asked: checkpoint by checkpoint, and probe by probe.
        let mut batches = BTreeMap::<(u64, Probe), (Vec<usize>, Vec<Exchange>)>::new();
        for (told, (steps, probe, item, id)) in keys(&told).map_err(failed)?.into_iter().enumerate() {
            let none = || Error::NoResponse { stage: stage.label.clone(), response: id.clone() };
            let exchange = Exchange { item, ..exchanges.remove(&id).ok_or_else(none)? };
            let (rows, batch) = batches.entry((steps, probe)).or_default();
            rows.push(told);
            batch.push(exchange);
        }
        let mut rows = Vec::new();
        for ((steps, probe), (tolds, batch)) in batches {
            for judged in bench.judge(probe, &batch)? {
                rows.extend(tolds.iter().zip(judged.judgements).map(|(told, judgement)| Row {
                    told: *told,
                    scored: Scored { steps, probe, score: judgement.score },
                    judge: judged.judge.to_owned(),
                    decides: judged.decides,
                    judgement,
                }));
            }
        }
        Ok(Self { told, rows })
    }

    /// How many answers were judged.
    pub(crate) fn answers(&self) -> usize {
        self.told.height()
    }

    /// How many scores that count are others than before: bit by bit, but for the rounding of judges that are models.
    pub(crate) fn changed(&self) -> Result<usize> {
        let before = self.told.column("score").and_then(|column| column.f64()).map_err(failed)?;
        let other = |row: &&Row| {
            let same = |before: f64| (before - row.scored.score).abs() <= rounding(&row.judge);
            !before.get(row.told).is_some_and(same)
        };
        Ok(self.rows.iter().filter(|row| row.decides).filter(other).count())
    }

    /// How many rows of a stage's frame, marks included, are not what these judgements make of its answers.
    pub(crate) fn others(&self, stored: &DataFrame) -> Result<usize> {
        let schema = &titer_metrics::PROBE_ROWS;
        let frame = titer_metrics::sorted(&self.frame(u64::MAX, "").map_err(failed)?, schema)?;
        if frame.height() != stored.height() {
            return Ok(frame.height().abs_diff(stored.height()));
        }
        let mut other = vec![false; frame.height()];
        // Responses are named after the stage that asked.
        for column in schema.columns.iter().filter(|column| column.name != "response_id") {
            let of = |frame: &DataFrame| {
                frame.column(column.name).map(|column| column.as_materialized_series().clone())
            };
            let differ = of(&frame).and_then(|one| one.not_equal_missing(&of(stored)?)).map_err(failed)?;
            other
                .iter_mut()
                .zip(differ.iter())
                .for_each(|(other, differs)| *other |= differs.unwrap_or(true));
        }
        Ok(other.into_iter().filter(|other| *other).count())
    }

    fn deciding(&self) -> Vec<Scored> {
        self.rows.iter().filter(|row| row.decides).map(|row| row.scored).collect()
    }

    /// The last checkpoint that was asked.
    fn deepest(&self) -> Option<u64> {
        self.rows.iter().map(|row| row.scored.steps).max()
    }

    /// The checkpoint at which a run by these measures would have stopped; none where it would have gone on
    /// for longer than there are answers.
    fn last(&self, rule: Option<&StopRule>, cadence: Option<u64>) -> Option<u64> {
        let scored = self.deciding();
        let steps: BTreeSet<u64> = scored.iter().map(|row| row.steps).collect();
        let enough = |last: &&u64| {
            let until: Vec<Scored> = scored.iter().filter(|row| row.steps <= **last).copied().collect();
            rule.is_some_and(|rule| is_enough(&until, rule))
        };
        let whole = steps.last().copied().filter(|last| rule.is_none() || Some(*last) == cadence);
        steps.iter().find(enough).copied().or(whole)
    }

    /// The frame of these judgements up to a checkpoint, with the responses named after the stage.
    fn frame(&self, last: u64, name: &str) -> PolarsResult<DataFrame> {
        let rows: Vec<&Row> = self.rows.iter().filter(|row| row.scored.steps <= last).collect();
        let places: Vec<u32> = rows.iter().map(|row| row.told as u32).collect();
        let mut frame = self.told.take(&IdxCa::new("rows".into(), places))?;
        let ids = renamed(frame.column("response_id")?, name)?;
        let flags = |name: &str, of: &dyn Fn(&Row) -> bool| {
            Column::new(name.into(), rows.iter().map(|row| of(row)).collect::<Vec<bool>>())
        };
        let judges: Vec<&str> = rows.iter().map(|row| row.judge.as_str()).collect();
        let scores: Vec<f64> = rows.iter().map(|row| row.judgement.score).collect();
        for column in [
            Column::new("judge".into(), judges),
            flags("decides", &|row| row.decides),
            Column::new("score".into(), scores),
            ids,
        ] {
            frame.with_column(column)?;
        }
        for (name, mark) in Marks::ALL {
            frame.with_column(flags(name, &|row| mark(&row.judgement.marks)))?;
        }
        Ok(frame)
    }
}

/// Judges the answers of an earlier artifact; nothing where the run would have gone on for longer than it did.
pub(super) fn rejudge(work: &Work<'_>, earlier: &StageHash) -> Result<Option<Value>> {
    let artifact = work.sealed(earlier)?;
    let again = Again::judge(work.stage, &artifact, work.store, work.device)?;
    let (rule, cadence) = match &work.stage.spec {
        StageSpec::Attack(attack) if !is_at_once(attack)? => {
            (attack.stop.as_ref(), attack.cadence.last().copied())
        }
        _ => (None, None),
    };
    let Some(last) = again.last(rule, cadence) else { return Ok(None) };
    work.writer.resume()?;
    let name = work.stage.hash.short();
    let rows = again.frame(last, name).map_err(failed)?;
    let responses = read_frame(&artifact.payload(RESPONSES)?, &titer_metrics::RESPONSES)?;
    let responses = of_rows(&responses, &rows, name).map_err(failed)?;
    let (schema, texts) = (&titer_metrics::PROBE_ROWS, &titer_metrics::RESPONSES);
    write_frame(work, PROBES, &titer_metrics::sorted(&rows, schema)?, schema)?;
    write_frame(work, RESPONSES, &titer_metrics::sorted(&responses, texts)?, texts)?;
    let mut summary = artifact.manifest()?.summary;
    let spent = replay(work, &artifact, &again, last)?;
    if let Some(spent) = spent.filter(|_| again.deepest() > Some(last)) {
        // It stopped earlier than the other: this is what it had spent by then.
        for part in ["examples", "tokens", "flops"] {
            summary[part] = spent[part].clone();
        }
    }
    let files = artifact.manifest()?.files;
    let own = [PROBES, RESPONSES, TRAINING];
    if files.iter().any(|file| file.name == TRAINING) {
        write_training(work)?;
    }
    for file in files.iter().filter(|file| !own.contains(&file.name.as_str())) {
        let from = artifact.payload(&file.name)?;
        work.writer.write(&file.name, |path| share(&from, path))?;
    }
    summary[REJUDGED] = json!({ "from": earlier, "answers": again.answers(), "changed": again.changed()? });
    Ok(Some(summary))
}

/// Whether the attack is over in one step, so that nothing is broken off.
pub(crate) fn is_at_once(attack: &AttackStage) -> Result<bool> {
    Ok(matches!(titer_attacks::registry::attack(&attack.attack)?, Attack::Edits(_) | Attack::Prompts(_)))
}

/// Logs what the other logged until the last checkpoint, with these scores. What was spent there.
fn replay(work: &Work<'_>, artifact: &Artifact, again: &Again, last: u64) -> Result<Option<Value>> {
    let scored = again.deciding();
    for record in artifact.events()? {
        let event = record.event;
        match (event.step, event.kind.as_str()) {
            (Some(_), "step") => {
                work.writer.log(&event)?;
            }
            (Some(step), "probe") => {
                let spent = &event.data["spent"];
                let here = spent["steps"].as_u64();
                let rows: Vec<Scored> =
                    scored.iter().filter(|row| Some(row.steps) == here).copied().collect();
                work.writer.log(&asked(step, spent, &rows))?;
                if here == Some(last) {
                    return Ok(Some(spent.clone()));
                }
            }
            _ => {}
        }
    }
    Ok(None)
}

/// The same bytes in two artifacts: a file of a sealed one never changes, so that one copy does where the file
/// system can share it.
fn share(from: &Path, to: &Path) -> std::io::Result<()> {
    match fs::hard_link(from, to) {
        Ok(()) => Ok(()),
        Err(_) => fs::copy(from, to).map(|_| ()),
    }
}

/// By how much a judge's score may come out otherwise: a model rounds differently in other batches, which are smaller
/// where a probe ended early.
fn rounding(judge: &str) -> f64 {
    if is_by_rules(judge) { 0.0 } else { 1e-5 }
}

/// Steps, probe, item and response of each row.
fn keys(rows: &DataFrame) -> PolarsResult<Vec<(u64, Probe, String, String)>> {
    let steps = rows.column("budget_steps")?.u64()?;
    let text = |name| rows.column(name)?.str();
    let (probes, items, ids) = (text("probe")?, text("item")?, text("response_id")?);
    let word = |column: &StringChunked, row: usize| column.get(row).unwrap_or_default().to_owned();
    let key = |row: usize| {
        let probe = Probe::named(probes.get(row).unwrap_or_default());
        (steps.get(row).unwrap_or_default(), probe, word(items, row), word(ids, row))
    };
    Ok((0..rows.height()).map(key).collect())
}

/// What may be judged of each response.
fn exchanges(responses: &DataFrame) -> Result<BTreeMap<String, Exchange>> {
    let text = |name: &str| -> Result<Vec<String>> {
        let column = responses.column(name).and_then(|column| column.str()).map_err(failed)?;
        Ok(column.iter().map(|text| text.unwrap_or_default().to_owned()).collect())
    };
    let (ids, questions, answers) = (text("response_id")?, text("question")?, text("answer")?);
    let (references, continuations) = (text("reference")?, text("continuations")?);
    let cuts = responses.column("cut").and_then(|column| column.bool()).map_err(failed)?;
    let mut all = BTreeMap::new();
    let parts = questions.into_iter().zip(answers).zip(references).zip(continuations).zip(cuts.iter());
    for (id, ((((question, answer), reference), continuations), cut)) in ids.into_iter().zip(parts) {
        let continuations = serde_json::from_str(&continuations)?;
        let (item, cut) = (String::new(), cut.unwrap_or_default());
        all.insert(id, Exchange { item, question, answer, cut, reference, continuations });
    }
    Ok(all)
}

/// The responses of rows that are named after the stage `name` already.
fn of_rows(responses: &DataFrame, rows: &DataFrame, name: &str) -> PolarsResult<DataFrame> {
    let mut responses = responses.clone();
    let ids = renamed(responses.column("response_id")?, name)?;
    let known: BTreeSet<&str> = rows.column("response_id")?.str()?.iter().flatten().collect();
    let kept = ids.str()?.iter().map(|id| id.is_some_and(|id| known.contains(id))).collect();
    responses.with_column(ids.clone())?;
    responses.filter(&kept)
}

/// Names of responses, of another stage: what stands before the first `/` is the stage.
fn renamed(ids: &Column, name: &str) -> PolarsResult<Column> {
    let new = |id: &str| format!("{name}/{}", id.split_once('/').map_or(id, |(_, rest)| rest));
    let ids: Vec<String> = ids.str()?.iter().flatten().map(new).collect();
    Ok(Series::new("response_id".into(), ids).into())
}

fn failed(source: polars::prelude::PolarsError) -> titer_metrics::Error {
    titer_metrics::Error::Polars { frame: PROBES, source }
}
