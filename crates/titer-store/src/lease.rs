//! One writer per artifact: a lease file with host and pid, whose modification time is the heartbeat.
//!
//! A lease is stolen only when its holder is surely gone:
//! - its process ended on this very boot of this host, and nobody holds the file's lock (which sees
//!   through pid namespaces and reused pids); or
//! - its heartbeat is older than [`LeaseTerms::limit`] by the *file system's* clock, and stays unmoved
//!   while it is watched for [`LeaseTerms::watch`] of this host's *monotonic* clock. So neither clocks
//!   that differ between hosts nor a clock that jumps can make a living writer look dead.
//!
//! A writer that was only suspended finds out by the file's identity, before its next write.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use rustix::fs::{Timespec, Timestamps, UTIME_NOW};
use rustix::process::Pid;
use serde::{Deserialize, Serialize};

use crate::atomic;
use crate::error::{Error, Result, is_damage};
use crate::holder::Holder;
use crate::links;
use crate::lock::{self, Lock};

/// The times by which a lease is kept and judged. The same for all who share a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseTerms {
    /// A writer's heartbeat comes this often.
    pub beat: Duration,
    /// A heartbeat older than this makes a lease suspect.
    pub limit: Duration,
    /// A suspect lease is watched this long before it is stolen; several beats.
    pub watch: Duration,
}

impl Default for LeaseTerms {
    /// A beat every 5 s, suspect after 60 s, watched for 15 s.
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { beat: seconds(5), limit: seconds(60), watch: seconds(15) }
    }
}

/// A process, told apart from those of other hosts and of earlier boots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Process {
    host: String,
    /// Of the running kernel; empty where the system has none to tell.
    boot: String,
    pid: u32,
}

impl Process {
    fn this() -> Self {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        Self { host: host(), boot: boot.trim().to_owned(), pid: std::process::id() }
    }

    fn is_alive_here(&self) -> bool {
        let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) else { return false };
        // Any answer but "no such process" means that there is one.
        rustix::process::test_kill_process(pid) != Err(rustix::io::Errno::SRCH)
    }
}

/// This host's name.
pub(crate) fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// A name for this process that no other one shares while it lives.
pub(crate) fn this_process() -> String {
    format!("{}-{}", host(), std::process::id())
}

/// The store-wide lock, held for the instant in which a lease is judged, taken or released.
pub(crate) struct Gate {
    /// The lock ends when this closes.
    _file: File,
    /// The file system's clock, which also stamps the heartbeats.
    now: SystemTime,
}

impl Gate {
    pub(crate) fn pass(path: &Path) -> Result<Self> {
        let options = links::options().create(true).truncate(false).write(true).clone();
        let file = options.open(path).map_err(Error::writing(path))?;
        // Without file locks, exclusive creation still lets one writer in; only two that
        // steal the same stale lease in the same instant could meet.
        lock::wait(&file, path)?;
        let now = touch(&file).and_then(|()| file.metadata()?.modified()).map_err(Error::writing(path))?;
        Ok(Self { _file: file, now })
    }

    /// The file system's time when the gate was passed.
    pub(crate) fn now(&self) -> SystemTime {
        self.now
    }
}

/// Sets a file's modification time to the file system's present.
fn touch(file: &File) -> io::Result<()> {
    let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    Ok(rustix::fs::futimens(file, &Timestamps { last_access: now, last_modification: now })?)
}

/// Which file a path leads to; no two files share it while one of them is open.
fn identity(metadata: &fs::Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// A lease as another process finds it.
struct Sighting {
    /// None when a kill or a full disk tore the file.
    process: Option<Process>,
    identity: (u64, u64),
    beaten: SystemTime,
    lock: Lock,
}

impl Sighting {
    fn at(path: &Path) -> Result<Option<Self>> {
        let file = match links::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(Error::reading(path))?,
        };
        let metadata = file.metadata().map_err(Error::reading(path))?;
        let beaten = metadata.modified().map_err(Error::reading(path))?;
        let lock = lock::look(&file);
        let mut bytes = Vec::new();
        // Who cannot be read may live.
        (&file).read_to_end(&mut bytes).map_err(Error::reading(path))?;
        let process = serde_json::from_slice(&bytes).ok();
        Ok(Some(Self { process, identity: identity(&metadata), beaten, lock }))
    }

    fn is_dead(&self) -> bool {
        let this = Process::this();
        match &self.process {
            None => self.lock == Lock::Free,
            Some(process) if process.host != this.host || process.boot != this.boot => false,
            // This process would hold the lock of a lease of its own: it is an earlier one's.
            Some(process) if process.pid == this.pid => self.lock == Lock::Free,
            Some(process) => self.lock != Lock::Held && !process.is_alive_here(),
        }
    }

    fn age(&self, now: SystemTime) -> Duration {
        // A heartbeat from the future was stamped before a clock jump: as suspect as one from the past.
        now.duration_since(self.beaten).unwrap_or_else(|ahead| ahead.duration())
    }

    fn holder(&self, now: SystemTime) -> Holder {
        let (host, pid) = match &self.process {
            Some(process) => (process.host.clone(), process.pid),
            None => ("an unknown host".to_owned(), 0),
        };
        Holder { host, pid, age: self.age(now) }
    }
}

/// Who holds the lease at `path`, as far as a reader can tell without writing anything.
pub(crate) fn living_holder(path: &Path, terms: LeaseTerms) -> Option<Holder> {
    let process: Process = match links::read(path) {
        Ok(text) => serde_json::from_slice(&text).ok()?,
        Err(error) if is_damage(&error) => return None,
        // Who cannot be read may live.
        Err(_) => Process { host: "an unknown host".to_owned(), boot: String::new(), pid: 0 },
    };
    let beaten = path.metadata().and_then(|metadata| metadata.modified()).ok()?;
    let this = Process::this();
    let gone = process.host == this.host && process.boot == this.boot && !process.is_alive_here();
    let age = SystemTime::now().duration_since(beaten).unwrap_or_default();
    (!gone && age <= terms.limit).then_some(Holder { host: process.host, pid: process.pid, age })
}

/// Whether whoever held the lease at `path` is surely gone: there is none, its process ended on this host, or it was
/// silent for longer than `patience`. Ask while the gate is held, whose time is `now`.
pub(crate) fn is_over(path: &Path, now: SystemTime, patience: Duration) -> Result<bool> {
    Ok(Sighting::at(path)?.is_none_or(|seen| seen.is_dead() || seen.age(now) > patience))
}

/// The right to write one artifact. Dropping it gives the right back.
#[derive(Debug)]
pub(crate) struct Lease {
    path: PathBuf,
    gate: PathBuf,
    file: Arc<File>,
    identity: (u64, u64),
    /// Dropped to end the heartbeat.
    beating: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Lease {
    /// Takes the lease at `path`; waits [`LeaseTerms::watch`] if it must be stolen from a silent holder.
    pub(crate) fn take(path: &Path, gate: &Path, terms: LeaseTerms) -> Result<Self> {
        let mut suspect = None;
        loop {
            let passed = Gate::pass(gate)?;
            let Some(seen) = Sighting::at(path)? else { return Self::create(path, gate, terms) };
            let mark = (seen.identity, seen.beaten);
            if seen.is_dead() || suspect == Some(mark) {
                atomic::remove(path)?;
                return Self::create(path, gate, terms);
            }
            if seen.age(passed.now) <= terms.limit || suspect.is_some() {
                return Err(busy(path, seen.holder(passed.now)));
            }
            suspect = Some(mark);
            drop(passed);
            thread::sleep(terms.watch);
        }
    }

    fn create(path: &Path, gate: &Path, terms: LeaseTerms) -> Result<Self> {
        // Whoever removed things may have taken the folder away before the gate was passed.
        path.parent().map_or(Ok(()), atomic::create_folder)?;
        atomic::moment();
        let file = match links::options().write(true).create_new(true).open(path) {
            // Only where the file system has no locks to keep the gate.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let holder = Holder { host: "an unknown host".to_owned(), pid: 0, age: Duration::ZERO };
                return Err(busy(path, holder));
            }
            other => Arc::new(other.map_err(Error::writing(path))?),
        };
        let claim = || {
            atomic::moment();
            let process = serde_json::to_vec(&Process::this()).map_err(io::Error::from);
            process.and_then(|process| (&*file).write_all(&process)).map_err(Error::writing(path))?;
            lock::wait(&file, path)?;
            file.metadata().map_err(Error::writing(path))
        };
        let metadata = claim().inspect_err(|_| {
            let _ = fs::remove_file(path);
        })?;
        let beating = Some(start_beating(Arc::clone(&file), terms.beat).map_err(Error::writing(path))?);
        Ok(Self {
            path: path.to_owned(),
            gate: gate.to_owned(),
            identity: identity(&metadata),
            file,
            beating,
        })
    }

    /// Beats once, besides the beats that come by themselves.
    pub(crate) fn beat(&self) -> Result<()> {
        touch(&self.file).map_err(Error::writing(&self.path))
    }

    /// Fails when another process has taken over.
    pub(crate) fn check(&self) -> Result<()> {
        if self.is_ours() { Ok(()) } else { Err(Error::LeaseLost { path: folder(&self.path) }) }
    }

    fn is_ours(&self) -> bool {
        fs::metadata(&self.path).is_ok_and(|metadata| identity(&metadata) == self.identity)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.beating.take() {
            drop(stop);
            let _ = thread.join();
        }
        // A lease that cannot be removed is found dead by the next writer: nothing to tell here.
        let _gate = Gate::pass(&self.gate);
        if self.is_ours() {
            let _ = atomic::remove(&self.path);
        }
    }
}

/// A thread of its own, because a stage may compute for minutes between two writes.
fn start_beating(file: Arc<File>, beat: Duration) -> io::Result<(Sender<()>, JoinHandle<()>)> {
    let (stop, stopped) = mpsc::channel::<()>();
    let thread = thread::Builder::new().name("titer-lease".to_owned()).spawn(move || {
        while stopped.recv_timeout(beat) == Err(RecvTimeoutError::Timeout) {
            // A beat that fails leaves the lease to grow old; the writer's next check tells.
            let _ = touch(&file);
        }
    })?;
    Ok((stop, thread))
}

fn folder(path: &Path) -> PathBuf {
    path.parent().unwrap_or(path).to_owned()
}

fn busy(path: &Path, Holder { host, pid, age }: Holder) -> Error {
    Error::Busy { path: folder(path), host, pid, age }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: LeaseTerms = LeaseTerms {
        beat: Duration::from_millis(20),
        limit: Duration::from_millis(400),
        watch: Duration::from_millis(150),
    };

    struct Place(tempfile::TempDir);

    impl Place {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }
        fn lease(&self) -> PathBuf {
            self.0.path().join("lease.json")
        }
        fn take(&self) -> Result<Lease> {
            Lease::take(&self.lease(), &self.0.path().join("store.lock"), TERMS)
        }
        /// A lease that another process would have left, last beaten `age` seconds ago.
        fn write(&self, change: impl FnOnce(&mut Process), age: i64) {
            let mut process = Process::this();
            change(&mut process);
            fs::write(self.lease(), serde_json::to_vec(&process).unwrap()).unwrap();
            let seconds = Duration::from_secs(age.unsigned_abs());
            let now = SystemTime::now();
            let time = if age < 0 { now + seconds } else { now - seconds };
            File::options().write(true).open(self.lease()).unwrap().set_modified(time).unwrap();
        }
    }

    fn dead_pid() -> u32 {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        child.id()
    }

    /// Whether a lease left so is stolen.
    #[track_caller]
    fn check(change: impl FnOnce(&mut Process), age: i64, stolen: bool) {
        let place = Place::new();
        place.write(change, age);
        match place.take() {
            Ok(lease) => {
                assert!(stolen, "stolen from a living holder");
                drop(lease);
                assert!(!place.lease().exists());
            }
            Err(Error::Busy { .. }) => assert!(!stolen, "not stolen"),
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn stolen_only_when_stale() {
        let parent = std::os::unix::process::parent_id();
        let foreign = |process: &mut Process| process.host = "elsewhere".to_owned();
        check(|process| process.pid = dead_pid(), 0, true);
        check(|process| process.pid = parent, 0, false);
        check(|process| process.pid = parent, 3600, true);
        // An earlier process of the same pid, as in a container that was started again.
        check(|_| {}, 0, true);
        check(foreign, 0, false);
        check(foreign, 3600, true);
        // The clock was set back since the last beat: as if old.
        check(foreign, -3600, true);
        // The same host name on another boot proves nothing about its processes.
        check(|process| (process.boot, process.pid) = ("other".to_owned(), dead_pid()), 0, false);
    }

    #[test]
    fn a_torn_lease_is_stolen() {
        let place = Place::new();
        fs::write(place.lease(), "{\"host\":").unwrap();
        place.take().unwrap();
    }

    #[test]
    fn busy_names_the_holder() {
        let place = Place::new();
        place.write(|process| (process.host, process.pid) = ("gpu7".to_owned(), 4242), 0);
        let text = place.take().err().unwrap().to_string();
        assert!(text.contains("process 4242 on gpu7"), "{text}");
    }

    #[test]
    fn a_clock_jump_does_not_betray_a_beating_holder() {
        let place = Place::new();
        let held = place.take().unwrap();
        // The holder's last stamp is an hour old, as after a jump; it beats on while watched.
        held.file.set_modified(SystemTime::now() - Duration::from_secs(3600)).unwrap();
        assert!(matches!(place.take(), Err(Error::Busy { .. })));
        assert!(held.check().is_ok());
    }

    #[test]
    fn a_suspended_holder_finds_out() {
        let place = Place::new();
        let mut held = place.take().unwrap();
        held.beating = None;
        thread::sleep(TERMS.beat * 2);
        held.file.set_modified(SystemTime::now() - Duration::from_secs(3600)).unwrap();
        let thief = place.take().unwrap();
        assert!(matches!(held.check(), Err(Error::LeaseLost { .. })));
        drop(held);
        assert!(thief.check().is_ok(), "the old holder removed the new one's lease");
    }

    #[test]
    fn of_many_threads_one_gets_in() {
        let place = Place::new();
        // A dead holder's lease, so that all of them want to steal it at once.
        place.write(|process| process.pid = dead_pid(), 0);
        let taken: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = (0..16).map(|_| scope.spawn(|| place.take())).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(taken.iter().filter(|taken| taken.is_ok()).count(), 1);
        assert!(taken.iter().flat_map(|taken| taken.as_ref().err()).all(|e| matches!(e, Error::Busy { .. })));
    }
}
