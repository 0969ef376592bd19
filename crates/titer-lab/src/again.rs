//! What there is to hope for when a stage has failed.
//!
//! A stage is a pure function of its spec and its inputs: what fails within it fails again. What fails around it, on a
//! disk or a network file system, may go well the next moment, or once somebody has mended it.

use std::error::Error as Cause;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use crate::{Error, Interrupt, Result};

/// How long to wait before each further try.
const PAUSES: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(4), Duration::from_secs(16)];
/// How often it is looked, while waiting, whether all is to stop.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What there is to hope for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Again {
    /// It would fail in the same way.
    Never,
    /// It may go well when it is run again, once what stood in the way is mended.
    Later,
    /// It may go well in a moment.
    Soon,
}

impl Error {
    /// What there is to hope for after this error.
    pub(crate) fn again(&self) -> Again {
        match self {
            Self::Store(error) => of_store(error),
            Self::Device { .. } | Self::Memory { .. } => Again::Later,
            _ => {
                let causes = std::iter::successors(Cause::source(self), |cause| Cause::source(*cause));
                causes.map(of_cause).find(|again| *again != Again::Never).unwrap_or(Again::Never)
            }
        }
    }
}

fn of_cause(cause: &(dyn Cause + 'static)) -> Again {
    if let Some(error) = cause.downcast_ref::<titer_store::Error>() {
        return of_store(error);
    }
    cause.downcast_ref::<io::Error>().map_or(Again::Never, of_system)
}

fn of_store(error: &titer_store::Error) -> Again {
    match error {
        titer_store::Error::Io { source, .. } | titer_store::Error::Unread { source, .. } => {
            of_system(source)
        }
        titer_store::Error::LeaseLost { .. } => Again::Soon,
        titer_store::Error::DiskFull { .. } | titer_store::Error::ReadOnly { .. } => Again::Later,
        titer_store::Error::Fill { source, .. } => of_cause(source.as_ref()),
        _ => Again::Never,
    }
}

fn of_system(error: &io::Error) -> Again {
    use io::ErrorKind as Kind;
    const EIO: i32 = rustix::io::Errno::IO.raw_os_error();
    match error.kind() {
        _ if error.raw_os_error() == Some(EIO) => Again::Soon,
        Kind::Interrupted | Kind::TimedOut | Kind::StaleNetworkFileHandle | Kind::ResourceBusy => Again::Soon,
        Kind::WouldBlock | Kind::HostUnreachable | Kind::NetworkUnreachable | Kind::NetworkDown => {
            Again::Soon
        }
        Kind::StorageFull | Kind::QuotaExceeded | Kind::ReadOnlyFilesystem | Kind::PermissionDenied => {
            Again::Later
        }
        Kind::OutOfMemory => Again::Later,
        _ => Again::Never,
    }
}

/// Does work, and does it again after a pause where it failed by something that may be over in a moment. `told` hears
/// of each such failure, with the pause.
pub(crate) fn patiently<T>(
    interrupt: &Interrupt,
    mut work: impl FnMut() -> Result<T>,
    told: impl Fn(&Error, Duration),
) -> Result<T> {
    for pause in PAUSES {
        match work() {
            Err(error) if error.again() == Again::Soon && !interrupt.raised() => {
                told(&error, pause);
                let until = Instant::now() + pause;
                while Instant::now() < until && !interrupt.raised() {
                    thread::sleep(LOOK_EVERY);
                }
                if interrupt.raised() {
                    return Err(Error::Interrupted);
                }
            }
            done => return done,
        }
    }
    work()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::path::PathBuf;

    use super::*;

    fn disk(errno: rustix::io::Errno) -> Error {
        Error::Store(titer_store::Error::Io {
            path: PathBuf::from("x"),
            action: "read",
            source: errno.into(),
        })
    }

    #[test]
    fn what_fails_around_a_stage_is_told_from_what_fails_in_it() {
        use rustix::io::Errno;
        for (errno, again) in [
            (Errno::IO, Again::Soon),
            (Errno::STALE, Again::Soon),
            (Errno::NOSPC, Again::Later),
            (Errno::NOENT, Again::Never),
        ] {
            assert_eq!(disk(errno).again(), again, "{errno:?}");
        }
        let lost = titer_store::Error::LeaseLost { path: PathBuf::from("x") };
        assert_eq!(Error::Store(lost).again(), Again::Soon);
        assert_eq!(Error::Panicked { stage: "x".to_owned(), problem: "y".to_owned() }.again(), Again::Never);
        // Also beneath the error of another crate.
        let path = PathBuf::from("model.safetensors");
        let model = titer_model::Error::File { path, action: "read", source: Errno::IO.into() };
        assert_eq!(Error::Model(model).again(), Again::Soon);
    }

    #[test]
    fn what_may_be_over_in_a_moment_is_tried_again_and_nothing_else() {
        let (interrupt, told) = (Interrupt::default(), Cell::new(0));
        let tries = |failures: usize, error: fn() -> Error| {
            let tried = Cell::new(0);
            let work = || {
                tried.set(tried.get() + 1);
                if tried.get() <= failures { Err(error()) } else { Ok(()) }
            };
            let done = patiently(&interrupt, work, |_, _| told.set(told.get() + 1));
            (done.is_ok(), tried.get())
        };
        assert_eq!(tries(1, || disk(rustix::io::Errno::IO)), (true, 2));
        assert_eq!(told.get(), 1);
        assert_eq!(tries(9, || disk(rustix::io::Errno::NOSPC)), (false, 1));
        // Whoever is asked to stop waits for nothing.
        interrupt.raise();
        assert_eq!(tries(9, || disk(rustix::io::Errno::IO)), (false, 1));
    }
}
