//! What a screen is: state that actions change, and a picture of it over the world.

use std::collections::BTreeMap;

use ratatui::Frame;
use ratatui::layout::Rect;

use super::effect::{Effect, Wants};
use super::keys::Action;
use super::look::Look;
use super::world::World;

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
