//! The thread for what takes seconds: verdicts of large experiments, responses of large stages. Progress goes
//! on meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::{Duration, Instant};

use titer_lab::live::Watcher;
use titer_plan::StageHash;
use titer_store::Store;

use super::app::Message;
use super::world::{Fetched, News, Responses};

/// Verdicts of an experiment that goes on are decided anew this often at most.
const DECIDE_EVERY: Duration = Duration::from_secs(15);

/// Something to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Errand {
    /// Read the responses of a stage.
    Responses(StageHash),
    /// Decide an experiment.
    Verdicts(String),
}

/// The thread, from outside.
#[derive(Debug)]
pub(super) struct Slow {
    errands: Sender<Errand>,
    /// The stage whose responses were last asked for.
    responses: Option<StageHash>,
    /// How many stages were sealed when an experiment was last to be decided, and when.
    decided: BTreeMap<String, (usize, Instant)>,
}

impl Slow {
    pub(super) fn start(store: Store, messages: Sender<Message>) -> std::io::Result<Self> {
        let (errands, told) = mpsc::channel();
        let watcher = Watcher::new(store);
        thread::Builder::new().name("watch-slow".into()).spawn(move || {
            while let Ok(errand) = told.recv() {
                if messages.send(Message::News(done(&watcher, errand))).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { errands, responses: None, decided: BTreeMap::new() })
    }

    /// Has the responses of a stage read, unless they are those last asked for.
    pub(super) fn read_responses(&mut self, stage: Option<&StageHash>) {
        if self.responses.as_ref() != stage {
            self.responses = stage.cloned();
            let _ = stage.map(|stage| self.errands.send(Errand::Responses(stage.clone())));
        }
    }

    /// Has experiments decided of which more is sealed than at the last time.
    pub(super) fn decide(&mut self, wanted: &[String], sealed: impl Fn(&str) -> Option<usize>) {
        for name in wanted {
            let Some(sealed) = sealed(name) else { continue };
            let due = match self.decided.get(name) {
                None => true,
                Some((before, when)) => *before != sealed && when.elapsed() >= DECIDE_EVERY,
            };
            if due {
                self.decided.insert(name.clone(), (sealed, Instant::now()));
                let _ = self.errands.send(Errand::Verdicts(name.clone()));
            }
        }
    }
}

/// Does an errand.
fn done(watcher: &Watcher, errand: Errand) -> News {
    match errand {
        Errand::Responses(stage) => {
            let lines = match watcher.responses(&stage) {
                Ok(lines) => Fetched::Ready(Arc::new(lines)),
                Err(error) => Fetched::Failed(error.to_string()),
            };
            News::Responses(Some(Responses { stage, lines }))
        }
        Errand::Verdicts(name) => {
            let told = match watcher.verdicts(&name) {
                Ok(decided) => Fetched::Ready(Arc::new(decided)),
                Err(error) => Fetched::Failed(error.to_string()),
            };
            News::Verdicts(name, told)
        }
    }
}
