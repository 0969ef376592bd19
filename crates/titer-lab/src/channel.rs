//! A run's channel to others through the store: what it tells them, and what they ask of it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};
use titer_store::{Control, Experiment, Journal, Note, Presence};

use crate::progress::{Progress, RunEvent};
use crate::{Interrupt, live};

/// How often a run looks whether something was asked of it.
pub(crate) const LISTEN_EVERY: Duration = Duration::from_millis(500);

/// What was asked of a run, as far as it has heard.
#[derive(Default)]
pub(crate) struct Requests {
    held: AtomicBool,
    first: Mutex<Vec<String>>,
}

impl Requests {
    /// Whether no new stage is to begin.
    pub(crate) fn held(&self) -> bool {
        self.held.load(Ordering::Relaxed)
    }

    /// How urgent a stage of that label is: the lowest goes first.
    pub(crate) fn rank(&self, label: &str) -> usize {
        let first = self.first();
        first.iter().position(|word| label.contains(word.as_str())).unwrap_or(first.len())
    }

    fn first(&self) -> MutexGuard<'_, Vec<String>> {
        self.first.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A run's presence in the store, its journal, and what it listens to. None of it may break a run: on a full disk the
/// results come first.
pub(crate) struct RunChannel<'a> {
    experiment: &'a Experiment,
    journal: Option<Journal>,
    presence: Mutex<Option<Presence>>,
    jobs: usize,
    /// The last request before this run began, once that could be read.
    since: OnceLock<u64>,
    /// Processor time of this process when it began, in seconds.
    spent_before: Option<f64>,
    /// Stages that it has sealed so far.
    computed: AtomicUsize,
    heard: Mutex<Control>,
    shown: &'a dyn Progress,
}

impl<'a> RunChannel<'a> {
    /// Says that a run begins; what happens in it is shown to `shown` too.
    pub(crate) fn new(experiment: &'a Experiment, jobs: usize, shown: &'a dyn Progress) -> Self {
        let control = experiment.control();
        let since = control.as_ref().map_or_else(|_| OnceLock::new(), |control| control.number.into());
        let control = control.unwrap_or_default();
        let presence = Mutex::new(experiment.present().ok());
        Self {
            experiment,
            journal: experiment.journal().ok(),
            presence,
            spent_before: processor_seconds(),
            computed: AtomicUsize::new(0),
            jobs,
            since,
            heard: Mutex::new(Control { first: Vec::new(), ..control }),
            shown,
        }
    }

    /// Looks whether something was asked, and passes it on.
    pub(crate) fn listen(&self, requests: &Requests, interrupt: &Interrupt) {
        // What cannot be read now is looked at again soon.
        let Ok(control) = self.experiment.control() else { return };
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        if control == *heard {
            return;
        }
        // What was asked before it could be read may be old: better one request too few than one of another run's.
        let since = *self.since.get_or_init(|| control.number);
        if control.stops_now(since) && !heard.stops_now(since) {
            self.say("stop at once: what was done since the last checkpoints is lost");
            self.end(self.computed.load(Ordering::Relaxed), 0, true);
            // A process that ends here gives nothing back by itself.
            drop(self.presence.lock().unwrap_or_else(PoisonError::into_inner).take());
            interrupt.raise_at_once();
        } else if control.stops(since) && !heard.stops(since) {
            self.say("stop: each running stage saves a checkpoint");
            interrupt.raise();
        }
        if control.holds(since) != heard.holds(since) {
            self.say(if control.holds(since) { "hold: no new stage begins" } else { "go on" });
            requests.held.store(control.holds(since), Ordering::Relaxed);
        }
        if control.first != heard.first {
            let words = control.first.join(", ");
            self.say(&if words.is_empty() {
                "the plan's order".to_owned()
            } else {
                format!("first {words}")
            });
            requests.first().clone_from(&control.first);
        }
        *heard = control;
    }

    /// Says that the run ended.
    pub(crate) fn end(&self, computed: usize, failed: usize, interrupted: bool) {
        let spent = processor_seconds().zip(self.spent_before).map(|(now, before)| now - before);
        self.write(Note::Ended { computed, failed, interrupted, processor_seconds: spent });
    }

    fn say(&self, request: &str) {
        self.event(RunEvent::Heard { request });
    }

    fn write(&self, note: Note) {
        if let Some(journal) = &self.journal {
            // A journal that cannot be written costs a screen its news, and a run nothing.
            let _ = journal.write(note);
        }
    }
}

/// What this process has taken of the processors so far, in seconds; none where the system does not tell.
fn processor_seconds() -> Option<f64> {
    let (mut system, pid) = (System::new(), Pid::from_u32(std::process::id()));
    let what = ProcessRefreshKind::nothing().with_cpu();
    system.refresh_processes_specifics(ProcessesToUpdate::Some(&[pid]), true, what);
    system.process(pid).map(|process| process.accumulated_cpu_time() as f64 / 1e3)
}

impl Progress for RunChannel<'_> {
    fn event(&self, event: RunEvent<'_>) {
        let note = match event {
            RunEvent::Planned { stages, cached } => {
                let since = self.since.get().copied().unwrap_or_default();
                Some(Note::Began { stages, cached, jobs: self.jobs, since })
            }
            RunEvent::Started { hash, .. } => Some(Note::Started { stage: hash.clone() }),
            RunEvent::Finished { hash, seconds, .. } => {
                // What other runs sealed took no time here.
                self.computed.fetch_add(usize::from(seconds > 0.0), Ordering::Relaxed);
                Some(Note::Finished { stage: hash.clone(), seconds })
            }
            RunEvent::Failed { hash, error, again, .. } => {
                Some(Note::Failed { stage: hash.clone(), error: error.to_owned(), again })
            }
            RunEvent::Skipped { hash, because, .. } => {
                Some(Note::Skipped { stage: hash.clone(), because: because.to_owned() })
            }
            RunEvent::Heard { request } => Some(Note::Heard { request: request.to_owned() }),
            RunEvent::Distrusted { hash, problem, .. } => {
                Some(Note::Distrusted { stage: hash.clone(), problem: problem.to_owned() })
            }
            RunEvent::Looked { look, of, open, .. } => {
                // Screens read what was asked for there; a run asks its results.
                let _ = live::keep_looks(self.experiment, open);
                Some(Note::Looked { look, of, open: open.last().map_or(0, Vec::len) })
            }
            RunEvent::Advanced { .. }
            | RunEvent::Elsewhere { .. }
            | RunEvent::Lacking { .. }
            | RunEvent::Retried { .. } => None,
        };
        if let Some(note) = note {
            self.write(note);
        }
        self.shown.event(event);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use titer_store::{Request, Store};

    use super::*;

    #[test]
    fn a_request_that_could_not_be_read_at_first_is_none_of_a_runs_business() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open_or_create(folder.path().join("store")).unwrap();
        let experiment = store.experiment("x").unwrap();
        experiment.save("", "{}").unwrap();
        experiment.ask(Request::Stop).unwrap();
        let path = experiment.folder().join("control.json");
        let asked = fs::read(&path).unwrap();
        fs::write(&path, "{").unwrap();
        let channel = RunChannel::new(&experiment, 1, &());
        fs::write(&path, asked).unwrap();
        let (requests, interrupt) = (Requests::default(), Interrupt::default());
        channel.listen(&requests, &interrupt);
        assert!(!interrupt.raised(), "it was stopped by an old request");
        experiment.ask(Request::Stop).unwrap();
        channel.listen(&requests, &interrupt);
        assert!(interrupt.raised());
    }
}
