//! Looks at a run that goes on elsewhere as if it were one's own.

use std::collections::BTreeMap;
use std::time::Duration;

use titer_plan::{Plan, StageHash};
use titer_store::{Holder, Note, Store};

use crate::live::{ExperimentView, StageState, Watcher};
use crate::progress::{Progress, RunEvent};
use crate::{Result, StageFailure};

/// How often it is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(300);

/// How a run ended that was followed.
#[derive(Debug, Clone, PartialEq)]
pub enum Followed {
    /// By itself: what it sealed, and what failed.
    Ended {
        /// Stages that it sealed.
        computed: usize,
        /// Stages that failed or were not tried.
        failed: Vec<StageFailure>,
    },
    /// It was stopped, or its time was over, before all was done.
    Stopped,
    /// Without a word: it was killed.
    Gone,
}

/// The runs that live of the experiment of a plan, if they run that very plan.
///
/// # Errors
/// When the store cannot be read.
pub fn runs_of(plan: &Plan, store: &Store) -> Result<Vec<Holder>> {
    let experiment = store.experiment(&plan.experiment.name)?;
    let runs = experiment.runs()?;
    if runs.is_empty() || !experiment.exists() {
        return Ok(Vec::new());
    }
    let text = serde_json::to_string_pretty(plan)?;
    // A plan that is damaged is written anew by a run of its own.
    let same = experiment.plan_json().is_ok_and(|stored| stored == text);
    Ok(if same { runs } else { Vec::new() })
}

/// Follows living runs of an experiment until none of them is there any more.
///
/// # Errors
/// When the store cannot be read.
pub fn follow(plan: &Plan, store: &Store, runs: &[Holder], progress: &dyn Progress) -> Result<Followed> {
    let experiment = store.experiment(&plan.experiment.name)?;
    let mut watcher = Watcher::new(store.clone());
    let mut seen = Seen::default();
    let is_one = |run: &Holder| runs.iter().any(|known| (&known.host, known.pid) == (&run.host, run.pid));
    loop {
        // Whether it lives is asked first, so that what it did last is seen.
        let lives = experiment.runs()?.iter().any(&is_one);
        let view = watcher.experiment(&plan.experiment.name)?;
        seen.tell(&view, progress);
        if !lives {
            return Ok(end(&view, runs));
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// What of an experiment was told already.
#[derive(Default)]
pub(crate) struct Seen {
    states: BTreeMap<StageHash, Told>,
    stages: Option<usize>,
}

/// What was told of a stage last.
#[derive(Clone, Copy, PartialEq)]
enum Told {
    Running,
    Over,
}

impl Seen {
    pub(crate) fn tell(&mut self, view: &ExperimentView, progress: &dyn Progress) {
        let (stages, sealed) = (view.stages.len(), view.line.counts.sealed);
        let begins = self.stages.is_none();
        // Where seeds are added the plan grows.
        if self.stages != Some(stages) {
            self.stages = Some(stages);
            progress.event(RunEvent::Planned { stages, cached: sealed });
        }
        for stage in &view.stages {
            let (hash, label) = (&stage.hash, stage.label.as_str());
            let told = self.states.get(hash).copied();
            match &stage.state {
                StageState::Running(_) => {
                    if told != Some(Told::Running) {
                        self.states.insert(hash.clone(), Told::Running);
                        progress.event(RunEvent::Started { hash, label });
                    }
                    if let (Some(done), Some(of)) = (stage.step, stage.steps) {
                        progress.event(RunEvent::Advanced { hash, label, done, of });
                    }
                }
                StageState::Sealed if told != Some(Told::Over) => {
                    self.states.insert(hash.clone(), Told::Over);
                    // What was sealed before is counted already.
                    if !begins {
                        let seconds = stage.seconds.unwrap_or(0.0);
                        progress.event(RunEvent::Finished { hash, label, seconds });
                    }
                }
                StageState::Failed(error) if told != Some(Told::Over) => {
                    self.states.insert(hash.clone(), Told::Over);
                    // What failed in an earlier run may go well in this one.
                    if !begins {
                        progress.event(RunEvent::Failed { hash, label, error, again: false });
                    }
                }
                _ => {}
            }
        }
    }
}

/// What failed, and what was not run because of that.
pub(crate) fn failures(view: &ExperimentView) -> Vec<StageFailure> {
    let failed = view.stages.iter().filter_map(|stage| match &stage.state {
        StageState::Failed(error) => Some(StageFailure {
            hash: stage.hash.clone(),
            label: stage.label.clone(),
            error: error.clone(),
            diverged: false,
        }),
        _ => None,
    });
    failed.collect()
}

/// How the runs ended, by what they wrote down.
fn end(view: &ExperimentView, runs: &[Holder]) -> Followed {
    let mut said = Vec::new();
    for run in runs {
        let own = view.journal.iter().rev().filter(|entry| (&entry.host, entry.pid) == (&run.host, run.pid));
        // Processes of that number may have run it before.
        let last = own.take_while(|entry| !matches!(entry.note, Note::Began { .. }));
        let ended = last.into_iter().find_map(|entry| match &entry.note {
            Note::Ended { computed, interrupted, .. } => Some((*computed, *interrupted)),
            _ => None,
        });
        said.push(ended);
    }
    let whole: Option<Vec<(usize, bool)>> = said.into_iter().collect();
    match whole {
        None => Followed::Gone,
        Some(ends) if ends.iter().any(|(_, interrupted)| *interrupted) => Followed::Stopped,
        Some(ends) => {
            let computed = ends.iter().map(|(computed, _)| computed).sum();
            Followed::Ended { computed, failed: failures(view) }
        }
    }
}
