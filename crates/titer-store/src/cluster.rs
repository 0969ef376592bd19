//! What a store keeps of an experiment that a cluster computes: what was submitted, which stages each job is to do, and
//! what the jobs had to say.

use std::path::{Path, PathBuf};

use crate::atomic;
use crate::error::Result;
use crate::experiment::Experiment;
use crate::lease::Lease;
use crate::links;
use crate::sums;

/// What was submitted last.
const SUBMISSION: &str = "submission.json";
/// By which one process submits at a time.
const LEASE: &str = "lease.json";
/// The ending of what jobs say.
const LOG: &str = "log";

/// The right to submit jobs of an experiment, until it is dropped or the process ends.
#[derive(Debug)]
pub struct Submitting {
    _lease: Lease,
}

impl Experiment {
    /// The folder of all that concerns its jobs, whether or not there are any.
    pub fn cluster_dir(&self) -> PathBuf {
        self.folder().join("cluster")
    }

    /// Takes the right to submit jobs.
    ///
    /// # Errors
    /// [`Busy`](crate::Error::Busy) while another process submits; when the store cannot be written.
    pub fn submitting(&self) -> Result<Submitting> {
        let folder = self.cluster_dir();
        atomic::create_folder(&folder)?;
        Ok(Submitting { _lease: Lease::take(&folder.join(LEASE), self.gate(), self.terms())? })
    }

    /// Keeps which stages each job of a round is to do, a JSON object.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn save_packs(&self, round: u64, packs_json: &str) -> Result<()> {
        atomic::create_folder(&self.cluster_dir())?;
        sums::write_json(&self.packs_path(round), packs_json)
    }

    /// Which stages each job of a round is to do.
    ///
    /// # Errors
    /// When there is no such round, or it is not what was written.
    pub fn packs_json(&self, round: u64) -> Result<String> {
        sums::read_json(&self.packs_path(round))
    }

    /// Keeps what was submitted, a JSON object, in place of what was kept.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn save_submission(&self, submission_json: &str) -> Result<()> {
        atomic::create_folder(&self.cluster_dir())?;
        sums::write_json(&self.submission_path(), submission_json)
    }

    /// What was submitted last; none where nothing was.
    ///
    /// # Errors
    /// When there is something that cannot be read.
    pub fn submission_json(&self) -> Result<Option<String>> {
        let path = self.submission_path();
        if path.symlink_metadata().is_err() { Ok(None) } else { sums::read_json(&path).map(Some) }
    }

    /// What its jobs had to say, one file for each, the oldest first by name.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn job_logs(&self) -> Result<Vec<PathBuf>> {
        let mut files = atomic::entries(&self.cluster_dir())?;
        files.retain(|path| ends_with(path, LOG) && links::is_file(path));
        Ok(files)
    }

    pub(crate) fn submission_path(&self) -> PathBuf {
        self.cluster_dir().join(SUBMISSION)
    }

    fn packs_path(&self, round: u64) -> PathBuf {
        self.cluster_dir().join(format!("packs-{round}.json"))
    }
}

/// Whether a file of an experiment's cluster folder is titer's or one of its jobs'.
pub(crate) fn is_own(path: &Path) -> bool {
    ends_with(path, LOG) || ends_with(path, "json")
}

fn ends_with(path: &Path, ending: &str) -> bool {
    path.extension().is_some_and(|found| found == ending)
}

#[cfg(test)]
mod tests {
    use crate::{Error, Store};

    #[test]
    fn what_was_submitted_is_kept_and_one_process_submits_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open_or_create(folder.path().join("store")).unwrap();
        let experiment = store.experiment("x").unwrap();
        experiment.save("", "{}").unwrap();
        assert_eq!(experiment.submission_json().unwrap(), None);
        assert!(experiment.packs_json(1).is_err() && experiment.job_logs().unwrap().is_empty());
        let held = experiment.submitting().unwrap();
        assert!(matches!(experiment.submitting(), Err(Error::Busy { .. })));
        drop(held);
        experiment.submitting().unwrap();
        experiment.save_packs(1, r#"{"packs":[["ab"]]}"#).unwrap();
        experiment.save_submission(r#"{"round":1}"#).unwrap();
        assert_eq!(experiment.packs_json(1).unwrap(), r#"{"packs":[["ab"]]}"#);
        assert_eq!(experiment.submission_json().unwrap().as_deref(), Some(r#"{"round":1}"#));
        std::fs::write(experiment.cluster_dir().join("1-7_0.log"), "said").unwrap();
        std::fs::write(experiment.cluster_dir().join("notes.txt"), "of a user").unwrap();
        assert_eq!(experiment.job_logs().unwrap().len(), 1);
        let (own, strange) = experiment.files().unwrap();
        assert_eq!((own.len(), strange.len()), (5, 1), "{own:?} {strange:?}");
        std::fs::write(experiment.submission_path(), "{}").unwrap();
        assert!(experiment.submission_json().is_err());
    }
}
