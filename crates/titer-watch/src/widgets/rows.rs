//! Rows of which one is selected, in columns or not: only those in sight are made.

use std::ops::Range;

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{
    HighlightSpacing, List, ListState, Row, StatefulWidget, Table, TableState, Widget as _,
};

use crate::keys::Action;
use crate::look::Look;

/// A list.
#[derive(Debug)]
pub(crate) struct Rows<'a> {
    /// The heading of each column.
    pub(crate) head: &'a [&'a str],
    /// The width of each column; they stand one column apart.
    pub(crate) widths: &'a [Constraint],
    /// How many rows there are.
    pub(crate) count: usize,
    /// The selected one.
    pub(crate) at: Option<usize>,
}

impl Rows<'_> {
    /// Paints the rows around the selected one. `>` stands before it, and the heading says where it is if not
    /// all are in sight.
    pub(crate) fn draw<'c>(
        &self,
        area: Rect,
        buffer: &mut Buffer,
        look: Look,
        row: impl Fn(usize) -> Vec<Line<'c>>,
    ) {
        if area.is_empty() {
            return;
        }
        let seen = window(self.at, self.count, usize::from(area.height) - 1);
        let (first, few) = (seen.start, seen.len() < self.count);
        let head = self.head.iter().map(|head| Span::styled(*head, look.faint()));
        let table = Table::new(seen.map(|n| Row::new(row(n))), self.widths)
            .header(Row::new(head))
            .highlight_symbol(MARK)
            .highlight_spacing(HighlightSpacing::Always)
            .row_highlight_style(look.selected());
        let mut state = TableState::new().with_selected(self.at.map(|at| at - first));
        StatefulWidget::render(table, area, buffer, &mut state);
        if few {
            let place = format!(" {}/{}", self.at.map_or(0, |at| at + 1), self.count);
            let width = (place.len() as u16).min(area.width);
            let corner = Rect { x: area.right() - width, width, height: 1, ..area };
            Span::styled(place, look.faint()).render(corner, buffer);
        }
    }
}

/// What stands before the selected row.
const MARK: &str = "> ";

/// Paints `count` single lines, each made for the width that it has.
pub(crate) fn list<'a>(
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
    let seen = window(selected, count, area.height.into());
    let first = seen.start;
    let list = List::new(seen.map(|at| row(at, usize::from(area.width) - MARK.len())))
        .highlight_symbol(MARK)
        .highlight_spacing(HighlightSpacing::Always)
        .highlight_style(look.selected());
    let mut state = ListState::default().with_selected(selected.map(|at| at - first));
    StatefulWidget::render(list, area, buffer, &mut state);
}

/// The rows in sight: the selected one in the middle, except near the ends.
pub(crate) fn window(at: Option<usize>, count: usize, height: usize) -> Range<usize> {
    let first = at.unwrap_or(0).saturating_sub(height / 2).min(count.saturating_sub(height));
    first..(first + height).min(count)
}

/// Where a cursor goes that is at `at` among `count` rows.
pub(crate) fn moved(at: usize, count: usize, action: Action) -> usize {
    let last = count.saturating_sub(1);
    match action {
        Action::Up => at.saturating_sub(1),
        Action::Down => at.saturating_add(1),
        Action::PageUp => at.saturating_sub(10),
        Action::PageDown => at.saturating_add(10),
        Action::Top => 0,
        Action::Bottom => last,
        _ => at,
    }
    .min(last)
}

/// Text in a style.
pub(crate) fn text<'a>(text: impl Into<std::borrow::Cow<'a, str>>, style: Style) -> Line<'a> {
    Line::styled(text, style)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_selected_row_is_in_sight() {
        assert_eq!(window(None, 3, 10), 0..3);
        assert_eq!(window(Some(0), 100, 10), 0..10);
        assert_eq!(window(Some(50), 100, 10), 45..55);
        assert_eq!(window(Some(99), 100, 10), 90..100);
        assert_eq!(window(Some(5), 0, 0), 0..0);
        for at in 0..37 {
            assert!(window(Some(at), 37, 5).contains(&at), "{at}");
        }
    }

    #[test]
    fn a_cursor_stays_among_the_rows() {
        assert_eq!(moved(0, 5, Action::Up), 0);
        assert_eq!(moved(3, 5, Action::PageDown), 4);
        assert_eq!(moved(3, 0, Action::Bottom), 0);
        assert_eq!(moved(9, 5, Action::Mark), 4, "rows may have gone");
    }
}
