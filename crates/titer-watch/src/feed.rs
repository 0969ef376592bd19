//! The thread that reads the store: it is told what is wanted, listens for changes, and tells what is new.
//!
//! Changes are told by the file system where it does so, and looked for now and then everywhere: no system tells
//! what other hosts write to a network file system. Reading again costs little, and how often it is done depends
//! on what it costs, so that an idle app stays below a hundredth of a core.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use notify::event::EventKind;
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use titer_lab::live::{ExperimentView, Watcher};
use titer_store::{Request, Store};

use super::app::Message;
use super::effect::Wants;
use super::slow::Slow;
use super::world::News;
use crate::Starter;

/// The least time between two looks at the store.
const SOONEST: Duration = Duration::from_millis(250);
/// The time between two looks where nothing told of a change.
const USUAL: Duration = Duration::from_secs(2);
/// The most.
const LATEST: Duration = Duration::from_secs(30);
/// A look is followed by this many times what it took of peace.
const PEACE: u32 = 150;

/// What the feed is told.
#[derive(Debug)]
enum Command {
    /// Read this from now on.
    Want(Wants),
    /// Ask the runs of an experiment.
    Ask(String, Request),
    /// Start a run of an experiment on this host.
    Start(String),
    /// Something changed in the store.
    Changed,
}

/// The feed, from outside.
#[derive(Debug)]
pub(crate) struct Feed {
    commands: Sender<Command>,
}

impl Feed {
    /// Starts reading `store`; news go to `messages`.
    ///
    /// # Errors
    /// When the system has no room for threads.
    pub(crate) fn start(store: Store, start: Starter, messages: Sender<Message>) -> std::io::Result<Self> {
        let (commands, told) = mpsc::channel();
        let on_change = OnChange { commands: commands.clone(), told_of: Arc::default() };
        let slow = Slow::start(store.clone(), messages.clone())?;
        let reader = Reader {
            watcher: Watcher::new(store),
            start,
            messages,
            slow,
            wants: Wants::default(),
            listening: Listening::new(&on_change),
            told_of: on_change.told_of,
        };
        thread::Builder::new().name("watch-feed".into()).spawn(move || reader.read(&told))?;
        Ok(Self { commands })
    }

    /// Reads something else from now on.
    pub(crate) fn want(&self, wants: Wants) {
        let _ = self.commands.send(Command::Want(wants));
    }

    /// Asks the living runs of an experiment for something.
    pub(crate) fn ask(&self, experiment: String, request: Request) {
        let _ = self.commands.send(Command::Ask(experiment, request));
    }

    /// Starts a run of an experiment on this host.
    pub(crate) fn start_run(&self, experiment: String) {
        let _ = self.commands.send(Command::Start(experiment));
    }
}

/// Told of changes by the system; any number of them make one message.
#[derive(Debug, Clone)]
struct OnChange {
    commands: Sender<Command>,
    told_of: Arc<AtomicBool>,
}

impl notify::EventHandler for OnChange {
    fn handle_event(&mut self, event: notify::Result<notify::Event>) {
        // Reading is told too, our own as well.
        let changes = |kind| !matches!(kind, EventKind::Access(_));
        if event.map_or(true, |event| changes(event.kind)) && !self.told_of.swap(true, Ordering::SeqCst) {
            let _ = self.commands.send(Command::Changed);
        }
    }
}

/// The folders that the system tells of.
#[derive(Debug)]
struct Listening {
    /// None where the system tells nothing.
    watcher: Option<RecommendedWatcher>,
    folders: BTreeSet<PathBuf>,
}

impl Listening {
    fn new(on_change: &OnChange) -> Self {
        let watcher = notify::recommended_watcher(on_change.clone()).ok();
        Self { watcher, folders: BTreeSet::new() }
    }

    /// Listens to these folders and to no others.
    fn to(&mut self, folders: BTreeSet<PathBuf>) {
        let Some(watcher) = &mut self.watcher else { return };
        for gone in self.folders.difference(&folders) {
            let _ = watcher.unwatch(gone);
        }
        for new in folders.difference(&self.folders) {
            // What cannot be listened to is looked at now and then, as everything is.
            let _ = watcher.watch(new, RecursiveMode::NonRecursive);
        }
        self.folders = folders;
    }
}

/// The thread's own state.
struct Reader {
    watcher: Watcher,
    start: Starter,
    messages: Sender<Message>,
    slow: Slow,
    wants: Wants,
    listening: Listening,
    told_of: Arc<AtomicBool>,
}

impl Reader {
    fn read(mut self, told: &Receiver<Command>) {
        match self.watcher.names() {
            Ok(names) => self.tell(News::Names(names)),
            Err(error) => self.tell(News::Problem(error.to_string())),
        }
        loop {
            let began = Instant::now();
            self.told_of.store(false, Ordering::SeqCst);
            let more = self.look();
            let took = began.elapsed();
            self.listening.to(self.watcher.watched_folders().into_iter().collect());
            let usual = if more { Duration::ZERO } else { (took * PEACE).clamp(USUAL, LATEST) };
            if !self.wait(told, began, took, usual) {
                return;
            }
        }
    }

    /// Waits until it is time to look again. Returns false when nobody listens any more.
    fn wait(&mut self, told: &Receiver<Command>, began: Instant, took: Duration, usual: Duration) -> bool {
        let mut until = began + took + usual;
        loop {
            match told.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(Command::Want(wants)) => {
                    self.wants = wants;
                    until = Instant::now();
                }
                Ok(Command::Ask(experiment, request)) => {
                    self.ask(&experiment, request);
                    until = Instant::now();
                }
                Ok(Command::Start(experiment)) => self.start_run(experiment),
                Ok(Command::Changed) => until = until.min(began + took + SOONEST.max(took * 10)),
                Err(RecvTimeoutError::Timeout) => return true,
                Err(RecvTimeoutError::Disconnected) => return false,
            }
        }
    }

    /// Looks at everything that is wanted. Returns whether there is more to read at once.
    fn look(&mut self) -> bool {
        let mut sealed = BTreeMap::new();
        match self.watcher.overview() {
            Ok(lines) => {
                sealed.extend(lines.iter().map(|line| (line.name.clone(), line.counts.sealed)));
                self.tell(News::Overview(lines));
            }
            Err(error) => self.tell(News::Problem(error.to_string())),
        }
        let wants = self.wants.clone();
        let chosen = self.experiment(wants.experiment.as_deref());
        let other = self.experiment(wants.other.as_deref());
        let more = [&chosen, &other].into_iter().flatten().any(|view| view.reading);
        self.slow.read_responses(wants.responses.as_ref());
        self.slow.decide(&wants.verdicts, |name| sealed.get(name).copied());
        self.tell(News::Chosen(chosen));
        self.tell(News::Other(other));
        if let Some(hash) = &wants.stage {
            let view = self.watcher.stage(hash);
            self.tell(News::Stage(view));
        }
        more
    }

    fn experiment(&mut self, name: Option<&str>) -> Option<Arc<ExperimentView>> {
        match self.watcher.experiment(name?) {
            Ok(view) => Some(view),
            Err(error) => {
                self.tell(News::Problem(error.to_string()));
                None
            }
        }
    }

    fn ask(&self, experiment: &str, request: Request) {
        let done = match &request {
            Request::Stop => "asked to stop",
            Request::StopNow => "asked to end at once",
            Request::Hold => "asked to begin nothing new",
            Request::Resume => "asked to go on",
            Request::First(words) if words.is_empty() => "back to the plan's own order",
            Request::First(_) => "asked to change their order",
        };
        let asked = self.watcher.store().experiment(experiment).and_then(|found| found.ask(request));
        self.tell(News::Done(match asked {
            Ok(_) => format!("runs of {experiment}: {done}"),
            Err(error) => format!("nothing was asked: {error}"),
        }));
    }

    /// In a thread of its own: it is waited for until the run says that it is there.
    fn start_run(&self, experiment: String) {
        let (start, messages) = (Arc::clone(&self.start), self.messages.clone());
        thread::spawn(move || {
            let done = match start(&experiment) {
                Ok(process) => format!("a run of {experiment} was started: process {process} here"),
                Err(error) => format!("no run was started: {error}"),
            };
            let _ = messages.send(Message::News(News::Done(done)));
        });
    }

    fn tell(&self, news: News) {
        let _ = self.messages.send(Message::News(news));
    }
}
