//! A part of a screen: a heading, and paragraphs that are cut where there is no room.
//!
//! ratatui's paragraph wraps all of its text for each picture, and a response may be megabytes long; it does not say
//! either that there is more than is seen.

use std::borrow::Cow;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use titer_view::paragraph::Weight;
use unicode_width::UnicodeWidthStr;

use super::prose;
use crate::look::Look;

/// Writes a heading, and faintly what is to be known beside it, into the first row. Returns what is below.
pub(crate) fn titled(area: Rect, buffer: &mut Buffer, look: Look, title: &str, beside: &str) -> Rect {
    if area.is_empty() {
        return area;
    }
    let width = usize::from(area.width);
    let title = prose::beginning(&look.spell(title), width);
    buffer.set_string(area.x, area.y, &title, look.heading());
    let used = title.width() + 2;
    if used < width {
        let beside = prose::beginning(&look.spell(beside), width - used);
        buffer.set_string(area.x + used as u16, area.y, beside, look.faint());
    }
    Rect { y: area.y + 1, height: area.height - 1, ..area }
}

/// One paragraph. Its text may be of any origin and length.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Paragraph<'a> {
    pub(crate) style: Style,
    pub(crate) text: Cow<'a, str>,
}

impl<'a> Paragraph<'a> {
    /// In the terminal's own style.
    pub(crate) fn plain(text: impl Into<Cow<'a, str>>) -> Self {
        Self::styled(text, Style::new())
    }

    /// In another.
    pub(crate) fn styled(text: impl Into<Cow<'a, str>>, style: Style) -> Self {
        Self { style, text: text.into() }
    }
}

/// What is said in sentences, in the styles of their weights.
pub(crate) fn said(paragraphs: Vec<titer_view::paragraph::Paragraph>, look: Look) -> Vec<Paragraph<'static>> {
    let style = |weight| match weight {
        Weight::Heading => look.heading(),
        Weight::Plain => Style::new(),
        Weight::Faint => look.faint(),
    };
    let styled = |paragraph: titer_view::paragraph::Paragraph| {
        Paragraph::styled(paragraph.text, style(paragraph.weight))
    };
    paragraphs.into_iter().map(styled).collect()
}

/// Longer texts are nobody's wording: signs in them are not spelt out.
const LONG: usize = 4096;

/// Writes paragraphs below each other, from the row `first` of all of them. Where they go on below the area, its
/// last row says so.
pub(crate) fn paragraphs(area: Rect, buffer: &mut Buffer, look: Look, first: usize, texts: &[Paragraph]) {
    let height = usize::from(area.height);
    if height == 0 || area.width < 2 {
        return;
    }
    // One more than fits, to know whether there is more.
    let wanted = first + height + 1;
    let mut rows: Vec<(String, Style)> = Vec::new();
    for paragraph in texts {
        let most = wanted.saturating_sub(rows.len());
        let text = match paragraph.text.len() {
            ..LONG => look.spell(&paragraph.text),
            _ => Cow::Borrowed(&*paragraph.text),
        };
        rows.extend(
            prose::rows(&text, area.width.into(), 0, most).into_iter().map(|row| (row, paragraph.style)),
        );
        if rows.len() >= wanted {
            break;
        }
    }
    let first = first.min(rows.len().saturating_sub(height));
    let goes_on = rows.len() > first + height;
    let shown = if goes_on { height - 1 } else { height };
    for (y, (row, style)) in (area.y..).zip(rows.iter().skip(first).take(shown)) {
        buffer.set_string(area.x, y, row, *style);
    }
    if goes_on {
        let note = prose::beginning("… there is more", area.width.into());
        buffer.set_string(area.x, area.bottom() - 1, note, look.faint());
    }
}

/// Draws a line between two parts side by side, and returns them.
pub(crate) fn beside(area: Rect, left: u16, buffer: &mut Buffer, look: Look) -> (Rect, Rect) {
    let left = left.min(area.width);
    if area.width - left < 3 {
        return (area, Rect { width: 0, x: area.right(), ..area });
    }
    for y in area.y..area.bottom() {
        buffer.set_string(area.x + left, y, "│", look.faint());
    }
    let right = Rect { x: area.x + left + 2, width: area.width - left - 2, ..area };
    (Rect { width: left, ..area }, right)
}

/// The first rows of an area, and the others.
pub(crate) fn above(area: Rect, rows: u16) -> (Rect, Rect) {
    let rows = rows.min(area.height);
    let below = Rect { y: area.y + rows, height: area.height - rows, ..area };
    (Rect { height: rows, ..area }, below)
}
