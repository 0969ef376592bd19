//! One file from the hub into the cache: resumed, verified, and seen by nobody until it is whole.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process;

use sha2::{Digest, Sha256};
use ureq::http::header;

use crate::cache::{Folder, create_parent};
use crate::failure::{Again, Failure, cut, lost};
use crate::http::{Answer, Client, Method, Request, Stated};
use crate::origin::escaped;
use crate::reference::Remote;
use crate::{Error, Progress, Result, Settings, lock};

const CHUNK: usize = 256 << 10;
/// An attempt that brought this much was no failure of the network as a whole.
const WORTHWHILE: u64 = 1 << 20;

/// Where files of one repository come from and go to.
pub(crate) struct Source<'a> {
    pub(crate) client: &'a Client,
    pub(crate) settings: &'a Settings,
    pub(crate) remote: &'a Remote,
    pub(crate) folder: &'a Folder,
}

/// What the hub says about a file, checked: safe as file names.
pub(crate) struct Facts {
    pub(crate) commit: String,
    etag: String,
    size: Option<u64>,
    /// Of a large file, whose tag it is; the tag of a small one is its git hash.
    sha256: Option<String>,
}

impl Source<'_> {
    fn request<'a>(&'a self, method: Method, revision: &str, file: &'a str, from: u64) -> Request<'a> {
        let revision = escaped(revision).replace('/', "%2F");
        let path = format!("/{}/resolve/{revision}/{}", self.remote.page(), escaped(file));
        Request { method, path, from, remote: self.remote, file }
    }

    /// Asks for a file's commit, tag and size.
    pub(crate) fn facts(&self, revision: &str, file: &str, progress: &mut dyn Progress) -> Result<Facts> {
        let request = self.request(Method::Head, revision, file, 0);
        let Stated { commit, etag, size, .. } =
            self.client.retrying(file, progress, |_, _| Ok(self.client.ask(&request)?.stated))?;
        let lacking = |problem| self.client.bad_answer(&request, problem);
        let commit = commit.filter(|commit| crate::reference::is_commit(commit));
        let commit = commit.ok_or_else(|| lacking("the answer lacks X-Repo-Commit"))?;
        let name = |tag: &String| {
            tag.len() <= 128 && tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        };
        let etag = etag.filter(|tag| !tag.is_empty() && name(tag));
        let etag = etag.ok_or_else(|| lacking("the answer lacks a usable ETag"))?;
        let is_sha256 = etag.len() == 64 && etag.bytes().all(|byte| byte.is_ascii_hexdigit());
        let sha256 = is_sha256.then(|| etag.to_ascii_lowercase());
        Ok(Facts { commit, etag, size, sha256 })
    }

    /// The file in its snapshot: as it is there, or after a download.
    pub(crate) fn fetch(&self, facts: &Facts, file: &str, progress: &mut dyn Progress) -> Result<PathBuf> {
        if let Some(path) = self.folder.find(&facts.commit, file) {
            return Ok(path);
        }
        let blob = self.folder.blob(&facts.etag);
        if !blob.is_file() {
            self.fetch_blob(facts, file, &blob, progress)?;
        }
        self.folder.link(&facts.commit, file, &facts.etag)
    }

    fn fetch_blob(&self, facts: &Facts, file: &str, blob: &Path, progress: &mut dyn Progress) -> Result<()> {
        create_parent(blob)?;
        let shared = blob.with_file_name(format!("{}.incomplete", facts.etag));
        let patience = self.settings.silence_timeout.saturating_add(self.settings.longest_wait);
        let lock = lock::acquire(&self.folder.lock(&facts.etag), &shared, file, patience, progress)?;
        if blob.is_file() {
            return Ok(());
        }
        // Without locks, each process writes a file of its own and cannot go on from another's.
        let partial = match &lock {
            Some(_) => shared,
            None => blob.with_file_name(format!("{}.{}.incomplete", facts.etag, process::id())),
        };
        let mut partial = Partial::open(&partial)?;
        partial.check_room(facts.size)?;
        self.client.retrying(file, progress, |progress, failed| {
            let before = partial.length;
            let outcome = self.attempt(facts, file, &mut partial, progress);
            if partial.length.saturating_sub(before) >= WORTHWHILE {
                *failed = 0;
            }
            outcome?;
            partial.verify(facts, file)
        })?;
        partial.file.sync_all().map_err(Error::writing(&partial.path))?;
        fs::rename(&partial.path, blob).map_err(Error::writing(blob))?;
        progress.finished();
        Ok(())
    }

    /// Goes on from what there is to the end of the file.
    fn attempt(
        &self,
        facts: &Facts,
        file: &str,
        partial: &mut Partial,
        progress: &mut dyn Progress,
    ) -> Result<(), Failure> {
        if facts.size.is_some_and(|size| partial.length > size) {
            partial.clear()?;
        }
        progress.started(file, facts.size, partial.length);
        if facts.size == Some(partial.length) {
            return Ok(());
        }
        let request = self.request(Method::Get, &facts.commit, file, partial.length);
        let answer = self.client.ask(&request)?;
        match answer.status {
            206 if partial.length > 0 && starts_at(&answer) == Some(partial.length) => {}
            200 if partial.length == 0 => {}
            200 => {
                // The server sends all of it again.
                partial.clear()?;
                progress.started(file, facts.size, 0);
            }
            status => {
                partial.clear()?;
                return Err(cut(format!("status {status} for a range"), &answer.host, file));
            }
        }
        let announced = answer.body.content_length().map(|length| partial.length + length);
        if let (Some(expected), Some(found)) = (facts.size, announced)
            && expected != found
        {
            partial.clear()?;
            return Err(Error::WrongSize { file: file.to_owned(), found, expected }.into());
        }
        let expected = facts.size.or(announced);
        let host = answer.host;
        let mut reader = answer.body.into_reader();
        let mut buffer = vec![0; CHUNK];
        loop {
            if progress.cancelled() {
                return Err(Error::Cancelled { file: file.to_owned() }.into());
            }
            let count = match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(lost(error, &host, file)),
            };
            partial.append(&buffer[..count])?;
            progress.advanced(count as u64);
            let found = partial.length;
            if let Some(expected) = expected.filter(|expected| found > *expected) {
                partial.clear()?;
                return Err(Error::WrongSize { file: file.to_owned(), found, expected }.into());
            }
        }
        match expected {
            Some(expected) if partial.length < expected => {
                Err(cut(format!("{} of {expected} bytes came", partial.length), &host, file))
            }
            _ => Ok(()),
        }
    }
}

/// The first byte of an answer to a range.
fn starts_at(answer: &Answer) -> Option<u64> {
    let range = answer.headers.get(header::CONTENT_RANGE)?.to_str().ok()?;
    range.strip_prefix("bytes ")?.split('-').next()?.trim().parse().ok()
}

/// What has come of a file, and its hash so far.
struct Partial {
    path: PathBuf,
    file: File,
    length: u64,
    hasher: Sha256,
    /// Whether some of it is from an earlier call.
    inherited: bool,
}

impl Partial {
    fn open(path: &Path) -> Result<Self> {
        let mut file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(path)
            .map_err(Error::writing(path))?;
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; CHUNK];
        let mut length = 0;
        loop {
            let count = file.read(&mut buffer).map_err(Error::reading(path))?;
            if count == 0 {
                break;
            }
            hasher.update(&buffer[..count]);
            length += count as u64;
        }
        Ok(Self { path: path.to_owned(), file, length, hasher, inherited: length > 0 })
    }

    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(Error::writing(&self.path))?;
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }

    fn clear(&mut self) -> Result<()> {
        let emptied = self.file.set_len(0).and_then(|()| self.file.seek(SeekFrom::Start(0)));
        emptied.map_err(Error::writing(&self.path))?;
        self.length = 0;
        self.hasher = Sha256::new();
        self.inherited = false;
        Ok(())
    }

    /// Refuses what cannot fit, before anything is sent.
    fn check_room(&self, size: Option<u64>) -> Result<()> {
        let needed = size.unwrap_or(0).saturating_sub(self.length);
        // A filesystem that does not tell is found out while writing.
        let Ok(found) = rustix::fs::fstatvfs(&self.file) else { return Ok(()) };
        let free = found.f_bavail.saturating_mul(found.f_frsize);
        if needed <= free {
            return Ok(());
        }
        let reason = format!("{needed} bytes are needed, {free} are free");
        Err(Error::DiskFull { path: self.path.clone(), reason })
    }

    /// Nothing that differs from the hub's word is kept. If an earlier call left some of it, that may
    /// have been at fault, and the file is worth another attempt from nothing.
    fn verify(&mut self, facts: &Facts, file: &str) -> Result<(), Failure> {
        let Some(expected) = &facts.sha256 else { return Ok(()) };
        let found = hex(&self.hasher.clone().finalize());
        if found == *expected {
            return Ok(());
        }
        let again = if self.inherited { Again::Soon } else { Again::Never };
        self.clear()?;
        let error = Error::WrongHash { file: file.to_owned(), found, expected: expected.clone() };
        Err(Failure { error, again })
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
