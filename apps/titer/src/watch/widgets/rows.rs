//! A list of which one row is selected: only the rows that are seen are made.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;

use crate::watch::look::Look;

/// The first row to show so that the selected one is seen, with as many before it as after.
pub(crate) fn first(selected: usize, count: usize, height: usize) -> usize {
    selected.saturating_sub(height / 2).min(count.saturating_sub(height))
}

/// Draws `count` rows; `>` stands beside the selected one. Says where the list goes on.
pub(crate) fn draw<'a>(
    area: Rect,
    buffer: &mut Buffer,
    look: Look,
    count: usize,
    selected: Option<usize>,
    row: impl Fn(usize, usize) -> Line<'a>,
) {
    let height = usize::from(area.height);
    if area.width < 3 {
        return;
    }
    let width = usize::from(area.width) - 2;
    let first = first(selected.unwrap_or(0), count, height);
    for (line, at) in (first..count.min(first + height)).enumerate() {
        let y = area.y + line as u16;
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

/// Moves a selection within `count` rows.
pub(crate) fn step(selected: usize, count: usize, distance: isize) -> usize {
    selected.saturating_add_signed(distance).min(count.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_selected_row_is_seen() {
        for (selected, count, height, expected) in [
            (0, 3, 5, 0),
            (2, 3, 5, 0),
            (0, 50, 5, 0),
            (10, 50, 5, 8),
            (49, 50, 5, 45),
            (0, 0, 5, 0),
            (7, 9, 0, 7),
        ] {
            assert_eq!(first(selected, count, height), expected, "{selected} of {count} in {height}");
        }
    }

    #[test]
    fn steps_stay_within() {
        assert_eq!(step(0, 5, -1), 0);
        assert_eq!(step(3, 5, 10), 4);
        assert_eq!(step(0, 0, 1), 0);
    }
}
