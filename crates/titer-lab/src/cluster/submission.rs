//! What was submitted, as the store keeps it: how jobs are found again by whoever looks after them later, and what a job
//! is to do.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use titer_plan::StageHash;
use titer_store::{Experiment, Note};

use super::ClusterError;
use super::slurm::{self, Job, SlurmOptions};
use crate::Result;

/// One round of jobs. What they leave undone is another round's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Submission {
    /// Its number, from 1.
    pub round: u64,
    /// When the first of the rounds began that follow each other by themselves, in seconds since the Unix epoch.
    pub began: f64,
    /// How many of the rounds before it, one after the other, have sealed nothing.
    pub idle: u32,
    /// Stages of the plan that were sealed before it.
    pub sealed: usize,
    /// The host that submitted it.
    pub host: String,
    /// Its arrays of jobs.
    pub arrays: Vec<Array>,
    /// The job that comes after all of them, and submits what they leave.
    pub closing: Option<u64>,
    /// What was asked of Slurm.
    pub options: SlurmOptions,
}

/// An array of jobs, each of which does one pack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Array {
    /// Slurm's number for it.
    pub job: u64,
    /// The pack of its first element.
    pub first: usize,
    /// Its elements.
    pub count: usize,
}

impl Submission {
    /// What was submitted last; none where nothing was.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(experiment: &Experiment) -> Result<Option<Self>> {
        let json = experiment.submission_json()?;
        Ok(json.map(|json| serde_json::from_str(&json)).transpose()?)
    }

    pub(super) fn save(&self, experiment: &Experiment) -> Result<()> {
        Ok(experiment.save_submission(&serde_json::to_string(self)?)?)
    }

    /// Slurm's numbers of its jobs.
    pub fn jobs(&self) -> Vec<u64> {
        self.arrays.iter().map(|array| array.job).chain(self.closing).collect()
    }

    /// Packs of the round.
    pub fn packs(&self) -> usize {
        self.arrays.iter().map(|array| array.count).sum()
    }

    /// What of its jobs is not over, but for the one that asks, if it is one.
    ///
    /// # Errors
    /// When Slurm does not answer.
    pub fn living(&self) -> Result<Vec<Job>> {
        let mut jobs = slurm::queue(&self.jobs())?;
        if let Ok(own) = std::env::var("SLURM_JOB_ID") {
            jobs.retain(|job| job.id != own);
        }
        Ok(jobs)
    }

    /// How jobs of it ended that did not end well, as `12_3 TIMEOUT`; none where the cluster keeps no accounts.
    pub fn ended_badly(&self) -> Option<Vec<String>> {
        slurm::ended_badly(&self.jobs())
    }

    /// Ends its jobs: those that wait only, or all.
    ///
    /// # Errors
    /// When Slurm refuses.
    pub fn cancel(&self, waiting: bool) -> Result<()> {
        slurm::cancel(&self.jobs(), waiting)
    }
}

/// What the jobs of a round do.
#[derive(Serialize, Deserialize)]
struct Packs {
    packs: Vec<BTreeSet<StageHash>>,
}

/// Writes down what each job of a round is to do.
pub(super) fn save_packs(experiment: &Experiment, round: u64, packs: Vec<BTreeSet<StageHash>>) -> Result<()> {
    Ok(experiment.save_packs(round, &serde_json::to_string(&Packs { packs })?)?)
}

/// What a job of a round is to do.
///
/// # Errors
/// When there is no such round or pack.
pub fn pack(experiment: &Experiment, round: u64, number: usize) -> Result<BTreeSet<StageHash>> {
    let mut packs: Packs = serde_json::from_str(&experiment.packs_json(round)?)?;
    if number >= packs.packs.len() {
        return Err(ClusterError::NoPack { round, number, packs: packs.packs.len() }.into());
    }
    Ok(packs.packs.swap_remove(number))
}

/// What has failed since a moment, as it would again: by the name of each stage, why.
///
/// # Errors
/// When the journal cannot be read.
pub fn settled_failures(experiment: &Experiment, since: f64) -> Result<BTreeMap<StageHash, String>> {
    let mut failed = BTreeMap::new();
    for entry in experiment.follow().read()?.into_iter().filter(|entry| entry.time >= since) {
        match entry.note {
            Note::Failed { stage, error, again: false } => {
                failed.insert(stage, error);
            }
            // Another run has had more luck, or was told otherwise.
            Note::Finished { stage, .. } => {
                failed.remove(&stage);
            }
            _ => {}
        }
    }
    Ok(failed)
}
