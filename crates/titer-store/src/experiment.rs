//! What a store keeps of an experiment: its spec as given, its plan as resolved, its reports, and the
//! record of the search that it came from, if it came from one.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::atomic;
use crate::error::{Error, Result};
use crate::name;

/// One experiment of a store.
#[derive(Debug, Clone)]
pub struct Experiment {
    folder: PathBuf,
}

impl Experiment {
    pub(crate) fn new(experiments: &Path, name: &str) -> Result<Self> {
        name::check(name)?;
        Ok(Self { folder: experiments.join(name) })
    }

    /// Whether it was saved.
    pub fn exists(&self) -> bool {
        is_saved(&self.folder)
    }

    /// Keeps the spec as given and the plan as resolved, in place of earlier ones.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn save(&self, spec_toml: &str, plan_json: &str) -> Result<()> {
        atomic::create_folder(&self.folder)?;
        atomic::write_bytes(&self.spec_path(), spec_toml.as_bytes())?;
        atomic::write_bytes(&plan_path(&self.folder), plan_json.as_bytes())
    }

    /// The spec as given.
    ///
    /// # Errors
    /// When the experiment was not saved.
    pub fn spec(&self) -> Result<String> {
        self.read(&self.spec_path())
    }

    /// The plan as resolved.
    ///
    /// # Errors
    /// When the experiment was not saved.
    pub fn plan_json(&self) -> Result<String> {
        self.read(&plan_path(&self.folder))
    }

    /// Keeps the record of the search that the experiment came from, in place of an earlier one.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn save_search(&self, record_json: &str) -> Result<()> {
        atomic::create_folder(&self.folder)?;
        atomic::write_bytes(&self.search_path(), record_json.as_bytes())
    }

    /// The record of the search that the experiment came from; none where it came from none.
    ///
    /// # Errors
    /// When there is one that cannot be read.
    pub fn search_json(&self) -> Result<Option<String>> {
        let path = self.search_path();
        match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            other => other.map(Some).map_err(Error::reading(&path)),
        }
    }

    /// The folder of its reports, whether or not there are any.
    pub fn report_dir(&self) -> PathBuf {
        self.folder.join("report")
    }

    /// Writes one file of its report and returns where.
    ///
    /// # Errors
    /// When the name is no plain file name, or the store cannot be written.
    pub fn write_report(&self, name: &str, bytes: &[u8]) -> Result<PathBuf> {
        name::check(name)?;
        let folder = self.report_dir();
        atomic::create_folder(&folder)?;
        let path = folder.join(name);
        atomic::write_bytes(&path, bytes)?;
        Ok(path)
    }

    fn read(&self, path: &Path) -> Result<String> {
        match fs::read_to_string(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let present = names(self.folder.parent().unwrap_or(&self.folder))?;
                Err(Error::NoExperiment { path: self.folder.clone(), present })
            }
            other => other.map_err(Error::reading(path)),
        }
    }

    fn search_path(&self) -> PathBuf {
        self.folder.join("search.json")
    }

    fn spec_path(&self) -> PathBuf {
        self.folder.join("spec.toml")
    }
}

/// The names of the experiments saved in a folder, sorted.
pub(crate) fn names(experiments: &Path) -> Result<Vec<String>> {
    let saved = atomic::entries(experiments)?.into_iter().filter(|folder| is_saved(folder));
    Ok(saved.map(|folder| atomic::file_name(&folder)).collect())
}

/// The plan is written last.
fn is_saved(folder: &Path) -> bool {
    plan_path(folder).is_file()
}

fn plan_path(folder: &Path) -> PathBuf {
    folder.join("plan.json")
}
