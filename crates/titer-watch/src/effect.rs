//! What an action leads to besides a changed picture: for the app itself, or for the outside.

use titer_plan::StageHash;
use titer_store::Request;

use super::screen_name::ScreenName;

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

/// A question before something is done that others notice: what will happen, where, and to whom. Nothing happens
/// unless it is answered with yes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Confirm {
    /// What it is about, as a question.
    pub(crate) title: String,
    /// What will happen, a paragraph each.
    pub(crate) lines: Vec<String>,
    /// What is done after a yes.
    pub(crate) then: Box<Effect>,
}
