//! Failed attempts: what went wrong, and whether another attempt may help.

use std::thread;
use std::time::{Duration, Instant};

use ureq::Timeout;

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
    /// Once: what cannot be reached will rarely be reachable a second later.
    Once,
    Soon,
    After(Duration),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { error, again: Again::Never }
    }
}

/// What an error of the client means. Its text may hold a signed address only where that is left out.
pub(crate) fn failure(error: &ureq::Error, host: &str, file: &str) -> Failure {
    use std::io::ErrorKind::{
        AddrNotAvailable, ConnectionRefused, HostUnreachable, NetworkDown, NetworkUnreachable,
        PermissionDenied,
    };
    let unreachable = match error {
        ureq::Error::HostNotFound
        | ureq::Error::ConnectionFailed
        | ureq::Error::Timeout(Timeout::Resolve | Timeout::Connect)
        | ureq::Error::Tls(_)
        | ureq::Error::Rustls(_)
        | ureq::Error::Pem(_) => true,
        ureq::Error::Io(error) => matches!(
            error.kind(),
            AddrNotAvailable
                | ConnectionRefused
                | HostUnreachable
                | NetworkDown
                | NetworkUnreachable
                | PermissionDenied
        ),
        _ => false,
    };
    let host = host.to_owned();
    let file = file.to_owned();
    match error {
        _ if unreachable => {
            Failure { error: Error::NoNetwork { host, reason: error.to_string() }, again: Again::Once }
        }
        ureq::Error::ConnectProxyFailed(_) | ureq::Error::InvalidProxyUrl => {
            let reason = "the proxy of HTTPS_PROXY does not let it through".to_owned();
            Failure { error: Error::NoNetwork { host, reason }, again: Again::Once }
        }
        ureq::Error::Io(_)
        | ureq::Error::Timeout(_)
        | ureq::Error::Protocol(_)
        | ureq::Error::BodyStalled => cut(error.to_string(), &host, &file),
        _ => Error::BadAnswer { host, file, problem: "an answer that is not HTTP".to_owned() }.into(),
    }
}

/// A body that ended before its time.
pub(crate) fn lost(error: std::io::Error, host: &str, file: &str) -> Failure {
    cut(ureq::Error::from(error).to_string(), host, file)
}

/// A connection that was lost for `reason`.
pub(crate) fn cut(reason: String, host: &str, file: &str) -> Failure {
    let error = Error::Cut { file: file.to_owned(), host: host.to_owned(), attempts: 1, reason };
    Failure { error, again: Again::Soon }
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
