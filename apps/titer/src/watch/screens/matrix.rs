//! Not there yet.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::widgets::Paragraph;

use crate::watch::keys::Action;
use crate::watch::look::Look;
use crate::watch::screen::{Effect, Screen};
use crate::watch::world::World;

/// The screen.
#[derive(Debug, Default)]
pub(crate) struct Matrix;

impl Screen for Matrix {
    fn act(&mut self, _action: Action, _world: &World) -> Vec<Effect> {
        Vec::new()
    }

    fn draw(&self, frame: &mut Frame, area: Rect, _world: &World, look: &Look) {
        frame.render_widget(Paragraph::new("not there yet").style(look.faint()), area);
    }
}
