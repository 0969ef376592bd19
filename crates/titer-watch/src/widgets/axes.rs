//! The frame of a chart: where its plot lies, and what is written along its edges.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use titer_view::scale::{Room, Scale, Tick};
use unicode_width::UnicodeWidthStr;

use crate::look::Look;

/// Two axes around a plot. Where there is no room for their labels, the plot takes it all.
#[derive(Debug)]
pub(crate) struct Axes {
    x: Scale,
    y: Scale,
    plot: Rect,
    across: Vec<Tick>,
    down: Vec<Tick>,
    /// Cells for the labels of y.
    margin: u16,
}

/// The least width and height that are shared with labels.
const LEAST_LABELLED: (u16, u16) = (16, 5);

/// Rows from which on the labels of y stand further apart.
const TALL: u16 = 20;

impl Axes {
    /// Axes around the plot in an area.
    pub(crate) fn new(x: Scale, y: Scale, area: Rect) -> Self {
        let frame = Self { x, y, plot: area, across: vec![], down: vec![], margin: 0 };
        if area.width < LEAST_LABELLED.0 || area.height < LEAST_LABELLED.1 {
            return frame;
        }
        let rows = area.height - 2;
        let apart = if rows < TALL { 1 } else { 3 };
        let mut down = y.ticks(Room { cells: usize::from(rows), apart, extent: |_| 1 });
        let margin = down.iter().map(|tick| tick.label.width()).max().unwrap_or(0) as u16;
        if margin > area.width / 3 {
            return frame;
        }
        // Rows are counted from above.
        for tick in &mut down {
            tick.cell = usize::from(rows) - 1 - tick.cell;
        }
        let plot = Rect { x: area.x + margin + 1, width: area.width - margin - 1, height: rows, ..area };
        let across = x.ticks(Room { cells: plot.width.into(), apart: 2, extent: UnicodeWidthStr::width });
        Self { plot, across, down, margin, ..frame }
    }

    /// Where the curves are drawn.
    pub(crate) fn plot(&self) -> Rect {
        self.plot
    }

    /// Where a value lies in the plot, from its top left corner: shares of its width and height.
    pub(crate) fn place(&self, x: f64, y: f64) -> Option<(f64, f64)> {
        Some((self.x.place(x)?.clamp(0.0, 1.0), self.place_y(y)?))
    }

    /// How far down a value lies.
    pub(crate) fn place_y(&self, y: f64) -> Option<f64> {
        Some(1.0 - self.y.place(y)?.clamp(0.0, 1.0))
    }

    /// Lines and labels.
    pub(crate) fn draw(&self, look: Look, buffer: &mut Buffer) {
        if self.margin == 0 {
            return;
        }
        let style = look.faint();
        let (left, bottom) = (self.plot.x - 1, self.plot.bottom());
        for row in self.plot.y..bottom {
            buffer.set_string(left, row, "│", style);
        }
        buffer.set_string(left, bottom, "└", style);
        for column in self.plot.x..self.plot.right() {
            buffer.set_string(column, bottom, "─", style);
        }
        for tick in &self.down {
            let row = self.plot.y + tick.cell as u16;
            let width = tick.label.width() as u16;
            buffer.set_string(left - width, row, &tick.label, style);
            buffer.set_string(left, row, "┤", style);
        }
        for tick in &self.across {
            buffer.set_string(self.plot.x + tick.cell as u16, bottom, "┬", style);
            buffer.set_string(self.plot.x + tick.start as u16, bottom + 1, &tick.label, style);
        }
    }
}
