//! What a screen is: state that actions change, and a picture of it over the world.

use std::collections::BTreeMap;

use ratatui::Frame;
use ratatui::layout::Rect;
use titer_plan::StageHash;

use super::confirm::Confirm;
use super::keys::Action;
use super::look::Look;
use super::world::World;
use titer_store::Request;

/// The screens, in the order of their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum ScreenName {
    /// What runs, what waits, what failed.
    Experiments,
    /// Verdicts, and harm under each attack.
    Matrix,
    /// Stages and how they do.
    Run,
    /// Scores over budget.
    Curves,
    /// Prompts and responses.
    Responses,
    /// Two experiments side by side.
    Compare,
    /// What the runs wrote down.
    Log,
    /// The keys.
    Help,
}

impl ScreenName {
    /// Every screen.
    pub(crate) const ALL: [Self; 8] = [
        Self::Experiments,
        Self::Matrix,
        Self::Run,
        Self::Curves,
        Self::Responses,
        Self::Compare,
        Self::Log,
        Self::Help,
    ];

    /// As a heading.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Experiments => "Experiments",
            Self::Matrix => "Matrix",
            Self::Run => "Run",
            Self::Curves => "Curves",
            Self::Responses => "Responses",
            Self::Compare => "Compare",
            Self::Log => "Log",
            Self::Help => "Help",
        }
    }

    /// Whether it shows the chosen experiment, and nothing without one.
    pub(crate) fn needs_experiment(self) -> bool {
        !matches!(self, Self::Experiments | Self::Help)
    }
}

/// What is to be read from the store for what is shown; the feed reads nothing else. The app tells the feed
/// whenever it changes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Wants {
    /// The chosen experiment.
    pub(crate) experiment: Option<String>,
    /// An experiment to compare it with.
    pub(crate) other: Option<String>,
    /// A stage to look at closely.
    pub(crate) stage: Option<StageHash>,
    /// A sealed stage whose responses are to be read.
    pub(crate) responses: Option<StageHash>,
    /// Experiments whose verdicts are to be had, the most urgent first.
    pub(crate) verdicts: Vec<String>,
}

/// What an action leads to besides a changed picture.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Effect {
    // For the app itself:
    /// Show another screen.
    Go(ScreenName),
    /// Choose an experiment.
    Choose(String),
    /// Say something in the bottom line.
    Say(String),
    /// Ask before doing something.
    Confirm(Confirm),
    /// Show again what the filter hides.
    Unfilter,
    /// Let words be typed which are to come first in the runs of an experiment.
    AskFirst(String),
    // For the outside:
    /// Read this from now on.
    Want(Wants),
    /// Ask the living runs of an experiment for something.
    Ask(String, Request),
    /// Start a run of an experiment on this host.
    Start(String),
    /// Copy to the clipboard of the terminal.
    Copy(String),
    /// Listen to the mouse, or no longer.
    Mouse(bool),
    /// Paint everything anew.
    Repaint,
    /// Give the terminal back to the shell.
    Suspend,
    /// Take the terminal over again, which the shell may have had.
    ComeBack,
    /// Leave.
    Quit,
}

/// How someone likes to look at things: kept between sessions. Screens choose their own keys: `curves.x`.
pub(crate) type Liking = BTreeMap<String, String>;

/// One screen. It keeps only how things are looked at; what they are is in the world.
pub(crate) trait Screen {
    /// Does what a key asks for. Actions that mean nothing here do nothing.
    fn act(&mut self, action: Action, world: &World) -> Vec<Effect>;

    /// Paints itself into `area`, and nothing outside it.
    fn draw(&self, frame: &mut Frame, area: Rect, world: &World, look: &Look);

    /// Takes note of news: what was selected may be gone. Called after each change of the world, and before
    /// the screen is shown.
    fn follow(&mut self, _world: &World) {}

    /// Adds what it needs besides the chosen experiment. Asked only while it is shown.
    fn want(&self, _world: &World, _wants: &mut Wants) {}

    /// Shows only what contains all words of `text`; all of it for an empty one. Called with every letter typed.
    fn filter(&mut self, _text: &str) {}

    /// What `y` copies: as it is in the store, word for word.
    fn copied(&self, _world: &World) -> Option<String> {
        None
    }

    /// Takes over how it was looked at in the last session.
    fn restore(&mut self, _liking: &Liking) {}

    /// Says how it is looked at, for the next session.
    fn remember(&self, _liking: &mut Liking) {}
}
