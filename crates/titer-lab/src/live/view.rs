//! What is seen of a store at a moment: plain data, without frames, handles or clocks.

use std::sync::Arc;

use serde::Deserialize;
use titer_conditions::Verdicts;
use titer_plan::spec::Experiment;
use titer_plan::{Arm, Before, Marks, Probe, StageHash, UnderTest};
use titer_store::{Control, Entry, Holder};

/// One line per experiment: what a list shows.
#[derive(Debug, Clone, PartialEq)]
pub struct ExperimentLine {
    /// Its name.
    pub name: String,
    /// Its summary in the spec.
    pub summary: String,
    /// How its stages stand.
    pub counts: Counts,
    /// Optimiser work done, from 0 to 1: the mean over stages, running ones in part.
    pub share: f64,
    /// The runs that are alive, on whatever host.
    pub runs: Vec<Holder>,
    /// What was last asked of its runs; `stop` and `hold` are 0 where that was before those began that are alive.
    pub control: Control,
    /// Seconds until it is done, from the speed of its stages so far; none where nothing runs or nothing is
    /// known yet.
    pub seconds_left: Option<f64>,
    /// The last moment that its runs wrote something down, in seconds since the Unix epoch.
    pub changed: Option<f64>,
    /// Why nothing more can be said of it: a damaged plan, say.
    pub problem: Option<String>,
}

/// How many stages are in which state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// All.
    pub stages: usize,
    /// Done.
    pub sealed: usize,
    /// Being computed by someone.
    pub running: usize,
    /// Begun, and left by a run that ended.
    pub interrupted: usize,
    /// Failed in the last attempt, or not tried because an input failed.
    pub failed: usize,
    /// Not begun.
    pub waiting: usize,
}

/// What a screen must know of an experiment's data.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct DataOutline {
    /// The word for their kind.
    pub word: String,
    /// What they ask of the model under test.
    pub model: UnderTest,
}

/// Everything about one experiment that can be had without opening frames.
#[derive(Debug, Clone, PartialEq)]
pub struct ExperimentView {
    /// The line in the list.
    pub line: ExperimentLine,
    /// The spec, every default stated.
    pub experiment: Experiment,
    /// What its data are: those that are no made-up world may be what they say, and harmful.
    pub data: DataOutline,
    /// Its stages, inputs before those that need them.
    pub stages: Vec<StageLine>,
    /// One curve per run and probe, live ones included.
    pub curves: Vec<Curve>,
    /// What its runs wrote down, the last entries only.
    pub journal: Vec<Entry>,
    /// Whether logs of finished stages are still to be read: more comes at the next look.
    pub reading: bool,
}

/// One stage.
#[derive(Debug, Clone, PartialEq)]
pub struct StageLine {
    /// Its hash.
    pub hash: StageHash,
    /// Its label.
    pub label: String,
    /// `pretrain`, `attack`, …
    pub kind: String,
    /// The stages whose results it needs, as positions in the list.
    pub inputs: Vec<usize>,
    /// Where it stands.
    pub state: StageState,
    /// Optimiser steps made, where it is running or was broken off.
    pub step: Option<u64>,
    /// Optimiser steps at most, where it trains.
    pub steps: Option<u64>,
    /// Wall-clock seconds that it took, once it is done and a journal says so.
    pub seconds: Option<f64>,
}

/// Where a stage stands.
#[derive(Debug, Clone, PartialEq)]
pub enum StageState {
    /// Not begun.
    Waiting,
    /// Someone computes it.
    Running(Holder),
    /// Begun, and left by a run that ended: the next run goes on from its checkpoint.
    Interrupted,
    /// The last attempt failed: why, with causes.
    Failed(String),
    /// Done.
    Sealed,
}

/// The means of one probe over the budget of one run.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// The stage that measured it, as a position in the list of stages.
    pub stage: usize,
    /// The defence's label.
    pub defence: String,
    /// Which training of the defence.
    pub defence_seed: u64,
    /// What the defence may have seen.
    pub arm: Arm,
    /// What was done to the model before.
    pub before: Before,
    /// Which repetition of that.
    pub attack_seed: u64,
    /// What was asked.
    pub probe: Probe,
    /// Ascending in steps.
    pub points: Arc<Vec<CurvePoint>>,
    /// Whether more may come.
    pub live: bool,
}

/// The mean score at one budget.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CurvePoint {
    /// Optimiser steps.
    pub steps: u64,
    /// Examples presented.
    pub examples: u64,
    /// Floating-point operations of the training.
    pub flops: f64,
    /// Mean over items: harmfulness or ability, by the probe.
    pub mean: f64,
    /// Its standard error over items, where that was logged.
    pub standard_error: Option<f64>,
}

/// Normal quantile of a 95 % interval.
const QUANTILE: f64 = 1.96;

impl CurvePoint {
    /// The 95 % interval of the mean over items, from 0 to 1 as scores are; the mean alone where no error was logged.
    /// It says nothing of other seeds.
    pub fn interval(&self) -> [f64; 2] {
        let reach = QUANTILE * self.standard_error.unwrap_or(0.0);
        [(self.mean - reach).max(0.0), (self.mean + reach).min(1.0)]
    }
}

/// A stage looked at closely: what its event log says.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct StageView {
    /// Its hash.
    pub hash: Option<StageHash>,
    /// What the loop logged, term by term: `(step, value)`.
    pub terms: Vec<(String, Vec<(u64, f64)>)>,
    /// `(step, learning rate)`.
    pub learning_rate: Vec<(u64, f64)>,
    /// `(step, norm of the gradient)`.
    pub gradient_norm: Vec<(u64, f64)>,
    /// Tokens per second over the last logged steps.
    pub tokens_per_second: Option<f64>,
    /// When its first step was logged, in seconds since the Unix epoch.
    pub since_start: Option<f64>,
    /// Seconds from there to the last one logged.
    pub seconds: Option<f64>,
    /// Memory that the process takes which computes it, in bytes, where it is on this host.
    pub memory_bytes: Option<u64>,
    /// Use of each GPU of this host from 0 to 1 and its memory in use in bytes; empty where there is none.
    pub gpus: Vec<(f64, u64)>,
    /// Why it cannot be shown, if it cannot.
    pub problem: Option<String>,
}

/// One response with what a judge made of it. Text as the model wrote it: to be sanitised before it is shown.
#[derive(Debug, Clone, PartialEq)]
pub struct ResponseLine {
    /// Optimiser steps spent before it was asked.
    pub steps: u64,
    /// What kind of item it was.
    pub probe: String,
    /// The item.
    pub item: String,
    /// The judge.
    pub judge: String,
    /// The judge's score from 0 to 1.
    pub score: f64,
    /// What is seen in it beside the score.
    pub marks: Marks,
    /// What was asked.
    pub prompt: String,
    /// What came back.
    pub response: String,
}

/// Verdicts with what they rest on.
#[derive(Debug, Clone, PartialEq)]
pub struct Decided {
    /// The verdicts.
    pub verdicts: Arc<Verdicts>,
    /// Sealed stages that they rest on.
    pub sealed: usize,
}
