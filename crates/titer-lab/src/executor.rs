//! Runs the stages of a plan in this process, several at once.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use candle_core::Device;
use titer_plan::{Plan, PlannedStage, StageHash};
use titer_store::{Begin, Description, Store, Trust};

use crate::catalogue::Source;
use crate::channel::{LISTEN_EVERY, Requests, RunChannel};
use crate::compute::Compute;
use crate::progress::{Progress, RunEvent};
use crate::sources::Sources;
use crate::stages::{ANSWERS_KEY, Work};
use crate::{Error, Interrupt, Result};

/// How to run.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// What they compute on.
    pub compute: Compute,
    /// Stages at once.
    pub jobs: usize,
    /// Threads that they share: a stage that runs alone gets all of them for its large products. Results do
    /// not depend on it.
    pub threads: usize,
    /// Whether stored answers are judged only: a stage that would have to train or ask a model fails.
    pub judge_only: bool,
    /// Whether the backward pass computes each layer again instead of keeping it: less memory, more time, the
    /// same results.
    pub recompute: bool,
}

/// How a run went.
#[derive(Debug, Clone, PartialEq)]
pub struct RunSummary {
    /// Stages computed by this run.
    pub computed: usize,
    /// Stages that other runs sealed, earlier or meanwhile.
    pub cached: usize,
    /// Stages that failed or could not run because another failed.
    pub failed: Vec<StageFailure>,
    /// Whether the run was stopped on request.
    pub interrupted: bool,
    /// Wall-clock time.
    pub seconds: f64,
}

/// A stage that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageFailure {
    /// Its hash.
    pub hash: StageHash,
    /// Its label.
    pub label: String,
    /// Why, with causes.
    pub error: String,
    /// Whether its training diverged, which it would do again.
    pub diverged: bool,
}

/// Runs what of `plan` is not sealed yet. A failed stage fails those that need it; the others go on.
///
/// # Errors
/// When the experiment cannot be written to the store.
pub fn run(
    plan: &Plan,
    source: &Source,
    store: &Store,
    options: &RunOptions,
    interrupt: &Interrupt,
    progress: &dyn Progress,
) -> Result<RunSummary> {
    let experiment = store.experiment(&plan.experiment.name)?;
    let plan_json = serde_json::to_string_pretty(plan)?;
    let unchanged = experiment.spec().is_ok_and(|spec| spec == source.text)
        && experiment.plan_json().is_ok_and(|stored| stored == plan_json);
    if !unchanged {
        experiment.save(&source.text, &plan_json)?;
    }
    let channel = RunChannel::new(&experiment, options.jobs, progress);
    let requests = Requests::default();
    // Dropped at the end, however that comes.
    let (going_on, ended) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let (channel, requests) = (&channel, &requests);
        scope.spawn(move || {
            while ended.recv_timeout(LISTEN_EVERY) == Err(RecvTimeoutError::Timeout) {
                channel.listen(requests, interrupt);
            }
        });
        let going_on = going_on;
        let summary = run_stages_by(requests, plan, store, options, interrupt, channel);
        drop(going_on);
        if let Ok(summary) = &summary {
            channel.end(summary.computed, summary.failed.len(), summary.interrupted);
        }
        summary
    })
}

/// Runs the stages of a plan that is no experiment of the store: without an entry, a journal or requests.
///
/// # Errors
/// When the devices cannot be opened.
pub fn run_stages(
    plan: &Plan,
    store: &Store,
    options: &RunOptions,
    interrupt: &Interrupt,
    progress: &dyn Progress,
) -> Result<RunSummary> {
    run_stages_by(&Requests::default(), plan, store, options, interrupt, progress)
}

fn run_stages_by(
    requests: &Requests,
    plan: &Plan,
    store: &Store,
    options: &RunOptions,
    interrupt: &Interrupt,
    progress: &dyn Progress,
) -> Result<RunSummary> {
    let started = Instant::now();
    if let Some(source) = plan.not_here().next() {
        return Err(Error::NotHere { reference: source.reference.clone() });
    }
    let sources = Sources::of_this_user();
    let devices = options.compute.open()?;
    let board = Board::new(plan, store, requests, progress)?;
    let answered = Answered { store, known: OnceLock::new() };
    let cached = board.lock().done.len();
    progress.event(RunEvent::Planned { stages: plan.stages.len(), cached });
    std::thread::scope(|scope| {
        let workers = options.jobs.clamp(1, plan.stages.len().max(1));
        for device in devices.iter().cycle().take(workers) {
            let (board, answered, sources) = (&board, &answered, &sources);
            scope.spawn(move || {
                while let Some(stage) = board.take(interrupt, progress) {
                    let earlier = answered.of(stage);
                    let work = || {
                        perform(
                            (stage, plan),
                            (store, sources),
                            device,
                            options,
                            earlier,
                            interrupt,
                            progress,
                        )
                    };
                    let threads = board.share(options.threads);
                    board.report(stage, unharmed(&stage.label, || with_threads(threads, work)), progress);
                }
            });
        }
    });
    let state = board.state.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(RunSummary {
        computed: state.computed,
        cached: state.done.len() - state.computed,
        interrupted: state.interrupted
            || (interrupt.raised() && state.done.len() + state.failed.len() < plan.stages.len()),
        failed: state.failed.into_values().collect(),
        seconds: started.elapsed().as_secs_f64(),
    })
}

/// What became of a stage that was taken.
enum Done {
    /// This run sealed it.
    Here,
    /// It was sealed by another run.
    Before,
    /// Another run does it at this moment.
    Elsewhere {
        /// Who, for people.
        holder: String,
    },
}

/// A panic in a stage fails that stage alone, as any other error does.
fn unharmed(label: &str, work: impl FnOnce() -> Result<Done>) -> Result<Done> {
    // Nothing outlives a panic half changed: a stage owns its model, and its artifact is resumed as after a kill.
    std::panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
        Err(Error::Panicked { stage: label.to_owned(), problem: text.to_owned() })
    })
}

/// Does work whose products may use so many threads.
fn with_threads<T: Send>(threads: usize, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    match rayon::ThreadPoolBuilder::new().num_threads(threads).build() {
        Ok(pool) => pool.install(work),
        // A system without threads to spare still has this one.
        Err(_) => work(),
    }
}

fn perform(
    (stage, plan): (&PlannedStage, &Plan),
    (store, sources): (&Store, &Sources),
    device: &Device,
    options: &RunOptions,
    answered: Vec<StageHash>,
    interrupt: &Interrupt,
    progress: &dyn Progress,
) -> Result<Done> {
    let description = Description {
        kind: stage.spec.kind().to_owned(),
        label: stage.label.clone(),
        spec: serde_json::to_value(&stage.spec)?,
        inputs: stage.inputs.clone(),
        git: None,
    };
    let begun = match store.begin(&stage.hash, &description) {
        Err(titer_store::Error::Busy { host, pid, .. }) => {
            return Ok(Done::Elsewhere { holder: format!("process {pid} on {host}") });
        }
        begun => begun?,
    };
    match begun {
        Begin::Sealed(_) => Ok(Done::Before),
        Begin::Writer(writer) => {
            let model = OnceCell::new();
            let work = Work {
                stage,
                plan,
                store,
                sources,
                device,
                writer: &writer,
                interrupt,
                progress,
                model,
                answered,
                judge_only: options.judge_only,
                recompute: options.recompute,
            };
            let summary = work.perform()?;
            writer.seal(summary)?;
            Ok(Done::Here)
        }
    }
}

/// The answers in a store, by their names: looked through when the first stage asks for some.
struct Answered<'a> {
    store: &'a Store,
    known: OnceLock<BTreeMap<StageHash, Vec<StageHash>>>,
}

impl Answered<'_> {
    /// The sealed artifacts that hold what this stage would ask for.
    fn of(&self, stage: &PlannedStage) -> Vec<StageHash> {
        let Some(answers) = &stage.answers else { return Vec::new() };
        let known = self.known.get_or_init(|| {
            let mut known = BTreeMap::<_, Vec<_>>::new();
            // What cannot be read is no answer, and is reported where it is needed.
            for hash in self.store.artifacts().unwrap_or_default() {
                let manifest = self.store.artifact(&hash).manifest();
                let answers = manifest
                    .ok()
                    .and_then(|manifest| Some(StageHash(manifest.summary[ANSWERS_KEY].as_str()?.to_owned())));
                if let Some(answers) = answers {
                    known.entry(answers).or_default().push(hash);
                }
            }
            known
        });
        known.get(answers).cloned().unwrap_or_default()
    }
}

/// Which stages are done, running, failed and waiting; shared by the workers.
struct Board<'a> {
    plan: &'a Plan,
    store: &'a Store,
    requests: &'a Requests,
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
    /// Those of which that was said.
    told: BTreeSet<StageHash>,
    failed: BTreeMap<StageHash, StageFailure>,
    interrupted: bool,
}

impl<'a> Board<'a> {
    fn new(
        plan: &'a Plan,
        store: &'a Store,
        requests: &'a Requests,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let mut done = BTreeSet::new();
        for PlannedStage { hash, label, .. } in &plan.stages {
            match store.trusted(hash)? {
                Trust::Whole => drop(done.insert(hash.clone())),
                Trust::Absent => {}
                Trust::Damaged(problem) => {
                    progress.event(RunEvent::Distrusted { hash, label, problem: &problem.to_string() });
                }
            }
        }
        let state = Mutex::new(State { done, ..State::default() });
        Ok(Self { plan, store, requests, state, changed: Condvar::new() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A worker that panicked leaves the state as it was before its stage, which is consistent.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next stage whose inputs are there; waits for one; none when nothing is left to do.
    fn take(&self, interrupt: &Interrupt, progress: &dyn Progress) -> Option<&'a PlannedStage> {
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
            let mut left = self.plan.stages.iter().filter(open).peekable();
            if left.peek().is_none() && state.elsewhere.is_empty() {
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
        for PlannedStage { hash, label, .. } in &self.plan.stages {
            if !state.elsewhere.contains(hash) {
                continue;
            }
            match self.store.artifact(hash).state() {
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
    fn share(&self, threads: usize) -> usize {
        (threads / self.lock().running.len().max(1)).max(1)
    }

    /// Stages whose inputs have failed fail too.
    fn skip_hopeless(&self, state: &mut State, progress: &dyn Progress) {
        for stage in &self.plan.stages {
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

    fn report(&self, stage: &PlannedStage, result: Result<Done>, progress: &dyn Progress) {
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
            Ok(done) => {
                state.computed += usize::from(matches!(done, Done::Here));
                state.done.insert(stage.hash.clone());
                progress.event(RunEvent::Finished { hash: &stage.hash, label: &stage.label, seconds });
            }
            Err(Error::Interrupted) => state.interrupted = true,
            Err(error) => {
                let (error, diverged) = (error.chain(), error.is_divergence());
                progress.event(RunEvent::Failed { hash: &stage.hash, label: &stage.label, error: &error });
                let (hash, label) = (stage.hash.clone(), stage.label.clone());
                state.failed.insert(stage.hash.clone(), StageFailure { hash, label, error, diverged });
            }
        }
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_of_its_stage() {
        let broken = || -> Result<Done> { panic!("token {} is none", 7) };
        let error = unharmed("align apothecary", broken).err().map(|error| error.to_string());
        assert!(error.is_some_and(|text| text.starts_with("align apothecary panicked: token 7 is none")));
        assert!(matches!(unharmed("x", || Ok(Done::Here)), Ok(Done::Here)));
        // Also from the threads of the pool that a stage computes on.
        let error = unharmed("x", || with_threads(2, || -> Result<Done> { panic!("plain") }));
        assert!(error.err().is_some_and(|error| error.to_string().contains("plain")));
    }
}
