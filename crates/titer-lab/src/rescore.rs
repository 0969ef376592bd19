//! Judges the stored answers of an experiment anew, without the models that gave them.

use titer_plan::{Plan, PlannedStage};
use titer_store::{Artifact, Store};

use crate::catalogue::stored;
use crate::executor::{RunOptions, StageFailure, run};
use crate::progress::Progress;
use crate::results::Results;
use crate::stages::{Again, REJUDGED};
use crate::{Error, Interrupt, Result, measures};

/// What came of judging anew.
#[derive(Debug, Clone, PartialEq)]
pub struct Rescored {
    /// Stages that were judged.
    pub stages: usize,
    /// Answers that were judged, each by all measures of its probe.
    pub answers: usize,
    /// Scores that count and are others than before.
    pub changed: usize,
    /// Stages whose answers are not in the store, or do not go as far as the measures now ask for.
    pub failed: Vec<StageFailure>,
    /// Whether it was stopped on request.
    pub interrupted: bool,
    /// The plan as it now is.
    pub plan: Plan,
}

/// Judges all answers of an experiment by its measures as they are now: their versions, the published phrases
/// or the user's own file. Where nothing of them changed, the scores must come out as they are stored.
///
/// # Errors
/// When there is no such experiment, its plan is of another version, or scores changed though no measure did.
pub fn rescore(
    experiment: &str,
    store: &Store,
    options: &RunOptions,
    interrupt: &Interrupt,
    progress: &dyn Progress,
) -> Result<Rescored> {
    let (source, before) = stored(store, experiment)?;
    let plan = measures::current(&before)?;
    // Of an experiment that adds seeds what was never asked for has no answers.
    let asked = if before.grows() { Some(Results::of(before.clone(), store)?.plan) } else { None };
    let mut rescored = Rescored {
        stages: 0,
        answers: 0,
        changed: 0,
        failed: Vec::new(),
        interrupted: false,
        plan: plan.clone(),
    };
    let device = options.compute.open()?.into_iter().next().unwrap_or(candle_core::Device::Cpu);
    let asked = |stage: &&PlannedStage| {
        asked.as_ref().is_none_or(|part| part.stages.iter().any(|known| known.answers == stage.answers))
    };
    let asking = || plan.stages.iter().filter(|stage| stage.answers.is_some()).filter(asked);
    let artifacts = |stage: &PlannedStage| -> (Artifact, bool) {
        let artifact = store.artifact(&stage.hash);
        let sealed = artifact.is_sealed();
        (artifact, sealed)
    };
    let mut left = Vec::new();
    for stage in asking() {
        let (artifact, sealed) = artifacts(stage);
        if !sealed {
            left.push(stage);
            continue;
        }
        let again = Again::judge(stage, &artifact, store, &device)?;
        let changed = again.changed()?;
        if changed > 0 {
            return Err(Error::Unequal { stage: stage.label.clone(), changed });
        }
        rescored.stages += 1;
        rescored.answers += again.answers();
    }
    if !left.is_empty() {
        let options = RunOptions { judge_only: true, ..options.clone() };
        let summary = run(&plan, &source, store, &options, interrupt, progress)?;
        (rescored.failed, rescored.interrupted) = (summary.failed, summary.interrupted);
        for stage in left {
            let (artifact, sealed) = artifacts(stage);
            if sealed {
                let told = &artifact.manifest()?.summary[REJUDGED];
                let count = |key: &str| told[key].as_u64().unwrap_or(0) as usize;
                rescored.stages += 1;
                rescored.answers += count("answers");
                rescored.changed += count("changed");
            }
        }
    }
    Ok(rescored)
}
