//! What the lines of a chart are called: beside the picture where it is wide, else below it.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use titer_view::scale;
use unicode_width::UnicodeWidthStr;

use super::series::{Series, Trace};
use crate::look::Look;

/// A picture this wide has its legend beside it.
const WIDE: u16 = 100;
/// Less than this is all picture.
const LEAST: (u16, u16) = (16, 6);
/// Between two names in one row.
const GAP: usize = 2;

/// Names and where they stand.
#[derive(Debug)]
pub(crate) struct Legend {
    area: Rect,
    names: Vec<(String, usize)>,
    /// Names in one row flow after each other; beside a picture each has its own.
    flows: bool,
}

impl Legend {
    /// Divides an area into the picture's part and the legend.
    pub(crate) fn beside(series: &[Series], area: Rect) -> (Rect, Self) {
        let lines = series.iter().filter(|series| series.trace == Trace::Line);
        let names: Vec<_> = lines.map(|series| (name(series), series.number)).collect();
        let widest = names.iter().map(|(name, _)| name.width() + 2).max().unwrap_or(0);
        if names.is_empty() || area.width < LEAST.0 || area.height < LEAST.1 {
            return (area, Self { area: Rect { height: 0, ..area }, names, flows: true });
        }
        if area.width >= WIDE {
            let width = (widest as u16 + 1).min(area.width / 3);
            let picture = Rect { width: area.width - width, ..area };
            let area = Rect { x: picture.right() + 1, width: width - 1, ..area };
            return (picture, Self { area, names, flows: false });
        }
        let widths: Vec<_> = names.iter().map(|(name, _)| name.width() + 2).collect();
        let needed = flow(&widths, area.width.into(), true).last().map_or(0, |place| place.0 + 1);
        let rows = needed.min(usize::from(area.height / 5).max(1)) as u16;
        let picture = Rect { height: area.height - rows, ..area };
        (picture, Self { area: Rect { y: picture.bottom(), height: rows, ..area }, names, flows: true })
    }

    /// Writes as many names as fit, and how many do not.
    pub(crate) fn draw(&self, look: Look, buffer: &mut Buffer) {
        let (room, rows) = (usize::from(self.area.width), usize::from(self.area.height));
        if rows == 0 || room < 3 {
            return;
        }
        for shown in (0..=self.names.len()).rev() {
            let rest = self.names.len() - shown;
            let more = if rest > 0 { format!("+{rest} more") } else { String::new() };
            let names = self.names.iter().take(shown).map(|(name, _)| name.width() + 2);
            let widths: Vec<_> = names.chain((rest > 0).then(|| more.width())).collect();
            let places = flow(&widths, room, self.flows);
            if places.last().is_some_and(|place| place.0 >= rows) {
                continue;
            }
            for ((row, column), width) in places.iter().zip(&widths).skip(shown) {
                self.write((*row, *column), &more, *width, look.faint(), buffer);
            }
            for ((row, column), (name, number)) in places.iter().zip(&self.names).take(shown) {
                let style = look.series(*number);
                let sign = look.mark(*number).to_string();
                self.write((*row, *column), &sign, 1, style.patch(look.heading()), buffer);
                self.write((*row, *column + 2), name, room, style, buffer);
            }
            return;
        }
    }

    fn write(
        &self,
        (row, column): (usize, usize),
        text: &str,
        width: usize,
        style: ratatui::style::Style,
        buffer: &mut Buffer,
    ) {
        let room = usize::from(self.area.width).saturating_sub(column);
        let (x, y) = (self.area.x + column as u16, self.area.y + row as u16);
        if room > 0 {
            buffer.set_stringn(x, y, text, width.min(room), style);
        }
    }
}

/// A name with the line's last value.
fn name(series: &Series) -> String {
    match series.last() {
        Some(value) => format!("{} {}", series.name, scale::label(rounded(value))),
        None => format!("{} –", series.name),
    }
}

/// Three digits are enough beside a picture.
fn rounded(value: f64) -> f64 {
    let size = 10f64.powf(2.0 - value.abs().log10().floor());
    if size.is_finite() && value != 0.0 { (value * size).round() / size } else { value }
}

/// Row and column of texts of these widths.
fn flow(widths: &[usize], room: usize, flows: bool) -> Vec<(usize, usize)> {
    let (mut row, mut column) = (0, 0);
    let mut places = Vec::with_capacity(widths.len());
    for width in widths {
        if column > 0 && (!flows || column + width > room) {
            row += 1;
            column = 0;
        }
        places.push((row, column));
        column += width + GAP;
    }
    places
}
