//! What is known of one experiment, and how it is kept up to date.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use titer_store::{Control, Entry, Experiment, JournalReader, Note, State, Store};

use super::logs::CurveLog;
use super::looks::kept;
use super::outline::Outline;
use super::view::{Counts, Curve, ExperimentLine, ExperimentView, StageLine, StageState};
use crate::Result;

/// How often all stages are looked at, even if no journal mentions them: a run of an older version keeps no
/// journal, and a stage may be shared with another experiment.
const ROUND_EVERY: Duration = Duration::from_secs(10);
/// How long logs of finished stages are read in one go.
const READ_FOR: Duration = Duration::from_millis(40);
/// Journal entries that are kept for screens.
const ENTRIES: usize = 2000;

/// One experiment.
#[derive(Debug)]
pub(super) struct Known {
    store: Store,
    experiment: Experiment,
    name: String,
    /// Of the plan, and of what was open of it.
    stamps: [Option<(SystemTime, u64)>; 2],
    outline: std::result::Result<Outline, String>,
    journal: JournalReader,
    entries: VecDeque<Entry>,
    /// The last request before each run, by host and process.
    began: BTreeMap<(String, u32), u64>,
    stages: Vec<Stage>,
    round: Option<Instant>,
    line: Option<ExperimentLine>,
    view: Option<Arc<ExperimentView>>,
}

/// What is known of one stage besides its outline.
#[derive(Debug)]
struct Stage {
    state: State,
    step: Option<u64>,
    seconds: Option<f64>,
    failure: Option<String>,
    /// Of a stage that measures: its curves.
    log: Option<CurveLog>,
    /// Whether the log was read to an end that will not move.
    read: bool,
}

impl Stage {
    fn state(&self) -> StageState {
        match (&self.state, &self.failure) {
            (State::Sealed, _) => StageState::Sealed,
            (State::Running(holder), _) => StageState::Running(holder.clone()),
            (_, Some(error)) => StageState::Failed(error.clone()),
            (State::Interrupted, None) => StageState::Interrupted,
            (State::Absent, None) => StageState::Waiting,
        }
    }
}

impl Known {
    pub(super) fn new(store: Store, experiment: Experiment, name: &str) -> Self {
        Self {
            store,
            name: name.to_owned(),
            stamps: [None; 2],
            outline: Err("its plan was not read yet".to_owned()),
            journal: experiment.follow(),
            experiment,
            entries: VecDeque::new(),
            began: BTreeMap::new(),
            stages: Vec::new(),
            round: None,
            line: None,
            view: None,
        }
    }

    pub(super) fn folder(&self) -> PathBuf {
        self.experiment.folder().to_owned()
    }

    /// The folders of the stages that run.
    pub(super) fn running(&self) -> Vec<PathBuf> {
        let Ok(outline) = &self.outline else { return Vec::new() };
        let stages = self.stages.iter().zip(&outline.stages);
        let running = stages.filter(|(stage, _)| matches!(stage.state, State::Running(_)));
        running.map(|(_, planned)| self.store.artifact(&planned.hash).folder().to_owned()).collect()
    }

    /// Looks what is new.
    pub(super) fn refresh(&mut self) -> &mut Self {
        let stamps = [self.experiment.plan_stamp(), self.experiment.looks_stamp()];
        let other_plan = stamps[0] != self.stamps[0] || stamps[0].is_none();
        if other_plan || stamps != self.stamps {
            self.stamps = stamps;
            // Another look of the same plan asks for more stages; what is known of the others stays.
            let mut known = HashMap::new();
            if let (Ok(outline), false) = (&self.outline, other_plan) {
                let hashes = outline.stages.iter().map(|stage| stage.hash.clone());
                known.extend(hashes.zip(self.stages.drain(..)));
            }
            let outline = self.experiment.plan_json().map_err(|error| error.to_string());
            let open = kept(&self.experiment);
            self.outline = outline.and_then(|json| {
                Outline::read(&json, &open).map_err(|error| format!("its plan cannot be read: {error}"))
            });
            let fresh = || Stage {
                state: State::Absent,
                step: None,
                seconds: None,
                failure: None,
                log: None,
                read: false,
            };
            let stages = self.outline.iter().flat_map(|outline| &outline.stages);
            self.stages = stages.map(|stage| known.remove(&stage.hash).unwrap_or_else(fresh)).collect();
            if other_plan {
                self.journal = self.experiment.follow();
                self.entries.clear();
                self.began.clear();
            }
            (self.round, self.view) = (None, None);
        }
        let moved = self.read_journal();
        let all = self.round.is_none_or(|round| round.elapsed() >= ROUND_EVERY);
        if all {
            self.round = Some(Instant::now());
        }
        self.look_at_stages(all, &moved);
        let line = self.make_line();
        if self.line.as_ref() != Some(&line) {
            self.view = None;
        }
        self.line = Some(line);
        self
    }

    /// The line in the list.
    pub(super) fn line(&self) -> ExperimentLine {
        self.line.clone().unwrap_or_else(|| self.make_line())
    }

    /// Takes in what runs wrote down since; returns the stages that moved.
    fn read_journal(&mut self) -> Vec<usize> {
        let new = self.journal.read().unwrap_or_default();
        let mut moved = Vec::new();
        for entry in &new {
            let (hash, failure, seconds) = match &entry.note {
                Note::Started { stage } => (stage, None, None),
                Note::Finished { stage, seconds } => (stage, None, Some(*seconds)),
                Note::Failed { stage, error, .. } => (stage, Some(error.clone()), None),
                Note::Skipped { stage, because } => {
                    (stage, Some(format!("not run, since {because} failed")), None)
                }
                Note::Began { since, .. } => {
                    self.began.insert((entry.host.clone(), entry.pid), *since);
                    continue;
                }
                Note::Heard { .. } | Note::Looked { .. } | Note::Ended { .. } | Note::Distrusted { .. } => {
                    continue;
                }
            };
            let position = self.outline.as_ref().ok().and_then(|outline| outline.position(hash));
            let Some(position) = position else { continue };
            let stage = &mut self.stages[position];
            stage.failure = failure;
            stage.seconds = seconds.or(stage.seconds);
            moved.push(position);
        }
        if !new.is_empty() {
            self.view = None;
        }
        self.entries.extend(new);
        let surplus = self.entries.len().saturating_sub(ENTRIES);
        self.entries.drain(..surplus);
        moved
    }

    fn look_at_stages(&mut self, all: bool, moved: &[usize]) {
        let Ok(outline) = &self.outline else { return };
        for (position, (stage, planned)) in self.stages.iter_mut().zip(&outline.stages).enumerate() {
            let running = matches!(stage.state, State::Running(_));
            let settled = stage.state == State::Sealed && !all;
            if settled || !(all || running || moved.contains(&position)) {
                continue;
            }
            let artifact = self.store.artifact(&planned.hash);
            let state = artifact.state();
            let changed = !same(&state, &stage.state);
            if changed {
                self.view = None;
            }
            // How far it came is asked of what is under way; of ten thousand finished logs it would take seconds.
            let under_way = matches!(state, State::Running(_) | State::Interrupted);
            if under_way && (changed || running) {
                let step = artifact.progress().ok().and_then(|progress| progress.step);
                if step != stage.step {
                    self.view = None;
                }
                stage.step = step;
            }
            stage.state = state;
        }
    }

    fn make_line(&self) -> ExperimentLine {
        let mut line = ExperimentLine {
            name: self.name.clone(),
            summary: String::new(),
            counts: Counts { stages: self.stages.len(), ..Counts::default() },
            share: 0.0,
            runs: self.experiment.runs().unwrap_or_default(),
            control: self.experiment.control().unwrap_or_default(),
            seconds_left: None,
            changed: self.entries.back().map(|entry| entry.time),
            problem: None,
        };
        // What was asked of earlier runs is none of the living ones' business. A run that has not said yet when it
        // began has heard nothing.
        let since = line.runs.iter().filter_map(|run| self.began.get(&(run.host.clone(), run.pid))).min();
        let Control { stop, now, hold, .. } = &mut line.control;
        for asked in [stop, now, hold] {
            if since.is_none_or(|since| *asked <= *since) {
                *asked = 0;
            }
        }
        // An age that grows by itself is no news.
        line.runs.iter_mut().for_each(|run| run.age = Duration::from_secs(run.age.as_secs() / 15 * 15));
        let outline = match &self.outline {
            Ok(outline) => outline,
            Err(problem) => return ExperimentLine { problem: Some(problem.clone()), ..line },
        };
        line.summary.clone_from(&outline.experiment.summary);
        let mut done = 0.0;
        for (stage, planned) in self.stages.iter().zip(&outline.stages) {
            match stage.state() {
                StageState::Sealed => line.counts.sealed += 1,
                StageState::Running(_) => line.counts.running += 1,
                StageState::Interrupted => line.counts.interrupted += 1,
                StageState::Failed(_) => line.counts.failed += 1,
                StageState::Waiting => line.counts.waiting += 1,
            }
            done += share(stage, planned.steps());
        }
        line.share = if self.stages.is_empty() { 0.0 } else { done / self.stages.len() as f64 };
        if line.counts.running > 0 {
            line.seconds_left = self.seconds_left(outline).map(|left| left / line.counts.running as f64);
        }
        line
    }

    /// Work that is left, in seconds of one worker: each stage takes what those of its kind have taken.
    fn seconds_left(&self, outline: &Outline) -> Option<f64> {
        let mut taken = BTreeMap::<&str, (f64, f64)>::new();
        let stages = || self.stages.iter().zip(&outline.stages);
        for (stage, planned) in stages() {
            if let Some(seconds) = stage.seconds {
                let (sum, count) = taken.entry(&planned.spec.kind).or_default();
                (*sum, *count) = (*sum + seconds, *count + 1.0);
            }
        }
        let (sum, count) = taken.values().fold((0.0, 0.0), |(s, c), (sum, count)| (s + sum, c + count));
        if count == 0.0 {
            return None;
        }
        let open = stages().filter(|(stage, _)| stage.state != State::Sealed && stage.failure.is_none());
        let left = open.map(|(stage, planned)| {
            let (sum, count) = taken.get(planned.spec.kind.as_str()).copied().unwrap_or((sum, count));
            sum / count * (1.0 - share(stage, planned.steps()))
        });
        Some(left.sum())
    }

    /// The whole view; reads on in the logs.
    pub(super) fn view(&mut self) -> Result<Arc<ExperimentView>> {
        let outline = match &self.outline {
            Ok(outline) => outline,
            // Says what is wrong with it, and what there is instead.
            Err(problem) => {
                self.experiment.plan_json()?;
                return Err(crate::Error::Watch { experiment: self.name.clone(), problem: problem.clone() });
            }
        };
        let started = Instant::now();
        let mut reading = false;
        for cell in &outline.cells {
            let Some(position) = outline.position(&cell.stage) else { continue };
            let stage = &mut self.stages[position];
            if stage.read || stage.state == State::Absent {
                continue;
            }
            if started.elapsed() >= READ_FOR {
                reading = true;
                break;
            }
            let artifact = self.store.artifact(&cell.stage);
            let log = stage.log.get_or_insert_with(|| CurveLog::of(&artifact));
            if log.read() {
                self.view = None;
            }
            stage.read = stage.state == State::Sealed;
        }
        if let Some(view) = self.view.as_ref().filter(|view| view.reading == reading) {
            return Ok(Arc::clone(view));
        }
        let view = Arc::new(self.make_view(outline, reading));
        self.view = Some(Arc::clone(&view));
        Ok(view)
    }

    fn make_view(&self, outline: &Outline, reading: bool) -> ExperimentView {
        let line = |(stage, planned): (&Stage, &super::outline::StageOutline)| StageLine {
            hash: planned.hash.clone(),
            label: planned.label.clone(),
            kind: planned.spec.kind.clone(),
            inputs: planned.inputs.iter().filter_map(|input| outline.position(input)).collect(),
            state: stage.state(),
            step: stage.step,
            steps: planned.steps(),
            seconds: stage.seconds,
        };
        let curves = outline.cells.iter().flat_map(|cell| {
            let position = outline.position(&cell.stage);
            let stage = position.map(|position| (position, &self.stages[position]));
            let logs = stage.and_then(|(position, stage)| Some((position, stage, stage.log.as_ref()?)));
            logs.into_iter().flat_map(move |(position, stage, log)| {
                log.curves.iter().map(move |(probe, points)| Curve {
                    stage: position,
                    defence: cell.defence.clone(),
                    defence_seed: cell.defence_seed,
                    arm: cell.arm,
                    before: cell.before.clone(),
                    attack_seed: cell.attack_seed,
                    probe: *probe,
                    points: Arc::clone(points),
                    live: stage.state != State::Sealed,
                })
            })
        });
        ExperimentView {
            line: self.line(),
            experiment: outline.experiment.clone(),
            data: outline.data.clone(),
            stages: self.stages.iter().zip(&outline.stages).map(line).collect(),
            curves: curves.collect(),
            journal: self.entries.iter().cloned().collect(),
            reading,
        }
    }
}

/// How much of a stage is done, from 0 to 1.
fn share(stage: &Stage, steps: Option<u64>) -> f64 {
    match (&stage.state, stage.step, steps) {
        (State::Sealed, ..) => 1.0,
        (State::Absent, ..) => 0.0,
        (_, Some(step), Some(steps)) => (step as f64 / steps as f64).clamp(0.0, 1.0),
        _ => 0.0,
    }
}

/// Whether two states are the same but for the age of a heartbeat.
fn same(a: &State, b: &State) -> bool {
    match (a, b) {
        (State::Running(a), State::Running(b)) => (&a.host, a.pid) == (&b.host, b.pid),
        _ => a == b,
    }
}
