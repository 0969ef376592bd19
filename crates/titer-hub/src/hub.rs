//! From references to local paths.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::OnceLock;

use crate::cache::Folder;
use crate::client::Client;
use crate::download::Source;
use crate::failure::no_file;
use crate::model::{INDEX, model_files, record_files};
use crate::reference::{Kind, Remote};
use crate::{Error, Progress, Reference, Resolved, Result, Settings, local};

/// Resolves references to local paths, downloading what the cache lacks.
///
/// A reference with a whole commit that is in the cache needs no network; one with a branch or tag
/// needs one small request, which asks for its commit. If the hub cannot be asked, what the cache holds
/// of the branch is used, and [`Progress::fell_back`] says so.
pub struct Hub {
    settings: Settings,
    /// Made when first needed: local and cached references need none.
    client: OnceLock<Client>,
}

impl fmt::Debug for Hub {
    /// The settings alone: the client knows the token and the proxy's password.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Hub").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// What is known of a repository at a commit.
struct Known {
    commit: String,
    /// All its files; what the cache holds of them, where the hub was never asked.
    names: Vec<String>,
    /// Whether the hub said so just now.
    news: bool,
    /// Why nothing can be downloaded, if so.
    barred: Option<Error>,
}

impl Hub {
    /// A hub with these settings.
    pub fn new(settings: Settings) -> Self {
        Self { settings, client: OnceLock::new() }
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The local path of a reference, with everything that matters below it.
    ///
    /// # Errors
    /// Each way of failing has its own variant of [`Error`].
    pub fn resolve(&self, reference: &Reference, progress: &mut dyn Progress) -> Result<Resolved> {
        let remote = match reference {
            Reference::Local(path) => return local::resolve(path),
            Reference::Hub(remote) => remote,
        };
        self.repository(remote, &Folder::new(&self.settings.cache, remote), progress)
    }

    fn client(&self) -> Result<&Client> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let client = Client::new(&self.settings)?;
        Ok(self.client.get_or_init(|| client))
    }

    /// A model, an adapter, one file of either, or the records of a data set.
    fn repository(&self, remote: &Remote, folder: &Folder, progress: &mut dyn Progress) -> Result<Resolved> {
        let reference = Reference::Hub(remote.clone());
        if let (Some(commit), Kind::Model, Some(file)) = (remote.commit(), remote.kind, &remote.path)
            && let Some(path) = folder.find(commit, file)
        {
            return local::lone(path, reference, Some(commit.to_owned()));
        }
        let mut known = self.known(remote, folder, progress)?;
        let files = match (remote.kind, &remote.path) {
            (Kind::Model, Some(file)) if known.names.contains(file) => Ok(BTreeSet::from([file.clone()])),
            (Kind::Model, Some(file)) => Err(no_file(remote, file)),
            (Kind::Model, None) => model_files(&known.names, &remote.to_string()),
            (Kind::DataSet, path) => match record_files(&known.names, path.as_deref()) {
                files if files.is_empty() => Err(no_records(remote)),
                files => Ok(files),
            },
        };
        // A cache that was never asked about may lack what the repository has.
        let mut files = files.map_err(|error| known.barred.take().unwrap_or(error))?;
        self.fetch_all(remote, folder, &mut known, &files, progress)?;
        let snapshot = folder.snapshot(&known.commit);
        if (remote.kind, &remote.path) == (Kind::Model, &None) && files.contains(INDEX) {
            let shards = local::shards_of(&snapshot.join(INDEX))?;
            self.fetch_all(remote, folder, &mut known, &shards, progress)?;
            files.extend(shards);
        }
        if known.news {
            folder.set_listing(&known.commit, &known.names)?;
        }
        folder.set_commit(&remote.revision, &known.commit)?;
        let path = remote.path.as_ref().map_or(snapshot.clone(), |path| snapshot.join(path));
        if path.is_file() {
            return local::lone(path, reference, Some(known.commit));
        }
        let inner = remote.path.as_ref().map_or(0, |path| path.len() + 1);
        let names = files.iter().map(|name| name[inner..].to_owned()).collect();
        local::resolved(path, reference, Some(known.commit), &names)
    }

    fn fetch_all(
        &self,
        remote: &Remote,
        folder: &Folder,
        known: &mut Known,
        files: &BTreeSet<String>,
        progress: &mut dyn Progress,
    ) -> Result<()> {
        let here = |file: &&str| folder.find(&known.commit, file).is_some();
        let missing: Vec<&str> = files.iter().map(String::as_str).filter(|file| !here(file)).collect();
        let Some(first) = missing.first() else { return Ok(()) };
        if let Some(barred) = known.barred.take() {
            return Err(if self.settings.offline { self.offline(remote, first) } else { barred });
        }
        let client = self.client()?;
        let source = Source { client, settings: &self.settings, remote, folder, commit: &known.commit };
        for facts in client.facts(remote, &known.commit, &missing, progress)? {
            source.fetch(&facts, progress)?;
        }
        Ok(())
    }

    /// The commit of a revision and its files, from the cache where that is certain, else from the hub.
    fn known(&self, remote: &Remote, folder: &Folder, progress: &mut dyn Progress) -> Result<Known> {
        if let Some(commit) = remote.commit()
            && let Some(names) = folder.listing(commit)
        {
            let barred = self.settings.offline.then(|| self.offline(remote, "files of this commit"));
            return Ok(Known { commit: commit.to_owned(), names, news: false, barred });
        }
        if self.settings.offline {
            let gone = cached_commit(remote, folder).and_then(|commit| folder.dangling(&commit));
            let missing = match (gone, &remote.path) {
                (Some(gone), path) if path.as_ref().is_none_or(|path| *path == gone) => {
                    format!("{gone}, whose link there leads to no file")
                }
                (_, Some(path)) => path.clone(),
                (_, None) => "this revision".to_owned(),
            };
            return cached(remote, folder, self.offline(remote, &missing));
        }
        match self.client()?.listing(remote, progress) {
            Ok((commit, names)) => Ok(Known { commit, names, news: true, barred: None }),
            Err(error) if error.is_unreachable() => {
                let reason = error.brief();
                let known = cached(remote, folder, error)?;
                progress.fell_back(&reason);
                Ok(known)
            }
            Err(error) => Err(error),
        }
    }

    fn offline(&self, remote: &Remote, missing: &str) -> Error {
        Error::Offline {
            reference: remote.to_string(),
            cache: self.settings.cache.clone(),
            missing: missing.to_owned(),
        }
    }
}

/// The commit that a revision is, or stood at when it was last asked for.
fn cached_commit(remote: &Remote, folder: &Folder) -> Option<String> {
    remote.commit().map(str::to_owned).or_else(|| folder.commit_of(&remote.revision))
}

/// What the cache holds of a revision; `barred` is why nothing else counts.
fn cached(remote: &Remote, folder: &Folder, barred: Error) -> Result<Known> {
    let Some(commit) = cached_commit(remote, folder) else { return Err(barred) };
    let names = match folder.listing(&commit) {
        Some(names) => names,
        // Python filled the cache: what it took is all there is.
        None => match local::names_below(&folder.snapshot(&commit), local::DEEPEST) {
            Ok(names) => names,
            Err(_) => return Err(barred),
        },
    };
    Ok(Known { commit, names, news: false, barred: Some(barred) })
}

fn no_records(remote: &Remote) -> Error {
    Error::NoFile {
        repository: remote.page(),
        revision: remote.revision.clone(),
        file: remote.path.clone().unwrap_or_else(|| "*.parquet, *.jsonl, *.json, *.csv".to_owned()),
        advice: "; name a file, or a folder with such files, after `:`".to_owned(),
    }
}
