//! Failed attempts: what went wrong, and whether another attempt may help.

use std::io::{self, ErrorKind};
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

/// What an error of the client before a body means. An address is left out: it may be a signed one.
pub(crate) fn failure(error: &ureq::Error, host: &str, file: &str) -> Failure {
    let unreachable = |reason: String| Failure {
        error: Error::NoNetwork { host: host.to_owned(), reason },
        again: Again::Once,
    };
    match error {
        ureq::Error::Io(io) if is_cut(io.kind()) => cut(error.to_string(), host, file),
        ureq::Error::Timeout(Timeout::Resolve | Timeout::Connect)
        | ureq::Error::Io(_)
        | ureq::Error::HostNotFound
        | ureq::Error::ConnectionFailed
        | ureq::Error::Tls(_)
        | ureq::Error::Rustls(_)
        | ureq::Error::Pem(_) => unreachable(error.to_string()),
        ureq::Error::ConnectProxyFailed(_) | ureq::Error::InvalidProxyUrl => {
            unreachable("the proxy of HTTPS_PROXY does not let it through".to_owned())
        }
        ureq::Error::Timeout(_) | ureq::Error::Protocol(_) | ureq::Error::BodyStalled => {
            cut(error.to_string(), host, file)
        }
        _ => {
            let problem = "an answer that is not HTTP".to_owned();
            Error::BadAnswer { host: host.to_owned(), file: file.to_owned(), problem }.into()
        }
    }
}

/// Whether a connection stood before it failed so; names that have no address, refusals and
/// certificates come before that.
fn is_cut(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::BrokenPipe
            | ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
            | ErrorKind::Interrupted
            | ErrorKind::NotConnected
            | ErrorKind::UnexpectedEof
    )
}

/// A body that ended before its time.
pub(crate) fn lost(error: io::Error, host: &str, file: &str) -> Failure {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_never_stood_was_not_cut() {
        let found = |error: io::Error| failure(&ureq::Error::Io(error), "h", "f").error;
        let unreachable = |error| matches!(found(error), Error::NoNetwork { .. });
        assert!(unreachable(io::Error::other("failed to lookup address information")));
        assert!(unreachable(ErrorKind::ConnectionRefused.into()));
        assert!(unreachable(io::Error::new(ErrorKind::InvalidData, "invalid peer certificate")));
        assert!(matches!(found(ErrorKind::ConnectionReset.into()), Error::Cut { .. }));
        assert!(matches!(found(ErrorKind::UnexpectedEof.into()), Error::Cut { .. }));
    }
}
