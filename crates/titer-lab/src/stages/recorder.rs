//! Watches a training run for a stage: logs, shows progress, saves, stops on request.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use polars::prelude::DataFrame;
use serde_json::{Value, json};
use titer_metrics::{TrainingRow, training_frame, write_parquet};
use titer_plan::StageHash;
use titer_store::{Event, Record};
use titer_train::{Cost, Observer, Point, StepRecord};

use super::{TRAINING, Work};
use crate::progress::RunEvent;
use crate::{Error, Result};

/// When the first checkpoint comes: a run that is killed every few seconds shall get on. The next wait twice as long.
const CHECKPOINT_FIRST: Duration = Duration::from_secs(2);
/// How long a run may go without a checkpoint.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(15);
/// Of a large model a checkpoint is gigabytes: no more than one part in so many of the time goes into them.
const CHECKPOINT_SHARE: u32 = 20;
/// How often a running stage shows where it is.
const SHOW_EVERY: Duration = Duration::from_millis(200);
/// One step in so many is logged, besides the first ones.
const LOG_EVERY: u64 = 10;

/// What a stage adds to the recording of its training.
pub(super) trait Probing {
    /// Called at every point of the run; says whether the run may stop.
    fn at(&mut self, point: &Point<'_>) -> Result<ControlFlow<()>>;

    /// Saves what was gathered so far beside the trainer's checkpoint.
    fn save(&self, folder: &std::path::Path) -> Result<()>;
}

/// Gathers nothing.
impl Probing for () {
    fn at(&mut self, _: &Point<'_>) -> Result<ControlFlow<()>> {
        Ok(ControlFlow::Continue(()))
    }

    fn save(&self, _: &std::path::Path) -> Result<()> {
        Ok(())
    }
}

/// The observer of every stage that trains.
pub(super) struct Recorder<'a, P> {
    work: &'a Work<'a>,
    steps: u64,
    pub(super) probing: P,
    spent: Cost,
    saved: Instant,
    /// How long after that the next checkpoint comes.
    patience: Duration,
    shown: Instant,
}

impl<'a, P: Probing> Recorder<'a, P> {
    /// For a run of `steps` steps at most.
    pub(super) fn new(work: &'a Work<'a>, steps: u64, probing: P) -> Self {
        Self {
            work,
            steps,
            probing,
            spent: Cost::default(),
            saved: Instant::now(),
            patience: CHECKPOINT_FIRST,
            shown: Instant::now(),
        }
    }

    /// What the run has taken so far, for the artifact's summary.
    pub(super) fn summary(&self) -> Value {
        json!({ "examples": self.spent.examples, "tokens": self.spent.tokens, "flops": self.spent.flops })
    }

    fn observe(&mut self, point: &Point<'_>) -> Result<ControlFlow<()>> {
        self.spent = point.spent;
        let flow = self.probing.at(point)?;
        let stopping = self.work.interrupt.raised() && point.step < self.steps;
        if flow.is_continue() && (stopping || self.saved.elapsed() >= self.patience) {
            let started = Instant::now();
            self.work.writer.checkpoint(point.step, |folder| -> Result<()> {
                point.save(folder)?;
                self.probing.save(folder)
            })?;
            self.saved = Instant::now();
            let longer = CHECKPOINT_EVERY.min(self.patience * 2);
            self.patience = longer.max(started.elapsed() * CHECKPOINT_SHARE);
        }
        if flow.is_continue() && stopping {
            return Err(Error::Interrupted);
        }
        if self.shown.elapsed() >= SHOW_EVERY {
            self.show(point.step);
        }
        Ok(flow)
    }

    fn show(&mut self, done: u64) {
        self.shown = Instant::now();
        let stage = self.work.stage;
        self.work.progress.event(RunEvent::Advanced {
            hash: &stage.hash,
            label: &stage.label,
            done,
            of: self.steps,
        });
    }
}

impl<P: Probing> Observer for Recorder<'_, P> {
    fn between(&mut self, point: &Point<'_>) -> titer_train::Result<ControlFlow<()>> {
        self.observe(point).map_err(|error| titer_train::Error::Observer(Box::new(error)))
    }

    fn stepped(&mut self, record: &StepRecord) -> titer_train::Result<()> {
        if record.step >= LOG_EVERY && !record.step.is_multiple_of(LOG_EVERY) && record.step + 1 != self.steps
        {
            return Ok(());
        }
        let terms: serde_json::Map<String, serde_json::Value> =
            record.terms.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        let data = json!({
            "terms": terms,
            "learning_rate": record.learning_rate,
            "gradient_norm": record.gradient_norm,
            "tokens": record.tokens,
            "seconds": record.seconds,
        });
        match self.work.writer.log(&Event::new("step", record.step, data)) {
            Ok(_) => Ok(()),
            Err(error) => Err(titer_train::Error::Observer(Box::new(Error::from(error)))),
        }
    }
}

/// Turns the logged steps into the stage's `training` frame.
pub(super) fn write_training(work: &Work<'_>) -> Result<()> {
    let frame = training(&work.stage.hash, work.stage.spec.kind(), work.writer.artifact().events()?)?;
    write_frame(work, TRAINING, &frame, &titer_metrics::TRAINING_ROWS)
}

/// The `training` frame of a stage by what it logged.
pub(crate) fn training(hash: &StageHash, kind: &str, log: Vec<Record>) -> Result<DataFrame> {
    let mut rows = Vec::new();
    for Record { event, .. } in log {
        let (Some(step), "step") = (event.step, event.kind.as_str()) else { continue };
        let number = |key: &str| event.data[key].as_f64().unwrap_or(f64::NAN);
        for (term, value) in event.data["terms"].as_object().into_iter().flatten() {
            rows.push(TrainingRow {
                artifact: hash.to_string(),
                stage: kind.to_owned(),
                step,
                term: term.clone(),
                value: value.as_f64().unwrap_or(f64::NAN),
                learning_rate: number("learning_rate"),
                gradient_norm: number("gradient_norm"),
                tokens: event.data["tokens"].as_u64().unwrap_or(0),
                seconds: number("seconds"),
            });
        }
    }
    Ok(training_frame(&rows)?)
}

/// Writes a frame as a payload of the stage's artifact.
pub(super) fn write_frame(
    work: &Work<'_>,
    name: &str,
    frame: &DataFrame,
    schema: &titer_metrics::Schema,
) -> Result<()> {
    let mut bytes = Vec::new();
    write_parquet(frame, schema, &mut bytes)?;
    Ok(work.writer.write_bytes(name, &bytes)?)
}
