//! One file from the hub into the cache: resumed, verified, and seen by nobody until it is whole.

use std::ops::Range;
use std::path::PathBuf;
use std::pin::Pin;
use std::process;
use std::time::Instant;

use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use hf_hub::{HFError, HFRepository, HFResult, RepoType, split_id};
use reqwest::header::RANGE;
use reqwest::{StatusCode, Url};

use crate::cache::{Folder, INCOMPLETE, create_parent};
use crate::client::{Client, Stray};
use crate::content::{Partial, pointer};
use crate::failure::{Again, Failure, cut, of_transport, stray};
use crate::reference::{Kind, Remote};
use crate::repository::Facts;
use crate::{Error, Progress, Result, Settings, lock};

/// An attempt that brought this much was no failure of the network as a whole; one that brings less in [`SLOW`] silences
/// is one.
const WORTHWHILE: u64 = 1 << 20;
const SLOW: u32 = 10;

/// Where files of one repository come from and go to.
pub(crate) struct Source<'a> {
    pub(crate) client: &'a Client,
    pub(crate) settings: &'a Settings,
    pub(crate) remote: &'a Remote,
    pub(crate) folder: &'a Folder,
    pub(crate) commit: &'a str,
}

/// As `hf-hub` gives them.
type Arriving = Box<dyn Stream<Item = HFResult<bytes::Bytes>> + Send + Unpin>;

/// A file's bytes as they come, and how many there will be.
type Bytes<'a> = Pin<Box<dyn Stream<Item = Result<bytes::Bytes, Failure>> + 'a>>;

impl Source<'_> {
    /// Puts a file into its snapshot: as it is among the blobs, or after a download.
    pub(crate) fn fetch(&self, facts: &Facts, progress: &mut dyn Progress) -> Result<PathBuf> {
        let name = match self.present(facts) {
            Some(name) => name,
            None => self.fetch_blob(facts, progress)?,
        };
        self.folder.link(self.commit, &facts.file, &name)
    }

    /// The name that a file has or will have among the blobs, as far as it is known.
    fn name(&self, facts: &Facts) -> String {
        let is_it = |sha256: &str| pointer(sha256, facts.size) == facts.oid;
        let sha256 = facts.large.then(|| self.folder.sha256(is_it)).flatten();
        sha256.unwrap_or_else(|| facts.oid.clone())
    }

    /// The name of the blob, if it is there.
    fn present(&self, facts: &Facts) -> Option<String> {
        Some(self.name(facts)).filter(|name| self.folder.blob(name).is_file())
    }

    fn fetch_blob(&self, facts: &Facts, progress: &mut dyn Progress) -> Result<String> {
        let name = self.name(facts);
        let shared = self.folder.blob(&format!("{name}{INCOMPLETE}"));
        create_parent(&shared)?;
        let patience = self.settings.silence_timeout.saturating_add(self.settings.longest_wait);
        let lock = lock::acquire(&self.folder.lock(&name), &shared, &facts.file, patience, progress)?;
        if let Some(name) = self.present(facts) {
            return Ok(name);
        }
        // Without locks, each process writes a file of its own and cannot go on from another's.
        let path = match &lock {
            Some(_) => shared,
            None => self.folder.blob(&format!("{name}.{}{INCOMPLETE}", process::id())),
        };
        let mut partial = Partial::open(path, facts)?;
        partial.check_room()?;
        let name = self.client.retrying(&facts.file, progress, |progress, failed| {
            let before = partial.length;
            let outcome = self.attempt(facts, &mut partial, progress);
            let came = partial.length.saturating_sub(before);
            if came >= WORTHWHILE {
                *failed = 0;
            }
            outcome.map_err(|failure| match failure.again {
                // It began to speak.
                Again::Once if came > 0 => Failure { again: Again::Soon, ..failure },
                _ => failure,
            })?;
            let resumed = partial.resumed;
            let name = partial.name();
            if name.is_err() {
                partial.clear()?;
            }
            // What came before may have been at fault, and the file is worth another attempt from nothing.
            let again = if resumed { Again::Soon } else { Again::Never };
            name.map_err(|error| Failure { error, again })
        })?;
        partial.keep(&self.folder.blob(&name))?;
        progress.finished();
        Ok(name)
    }

    /// Goes on from what there is to the end of the file.
    fn attempt(
        &self,
        facts: &Facts,
        partial: &mut Partial<'_>,
        progress: &mut dyn Progress,
    ) -> Result<(), Failure> {
        let (file, size) = (&facts.file, facts.size);
        if partial.length > size {
            partial.clear()?;
        }
        progress.started(file, Some(size), partial.length);
        if partial.length == size {
            return Ok(());
        }
        partial.resumed = partial.length > 0;
        let (announced, mut bytes) = self.open(facts, partial.length, progress)?;
        if partial.length > 0 && announced != Some(size - partial.length) {
            // Another part than the one asked for; most often all of it.
            partial.clear()?;
            return Err(cut("it does not go on where it stopped".to_owned(), &self.client.host(), file));
        }
        if let Some(found) = announced.filter(|&announced| announced != size - partial.length) {
            return Err(Error::WrongSize { file: file.clone(), found, expected: size }.into());
        }
        self.client.run(async {
            let limit = self.client.silence.saturating_mul(SLOW);
            let (mut since, mut brought) = (Instant::now(), 0);
            while let Some(some) =
                self.client.within(bytes.next(), self.client.silence, file, progress).await?
            {
                let some = some?;
                partial.append(&some)?;
                progress.advanced(some.len() as u64);
                if partial.length > size {
                    let found = partial.length;
                    partial.clear()?;
                    return Err(Error::WrongSize { file: file.clone(), found, expected: size }.into());
                }
                brought += some.len() as u64;
                if brought >= WORTHWHILE {
                    (since, brought) = (Instant::now(), 0);
                } else if since.elapsed() >= limit && partial.length < size {
                    let reason = format!("{brought} bytes came in {:.1} s", limit.as_secs_f64());
                    return Err(cut(reason, &self.client.host(), file));
                }
            }
            if partial.length < size {
                let reason = format!("{} of {size} bytes came", partial.length);
                return Err(cut(reason, &self.client.host(), file));
            }
            Ok(())
        })
    }

    /// The bytes of a file from the one at `from` on, and how many are announced.
    fn open<'a>(
        &'a self,
        facts: &'a Facts,
        from: u64,
        progress: &mut dyn Progress,
    ) -> Result<(Option<u64>, Bytes<'a>), Failure> {
        let client = self.client;
        let (remote, file) = (self.remote, facts.file.as_str());
        let range = (from > 0).then_some(from..facts.size);
        let (owner, name) = split_id(&remote.repository);
        let opened = client.run(async {
            let asked = async {
                match remote.kind {
                    Kind::Model => streamed(client.hub.model(owner, name), file, self.commit, range).await,
                    Kind::DataSet => {
                        streamed(client.hub.dataset(owner, name), file, self.commit, range).await
                    }
                }
            };
            client.within(asked, client.silence, file, progress).await
        })?;
        let error = match opened {
            Ok((announced, bytes)) => {
                let lost = move |error| client.meaning(error, remote, file).0;
                return Ok((announced, Box::pin(bytes.map_err(lost))));
            }
            Err(error) => error,
        };
        match &error {
            HFError::Request { source, .. } => match stray(source) {
                Some(Stray::AmongStrangers(address)) => self.open_elsewhere(address, file, from, progress),
                _ => Err(client.failure(error, remote, file)),
            },
            // Nothing of what was asked for.
            HFError::Http { context } if context.status == StatusCode::RANGE_NOT_SATISFIABLE => {
                Ok((Some(0), Box::pin(stream::empty())))
            }
            _ => Err(client.failure(error, remote, file)),
        }
    }

    /// As [`Source::open`], at an address of the content network, without a token.
    fn open_elsewhere(
        &self,
        address: &Url,
        file: &str,
        from: u64,
        progress: &mut dyn Progress,
    ) -> Result<(Option<u64>, Bytes<'_>), Failure> {
        let client = self.client;
        let mut request = client.web.get(address.clone());
        if from > 0 {
            request = request.header(RANGE, format!("bytes={from}-"));
        }
        let (asked, name) = (address.clone(), file.to_owned());
        let lost = move |error: reqwest::Error| of_transport(&error, &asked, &name);
        let asking = async { client.within(request.send(), client.silence, file, progress).await };
        let answer = client.run(asking)?;
        let answer = answer.map_err(&lost)?;
        match answer.status().as_u16() {
            200 | 206 => Ok((answer.content_length(), Box::pin(answer.bytes_stream().map_err(lost)))),
            416 => Ok((Some(0), Box::pin(stream::empty()))),
            status => {
                let host = address.origin().ascii_serialization();
                let problem = format!("status {status}");
                let error = Error::BadAnswer { host, file: file.to_owned(), problem };
                Err(Failure { error, again: Again::Soon })
            }
        }
    }
}

/// `hf-hub` 1.0 streams a repository whose kind is known at run time only (`RepoTypeAny`) from a model's address.
async fn streamed<T: RepoType>(
    repository: HFRepository<T>,
    file: &str,
    commit: &str,
    range: Option<Range<u64>>,
) -> HFResult<(Option<u64>, Arriving)> {
    repository.download_file_stream().filename(file).revision(commit).maybe_range(range).send().await
}
