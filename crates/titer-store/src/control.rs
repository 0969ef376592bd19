//! What people ask of the runs of an experiment. A run looks here now and then and does so by itself;
//! nobody is signalled, so that it works across hosts.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::atomic;
use crate::error::{Error, Result};
use crate::lease::Gate;
use crate::links;

/// What was asked so far. Each request has a number; a run honours those that came after it began, so that
/// a new run is not stopped by an old request.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Control {
    /// The number of the last request, from 1; 0 where none was ever made.
    pub number: u64,
    /// The number of the last request to stop.
    pub stop: u64,
    /// The number of the last request to end at once, from where no checkpoint was made.
    #[serde(default, skip_serializing_if = "is_none")]
    pub now: u64,
    /// The number of the last request to begin no new stage, unless it was taken back; else 0.
    pub hold: u64,
    /// What is to be done first: words that labels of stages contain, the most urgent first.
    pub first: Vec<String>,
}

/// One thing to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Save where you are and end.
    Stop,
    /// End at once: what was done since the last checkpoints is lost.
    StopNow,
    /// Finish the stages that run and begin no new one.
    Hold,
    /// Go on.
    Resume,
    /// Begin stages whose labels contain these words first, as soon as their inputs are there. Empty for the
    /// plan's own order.
    First(Vec<String>),
}

impl Control {
    /// Whether a run that began when `number` was the last request is to end.
    pub fn stops(&self, number: u64) -> bool {
        self.stop > number
    }

    /// Whether a run that began when `number` was the last request is to end at once.
    pub fn stops_now(&self, number: u64) -> bool {
        self.now > number
    }

    /// Whether a run that began when `number` was the last request is to begin no new stage.
    pub fn holds(&self, number: u64) -> bool {
        self.hold > number
    }

    /// None where no number is left.
    fn with(mut self, request: Request) -> Option<Self> {
        self.number = self.number.checked_add(1)?;
        match request {
            Request::Stop => self.stop = self.number,
            Request::StopNow => (self.stop, self.now) = (self.number, self.number),
            Request::Hold => self.hold = self.number,
            Request::Resume => self.hold = 0,
            Request::First(words) => self.first = words,
        }
        Some(self)
    }
}

fn is_none(number: &u64) -> bool {
    *number == 0
}

/// What was asked so far; nothing where there is no file.
pub(crate) fn read(path: &Path) -> Result<Control> {
    match links::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Control::default()),
        Err(error) => Err(Error::reading(path)(error)),
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map_err(|error| Error::Unreadable { path: path.to_owned(), problem: error.to_string() }),
    }
}

/// Adds a request; two who ask at once both get through.
pub(crate) fn ask(path: &Path, gate: &Path, request: Request) -> Result<Control> {
    let _gate = Gate::pass(gate)?;
    let before = read(path)?;
    let number = before.number;
    let control = before.with(request).ok_or_else(|| {
        let problem = format!("number = {number}, after which no request can come: remove the file");
        Error::Unreadable { path: path.to_owned(), problem }
    })?;
    let bytes = serde_json::to_vec(&control).map_err(|error| Error::writing(path)(error.into()))?;
    atomic::write_bytes(path, &bytes)?;
    Ok(control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_for_the_runs_that_were_there() {
        let stopped = Control::default().with(Request::Stop).unwrap();
        assert!(stopped.stops(0) && !stopped.holds(0));
        assert!(!stopped.stops(stopped.number), "a run that began later goes on");
        let ended = stopped.clone().with(Request::StopNow).unwrap();
        assert!(
            !stopped.stops_now(0) && ended.stops_now(0) && ended.stops(0) && !ended.stops_now(ended.number)
        );
        let held = stopped.with(Request::Hold).unwrap();
        assert!(held.holds(1) && !held.stops(1) && !held.holds(held.number));
        let resumed = held.with(Request::Resume).unwrap();
        assert!(!resumed.holds(1));
    }

    #[test]
    fn who_ask_at_once_all_get_through() {
        let folder = tempfile::tempdir().unwrap();
        let (path, gate) = (folder.path().join("control.json"), folder.path().join("lock"));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| ask(&path, &gate, Request::Hold).unwrap());
            }
        });
        assert_eq!(read(&path).unwrap().number, 8);
        std::fs::write(&path, "{").unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("control.json"));
    }
}
