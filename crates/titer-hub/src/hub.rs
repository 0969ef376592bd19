//! From references to local paths.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::OnceLock;

use serde_json::Value;

use crate::cache::Folder;
use crate::download::Source;
use crate::http::{Client, Method, Request};
use crate::model::{INDEX, model_files, record_files};
use crate::origin::escaped;
use crate::reference::{Kind, Remote, is_commit, unsafe_path};
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
        let folder = Folder::new(&self.settings.cache, remote);
        match (remote.kind, &remote.path) {
            (Kind::Model, Some(file)) => self.file(remote, &folder, file, progress),
            _ => self.repository(remote, &folder, progress),
        }
    }

    fn client(&self) -> Result<&Client> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let client = Client::new(&self.settings)?;
        Ok(self.client.get_or_init(|| client))
    }

    fn source<'a>(&'a self, remote: &'a Remote, folder: &'a Folder) -> Result<Source<'a>> {
        Ok(Source { client: self.client()?, settings: &self.settings, remote, folder })
    }

    /// One file of a repository. Asking for its tag tells the commit as well.
    fn file(
        &self,
        remote: &Remote,
        folder: &Folder,
        file: &str,
        progress: &mut dyn Progress,
    ) -> Result<Resolved> {
        let lone = |(commit, path)| local::lone(path, Reference::Hub(remote.clone()), Some(commit));
        let cached = || {
            let commit = cached_commit(remote, folder)?;
            let path = folder.find(&commit, file)?;
            Some((commit, path))
        };
        if (self.settings.offline || remote.commit().is_some())
            && let Some(found) = cached()
        {
            return lone(found);
        }
        if self.settings.offline {
            return Err(self.offline(remote, file));
        }
        let source = self.source(remote, folder)?;
        let facts = match source.facts(&remote.revision, file, progress) {
            Ok(facts) => facts,
            Err(error) => match cached().filter(|_| error.is_unreachable()) {
                Some(found) => {
                    progress.fell_back(&error.brief());
                    return lone(found);
                }
                None => return Err(error),
            },
        };
        let path = source.fetch(&facts, file, progress)?;
        folder.set_commit(&remote.revision, &facts.commit)?;
        lone((facts.commit, path))
    }

    /// A model, an adapter, or the records of a data set.
    fn repository(&self, remote: &Remote, folder: &Folder, progress: &mut dyn Progress) -> Result<Resolved> {
        let known = self.known(remote, folder, progress)?;
        let place = remote.to_string();
        let mut files = match remote.kind {
            Kind::Model => match model_files(&known.names, &place) {
                // A cache that was never asked about may lack what the repository has.
                Err(error) => return Err(known.barred.unwrap_or(error)),
                Ok(files) => files,
            },
            Kind::DataSet => record_files(&known.names, remote.path.as_deref()),
        };
        if files.is_empty() {
            return Err(known.barred.unwrap_or_else(|| no_records(remote)));
        }
        self.fetch_all(remote, folder, &known, &files, progress)?;
        let snapshot = folder.snapshot(&known.commit);
        if remote.kind == Kind::Model && files.contains(INDEX) {
            let shards = local::shards_of(&snapshot.join(INDEX))?;
            self.fetch_all(remote, folder, &known, &shards, progress)?;
            files.extend(shards);
        }
        folder.set_commit(&remote.revision, &known.commit)?;
        let path = remote.path.as_ref().map_or(snapshot.clone(), |path| snapshot.join(path));
        let reference = Reference::Hub(remote.clone());
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
        known: &Known,
        files: &BTreeSet<String>,
        progress: &mut dyn Progress,
    ) -> Result<()> {
        for file in files {
            if folder.find(&known.commit, file).is_some() {
                continue;
            }
            if known.barred.is_some() {
                return Err(self.offline(remote, file));
            }
            let source = self.source(remote, folder)?;
            let facts = source.facts(&known.commit, file, progress)?;
            if facts.commit != known.commit {
                let problem = "the answer's X-Repo-Commit is not the commit asked for".to_owned();
                let host = self.settings.endpoint.clone();
                return Err(Error::BadAnswer { host, file: file.clone(), problem });
            }
            source.fetch(&facts, file, progress)?;
        }
        Ok(())
    }

    /// The commit of a revision and its files, from the cache where that is certain, else from the hub.
    fn known(&self, remote: &Remote, folder: &Folder, progress: &mut dyn Progress) -> Result<Known> {
        if let Some(commit) = remote.commit()
            && let Some(names) = folder.listing(commit)
        {
            let barred = self.settings.offline.then(|| self.offline(remote, "files of this commit"));
            return Ok(Known { commit: commit.to_owned(), names, barred });
        }
        if self.settings.offline {
            let error = self.offline(remote, "this revision");
            return cached(remote, folder, error);
        }
        match self.ask(remote, progress) {
            Ok((commit, names)) => {
                folder.set_listing(&commit, &names)?;
                Ok(Known { commit, names, barred: None })
            }
            Err(error) if error.is_unreachable() => {
                let reason = error.brief();
                let known = cached(remote, folder, error)?;
                progress.fell_back(&reason);
                Ok(known)
            }
            Err(error) => Err(error),
        }
    }

    /// Asks the hub for a revision's commit and files.
    fn ask(&self, remote: &Remote, progress: &mut dyn Progress) -> Result<(String, Vec<String>)> {
        let kind = match remote.kind {
            Kind::Model => "models",
            Kind::DataSet => "datasets",
        };
        let revision = escaped(&remote.revision).replace('/', "%2F");
        let path = format!("/api/{kind}/{}/revision/{revision}", remote.repository);
        let page = remote.page();
        let request = Request { method: Method::Get, path, from: 0, remote, file: &page };
        let client = self.client()?;
        let text = client.retrying(&page, progress, |_, _| client.read(&request, client.ask(&request)?))?;
        listing(&text).map_err(|problem| client.bad_answer(&request, problem))
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
    Ok(Known { commit, names, barred: Some(barred) })
}

/// Commit and file names in the hub's description of a repository. A name that leaves the repository
/// makes the whole answer worthless.
fn listing(text: &[u8]) -> Result<(String, Vec<String>), &'static str> {
    let answer: Value = serde_json::from_slice(text).map_err(|_| "the description is not JSON")?;
    let commit = answer.get("sha").and_then(Value::as_str).filter(|commit| is_commit(commit));
    let commit = commit.ok_or("the description lacks the commit `sha`")?;
    let siblings = answer.get("siblings").and_then(Value::as_array);
    let siblings = siblings.ok_or("the description lacks the files `siblings`")?;
    let mut names = Vec::with_capacity(siblings.len());
    for sibling in siblings {
        let name = sibling.get("rfilename").and_then(Value::as_str).ok_or("a file has no `rfilename`")?;
        if unsafe_path(name).is_some() {
            return Err("the description names a file outside the repository");
        }
        names.push(name.to_owned());
    }
    names.sort();
    names.dedup();
    Ok((commit.to_owned(), names))
}

fn no_records(remote: &Remote) -> Error {
    Error::NoFile {
        repository: remote.page(),
        revision: remote.revision.clone(),
        file: remote.path.clone().unwrap_or_else(|| "*.parquet, *.jsonl, *.json, *.csv".to_owned()),
        advice: "; name a file, or a folder with such files, after `:`".to_owned(),
    }
}
