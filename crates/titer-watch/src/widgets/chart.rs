//! Curves with interval bands, in any size down to a few cells.
//!
//! What belongs together is told apart by colour, by dashes and by a sign on the line, so that any one of
//! them is enough. The picture is a function of its values: it keeps nothing.
//!
//! ratatui's chart tells lines apart by colour alone and knows neither bands nor dashes, and its axes have labels
//! where they are told, not where there is room.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::widgets::Widget;
use titer_view::curves::Point;
use titer_view::figure::Threshold;
use titer_view::scale::{Scale, Spread};
use unicode_width::UnicodeWidthStr;

use super::axes::Axes;
use super::canvas::{Canvas, Ink, Layer};
use super::legend::Legend;
use super::prose::beginning;
use super::series::{Series, Trace};
use crate::look::Look;

/// A picture of curves.
#[derive(Debug)]
pub(crate) struct Chart<'a> {
    /// What is drawn over what: one line above the picture.
    pub(crate) caption: &'a str,
    /// How x is spread.
    pub(crate) spread: Spread,
    /// Where y begins and ends; none for what the values need.
    pub(crate) range: Option<(f64, f64)>,
    /// The lines, the later above the earlier.
    pub(crate) series: &'a [Series],
    /// A line to compare with.
    pub(crate) threshold: Option<Threshold>,
    /// What is said where there is nothing to draw.
    pub(crate) empty: &'a str,
    /// How it looks.
    pub(crate) look: Look,
}

impl Widget for Chart<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let area = area.intersection(buffer.area);
        if area.is_empty() {
            return;
        }
        let captioned = area.height >= 4 && !self.caption.is_empty();
        if captioned {
            let caption = beginning(self.caption, area.width.into());
            buffer.set_string(area.x, area.y, caption, self.look.faint());
        }
        let area = below(area, u16::from(captioned));
        if self.series.iter().all(|series| series.shown().next().is_none()) {
            let width = self.empty.width().min(area.width.into()) as u16;
            let (x, y) = (area.x + (area.width - width) / 2, area.y + area.height / 2);
            buffer.set_stringn(x, y, self.empty, width.into(), self.look.faint());
            return;
        }
        let (picture, legend) = Legend::beside(self.series, area);
        legend.draw(self.look, buffer);
        self.draw_picture(picture, buffer);
    }
}

/// An area without its first rows.
fn below(area: Rect, rows: u16) -> Rect {
    Rect { y: area.y + rows, height: area.height - rows, ..area }
}

impl Chart<'_> {
    fn draw_picture(&self, area: Rect, buffer: &mut Buffer) {
        let all = self.series.iter().flat_map(Series::shown);
        let compared = self.threshold.iter().map(|threshold| threshold.value);
        let values = all.clone().flat_map(|point| [point.y, point.low, point.high]).chain(compared);
        let scale = match self.range {
            Some((low, high)) => Scale::linear(low, high),
            None => Scale::around(values, Spread::Linear).down_to_zero(),
        };
        let axes = Axes::new(Scale::around(all.map(|point| point.x), self.spread), scale, area);
        let plot = axes.plot();
        axes.draw(self.look, buffer);
        let mut canvas = Canvas::new(plot.width, plot.height, self.look);
        if let Some(threshold) = &self.threshold {
            draw_threshold(&mut canvas, &axes, threshold.value, self.look);
        }
        for series in self.series {
            match series.trace {
                Trace::Line => {
                    draw_band(&mut canvas, &axes, series, self.look);
                    draw_line(&mut canvas, &axes, series, self.look);
                }
                Trace::Dots => draw_dots(&mut canvas, &axes, series, self.look),
            }
        }
        canvas.draw(plot, buffer);
        for (index, series) in self.series.iter().enumerate() {
            if series.trace == Trace::Line {
                draw_signs(index, series, &axes, self.look, buffer);
            }
        }
        if let Some(threshold) = &self.threshold {
            name_threshold(threshold, &axes, self.look, buffer);
        }
    }
}

/// Dots of a value, if it lies in the picture.
fn dot_of(canvas: &Canvas, axes: &Axes, x: f64, y: f64) -> Option<(usize, usize)> {
    let (width, height) = canvas.size();
    let (across, down) = axes.place(x, y)?;
    let dot = |share: f64, dots: usize| (share * dots.saturating_sub(1) as f64).round() as usize;
    Some((dot(across, width), dot(down, height)))
}

fn draw_threshold(canvas: &mut Canvas, axes: &Axes, value: f64, look: Look) {
    let Some(y) = axes.place_y(value) else { return };
    let (width, height) = canvas.size();
    let y = (y * height.saturating_sub(1) as f64).round() as usize;
    let ink = Ink { layer: Layer::Threshold, style: look.heading(), sign: '-' };
    for x in (0..width).filter(|x| x % 4 < 2) {
        canvas.dot(x, y, ink);
    }
}

/// The threshold's name above its line at the left end, where curves are still low and where there is room for it.
fn name_threshold(threshold: &Threshold, axes: &Axes, look: Look, buffer: &mut Buffer) {
    let plot = axes.plot();
    let width = threshold.label.width() as u16;
    let Some(y) = axes.place_y(threshold.value) else { return };
    if width == 0 || width + 8 > plot.width || plot.height < 3 {
        return;
    }
    let row = plot.y + (y * f64::from(plot.height - 1)).round() as u16;
    let row = if row > plot.y { row - 1 } else { row + 1 };
    buffer.set_string(plot.x + 1, row, &threshold.label, look.heading());
}

/// Sparse dots between the lowest and the highest run, other ones for each series.
fn draw_band(canvas: &mut Canvas, axes: &Axes, series: &Series, look: Look) {
    let ink = Ink { layer: Layer::Band, style: look.series(series.number).patch(look.faint()), sign: '.' };
    let mut before: Option<[(usize, usize); 2]> = None;
    for point in series.shown() {
        let ends = [point.low, point.high].map(|y| dot_of(canvas, axes, point.x, y));
        let [Some(low), Some(high)] = ends else { continue };
        let [low_before, high_before] = before.replace([low, high]).unwrap_or([low, high]);
        let length = (low.0 - low_before.0).max(1) as f64;
        for x in low_before.0..=low.0 {
            let share = (x - low_before.0) as f64 / length;
            let between =
                |from: usize, to: usize| (from as f64 + share * (to as f64 - from as f64)).round() as usize;
            let (bottom, top) = (between(low_before.1, low.1), between(high_before.1, high.1));
            for y in (top..=bottom).filter(|y| top != bottom && is_stippled(x, *y, series.number)) {
                canvas.dot(x, y, ink);
            }
        }
    }
}

/// One dot of six, in diagonals that differ from series to series.
fn is_stippled(x: usize, y: usize, number: usize) -> bool {
    (x + 4 * y + number).is_multiple_of(6)
}

fn draw_line(canvas: &mut Canvas, axes: &Axes, series: &Series, look: Look) {
    let ink = Ink { layer: Layer::Line, style: look.series(series.number), sign: look.mark(series.number) };
    let dashes = DASHES[series.number % DASHES.len()];
    let mut way = 0;
    let mut before = None;
    for point in series.shown() {
        let Some(to) = dot_of(canvas, axes, point.x, point.y) else { continue };
        let from = before.replace(to).unwrap_or(to);
        Canvas::along(from, to, |x, y| {
            if is_inked(dashes, way) {
                canvas.dot(x, y, ink);
            }
            way += 1;
        });
        // The joint would count twice.
        way -= 1;
    }
}

/// Dots drawn and left out in turn.
const DASHES: [&[usize]; 6] = [&[1], &[5, 3], &[2, 2], &[8, 2, 2, 2], &[1, 2], &[6, 2, 1, 2, 1, 2]];

/// Whether the dot at `way` along a line is drawn.
fn is_inked(dashes: &[usize], way: usize) -> bool {
    if dashes.len() < 2 {
        return true;
    }
    let mut rest = way % dashes.iter().sum::<usize>();
    for (index, length) in dashes.iter().enumerate() {
        if rest < *length {
            return index % 2 == 0;
        }
        rest -= length;
    }
    true
}

fn draw_dots(canvas: &mut Canvas, axes: &Axes, series: &Series, look: Look) {
    let ink = Ink { layer: Layer::Raw, style: look.series(series.number).patch(look.faint()), sign: '.' };
    for point in series.shown() {
        if let Some((x, y)) = dot_of(canvas, axes, point.x, point.y) {
            canvas.dot(x, y, ink);
        }
    }
}

/// Cells between two signs on one line.
const SIGNS_APART: u16 = 12;

/// The series' sign here and there on its line, each series' elsewhere, and always at its end.
fn draw_signs(index: usize, series: &Series, axes: &Axes, look: Look, buffer: &mut Buffer) {
    let plot = axes.plot();
    let cell = |point: &Point| {
        let (x, y) = axes.place(point.x, point.y)?;
        let across = (x * f64::from(plot.width.saturating_sub(1))).round() as u16;
        let down = (y * f64::from(plot.height.saturating_sub(1))).round() as u16;
        Some((plot.x + across, plot.y + down))
    };
    let cells: Vec<_> = series.shown().filter_map(cell).collect();
    let Some(&end) = cells.last() else { return };
    let mut next = plot.x + 2 + (index as u16 * 5) % SIGNS_APART;
    let mut signs = vec![end];
    for &(x, y) in &cells {
        if x >= next && x + 3 < end.0 {
            signs.push((x, y));
            next = x + SIGNS_APART;
        }
    }
    for position in signs {
        if let Some(target) = buffer.cell_mut(position) {
            // A faint band may have been here.
            target.reset();
            target.set_char(look.mark(series.number));
            target.set_style(look.series(series.number).patch(look.heading()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::specimen::picture;

    /// A curve that comes near 1 the sooner the smaller `slow`, with a band.
    fn curve(number: usize, slow: f64, band: f64, last: u64) -> Series {
        const STEPS: [u64; 12] = [0, 1, 2, 5, 10, 16, 25, 40, 64, 100, 150, 200];
        let point = |steps: u64| {
            let y = 1.0 - (-(steps as f64) / slow).exp();
            Point { x: steps as f64, y, low: (y - band).max(0.0), high: (y + band).min(1.0) }
        };
        let points = STEPS.into_iter().filter(|steps| *steps <= last).map(point).collect();
        Series::line(["none", "adversarial-loss", "tar"][number], number, points)
    }

    fn drawn(series: &[Series], size: (u16, u16), spread: Spread, look: Look) -> String {
        picture(size.0, size.1, look == Look::FULL, |frame| {
            let chart = Chart {
                caption: "harmfulness over steps",
                spread,
                range: Some((0.0, 1.0)),
                series,
                threshold: Some(Threshold { value: 0.2, label: "phi = 0.2".into() }),
                empty: "nothing yet",
                look,
            };
            frame.render_widget(chart, frame.area());
        })
    }

    #[test]
    fn lines_bands_threshold_and_legend() {
        let series = [curve(0, 8.0, 0.05, 25), curve(1, 50.0, 0.15, 200), curve(2, 2000.0, 0.02, 200)];
        insta::assert_snapshot!(drawn(&series, (60, 14), Spread::Log, Look::MONO));
        insta::assert_snapshot!(drawn(&series, (60, 14), Spread::Linear, Look::FULL));
        insta::assert_snapshot!(drawn(&series, (60, 14), Spread::Log, Look::PLAIN));
        insta::assert_snapshot!(drawn(&series, (104, 12), Spread::Log, Look::PLAIN));
        insta::assert_snapshot!(drawn(&series, (14, 4), Spread::Log, Look::PLAIN));
    }

    #[test]
    fn every_line_has_its_own_sign_at_its_end() {
        let series = [curve(0, 8.0, 0.0, 25), curve(1, 50.0, 0.0, 200), curve(2, 2000.0, 0.0, 200)];
        let text = drawn(&series, (60, 14), Spread::Linear, Look::MONO);
        for number in 0..3 {
            assert!(text.matches(Look::MONO.mark(number)).count() >= 2, "{number} in {text}");
        }
    }

    #[test]
    fn odd_values_and_sizes_draw_something() {
        let odd = Point { x: f64::NAN, y: f64::INFINITY, low: f64::NAN, high: f64::NEG_INFINITY };
        let far = [Point::exact(0.0, -1e300), Point::exact(1e300, 1e300)];
        let cases = [
            Vec::new(),
            vec![Series::line("empty", 0, Vec::new())],
            vec![Series::line("odd", 7, vec![odd; 3])],
            vec![Series::line("one", 99, vec![Point::exact(0.0, 0.5)])],
            vec![Series::line("far", 1, far.into()), curve(0, 8.0, 0.5, 200)],
            vec![Series { trace: Trace::Dots, ..curve(0, 8.0, 0.5, 200) }],
        ];
        for series in &cases {
            for size in (1..26).flat_map(|width| (1..9).map(move |height| (width, height))) {
                for look in [Look::MONO, Look::PLAIN] {
                    drawn(series, size, Spread::Log, look);
                    drawn(series, size, Spread::Linear, look);
                }
            }
        }
        assert!(drawn(&cases[0], (40, 8), Spread::Log, Look::MONO).contains("nothing yet"));
        assert!(drawn(&cases[2], (40, 8), Spread::Log, Look::MONO).contains("nothing yet"));
    }

    #[test]
    fn names_and_values_stand_in_the_legend() {
        let text = drawn(&[curve(1, 50.0, 0.0, 200)], (60, 14), Spread::Log, Look::PLAIN);
        assert!(text.contains("x adversarial-loss 0.982"), "{text}");
        let many: Vec<_> = (0..40).map(|number| Series { number, ..curve(0, 8.0, 0.0, 25) }).collect();
        assert!(drawn(&many, (60, 14), Spread::Log, Look::PLAIN).contains(" more"));
        let hostile = Series::line("\u{1b}[2J\u{202e}x", 0, vec![Point::exact(0.0, 0.5)]);
        assert!(drawn(&[hostile], (60, 14), Spread::Log, Look::PLAIN).contains("o [2Jx 0.5"));
    }
}
