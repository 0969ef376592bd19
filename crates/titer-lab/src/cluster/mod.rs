//! Has a cluster do the stages of a plan, through Slurm.
//!
//! What is left of the plan is divided into packs, and each pack is an element of an array of jobs that begins once the
//! packs that it needs have ended, well or not. Jobs meet in the store alone: each does its stages and whatever they
//! need that is not there, so that what a lost job left undone is done by those that need it. After all of them comes
//! one more job, which looks what is left and submits that as the next round, until nothing is left or nothing comes of
//! it any more. No process outside the cluster is needed once the first round is submitted.

mod error;
mod packs;
mod slurm;
mod submission;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use sysinfo::System;
use titer_conditions::Look;
use titer_plan::{Ladder, Plan, PlannedStage, StageHash};
use titer_store::{Experiment, Store, Trust};

pub use self::error::ClusterError;
pub use self::packs::{LONGEST, Pack, SHORTEST, Work, arrays, packs, target};
pub use self::slurm::{Job, SlurmOptions};
use self::slurm::{LONGEST_ARRAY, Request};
use self::submission::save_packs;
pub use self::submission::{Array, Submission, pack, settled_failures};
use crate::catalogue::Source;
use crate::executor::{StageFailure, save};
use crate::follow::{Seen, failures};
use crate::live::{Watcher, keep_looks};
use crate::progress::Progress;
use crate::results::Results;
use crate::{Compute, Result, estimate};

/// How many rounds may seal nothing, one after the other, before it is given up.
const IDLE_ROUNDS: u32 = 3;
/// What a stage may take over its estimate.
const SLACK: f64 = 3.0;
/// The shortest time that is asked for, in seconds: a job starts the program and reads models and data.
const SHORTEST_JOB: u64 = 20 * 60;
/// Memory beside what a stage is estimated to take, in bytes.
const PROGRAM_MEMORY: u64 = 1 << 30;
/// The job that closes a round reads results and decides verdicts.
const CLOSING: (u64, u64) = (30 * 60, 2 << 30);
/// How often a follower looks at the store, and at the queue.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const ASK_EVERY: Duration = Duration::from_secs(5);
/// How often in a row Slurm may not answer a follower.
const SILENCE: u32 = 36;

/// How a cluster is to run a plan.
#[derive(Debug, Clone)]
pub struct ClusterOptions {
    /// What a job runs, as words: this program, and the arguments by which it goes on with the experiment. What says
    /// which part of it is added.
    pub command: Vec<String>,
    /// What the job that closes a round adds to that, to submit the next one.
    pub closing: Vec<String>,
    /// What jobs compute on.
    pub compute: Compute,
    /// Whether the backward pass computes each layer again, which takes less memory.
    pub recompute: bool,
    /// Whether weights that were dropped are made anew though no stage needs them.
    pub weights: bool,
    /// What is asked of Slurm.
    pub slurm: SlurmOptions,
    /// Whether this is the job that closes a round.
    pub closes: bool,
}

/// What came of submitting.
#[derive(Debug, Clone, PartialEq)]
pub enum Submitted {
    /// A round of jobs.
    Round(Submission),
    /// A round that was submitted earlier is not over: these jobs of it.
    Already(Submission, Vec<Job>),
    /// Nothing is left to do but what has failed, as it would again.
    Nothing(Vec<StageFailure>),
}

/// Submits what of a plan is left to do, and writes the experiment to the store.
///
/// # Errors
/// When jobs of another plan of the experiment are not over. When Slurm refuses: then no job of this round stays. When several rounds have sealed nothing. When another process
/// submits this experiment at this moment, or the store cannot be written.
pub fn submit(plan: &Plan, source: &Source, store: &Store, options: &ClusterOptions) -> Result<Submitted> {
    let experiment = store.experiment(&plan.experiment.name)?;
    let _alone = experiment.submitting()?;
    let earlier = Submission::read(&experiment)?;
    if let Some(earlier) = &earlier {
        let living = earlier.living()?;
        if !living.is_empty() {
            // Jobs find what they are to do in the plan that is stored: it is not replaced under them.
            let stored = experiment.plan_json()?;
            if stored != serde_json::to_string_pretty(plan)? {
                return Err(ClusterError::OtherPlan { experiment: plan.experiment.name.clone() }.into());
            }
            return Ok(Submitted::Already(earlier.clone(), living));
        }
    }
    save(&experiment, plan, source)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let before = earlier.as_ref().filter(|_| options.closes);
    let began = before.map_or(now, |before| before.began);
    let left = Left::of(plan, store, &experiment, began, options)?;
    if left.stages.is_empty() {
        return Ok(Submitted::Nothing(left.failed));
    }
    let idle = before.map_or(0, |before| if before.sealed == left.sealed { before.idle + 1 } else { 0 });
    if idle >= IDLE_ROUNDS {
        let ended = earlier.as_ref().and_then(Submission::ended_badly).unwrap_or_default();
        return Err(ClusterError::NothingComes { rounds: idle, ended, logs: experiment.cluster_dir() }.into());
    }
    let mut submission = Submission {
        round: earlier.map_or(0, |earlier| earlier.round) + 1,
        began,
        idle,
        sealed: left.sealed,
        host: System::host_name().unwrap_or_default(),
        arrays: Vec::new(),
        closing: None,
        options: options.slurm.clone(),
    };
    let submitted = left.submit(plan, &experiment, options, &mut submission);
    if submitted.is_err() {
        // Part of a round would end before its closing job is there. What cannot be ended ends by itself.
        let _ = submission.cancel(false);
    }
    submitted?;
    Ok(Submitted::Round(submission))
}

/// What of a plan is left to do.
struct Left<'p> {
    stages: Vec<&'p PlannedStage>,
    /// What cannot be done, since it failed or needs what failed.
    failed: Vec<StageFailure>,
    /// Stages of the plan that are done.
    sealed: usize,
}

impl<'p> Left<'p> {
    fn of(
        plan: &'p Plan,
        store: &Store,
        experiment: &Experiment,
        since: f64,
        options: &ClusterOptions,
    ) -> Result<Self> {
        let asked: Option<BTreeSet<StageHash>> = match plan.grows() {
            true => {
                Some(asked(plan, store, experiment)?.stages.into_iter().map(|stage| stage.hash).collect())
            }
            false => None,
        };
        let settled = settled_failures(experiment, since)?;
        let mut left = Self { stages: Vec::new(), failed: Vec::new(), sealed: 0 };
        let mut hopeless = BTreeMap::<&StageHash, &str>::new();
        for stage in &plan.stages {
            if asked.as_ref().is_some_and(|asked| !asked.contains(&stage.hash)) {
                continue;
            }
            let whole = matches!(store.trusted(&stage.hash)?, Trust::Whole);
            if whole && (!options.weights || store.artifact(&stage.hash).dropped().is_empty()) {
                left.sealed += 1;
                continue;
            }
            let culprit = stage.inputs.iter().find_map(|input| hopeless.get(input)).copied();
            let error = match (settled.get(&stage.hash), culprit) {
                (Some(error), _) => error.clone(),
                (None, Some(culprit)) => format!("not run, since {culprit} failed"),
                (None, None) => {
                    left.stages.push(stage);
                    continue;
                }
            };
            hopeless.insert(&stage.hash, culprit.unwrap_or(&stage.label));
            let (hash, label) = (stage.hash.clone(), stage.label.clone());
            left.failed.push(StageFailure { hash, label, error, diverged: false });
        }
        Ok(left)
    }

    fn submit(
        &self,
        plan: &Plan,
        experiment: &Experiment,
        options: &ClusterOptions,
        submission: &mut Submission,
    ) -> Result<()> {
        let work = self.work(plan, options);
        let total = work.iter().map(|stage| stage.seconds).sum();
        let packs = packs(&work, options.slurm.pack.unwrap_or_else(|| target(total)));
        let arrays = arrays(&packs, LONGEST_ARRAY);
        let content = arrays.iter().flatten().map(|pack| {
            packs[*pack].stages.iter().map(|stage| self.stages[*stage].hash.clone()).collect::<BTreeSet<_>>()
        });
        save_packs(experiment, submission.round, content.collect())?;
        submission.save(experiment)?;
        let name = format!("titer-{}", plan.experiment.name);
        let log =
            |pattern: &str| experiment.cluster_dir().join(format!("{}-{pattern}.log", submission.round));
        let (each, last) = (log("%A_%a"), log("%j-closing"));
        // What a round before could not do in its time or memory gets more of both.
        let more = 1u64 << submission.idle;
        let cores = options.slurm.cores.max(1);
        let gpus = if let Compute::Cuda(devices) = &options.compute { devices.len() } else { 0 };
        // Where each pack is: its job and its element.
        let mut places = BTreeMap::<usize, (u64, usize)>::new();
        let mut first = 0;
        for array in &arrays {
            let of_all = array.iter().map(|pack| &packs[*pack]);
            let seconds = of_all.clone().map(|pack| pack.seconds).fold(0.0, f64::max);
            let memory = of_all.map(|pack| pack.memory).fold(0.0, f64::max);
            let time = ((seconds * SLACK) as u64).max(SHORTEST_JOB) * more;
            let memory = (memory as u64 + PROGRAM_MEMORY) * more;
            let part =
                [options.command.as_slice(), &["--pack".to_owned(), format!("{}:{first}", submission.round)]];
            let request = Request {
                name: name.clone(),
                elements: Some(0..array.len()),
                after: after(&packs[array[0]].needs, &places, &submission.arrays),
                time: options.slurm.time.unwrap_or(time),
                memory: options.slurm.memory.unwrap_or(memory),
                cores,
                gpus,
                log: each.clone(),
                command: &part.concat(),
            };
            let job = slurm::submit(&request, &options.slurm)?;
            places.extend(array.iter().enumerate().map(|(element, pack)| (*pack, (job, element))));
            submission.arrays.push(Array { job, first, count: array.len() });
            submission.save(experiment)?;
            first += array.len();
        }
        let request = Request {
            name: format!("{name}-closing"),
            elements: None,
            after: submission.arrays.iter().map(|array| array.job.to_string()).collect(),
            time: CLOSING.0 * more,
            memory: CLOSING.1 * more,
            cores: 1,
            gpus: 0,
            log: last,
            command: &[options.command.as_slice(), options.closing.as_slice()].concat(),
        };
        submission.closing = Some(slurm::submit(&request, &options.slurm)?);
        submission.save(experiment)
    }

    /// What is left as work to be packed.
    fn work(&self, plan: &Plan, options: &ClusterOptions) -> Vec<Work> {
        let estimate = estimate(plan, None);
        let estimate = if options.recompute { estimate.recomputing() } else { estimate };
        let costs: BTreeMap<&StageHash, (f64, f64)> =
            estimate.stages.iter().map(|stage| (&stage.hash, (stage.seconds, stage.memory_bytes))).collect();
        let places: BTreeMap<&StageHash, usize> =
            self.stages.iter().enumerate().map(|(place, stage)| (&stage.hash, place)).collect();
        let of = |stage: &&PlannedStage| {
            let needs = stage.inputs.iter().filter_map(|input| places.get(input).copied()).collect();
            let (seconds, memory) = costs.get(&stage.hash).copied().unwrap_or_default();
            Work { needs, seconds, memory }
        };
        self.stages.iter().map(of).collect()
    }
}

/// What jobs must have ended before those of an array begin: whole arrays by one number.
fn after(needs: &BTreeSet<usize>, places: &BTreeMap<usize, (u64, usize)>, arrays: &[Array]) -> Vec<String> {
    let mut elements = BTreeMap::<u64, BTreeSet<usize>>::new();
    for (job, element) in needs.iter().filter_map(|need| places.get(need)) {
        elements.entry(*job).or_default().insert(*element);
    }
    let mut after = Vec::new();
    for (job, elements) in elements {
        let whole = arrays.iter().any(|array| array.job == job && array.count == elements.len());
        if whole {
            after.push(job.to_string());
        } else {
            after.extend(elements.iter().map(|element| format!("{job}_{element}")));
        }
    }
    after
}

/// What of a plan that grows is asked for by now, by all looks that are over; which is written down for screens.
fn asked(plan: &Plan, store: &Store, experiment: &Experiment) -> Result<Plan> {
    let mut open = Vec::new();
    // A look is over when all is sealed that was asked for before it, so that there may be several.
    for _ in 0..Ladder::of(&plan.experiment).looks() {
        let part = plan.asked(&open);
        if part.stages.iter().any(|stage| !store.artifact(&stage.hash).is_sealed()) {
            break;
        }
        let looks = Look::read(&Results::of(plan.clone(), store)?.verdicts()?.looks);
        if looks.len() <= open.len() {
            break;
        }
        open = looks;
    }
    keep_looks(experiment, &open)?;
    Ok(plan.asked(&open))
}

/// How the jobs of an experiment ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// All is done, but for what failed.
    Done(Vec<StageFailure>),
    /// No job is left, and something to do is.
    Left {
        /// Stages that are not done.
        stages: usize,
        /// How jobs of the last round ended that did not end well, where Slurm says so.
        ended: Vec<String>,
    },
}

/// Follows the jobs of an experiment, round after round, until none is left.
///
/// # Errors
/// When the store cannot be read, or Slurm does not answer for several minutes.
pub fn follow(plan: &Plan, store: &Store, progress: &dyn Progress) -> Result<Outcome> {
    let experiment = store.experiment(&plan.experiment.name)?;
    let (mut watcher, mut seen) = (Watcher::new(store.clone()), Seen::default());
    let mut asked: Option<Instant> = None;
    let mut silent = 0;
    loop {
        let ask = asked.is_none_or(|asked| asked.elapsed() >= ASK_EVERY);
        let mut over = false;
        if ask {
            asked = Some(Instant::now());
            let submission = Submission::read(&experiment)?;
            match submission.as_ref().map_or_else(|| Ok(Vec::new()), Submission::living) {
                // The job that closed the round may have submitted the next one meanwhile.
                Ok(living) => {
                    silent = 0;
                    over = living.is_empty() && Submission::read(&experiment)? == submission;
                }
                // A controller that is started anew answers again soon.
                Err(_) if silent < SILENCE => silent += 1,
                Err(error) => return Err(error),
            }
        }
        let view = watcher.experiment(&plan.experiment.name)?;
        seen.tell(&view, progress);
        if over {
            let failed = failures(&view);
            let left = view.stages.len() - view.line.counts.sealed - failed.len();
            if left == 0 {
                return Ok(Outcome::Done(failed));
            }
            let ended =
                Submission::read(&experiment)?.and_then(|last| last.ended_badly()).unwrap_or_default();
            return Ok(Outcome::Left { stages: left, ended });
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_arrays_are_waited_for_by_their_number() {
        let arrays = [Array { job: 7, first: 0, count: 2 }, Array { job: 9, first: 2, count: 3 }];
        let places = BTreeMap::from([(0, (7, 0)), (1, (7, 1)), (2, (9, 0)), (3, (9, 1)), (4, (9, 2))]);
        let after = |needs: &[usize]| after(&needs.iter().copied().collect(), &places, &arrays);
        assert_eq!(after(&[0, 1]), ["7"]);
        assert_eq!(after(&[1, 2, 4]), ["7_1", "9_0", "9_2"]);
        assert!(after(&[]).is_empty());
    }
}
