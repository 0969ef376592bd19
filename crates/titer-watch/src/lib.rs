//! `titer watch`: a terminal app over everything in a store that runs or ran.
//!
//! Files of the store → `feed` (a thread) → `world` and `app` (state) → `screens` (view) → `draw`. It
//! reads, and never disturbs a run; what people may ask of runs goes through requests that runs honour.

mod answers;
mod app;
mod clipboard;
mod control;
mod draw;
mod effect;
mod feed;
mod filter;
mod input;
mod keys;
mod look;
mod palette;
mod picked;
mod prefs;
mod screen;
mod screen_name;
mod screens;
mod series;
mod setup;
mod signals;
mod slow;
mod stage_pane;
mod stages;
mod terminal;
#[cfg(test)]
mod tests;
mod widgets;
mod world;

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use titer_store::Store;

use self::app::{App, Message};
use self::effect::Effect;
use self::feed::Feed;
use self::prefs::Prefs;
use self::terminal::Terminal;
use self::world::World;

pub use self::setup::Colour;

/// Pictures that only the data ask for come this far apart at least.
const FRAME: Duration = Duration::from_millis(250);
/// The same shortly after a key or the start, when somebody waits for what was asked for.
const LIVELY_FRAME: Duration = Duration::from_millis(30);
/// How long that is.
const LIVELY: Duration = Duration::from_secs(1);
/// Ages on the screen are looked at this often.
const TICK: Duration = Duration::from_secs(5);
/// How long the first picture waits for what it shows.
const FIRST: Duration = Duration::from_millis(60);

/// How the app is to be.
#[derive(Debug, Clone)]
pub struct Options {
    /// The experiment to look at.
    pub experiment: Option<String>,
    /// When there are colours.
    pub colour: Colour,
    /// Whether only ASCII is shown.
    pub ascii: bool,
    /// Whether the mouse is listened to.
    pub mouse: bool,
    /// Whether runs are asked for nothing.
    pub read_only: bool,
}

impl Options {
    /// As nothing else was said, for one experiment.
    pub fn of(experiment: String) -> Self {
        Self {
            experiment: Some(experiment),
            colour: Colour::Auto,
            ascii: false,
            mouse: false,
            read_only: false,
        }
    }
}

/// Starts a run of an experiment of the store on this host, and says as which process, or why it could not.
pub type Starter = Arc<dyn Fn(&str) -> Result<u32, String> + Send + Sync>;

/// Shows the app until its user leaves it. Whatever runs goes on. Nobody else may write to the terminal meanwhile.
///
/// # Errors
/// When there is no terminal, or it is lost.
pub fn run(store: Store, options: Options, start: Starter) -> io::Result<()> {
    // Whether there are colours is decided here, and not again by those who write them.
    ratatui::crossterm::style::force_color_output(true);
    let look = setup::look(options.colour, options.ascii, |name| std::env::var(name).ok());
    let kept = prefs::path(|name| std::env::var_os(name).map(Into::into));
    let world = World {
        store: store.root().display().to_string(),
        host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        read_only: options.read_only,
        now: now(),
        experiment: options.experiment,
        ..World::default()
    };
    let mut app = App::new(look, world, &Prefs::load(kept.as_deref()), options.mouse);
    let (sender, messages) = mpsc::channel();
    let feed = Feed::start(store, start, sender.clone())?;
    let mut terminal = Terminal::enter(options.mouse)?;
    signals::listen(sender.clone())?;
    input::listen(sender)?;
    let outcome = go_on(&mut app, &mut terminal, &feed, &messages);
    drop(terminal);
    app.prefs().save(kept.as_deref());
    outcome
}

/// Takes messages in and paints, until somebody leaves. Keys are answered at once; data at most four times a
/// second, and only if they change the picture.
fn go_on(
    app: &mut App,
    terminal: &mut Terminal,
    feed: &Feed,
    messages: &Receiver<Message>,
) -> io::Result<()> {
    let mut next = Instant::now() + FIRST;
    let mut lively = Instant::now() + LIVELY;
    let mut dirty = true;
    for effect in app.on(Message::Time(now())) {
        carry_out(effect, terminal, feed)?;
    }
    loop {
        let until = if dirty { next } else { next + TICK };
        let message = match messages.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(message) => Some(message),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        };
        let mut urgent = false;
        for message in message.into_iter().chain(messages.try_iter().take(1000)) {
            urgent |= !matches!(message, Message::News(_) | Message::Time(_));
            for effect in app.on(message) {
                if effect == Effect::Quit {
                    return Ok(());
                }
                carry_out(effect, terminal, feed)?;
            }
        }
        if !dirty && Instant::now() >= until {
            app.on(Message::Time(now()));
        }
        dirty |= app.take_dirty();
        if urgent {
            lively = Instant::now() + LIVELY;
        }
        if dirty && (urgent || Instant::now() >= next) {
            let began = Instant::now();
            terminal.draw(app)?;
            tracing::debug!(micros = began.elapsed().as_micros(), "drawn");
            next = Instant::now() + if Instant::now() < lively { LIVELY_FRAME } else { FRAME };
            dirty = false;
        }
    }
}

fn carry_out(effect: Effect, terminal: &mut Terminal, feed: &Feed) -> io::Result<()> {
    match effect {
        Effect::Want(wants) => feed.want(wants),
        Effect::Ask(experiment, request) => feed.ask(experiment, request),
        Effect::Start(experiment) => feed.start_run(experiment),
        Effect::Copy(text) => terminal.copy(&text)?,
        Effect::Mouse(on) => terminal.set_mouse(on)?,
        Effect::Repaint => terminal.repaint()?,
        Effect::Suspend => terminal.suspend()?,
        Effect::ComeBack => terminal.come_back()?,
        // The app has done these itself, or its caller does.
        Effect::Go(_)
        | Effect::Choose(_)
        | Effect::Say(_)
        | Effect::Confirm(_)
        | Effect::Unfilter
        | Effect::AskFirst(_)
        | Effect::Quit => {}
    }
    Ok(())
}

/// Seconds since the Unix epoch.
pub fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}
