//! A grid of dots finer than the cells of a terminal: Braille, eight to a cell, or one sign to a cell where
//! there is only ASCII.
//!
//! ratatui's canvas paints dots too, but each with a colour and nothing else: without colours a band is told from its
//! line by being faint, and in ASCII each line by a sign of its own within one grid.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use crate::look::{Glyphs, Look};

/// What a dot belongs to. Where several fall into one cell, the greatest is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Layer {
    /// The area between the lowest and the highest run.
    Band,
    /// A line to compare with.
    Threshold,
    /// Single values.
    Raw,
    /// A curve.
    Line,
}

/// What a dot is drawn with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ink {
    pub(crate) layer: Layer,
    pub(crate) style: Style,
    /// What stands for it in ASCII.
    pub(crate) sign: char,
}

#[derive(Debug, Clone, Copy, Default)]
struct Cell {
    dots: u8,
    ink: Option<Ink>,
}

/// Dots over an area of cells.
#[derive(Debug)]
pub(crate) struct Canvas {
    columns: usize,
    glyphs: Glyphs,
    cells: Vec<Cell>,
}

impl Canvas {
    /// Nothing drawn yet.
    pub(crate) fn new(columns: u16, rows: u16, look: Look) -> Self {
        let (columns, rows) = (usize::from(columns), usize::from(rows));
        Self { columns, glyphs: look.glyphs, cells: vec![Cell::default(); columns * rows] }
    }

    /// Dots across and down in each cell.
    fn density(&self) -> (usize, usize) {
        match self.glyphs {
            Glyphs::Ascii => (1, 1),
            Glyphs::Unicode => (2, 4),
        }
    }

    /// Dots across and down.
    pub(crate) fn size(&self) -> (usize, usize) {
        let (across, down) = self.density();
        let rows = self.cells.len().checked_div(self.columns).unwrap_or(0);
        (self.columns * across, rows * down)
    }

    /// Sets a dot, counted from the top left; one outside is left out.
    pub(crate) fn dot(&mut self, x: usize, y: usize, ink: Ink) {
        let ((across, down), (width, height)) = (self.density(), self.size());
        if x >= width || y >= height {
            return;
        }
        let cell = &mut self.cells[y / down * self.columns + x / across];
        let layer = cell.ink.map(|old| old.layer);
        if layer > Some(ink.layer) {
            return;
        }
        if layer < Some(ink.layer) {
            cell.dots = 0;
        }
        cell.dots |= bit(x % across, y % down);
        cell.ink = Some(ink);
    }

    /// Calls `each` with every dot of a straight line, from its first to its last.
    pub(crate) fn along(from: (usize, usize), to: (usize, usize), mut each: impl FnMut(usize, usize)) {
        let [x0, y0, x1, y1] = [from.0, from.1, to.0, to.1].map(|part| part as f64);
        let length = (x1 - x0).abs().max((y1 - y0).abs()).max(1.0);
        for at in 0..=length as usize {
            let share = at as f64 / length;
            each((x0 + share * (x1 - x0)).round() as usize, (y0 + share * (y1 - y0)).round() as usize);
        }
    }

    /// Puts it onto the screen, its top left cell at that of `area`.
    pub(crate) fn draw(&self, area: Rect, buffer: &mut Buffer) {
        for (index, cell) in self.cells.iter().enumerate() {
            let Some(ink) = cell.ink else { continue };
            let (x, y) = (area.x + (index % self.columns) as u16, area.y + (index / self.columns) as u16);
            let sign = match self.glyphs {
                Glyphs::Ascii => ink.sign,
                Glyphs::Unicode => char::from_u32(0x2800 + u32::from(cell.dots)).unwrap_or(ink.sign),
            };
            if let Some(target) = buffer.cell_mut((x, y)) {
                target.set_char(sign).set_style(ink.style);
            }
        }
    }
}

/// The bit of a dot in Unicode's numbering of Braille patterns.
fn bit(x: usize, y: usize) -> u8 {
    const BITS: [[u8; 4]; 2] = [[0x01, 0x02, 0x04, 0x40], [0x08, 0x10, 0x20, 0x80]];
    BITS[x][y]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ink(layer: Layer, sign: char) -> Ink {
        Ink { layer, style: Style::new(), sign }
    }

    fn drawn(canvas: &Canvas, area: Rect) -> String {
        let mut buffer = Buffer::empty(area);
        canvas.draw(area, &mut buffer);
        buffer.content.iter().map(|cell| cell.symbol()).collect()
    }

    #[test]
    fn eight_dots_to_a_cell() {
        let mut canvas = Canvas::new(2, 1, Look::MONO);
        assert_eq!(canvas.size(), (4, 4));
        for (x, y) in [(0, 0), (1, 3), (2, 1), (9, 9)] {
            canvas.dot(x, y, ink(Layer::Line, 'o'));
        }
        assert_eq!(drawn(&canvas, Rect::new(0, 0, 2, 1)), "⢁⠂");
    }

    #[test]
    fn one_sign_to_a_cell_in_ascii() {
        let mut canvas = Canvas::new(3, 1, Look::PLAIN);
        canvas.dot(0, 0, ink(Layer::Line, 'o'));
        canvas.dot(0, 0, ink(Layer::Band, '.'));
        canvas.dot(2, 0, ink(Layer::Band, '.'));
        assert_eq!(drawn(&canvas, Rect::new(0, 0, 3, 1)), "o .");
    }

    #[test]
    fn a_line_pushes_a_band_out_of_its_cell() {
        let mut canvas = Canvas::new(1, 1, Look::MONO);
        canvas.dot(0, 0, ink(Layer::Band, '.'));
        canvas.dot(1, 0, ink(Layer::Line, 'o'));
        canvas.dot(1, 1, ink(Layer::Line, 'o'));
        assert_eq!(drawn(&canvas, Rect::new(0, 0, 1, 1)), "⠘");
    }

    #[test]
    fn no_cells_take_no_dots() {
        for (columns, rows) in [(0, 0), (0, 3), (3, 0)] {
            let mut canvas = Canvas::new(columns, rows, Look::MONO);
            canvas.dot(0, 0, ink(Layer::Line, 'o'));
            assert_eq!(drawn(&canvas, Rect::new(0, 0, columns, rows)).trim(), "");
        }
    }

    #[test]
    fn lines_reach_both_ends() {
        let mut met = Vec::new();
        Canvas::along((3, 0), (0, 1), |x, y| met.push((x, y)));
        assert_eq!(met, [(3, 0), (2, 0), (1, 1), (0, 1)]);
        met.clear();
        Canvas::along((2, 2), (2, 2), |x, y| met.push((x, y)));
        assert_eq!(met, [(2, 2), (2, 2)]);
    }
}
