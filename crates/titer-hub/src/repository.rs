//! What the hub says of a repository: a revision's commit and files, and size and hash of each.

use hf_hub::repository::RepoTreeEntry;
use hf_hub::{HFRepository, HFResult, RepoTypeAny, split_id};

use crate::client::Client;
use crate::failure::no_file;
use crate::reference::{Kind, Remote, is_commit, unsafe_path};
use crate::{Error, Progress, Result};

/// Files whose facts are asked for at once.
const AT_ONCE: usize = 500;
/// A whole answer may take so many silences.
const ANSWER: u32 = 2;

/// A file at a commit.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) file: String,
    /// Git's hash of it; of a large file, of the pointer that Git LFS holds in its place.
    pub(crate) oid: String,
    pub(crate) size: u64,
    pub(crate) large: bool,
}

impl Client {
    fn repository(&self, remote: &Remote) -> HFRepository<RepoTypeAny> {
        let kind = match remote.kind {
            Kind::Model => RepoTypeAny::Model,
            Kind::DataSet => RepoTypeAny::Dataset,
        };
        let (owner, name) = split_id(&remote.repository);
        self.hub.repository(kind, owner, name)
    }

    /// The commit that a revision stands at, and the names of its files, sorted. A name that leaves the repository makes
    /// the whole answer worthless.
    pub(crate) fn listing(
        &self,
        remote: &Remote,
        progress: &mut dyn Progress,
    ) -> Result<(String, Vec<String>)> {
        let (owner, name) = split_id(&remote.repository);
        let revision = remote.revision.as_str();
        let page = remote.page();
        let file = remote.path.as_ref().unwrap_or(&page);
        let (commit, files) = self.question(remote, file, progress, async || match remote.kind {
            Kind::Model => {
                let info = self.hub.model(owner, name).info().revision(revision).send().await?;
                Ok((info.sha, info.siblings))
            }
            Kind::DataSet => {
                let info = self.hub.dataset(owner, name).info().revision(revision).send().await?;
                Ok((info.sha, info.siblings))
            }
        })?;
        let bad = |problem: &str| self.bad_answer(&page, problem);
        let commit = commit.filter(|commit| is_commit(commit));
        let commit = commit.ok_or_else(|| bad("the description lacks the commit `sha`"))?;
        if remote.commit().is_some_and(|asked| asked != commit) {
            return Err(bad("the description is of another commit than the one asked for"));
        }
        let files = files.ok_or_else(|| bad("the description lacks the files `siblings`"))?;
        let mut names: Vec<_> = files.into_iter().map(|file| file.rfilename).collect();
        if names.iter().any(|name| unsafe_path(name).is_some()) {
            return Err(bad("the description names a file outside the repository"));
        }
        names.sort();
        names.dedup();
        Ok((commit, names))
    }

    /// What the hub says of files at a commit, in their order.
    pub(crate) fn facts(
        &self,
        remote: &Remote,
        commit: &str,
        files: &[&str],
        progress: &mut dyn Progress,
    ) -> Result<Vec<Facts>> {
        let mut facts = Vec::with_capacity(files.len());
        for some in files.chunks(AT_ONCE) {
            let entries = self.question(remote, some[0], progress, async || {
                let paths = some.iter().map(|&file| file.to_owned()).collect();
                self.repository(remote).get_paths_info().paths(paths).revision(commit).send().await
            })?;
            for &file in some {
                facts.push(self.facts_of(remote, file, &entries)?);
            }
        }
        Ok(facts)
    }

    fn facts_of(&self, remote: &Remote, file: &str, entries: &[RepoTreeEntry]) -> Result<Facts> {
        let found = entries.iter().find_map(|entry| match entry {
            RepoTreeEntry::File { path, oid, size, lfs, .. } if path == file => Some((oid, *size, lfs)),
            _ => None,
        });
        let (oid, size, lfs) = found.ok_or_else(|| no_file(remote, file))?;
        // It becomes the name of a file here.
        if !is_commit(oid) {
            return Err(self.bad_answer(file, "its `oid` is no hash of git"));
        }
        let size = lfs.as_ref().and_then(|large| large.size).unwrap_or(size);
        Ok(Facts { file: file.to_owned(), oid: oid.clone(), size, large: lfs.is_some() })
    }

    /// Asks, and asks again where that may help.
    fn question<T>(
        &self,
        remote: &Remote,
        file: &str,
        progress: &mut dyn Progress,
        question: impl AsyncFn() -> HFResult<T>,
    ) -> Result<T, Error> {
        self.retrying(file, progress, |progress, _| {
            let limit = self.silence.saturating_mul(ANSWER);
            let answer = self.run(self.within(question(), limit, file, progress))?;
            answer.map_err(|error| self.failure(error, remote, file))
        })
    }
}
