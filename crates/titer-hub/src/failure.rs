//! Failed attempts: what went wrong, and whether another attempt may help. Nothing of an address is told but its origin:
//! the rest may be signed.

use std::error::Error as StdError;
use std::iter::successors;
use std::thread;
use std::time::{Duration, Instant};

use hf_hub::HFError;
use reqwest::Url;

use crate::client::Stray;
use crate::reference::Remote;
use crate::{Error, Progress, Result};

/// An attempt that failed.
#[derive(Debug)]
pub(crate) struct Failure {
    /// What to say if there is no further attempt.
    pub(crate) error: Error,
    pub(crate) again: Again,
}

/// Whether another attempt may help.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Again {
    Never,
    /// Once: who cannot be reached or says nothing will rarely be otherwise a second later.
    Once,
    Soon,
    After(Duration),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { error, again: Again::Never }
    }
}

impl Failure {
    /// Told to come back after a pause.
    pub(crate) fn after(mut self, pause: Duration) -> Self {
        if let Error::RateLimited { wait, .. } = &mut self.error {
            *wait = Some(pause);
        }
        Self { again: Again::After(pause), ..self }
    }
}

/// What an error of `hf-hub` means for a file; `token` is whether one was sent. Also the address whose refusal may have
/// stated a pause that the error does not hold.
pub(crate) fn of(
    error: HFError,
    home: &Url,
    token: bool,
    remote: &Remote,
    file: &str,
) -> (Failure, Option<Url>) {
    let repository = remote.page();
    let no_repository = || Error::NoRepository { repository: remote.page() };
    let bad = |problem: &str| {
        let host = home.origin().ascii_serialization();
        Failure::from(Error::BadAnswer { host, file: file.to_owned(), problem: problem.to_owned() })
    };
    let (context, wait, missing) = match error {
        HFError::Request { source, .. } => return (of_transport(&source, home, file), None),
        HFError::Xet { operation, .. } => {
            return (cut(format!("Xet, {operation}"), &home.origin().ascii_serialization(), file), None);
        }
        HFError::RateLimited { retry_after, context } => (context, retry_after, no_repository()),
        HFError::RevisionNotFound { context: Some(context), .. }
        | HFError::RepoNotFound { context: Some(context), .. } => (context, None, no_repository()),
        HFError::EntryNotFound { context: Some(context), .. }
        | HFError::Http { context }
        | HFError::AuthRequired { context }
        | HFError::Forbidden { context }
        | HFError::Conflict { context } => (context, None, no_file(remote, file)),
        _ => return (bad("not what a hub answers"), None),
    };
    let status = context.status.as_u16();
    let url: Option<Url> = context.url.parse().ok();
    let origin = url.as_ref().map_or_else(|| home.origin(), Url::origin);
    let host = origin.ascii_serialization();
    let soon = |error| Failure { error, again: Again::Soon };
    let gated = || Error::Gated {
        page: format!("{}/{repository}", home.as_str().trim_end_matches('/')),
        repository: repository.clone(),
    };
    let error = match (status, context.error_code.as_deref().unwrap_or_default()) {
        (429, _) => {
            let failure = soon(Error::RateLimited { host, wait });
            return match wait {
                Some(wait) => (failure.after(wait), None),
                None => (failure, url),
            };
        }
        (408 | 500..=599, _) => {
            let file = file.to_owned();
            return (soon(Error::Server { host, status, file }), url.filter(|_| status == 503));
        }
        // A signed address ran out; the hub gives a fresh one.
        _ if origin != home.origin() => {
            let problem = format!("status {status}");
            return (soon(Error::BadAnswer { host, file: file.to_owned(), problem }), None);
        }
        (_, "RevisionNotFound") => Error::NoRevision { repository, revision: remote.revision.clone() },
        (_, "EntryNotFound") => no_file(remote, file),
        (_, "RepoNotFound") => no_repository(),
        (_, "GatedRepo") => gated(),
        (401, _) if token => Error::BadToken { host },
        (401 | 403, _) => gated(),
        (404, _) => missing,
        (300..=399, _) => return (bad("a redirect without a readable address"), None),
        _ => return (bad(&format!("status {status}")), None),
    };
    (error.into(), None)
}

/// What an error before or within an answer means, of which the client of HTTP tells.
pub(crate) fn of_transport(error: &reqwest::Error, asked: &Url, file: &str) -> Failure {
    let host = error.url().unwrap_or(asked).origin().ascii_serialization();
    let bad = |problem: String| {
        Failure::from(Error::BadAnswer { host: host.clone(), file: file.to_owned(), problem })
    };
    if let Some(stray) = stray(error) {
        bad(stray.to_string())
    } else if chain(error).any(|cause| cause.is::<serde_json::Error>()) {
        bad("the answer is not what a hub says".to_owned())
    } else if error.is_builder() {
        bad("a redirect to a malformed address".to_owned())
    } else if error.is_connect() {
        Failure { error: Error::NoNetwork { host, reason: root(error) }, again: Again::Once }
    } else {
        let again = if error.is_timeout() { Again::Once } else { Again::Soon };
        Failure { again, ..cut(root(error), &host, file) }
    }
}

/// Why a redirect was not followed, if that was it.
pub(crate) fn stray(error: &reqwest::Error) -> Option<&Stray> {
    chain(error).find_map(|cause| cause.downcast_ref())
}

fn chain<'a>(error: &'a reqwest::Error) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    successors(error.source(), |&cause| cause.source())
}

/// The innermost cause in its own words, which hold no address.
pub(crate) fn root(error: &reqwest::Error) -> String {
    chain(error).last().map_or_else(|| "no reason given".to_owned(), ToString::to_string)
}

/// A connection that was lost for `reason`.
pub(crate) fn cut(reason: String, host: &str, file: &str) -> Failure {
    let error = Error::Cut { file: file.to_owned(), host: host.to_owned(), attempts: 1, reason };
    Failure { error, again: Again::Soon }
}

pub(crate) fn no_file(remote: &Remote, file: &str) -> Error {
    Error::NoFile {
        repository: remote.page(),
        revision: remote.revision.clone(),
        file: file.to_owned(),
        advice: String::new(),
    }
}

/// Sleeps, unless cancelled.
pub(crate) fn sleep(pause: Duration, file: &str, progress: &dyn Progress) -> Result<()> {
    let end = Instant::now() + pause;
    loop {
        if progress.cancelled() {
            return Err(Error::Cancelled { file: file.to_owned() });
        }
        match end.checked_duration_since(Instant::now()) {
            None | Some(Duration::ZERO) => return Ok(()),
            Some(left) => thread::sleep(left.min(Duration::from_millis(100))),
        }
    }
}
