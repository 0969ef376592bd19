//! Runs the stages of a plan in this process, several at once.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::sync::OnceLock;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use candle_core::Device;
use titer_conditions::Look;
use titer_plan::{Ladder, Open, Plan, PlannedStage, StageHash};
use titer_store::{Begin, Description, Experiment, Remade, Store};

use crate::again::patiently;
use crate::board::{Board, Done};
use crate::catalogue::Source;
use crate::channel::{LISTEN_EVERY, Requests, RunChannel};
use crate::cluster::ClusterError;
use crate::compute::Compute;
use crate::live;
use crate::progress::{Progress, RunEvent};
use crate::provenance::provenance;
use crate::results::Results;
use crate::sources::Sources;
use crate::stages::{ANSWERS_KEY, Recall, Shared, Work};
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
    /// After how long no new stage begins; none for however long it takes.
    pub budget: Option<Duration>,
    /// Whether weights that were dropped to save room are made anew, though no stage needs them.
    pub weights: bool,
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
    /// Whether time was over before all was done.
    pub out_of_time: bool,
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
    // Whoever removes an experiment looks for living runs, and does so before or after this one says that it lives.
    let channel = RunChannel::new(&experiment, options.jobs, progress);
    save(&experiment, plan, source)?;
    talking(&channel, interrupt, |requests| {
        run_stages_by(requests, plan, store, (options, None), interrupt, &channel)
    })
}

/// Writes an experiment to the store, unless it stands there as it is.
pub(crate) fn save(experiment: &Experiment, plan: &Plan, source: &Source) -> Result<()> {
    let plan_json = serde_json::to_string_pretty(plan)?;
    let unchanged = experiment.spec().is_ok_and(|spec| spec == source.text)
        && experiment.plan_json().is_ok_and(|stored| stored == plan_json);
    if !unchanged {
        experiment.save(&source.text, &plan_json)?;
        // What was open of another plan says nothing of this one.
        live::keep_looks(experiment, &[])?;
    }
    Ok(())
}

/// A part of a plan.
#[derive(Debug, Clone, Default)]
pub struct Part {
    /// These stages, and what they need.
    pub stages: BTreeSet<StageHash>,
    /// What has failed before, as it would again.
    pub failed: Vec<StageFailure>,
}

/// Runs what of a part of the plan of a stored experiment is not sealed yet, beside other runs of the rest.
///
/// # Errors
/// When the experiment is not there, or its plan does not have one of the stages.
pub fn run_part(
    plan: &Plan,
    part: &Part,
    store: &Store,
    options: &RunOptions,
    interrupt: &Interrupt,
    progress: &dyn Progress,
) -> Result<RunSummary> {
    if let Some(stage) = part.stages.iter().find(|hash| plan.stage(hash).is_none()) {
        let (experiment, stage) = (plan.experiment.name.clone(), stage.short().to_owned());
        return Err(ClusterError::NotPlanned { experiment, stage }.into());
    }
    let experiment = store.experiment(&plan.experiment.name)?;
    let channel = RunChannel::new(&experiment, options.jobs, progress);
    talking(&channel, interrupt, |requests| {
        run_stages_by(requests, plan, store, (options, Some(part)), interrupt, &channel)
    })
}

/// Works, and listens meanwhile to what is asked through the store.
fn talking(
    channel: &RunChannel<'_>,
    interrupt: &Interrupt,
    work: impl FnOnce(&Requests) -> Result<RunSummary>,
) -> Result<RunSummary> {
    let requests = Requests::default();
    // Dropped at the end, however that comes.
    let (going_on, ended) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let requests = &requests;
        scope.spawn(move || {
            while ended.recv_timeout(LISTEN_EVERY) == Err(RecvTimeoutError::Timeout) {
                channel.listen(requests, interrupt);
            }
        });
        let going_on = going_on;
        let summary = work(requests);
        drop(going_on);
        if let Ok(summary) = &summary {
            channel.end(summary.computed, summary.failed.len(), summary.interrupted || summary.out_of_time);
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
    run_stages_by(&Requests::default(), plan, store, (options, None), interrupt, progress)
}

fn run_stages_by(
    requests: &Requests,
    plan: &Plan,
    store: &Store,
    (options, part): (&RunOptions, Option<&Part>),
    interrupt: &Interrupt,
    progress: &dyn Progress,
) -> Result<RunSummary> {
    let started = Instant::now();
    if let Some(source) = plan.not_here().next() {
        return Err(Error::NotHere { reference: source.reference.clone() });
    }
    let sources = Sources::of_this_user();
    let devices = options.compute.open()?;
    // Before anything is looked for. A store that cannot be written loses nothing.
    let _claim = store.claim(plan.stages.iter().map(|stage| &stage.hash)).ok();
    let answered = Answered { store, known: OnceLock::new() };
    let (recall, shared) = (Recall::default(), Shared::default());
    let deadline = options.budget.and_then(|budget| started.checked_add(budget));
    let failed = part.map(|part| part.failed.clone()).unwrap_or_default();
    let mut board = Board::new(plan, store, requests, (deadline, options.weights), failed);
    // What was open after each look, where seeds are added until all is decided.
    let mut open: Vec<Vec<Open>> = Vec::new();
    match part {
        Some(part) => board.ask(&plan.needed_for(&part.stages), progress)?,
        None => board.ask(&asked(plan, &open), progress)?,
    }
    let (stages, cached) = board.counts();
    progress.event(RunEvent::Planned { stages, cached });
    loop {
        std::thread::scope(|scope| {
            let workers = options.jobs.clamp(1, stages.max(1));
            for device in devices.iter().cycle().take(workers) {
                let (board, answered, known) = (&board, &answered, (&sources, &recall, &shared));
                scope.spawn(move || {
                    while let Some(stage) = board.take(interrupt, progress) {
                        let (here, around) = ((stage, plan), (store, known));
                        let anew = board.is_anew(&stage.hash);
                        let earlier = if anew { Vec::new() } else { answered.of(stage) };
                        let how = (options, earlier, anew);
                        let threads = board.share(options.threads);
                        let work = || {
                            let work = || perform(here, around, device, how.clone(), interrupt, progress);
                            unharmed(&stage.label, || with_threads(threads, work))
                        };
                        let done = patiently(interrupt, work, |error, pause| {
                            let (hash, label) = (&stage.hash, stage.label.as_str());
                            progress.event(RunEvent::Retried { hash, label, error: &error.chain(), pause });
                        });
                        board.report(stage, done, progress);
                    }
                });
            }
        });
        if part.is_some() || !plan.grows() || !board.is_done() {
            break;
        }
        let looks = Look::read(&Results::of(plan.clone(), store)?.verdicts()?.looks);
        // A look is read when all of it is sealed.
        if looks.len() <= open.len() {
            break;
        }
        open = looks;
        let (look, of) = (open.len(), Ladder::of(&plan.experiment).looks());
        let part = asked(plan, &open);
        board.ask(&part, progress)?;
        progress.event(RunEvent::Looked { look, of, open: &open, part: &part, done: board.counts().1 });
        if look == of || open[look - 1].is_empty() {
            break;
        }
    }
    Ok(board.summary(interrupt.raised(), started.elapsed().as_secs_f64()))
}

/// What of a plan is to be done where `open` was open after each look so far.
fn asked<'p>(plan: &'p Plan, open: &[Vec<Open>]) -> Cow<'p, Plan> {
    if plan.grows() { Cow::Owned(plan.asked(open)) } else { Cow::Borrowed(plan) }
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
    (store, (sources, recall, shared)): (&Store, (&Sources, &Recall, &Shared)),
    device: &Device,
    (options, answered, anew): (&RunOptions, Vec<StageHash>, bool),
    interrupt: &Interrupt,
    progress: &dyn Progress,
) -> Result<Done> {
    let computes = answered.is_empty() && !options.judge_only;
    let mut models = stage.inputs.iter().take(stage.spec.models()).filter(|_| computes);
    if let Some(input) = models.find(|input| !store.artifact(input).dropped().is_empty()) {
        return Ok(Done::Lacks { input: input.clone() });
    }
    let description = Description {
        kind: stage.spec.kind().to_owned(),
        label: stage.label.clone(),
        spec: serde_json::to_value(&stage.spec)?,
        inputs: stage.inputs.clone(),
        provenance: provenance(device),
    };
    let begun = match anew {
        true => store.remake(&stage.hash, &description),
        false => store.begin(&stage.hash, &description),
    };
    let begun = match begun {
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
                recall,
                shared,
                judge_only: options.judge_only,
                recompute: options.recompute,
            };
            let summary = match work.perform() {
                // Stored answers did not do after all.
                Err(Error::Store(titer_store::Error::Dropped { hash, .. }))
                    if stage.inputs.contains(&hash) =>
                {
                    return Ok(Done::Lacks { input: hash });
                }
                summary => summary?,
            };
            writer.seal(summary)?;
            if anew && store.put_back(&stage.hash)? == Remade::Anew {
                let (hash, label) = (&stage.hash, stage.label.as_str());
                let problem =
                    "its dropped weights come out otherwise on this machine: all of it is made anew";
                progress.event(RunEvent::Distrusted { hash, label, problem });
            }
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
        // What cannot be read is no answer, and is reported where it is needed.
        let known = self.known.get_or_init(|| answering(self.store).unwrap_or_default());
        known.get(answers).cloned().unwrap_or_default()
    }
}

/// The sealed artifacts of a store that hold answers, by the answers' names.
///
/// # Errors
/// When the store cannot be listed. An artifact that cannot be read holds none.
pub(crate) fn answering(store: &Store) -> Result<BTreeMap<StageHash, Vec<StageHash>>> {
    let mut known = BTreeMap::<_, Vec<_>>::new();
    for hash in store.artifacts()? {
        let manifest = store.artifact(&hash).manifest().ok();
        let answers = manifest.and_then(|manifest| Some(manifest.summary[ANSWERS_KEY].as_str()?.to_owned()));
        if let Some(answers) = answers {
            known.entry(StageHash(answers)).or_default().push(hash);
        }
    }
    Ok(known)
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
