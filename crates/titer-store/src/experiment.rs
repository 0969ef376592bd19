//! What a store keeps of an experiment: its spec as given, its plan as resolved, its reports, its verdicts,
//! the record of the search that it came from, if it came from one, and what there is to know and to ask of
//! its runs.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::atomic;
use crate::cluster;
use crate::control::{self, Control, Request};
use crate::error::{Error, Result};
use crate::holder::Holder;
use crate::journal::{Journal, JournalReader};
use crate::lease::{self, Lease, LeaseTerms};
use crate::links;
use crate::name;
use crate::sums;

/// The ending of the files by which runs say that they are alive.
const SIGN: &str = "json";
/// The endings of what a report is written as.
const REPORTS: [&str; 4] = ["html", "md", "json", "svg"];

/// One experiment of a store.
#[derive(Debug, Clone)]
pub struct Experiment {
    folder: PathBuf,
    /// The store-wide lock.
    gate: PathBuf,
    terms: LeaseTerms,
}

/// A sign that a run is alive, until it is dropped or the process ends.
#[derive(Debug)]
pub struct Presence {
    _lease: Lease,
}

impl Experiment {
    pub(crate) fn new(experiments: &Path, gate: PathBuf, terms: LeaseTerms, name: &str) -> Result<Self> {
        name::check(name)?;
        let folder = experiments.join(name);
        links::refuse(&folder)?;
        Ok(Self { folder, gate, terms })
    }

    /// Its folder, for people and for those who want to be told of changes.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn gate(&self) -> &Path {
        &self.gate
    }

    pub(crate) fn terms(&self) -> LeaseTerms {
        self.terms
    }

    /// Whether it was saved.
    pub fn exists(&self) -> bool {
        is_saved(&self.folder)
    }

    /// Keeps the spec as given and the plan as resolved, a JSON object, in place of earlier ones.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn save(&self, spec_toml: &str, plan_json: &str) -> Result<()> {
        atomic::create_folder(&self.folder)?;
        atomic::write_bytes(&self.spec_path(), spec_toml.as_bytes())?;
        sums::write_json(&plan_path(&self.folder), plan_json)
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
    /// When the experiment was not saved, or the plan is not what was written.
    pub fn plan_json(&self) -> Result<String> {
        let path = plan_path(&self.folder);
        sums::check_json(&path, &self.read(&path)?)
    }

    /// When the plan was last written and how long it is, to tell whether it was replaced; none where there
    /// is none.
    pub fn plan_stamp(&self) -> Option<(SystemTime, u64)> {
        stamp(&plan_path(&self.folder))
    }

    /// Keeps the record of the search that the experiment came from, in place of an earlier one.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn save_search(&self, record_json: &str) -> Result<()> {
        atomic::create_folder(&self.folder)?;
        sums::write_json(&self.search_path(), record_json)
    }

    /// The record of the search that the experiment came from; none where it came from none.
    ///
    /// # Errors
    /// When there is one that cannot be read.
    pub fn search_json(&self) -> Result<Option<String>> {
        optional_json(&self.search_path())
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

    /// Keeps what the experiment's verdicts are, as of some moment, in place of earlier ones.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn save_verdicts(&self, verdicts_json: &str) -> Result<()> {
        sums::write_json(&self.verdicts_path(), verdicts_json)
    }

    /// The verdicts that were kept; none where there are none.
    ///
    /// # Errors
    /// When there are some that cannot be read.
    pub fn verdicts_json(&self) -> Result<Option<String>> {
        optional_json(&self.verdicts_path())
    }

    /// Keeps what was open after each look of an experiment that adds seeds, a JSON object, in place of what was kept.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn save_looks(&self, looks_json: &str) -> Result<()> {
        sums::write_json(&self.looks_path(), looks_json)
    }

    /// What was open after each look; none where nothing was kept.
    ///
    /// # Errors
    /// When there is something that cannot be read.
    pub fn looks_json(&self) -> Result<Option<String>> {
        optional_json(&self.looks_path())
    }

    /// When what was open last changed, and how much it is: another value where it is another.
    pub fn looks_stamp(&self) -> Option<(SystemTime, u64)> {
        stamp(&self.looks_path())
    }

    /// Says that this process runs the experiment.
    ///
    /// # Errors
    /// When the store cannot be written, or this process says so already.
    pub fn present(&self) -> Result<Presence> {
        let folder = self.runs_path();
        atomic::create_folder(&folder)?;
        for path in atomic::entries(&folder)? {
            if is_sign(&path) && lease::living_holder(&path, self.terms).is_none() {
                // What a killed run left. Whoever cannot remove it leaves it to the next one.
                let _ = atomic::remove(&path);
            }
        }
        let path = folder.join(format!("{}.{SIGN}", name::of_hash(&lease::this_process())));
        Ok(Presence { _lease: Lease::take(&path, &self.gate, self.terms)? })
    }

    /// The runs that are alive, on whatever host.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn runs(&self) -> Result<Vec<Holder>> {
        let paths = atomic::entries(&self.runs_path())?;
        Ok(paths.iter().filter_map(|path| lease::living_holder(path, self.terms)).collect())
    }

    /// The end of the journal, to append to.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn journal(&self) -> Result<Journal> {
        atomic::create_folder(&self.folder)?;
        Journal::open(self.journal_path())
    }

    /// The last bytes of what its runs in the background have to say, from a line's start; empty where there is
    /// nothing. `from` is where an earlier call ended: then all that came since. Where this one ends comes along.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn said(&self, from: Option<u64>) -> Result<(String, u64)> {
        const WINDOW: u64 = 256 << 10;
        let path = self.output_path();
        let mut file = match links::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((String::new(), 0)),
            other => other.map_err(Error::reading(&path))?,
        };
        let mut read = || {
            let length = file.metadata()?.len();
            // One that became shorter was replaced.
            let start = from.filter(|from| *from <= length).unwrap_or(length.saturating_sub(WINDOW));
            let mut bytes = Vec::new();
            file.seek(SeekFrom::Start(start))?;
            file.read_to_end(&mut bytes)?;
            let cut = if from.is_none() && start > 0 { after_line(&bytes) } else { 0 };
            Ok((String::from_utf8_lossy(&bytes[cut..]).into_owned(), start + bytes.len() as u64))
        };
        read().map_err(Error::reading(&path))
    }

    /// What of its folder titer wrote, file by file, the plan first; and what it did not.
    pub(crate) fn files(&self) -> Result<(Vec<PathBuf>, Vec<PathBuf>)> {
        const OWN: [&str; 8] = [
            "plan.json",
            "spec.toml",
            "search.json",
            "verdicts.json",
            "looks.json",
            "journal.jsonl",
            "control.json",
            "output.log",
        ];
        let (mut own, mut strange) = (Vec::new(), Vec::new());
        let mut sort = |path: PathBuf, known: bool| {
            let known = (known || atomic::is_temporary(&path)) && links::is_file(&path);
            if known { own.push(path) } else { strange.push(path) }
        };
        let (runs, reports, jobs) = (self.runs_path(), self.report_dir(), self.cluster_dir());
        for path in atomic::entries(&self.folder)? {
            if path == runs && links::is_folder(&path) {
                atomic::entries(&path)?.into_iter().for_each(|sign| {
                    let known = is_sign(&sign);
                    sort(sign, known);
                });
            } else if path == jobs && links::is_folder(&path) {
                atomic::entries(&path)?.into_iter().for_each(|file| {
                    let known = cluster::is_own(&file);
                    sort(file, known);
                });
            } else if path == reports && links::is_folder(&path) {
                atomic::entries(&path)?.into_iter().for_each(|page| {
                    let known =
                        page.extension().is_some_and(|ending| REPORTS.iter().any(|known| ending == *known));
                    sort(page, known);
                });
            } else {
                let known = OWN.contains(&atomic::file_name(&path).as_str());
                sort(path, known);
            }
        }
        own.sort_by_key(|path| *path != plan_path(&self.folder));
        Ok((own, strange))
    }

    /// Its folder and those in it, the innermost first.
    pub(crate) fn folders(&self) -> [PathBuf; 4] {
        [self.runs_path(), self.report_dir(), self.cluster_dir(), self.folder.clone()]
    }

    /// A reader that follows the journal from its start.
    pub fn follow(&self) -> JournalReader {
        JournalReader::new(self.journal_path())
    }

    /// What was asked of its runs.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn control(&self) -> Result<Control> {
        control::read(&self.control_path())
    }

    /// Asks something of its runs, which they do when they look next.
    ///
    /// # Errors
    /// When the experiment was not saved, or the store cannot be written.
    pub fn ask(&self, request: Request) -> Result<Control> {
        self.plan_json()?;
        control::ask(&self.control_path(), &self.gate, request)
    }

    /// Where a run without a terminal writes what it has to say: the file, opened at its end, and its path.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn output(&self) -> Result<(File, PathBuf)> {
        atomic::create_folder(&self.folder)?;
        let path = self.output_path();
        let file = links::options().create(true).append(true).open(&path).map_err(Error::writing(&path))?;
        Ok((file, path))
    }

    fn read(&self, path: &Path) -> Result<String> {
        match links::read_text(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let present = names(self.folder.parent().unwrap_or(&self.folder))?;
                Err(Error::NoExperiment { path: self.folder.clone(), present })
            }
            other => other.map_err(Error::reading(path)),
        }
    }

    fn output_path(&self) -> PathBuf {
        self.folder.join("output.log")
    }

    /// The files that carry their BLAKE3, whether or not there are any.
    pub(crate) fn summed(&self) -> [PathBuf; 4] {
        [self.plan_path(), self.verdicts_path(), self.looks_path(), self.search_path()]
    }

    /// Where the record of the search is, if there is one.
    pub fn search_path(&self) -> PathBuf {
        self.folder.join("search.json")
    }

    /// Where the plan is.
    pub fn plan_path(&self) -> PathBuf {
        plan_path(&self.folder)
    }

    /// Where the spec is.
    pub fn spec_path(&self) -> PathBuf {
        self.folder.join("spec.toml")
    }

    /// Where verdicts are kept.
    pub fn verdicts_path(&self) -> PathBuf {
        self.folder.join("verdicts.json")
    }

    /// Where is kept what was open after each look.
    pub fn looks_path(&self) -> PathBuf {
        self.folder.join("looks.json")
    }

    fn journal_path(&self) -> PathBuf {
        self.folder.join("journal.jsonl")
    }

    fn control_path(&self) -> PathBuf {
        self.folder.join("control.json")
    }

    fn runs_path(&self) -> PathBuf {
        self.folder.join("runs")
    }
}

/// Where the second line begins; the end where there is one only.
fn after_line(bytes: &[u8]) -> usize {
    bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |at| at + 1)
}

/// When a file was last written and how long it is; none where there is none.
fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    let metadata = path.symlink_metadata().ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

/// A JSON file that carries its BLAKE3; none where there is no file.
fn optional_json(path: &Path) -> Result<Option<String>> {
    if path.symlink_metadata().is_err() { Ok(None) } else { sums::read_json(path).map(Some) }
}

/// The names of the experiments saved in a folder, sorted.
pub(crate) fn names(experiments: &Path) -> Result<Vec<String>> {
    let saved = atomic::entries(experiments)?.into_iter().filter(|folder| is_saved(folder));
    Ok(saved.map(|folder| atomic::file_name(&folder)).collect())
}

/// Whether this is a file by which a run says that it is alive: nothing else is ever removed.
fn is_sign(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == SIGN) && links::is_file(path)
}

/// The plan is written last.
fn is_saved(folder: &Path) -> bool {
    links::is_folder(folder) && links::is_file(&plan_path(folder))
}

fn plan_path(folder: &Path) -> PathBuf {
    folder.join("plan.json")
}
