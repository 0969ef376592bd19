//! The stages of a run: which are done, running, failed and waiting.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use titer_plan::{Plan, PlannedStage, StageHash};
use titer_store::{Store, Trust};

use crate::again::Again;
use crate::channel::{LISTEN_EVERY, Requests};
use crate::executor::{RunSummary, StageFailure};
use crate::progress::{Progress, RunEvent};
use crate::{Error, Interrupt, Result};

/// What became of a stage that was taken.
pub(crate) enum Done {
    /// This run sealed it.
    Here,
    /// It was sealed by another run.
    Before,
    /// Another run does it at this moment.
    Elsewhere {
        /// Who, for people.
        holder: String,
    },
    /// It needs weights of an input that were dropped.
    Lacks {
        /// The input.
        input: StageHash,
    },
}

/// Which stages are done, running, failed and waiting; shared by the workers.
pub(crate) struct Board<'a> {
    plan: &'a Plan,
    /// What was asked for so far, in the order of the plan.
    stages: Vec<&'a PlannedStage>,
    /// After it no stage begins.
    deadline: Option<Instant>,
    store: &'a Store,
    requests: &'a Requests,
    /// Whether weights that were dropped are made anew though no stage needs them.
    weights: bool,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    done: BTreeSet<StageHash>,
    /// How many of them this run computed.
    computed: usize,
    running: BTreeMap<StageHash, Instant>,
    /// Those that other runs do.
    elsewhere: BTreeSet<StageHash>,
    /// Those that are sealed, and done anew because their weights were dropped.
    anew: BTreeSet<StageHash>,
    /// Those of which that was said.
    told: BTreeSet<StageHash>,
    failed: BTreeMap<StageHash, StageFailure>,
    interrupted: bool,
    /// Whether time was over before all was done.
    out_of_time: bool,
}

impl<'a> Board<'a> {
    /// Nothing was asked for yet. What has `failed` before, as it would again, is not tried.
    pub(crate) fn new(
        plan: &'a Plan,
        store: &'a Store,
        requests: &'a Requests,
        (deadline, weights): (Option<Instant>, bool),
        failed: Vec<StageFailure>,
    ) -> Self {
        let failed = failed.into_iter().map(|failure| (failure.hash.clone(), failure)).collect();
        let state = Mutex::new(State { failed, ..State::default() });
        let (stages, changed) = (Vec::new(), Condvar::new());
        Self { plan, stages, deadline, store, requests, weights, state, changed }
    }

    /// Asks for the stages of a part of the plan. What is sealed of those that are new is looked through.
    pub(crate) fn ask(&mut self, part: &Plan, progress: &dyn Progress) -> Result<()> {
        let asked: BTreeSet<&StageHash> = part.stages.iter().map(|stage| &stage.hash).collect();
        let known: BTreeSet<&StageHash> = self.stages.iter().map(|stage| &stage.hash).collect();
        let (mut done, mut anew) = (Vec::new(), Vec::new());
        for hash in asked.difference(&known) {
            match self.store.trusted(hash)? {
                Trust::Whole if self.weights && !self.store.artifact(hash).dropped().is_empty() => {
                    anew.push((*hash).clone());
                }
                Trust::Whole => done.push((*hash).clone()),
                Trust::Absent => {}
                Trust::Damaged(problem) => {
                    let label = part.stage(hash).map_or("", |stage| stage.label.as_str());
                    progress.event(RunEvent::Distrusted { hash, label, problem: &problem.to_string() });
                }
            }
        }
        let plan = self.plan;
        self.stages = plan.stages.iter().filter(|stage| asked.contains(&stage.hash)).collect();
        let mut state = self.lock();
        state.done.extend(done);
        state.anew.extend(anew);
        drop(state);
        Ok(())
    }

    /// How many stages were asked for, and how many of them are done.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.stages.len(), self.lock().done.len())
    }

    /// Whether a stage is sealed, and done anew because its weights were dropped.
    pub(crate) fn is_anew(&self, hash: &StageHash) -> bool {
        self.lock().anew.contains(hash)
    }

    /// Whether all that was asked for is done.
    pub(crate) fn is_done(&self) -> bool {
        let (stages, done) = self.counts();
        stages == done
    }

    /// How the run went, of which all that there was to do was done or not.
    pub(crate) fn summary(self, stopped: bool, seconds: f64) -> RunSummary {
        let state = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        let left = state.done.len() + state.failed.len() < self.stages.len();
        RunSummary {
            computed: state.computed,
            cached: state.done.len() - state.computed,
            interrupted: state.interrupted || (stopped && left),
            out_of_time: state.out_of_time,
            failed: state.failed.into_values().collect(),
            seconds,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A worker that panicked leaves the state as it was before its stage, which is consistent.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next stage whose inputs are there; waits for one; none when nothing is left to do.
    pub(crate) fn take(&self, interrupt: &Interrupt, progress: &dyn Progress) -> Option<&'a PlannedStage> {
        let mut state = self.lock();
        loop {
            if interrupt.raised() || state.interrupted {
                return None;
            }
            self.skip_hopeless(&mut state, progress);
            self.look_elsewhere(&mut state, progress);
            let open = |stage: &&PlannedStage| {
                !state.done.contains(&stage.hash)
                    && !state.running.contains_key(&stage.hash)
                    && !state.failed.contains_key(&stage.hash)
                    && !state.elsewhere.contains(&stage.hash)
            };
            let mut left = self.stages.iter().copied().filter(open).peekable();
            if left.peek().is_none() && state.elsewhere.is_empty() {
                return None;
            }
            if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                state.out_of_time = true;
                return None;
            }
            let ready = left.filter(|stage| stage.inputs.iter().all(|input| state.done.contains(input)));
            // Of equally urgent ones the first in the plan.
            let stage = ready.min_by_key(|stage| self.requests.rank(&stage.label));
            let held = self.requests.held();
            if let Some(stage) = stage.filter(|_| !held) {
                state.running.insert(stage.hash.clone(), Instant::now());
                progress.event(RunEvent::Started { hash: &stage.hash, label: &stage.label });
                return Some(stage);
            }
            if state.running.is_empty() && state.elsewhere.is_empty() && !held {
                return None;
            }
            // Neither what is asked of a held run nor what another run does is told here.
            let waited = self.changed.wait_timeout(state, LISTEN_EVERY);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Takes in what other runs finished, and takes back what they left.
    fn look_elsewhere(&self, state: &mut State, progress: &dyn Progress) {
        for PlannedStage { hash, label, .. } in self.stages.iter().copied() {
            if !state.elsewhere.contains(hash) {
                continue;
            }
            let state_there = match state.anew.contains(hash) {
                true => self.store.remaking(hash),
                false => self.store.artifact(hash).state(),
            };
            match state_there {
                titer_store::State::Running(_) => {}
                titer_store::State::Sealed => {
                    state.elsewhere.remove(hash);
                    state.done.insert(hash.clone());
                    progress.event(RunEvent::Finished { hash, label, seconds: 0.0 });
                }
                titer_store::State::Interrupted | titer_store::State::Absent => {
                    state.elsewhere.remove(hash);
                }
            }
        }
    }

    /// The threads of a stage that was just taken, of `threads` in all.
    pub(crate) fn share(&self, threads: usize) -> usize {
        (threads / self.lock().running.len().max(1)).max(1)
    }

    /// Stages whose inputs have failed fail too.
    fn skip_hopeless(&self, state: &mut State, progress: &dyn Progress) {
        for stage in self.stages.iter().copied() {
            let culprit = stage.inputs.iter().find_map(|input| state.failed.get(input));
            let Some(culprit) = culprit.map(|failure| failure.label.clone()) else { continue };
            if state.failed.contains_key(&stage.hash) || state.done.contains(&stage.hash) {
                continue;
            }
            progress.event(RunEvent::Skipped { hash: &stage.hash, label: &stage.label, because: &culprit });
            let error = format!("not run, since {culprit} failed");
            let (hash, label) = (stage.hash.clone(), stage.label.clone());
            state.failed.insert(stage.hash.clone(), StageFailure { hash, label, error, diverged: false });
        }
    }

    pub(crate) fn report(&self, stage: &PlannedStage, result: Result<Done>, progress: &dyn Progress) {
        let mut state = self.lock();
        let seconds =
            state.running.remove(&stage.hash).map_or(0.0, |started| started.elapsed().as_secs_f64());
        match result {
            Ok(Done::Elsewhere { holder }) => {
                state.elsewhere.insert(stage.hash.clone());
                let (hash, label) = (&stage.hash, stage.label.as_str());
                if state.told.insert(hash.clone()) {
                    progress.event(RunEvent::Elsewhere { hash, label, holder: &holder });
                }
            }
            Ok(Done::Lacks { input }) => {
                let (hash, label) = (&stage.hash, stage.label.as_str());
                let first = state.done.remove(&input);
                let of = self.plan.stage(&input).map_or("", |input| input.label.as_str());
                progress.event(RunEvent::Lacking { hash, label, input: of, first });
                state.anew.insert(input);
            }
            Ok(done) => {
                state.computed += usize::from(matches!(done, Done::Here));
                state.done.insert(stage.hash.clone());
                progress.event(RunEvent::Finished { hash: &stage.hash, label: &stage.label, seconds });
            }
            Err(Error::Interrupted) => state.interrupted = true,
            Err(error) => {
                let (diverged, again) = (error.is_divergence(), error.again() != Again::Never);
                let error = error.chain();
                let (hash, label) = (&stage.hash, stage.label.as_str());
                progress.event(RunEvent::Failed { hash, label, error: &error, again });
                let (hash, label) = (stage.hash.clone(), stage.label.clone());
                state.failed.insert(stage.hash.clone(), StageFailure { hash, label, error, diverged });
            }
        }
        self.changed.notify_all();
    }
}
