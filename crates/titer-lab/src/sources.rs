//! What plans take in from outside: where it lies, what it is now, and whether it is still what it was.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf, absolute};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use titer_hub::{Hub, Identities, Progress, Reference, Resolved, Settings};
use titer_plan::{
    Content, DataFacts, Found, Plan, PlanVersion, PlannedSource, canonical, fingerprint, parse_plan,
};
use titer_store::Store;

use crate::catalogue::current_definition;
use crate::checkpoints::locate;
use crate::{Error, Result};

/// What the files of this machine are, for all stages of a run.
pub(crate) struct Sources(Mutex<Identities>);

impl Sources {
    pub(crate) fn of_this_user() -> Self {
        Self(Mutex::new(Identities::of_this_user()))
    }

    fn identities(&self) -> MutexGuard<'_, Identities> {
        // What is remembered is whole after every file.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the source of that role is; `location` is its reference, independent of the working folder.
    pub(crate) fn look(&self, role: &str, reference: &str, location: &str) -> Result<PlannedSource> {
        let source = |found| PlannedSource { role: role.to_owned(), reference: reference.to_owned(), found };
        match self.found(location) {
            Ok((_, found)) => Ok(source(Some(found))),
            Err(error) if not_fetched(location, &error) => Ok(source(None)),
            Err(error) => Err(error),
        }
    }

    /// Where a reference leads on this machine, and what is there.
    fn found(&self, location: &str) -> Result<(Resolved, Found)> {
        let resolved = here(location)?;
        let mut identities = self.identities();
        let identity = identities.identify(&resolved)?;
        identities.save();
        let found = Found { location: lasting(&resolved)?, identity: identity.whole, files: identity.files };
        Ok((resolved, found))
    }

    /// Where what a plan's stage takes in is, if it is still what it was when that was planned.
    pub(crate) fn unchanged(&self, plan: &Plan, content: &Content) -> Result<PathBuf> {
        let source = plan.source(content);
        let Some((source, was)) = source.and_then(|source| Some((source, source.found.as_ref()?))) else {
            let reference = match content {
                Content::NotHere(reference) => reference.clone(),
                Content::Is(identity) => identity.clone(),
            };
            return Err(Error::NotHere { reference });
        };
        self.still(source, was)
    }

    /// Where what was taken in is, if it is still what it was.
    pub(crate) fn still(&self, source: &PlannedSource, was: &Found) -> Result<PathBuf> {
        match self.found(&was.location) {
            Ok((resolved, now)) if now.identity == was.identity => Ok(resolved.path),
            now => {
                let changes = differences(source, was, now.map(|(_, found)| found));
                let what = changes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                Err(Error::Changed { reference: source.reference.clone(), what })
            }
        }
    }
}

/// Where a reference leads, if nothing needs to be downloaded or looked up for that.
pub(crate) fn here(reference: &str) -> Result<Resolved> {
    let settings = Settings { offline: true, ..Settings::from_env()? };
    Ok(Hub::new(settings).resolve(&reference.parse()?, &mut ())?)
}

/// Whether it is only that nobody has fetched it yet: something of the hub, or a model that titer knows by name.
fn not_fetched(location: &str, error: &Error) -> bool {
    let Error::Hub(error) = error else { return false };
    match **error {
        titer_hub::Error::Offline { .. } => true,
        titer_hub::Error::NoSuchPath { .. } => titer_hub::known(location).is_some(),
        _ => false,
    }
}

/// A reference to the same thing that holds from any folder and at any later time.
fn lasting(resolved: &Resolved) -> Result<String> {
    match (&resolved.reference, &resolved.commit) {
        (Reference::Hub(remote), Some(commit)) => {
            let pinned = titer_hub::Remote { revision: commit.clone(), ..remote.clone() };
            Ok(pinned.to_string())
        }
        _ => {
            let failed =
                |source| titer_model::Error::File { path: resolved.path.clone(), action: "find", source };
            Ok(absolute(&resolved.path).map_err(failed)?.display().to_string())
        }
    }
}

/// A reference as it counts from a folder: paths do, names of the hub and of known models do not.
pub(crate) fn counted_from(folder: &Path, reference: &str) -> String {
    let path = folder.join(reference);
    let is_path = matches!(reference.parse(), Ok(Reference::Local(_)));
    if is_path && (path.exists() || titer_hub::known(reference).is_none()) {
        path.display().to_string()
    } else {
        reference.to_owned()
    }
}

/// Downloads what of a plan is not on this machine yet. The plan must be made again then.
///
/// # Errors
/// When it cannot be had.
pub fn fetch(plan: &Plan, progress: &mut dyn Progress) -> Result<()> {
    plan.not_here().try_for_each(|source| locate(&source.reference, progress).map(drop))
}

/// How something that a plan rests on differs from what it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stale {
    /// What it is to the experiment: `model`, `harmful`, `judge`, `policy`, …
    pub role: String,
    /// As the spec or the data set names it.
    pub reference: String,
    /// The file, or the whole where no one file is to blame.
    pub file: String,
    /// How it differs.
    pub how: Difference,
}

/// How a file differs from what it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Difference {
    /// It has other content.
    Changed,
    /// It was not there.
    New,
    /// It is not there any more.
    Missing,
    /// It has no content any more.
    Empty,
    /// It can be read no more.
    Unreadable,
}

impl std::fmt::Display for Stale {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let how = match self.how {
            Difference::Changed => "has changed",
            Difference::New => "is new",
            Difference::Missing => "is missing",
            Difference::Empty => "is empty",
            Difference::Unreadable => "cannot be read",
        };
        write!(f, "{} {how} ({} {})", self.file, self.role, self.reference)
    }
}

/// What of the things that a plan rests on is not what it was when the plan was made.
pub fn stale(plan: &Plan) -> Vec<Stale> {
    let sources = Sources::of_this_user();
    let found = plan.sources.iter().filter_map(|source| Some((source, source.found.as_ref()?)));
    let mut stale: Vec<Stale> = found
        .flat_map(|(source, was)| {
            let now = sources.found(&was.location).map(|(_, found)| found);
            differences(source, was, now)
        })
        .collect();
    stale.extend(stale_definition(&plan.data));
    stale
}

/// Whether the world, policy or data set says something else today.
fn stale_definition(data: &DataFacts) -> Option<Stale> {
    let stale = |how| {
        let reference = data.name.clone();
        let file = data.file.clone().unwrap_or_else(|| reference.clone());
        Some(Stale { role: data.word.clone(), reference, file, how })
    };
    let file = data.file.as_ref().map(Path::new);
    match file.map(Path::metadata) {
        Some(Err(_)) => return stale(Difference::Missing),
        Some(Ok(metadata)) if metadata.len() == 0 => return stale(Difference::Empty),
        _ => {}
    }
    let print = |definition| fingerprint(&canonical(definition));
    match current_definition(data) {
        Some(now) if print(&now) == print(&data.definition) => None,
        _ => stale(Difference::Changed),
    }
}

/// What a plan takes in from outside: its stages, of which there may be a hundred thousand, are passed over.
#[derive(Deserialize)]
struct TakenIn {
    #[serde(rename = "version")]
    _version: PlanVersion,
    data: DataFacts,
    sources: Vec<PlannedSource>,
}

/// How what the sources of a plan are differs from what they were when an experiment of its name was planned last; nothing
/// where there is none, or its plan cannot be read: that is said by whoever needs it.
pub fn changes(store: &Store, now: &Plan) -> Vec<Stale> {
    let stored = store.experiment(&now.experiment.name).and_then(|before| before.plan_json());
    let Some(before) = stored.ok().and_then(|json| parse_plan::<TakenIn>(&json).ok()) else {
        return Vec::new();
    };
    let pairs = before.sources.iter().filter_map(|was| {
        let now = now.sources.iter().find(|now| now.role == was.role && now.reference == was.reference)?;
        Some((was, was.found.as_ref()?, now.found.clone()?))
    });
    let mut changes: Vec<Stale> =
        pairs.flat_map(|(source, was, now)| differences(source, was, Ok(now))).collect();
    if (&before.data.kind, &before.data.name) == (&now.data.kind, &now.data.name) {
        changes.extend(stale_definition(&before.data));
    }
    changes
}

/// What an error says of a source as a whole.
fn whole(error: &Error) -> Difference {
    let Error::Hub(error) = error else { return Difference::Unreadable };
    match **error {
        titer_hub::Error::EmptyFile { .. } => Difference::Empty,
        titer_hub::Error::NoSuchPath { .. }
        | titer_hub::Error::NoWeights { .. }
        | titer_hub::Error::Offline { .. } => Difference::Missing,
        _ => Difference::Unreadable,
    }
}

fn differences(source: &PlannedSource, was: &Found, now: Result<Found>) -> Vec<Stale> {
    let stale = |file: String, how| Stale {
        role: source.role.clone(),
        reference: source.reference.clone(),
        file,
        how,
    };
    let root = Path::new(&was.location);
    let path = |name: &str| {
        if root.is_dir() { root.join(name).display().to_string() } else { was.location.clone() }
    };
    let now = match now {
        Ok(now) if now.identity == was.identity => return Vec::new(),
        Ok(now) => now.files,
        Err(error) => {
            // Each file that is to blame, if it is one's.
            let length = |name: &str| Path::new(&path(name)).metadata().map(|file| file.len());
            let names = was.files.keys().filter(|_| root.is_absolute());
            let blamed: Vec<Stale> = names
                .filter_map(|name| match length(name) {
                    Err(_) => Some(stale(path(name), Difference::Missing)),
                    Ok(0) => Some(stale(path(name), Difference::Empty)),
                    Ok(_) => None,
                })
                .collect();
            return if blamed.is_empty() { vec![stale(was.location.clone(), whole(&error))] } else { blamed };
        }
    };
    let names: BTreeSet<&String> = was.files.keys().chain(now.keys()).collect();
    let differing = names.into_iter().filter_map(|name| {
        let how = match (was.files.get(name), now.get(name)) {
            (Some(was), Some(now)) if was == now => return None,
            (Some(_), Some(_)) => Difference::Changed,
            (Some(_), None) => Difference::Missing,
            (None, _) => Difference::New,
        };
        Some(stale(path(name), how))
    });
    let differing: Vec<Stale> = differing.collect();
    // A folder may have become a file of the same content.
    if differing.is_empty() { vec![stale(was.location.clone(), Difference::Changed)] } else { differing }
}
