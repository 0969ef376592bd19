//! A list of single lines of which one is selected: only those in sight are made.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;

use super::rows::window;
use crate::look::Look;

/// Draws `count` rows; `>` stands beside the selected one.
pub(crate) fn draw<'a>(
    area: Rect,
    buffer: &mut Buffer,
    look: Look,
    count: usize,
    selected: Option<usize>,
    row: impl Fn(usize, usize) -> Line<'a>,
) {
    if area.width < 3 {
        return;
    }
    let width = usize::from(area.width) - 2;
    for (y, at) in (area.y..).zip(window(selected, count, area.height.into())) {
        let picture = row(at, width);
        let is_selected = selected == Some(at);
        if is_selected {
            buffer.set_string(area.x, y, ">", look.heading());
        }
        buffer.set_line(area.x + 2, y, &picture, width as u16);
        if is_selected {
            buffer.set_style(Rect { x: area.x + 2, y, width: width as u16, height: 1 }, look.selected());
        }
    }
}
