//! Curves as SVG: a panel for a page that brings the style sheet, or a whole figure that stands alone.
//!
//! Lines differ in colour (a palette that colour-blind people tell apart), in dashes and in markers, so
//! the picture survives a black-and-white printer.

use std::fmt::Write as _;

use super::escape;
use super::model::{Figure, Line, Panel, Point};

/// The colours and strokes of every picture; pages include it once.
pub(crate) const STYLE: &str = include_str!("figure.css");

/// How many lines can be told apart; further ones start over.
pub(crate) const STYLES: usize = 6;

const WIDTH: f64 = 380.0;
const HEIGHT: f64 = 240.0;
const LEFT: f64 = 50.0;
/// Room for the threshold's name beside the panel, where no line crosses it.
const RIGHT: f64 = 46.0;
const TOP: f64 = 30.0;
const BOTTOM: f64 = 42.0;
const LEGEND_LINE: f64 = 22.0;

/// One panel as an image of its own, with a title and a description for those who cannot see it.
pub(crate) fn panel(figure: &Figure, index: usize) -> String {
    let Some(panel) = figure.panels.get(index) else { return String::new() };
    let id = format!("{}-{index}", figure.id);
    let mut svg = format!(
        "<svg class=\"figure\" role=\"img\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         aria-labelledby=\"{id}-title {id}-description\">\
         <title id=\"{id}-title\">{}: {}</title><desc id=\"{id}-description\">{}</desc>",
        escape::html(&figure.title),
        escape::html(&panel.title),
        escape::html(&description(figure, panel))
    );
    push_panel(&mut svg, figure, panel);
    svg.push_str("</svg>");
    svg
}

/// The sample of a line that stands in a legend.
pub(crate) fn legend_key(series: usize) -> String {
    format!(
        "<svg class=\"figure key\" viewBox=\"0 0 36 12\" aria-hidden=\"true\">{}</svg>",
        key_marks(series, 0.0, 6.0)
    )
}

/// All panels of a figure, two abreast, with a legend: a file that needs nothing else.
pub(crate) fn stand_alone(figure: &Figure) -> String {
    let columns = figure.panels.len().clamp(1, 2);
    let rows = figure.panels.len().div_ceil(columns);
    let width = WIDTH * columns as f64;
    let per_line = columns * 2;
    let legend_lines = figure.series.len().div_ceil(per_line);
    let legend_height = LEGEND_LINE * legend_lines as f64 + 34.0;
    let height = HEIGHT * rows as f64 + legend_height;
    let description: Vec<_> = figure
        .panels
        .iter()
        .map(|panel| format!("{}. {}", panel.title, description(figure, panel)))
        .collect();
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"figure\" role=\"img\" width=\"{width}\" \
         height=\"{height}\" viewBox=\"0 0 {width} {height}\" aria-labelledby=\"title description\">\
         <title id=\"title\">{}</title><desc id=\"description\">{}</desc><style>{STYLE}</style>\
         <rect class=\"paper\" width=\"{width}\" height=\"{height}\"/>\
         <text class=\"heading\" x=\"14\" y=\"22\">{}</text>",
        escape::html(&figure.title),
        escape::html(&description.join(" ")),
        escape::html(&figure.title)
    );
    for (index, name) in figure.series.iter().enumerate() {
        let x = 14.0 + (index % per_line) as f64 * (width - 28.0) / per_line as f64;
        let y = 44.0 + (index / per_line) as f64 * LEGEND_LINE;
        let _ = write!(
            svg,
            "{}<text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            key_marks(index, x, y),
            x + 42.0,
            y + 4.0,
            escape::html(name)
        );
    }
    for (index, panel) in figure.panels.iter().enumerate() {
        let x = (index % columns) as f64 * WIDTH;
        let y = legend_height + (index / columns) as f64 * HEIGHT;
        let _ = write!(svg, "<g transform=\"translate({x} {y})\">");
        push_panel(&mut svg, figure, panel);
        svg.push_str("</g>");
    }
    svg.push_str("</svg>\n");
    svg
}

/// The axes of one panel: x is log(1 + steps), so that the first steps, where models break, have room.
struct Axes {
    last: u64,
}

impl Axes {
    fn of(panel: &Panel) -> Self {
        let last = panel.lines.iter().filter_map(|line| line.points.last()).map(|point| point.steps).max();
        Self { last: last.unwrap_or(0).max(1) }
    }

    fn x(&self, steps: u64) -> f64 {
        let share = (steps as f64).ln_1p() / (self.last as f64).ln_1p();
        LEFT + share * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        TOP + (1.0 - value.clamp(0.0, 1.0)) * (HEIGHT - TOP - BOTTOM)
    }

    /// 0, then 1, 2, 5, 10, 20, … as far as they reach.
    fn ticks(&self) -> Vec<u64> {
        let mut ticks = vec![0];
        let mut decade = 1;
        while decade <= self.last {
            ticks.extend([decade, 2 * decade, 5 * decade].into_iter().filter(|tick| *tick <= self.last));
            decade *= 10;
        }
        ticks
    }
}

fn push_panel(svg: &mut String, figure: &Figure, panel: &Panel) {
    let axes = Axes::of(panel);
    let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
    let _ =
        write!(svg, "<text class=\"heading\" x=\"{LEFT}\" y=\"18\">{}</text>", escape::html(&panel.title));
    for tick in [0.0, 0.25, 0.5, 0.75, 1.0] {
        let y = axes.y(tick);
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{right}\" y2=\"{y:.1}\"/>\
             <text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{tick}</text>",
            LEFT - 6.0,
            y + 4.0
        );
    }
    for tick in axes.ticks() {
        let x = axes.x(tick);
        let _ = write!(
            svg,
            "<line class=\"axis\" x1=\"{x:.1}\" y1=\"{bottom}\" x2=\"{x:.1}\" y2=\"{:.1}\"/>\
             <text class=\"tick\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{tick}</text>",
            bottom + 4.0,
            bottom + 17.0
        );
    }
    let middle = (TOP + bottom) / 2.0;
    let _ = write!(
        svg,
        "<text class=\"label\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">steps, log(1 + x)</text>\
         <text class=\"label\" transform=\"translate(13 {middle:.1}) rotate(-90)\" \
         text-anchor=\"middle\">{}</text>",
        (LEFT + right) / 2.0,
        HEIGHT - 8.0,
        escape::html(&figure.y_label)
    );
    if let Some(threshold) = &figure.threshold {
        let y = axes.y(threshold.value);
        let _ = write!(
            svg,
            "<line class=\"threshold\" x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{right}\" y2=\"{y:.1}\"/>\
             <text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            right + 5.0,
            y + 4.0,
            escape::html(&threshold.label)
        );
    }
    for line in &panel.lines {
        push_band(svg, &axes, line);
    }
    for line in &panel.lines {
        push_line(svg, &axes, line);
    }
}

fn push_band(svg: &mut String, axes: &Axes, line: &Line) {
    if line.points.iter().all(|point| point.low == point.high) {
        return;
    }
    let upper = line.points.iter().map(|p| (p.steps, p.high));
    let lower = line.points.iter().rev().map(|p| (p.steps, p.low));
    let corners: Vec<_> =
        upper.chain(lower).map(|(steps, y)| format!("{:.1},{:.1}", axes.x(steps), axes.y(y))).collect();
    let style = line.series % STYLES;
    let _ = write!(svg, "<polygon class=\"band s{style}\" points=\"{}\"/>", corners.join(" "));
}

fn push_line(svg: &mut String, axes: &Axes, line: &Line) {
    let style = line.series % STYLES;
    let places: Vec<_> = line.points.iter().map(|p| (axes.x(p.steps), axes.y(p.mean))).collect();
    let corners: Vec<_> = places.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    let _ = write!(svg, "<polyline class=\"line s{style}\" points=\"{}\"/>", corners.join(" "));
    // A marker that would sit upon the last one says nothing.
    let mut marked = f64::NEG_INFINITY;
    for &(x, y) in &places {
        if x - marked >= 9.0 {
            svg.push_str(&marker(style, x, y));
            marked = x;
        }
    }
}

/// Line and marker of a series, 36 wide, its middle at (`x` + 18, `y`).
fn key_marks(series: usize, x: f64, y: f64) -> String {
    let style = series % STYLES;
    format!(
        "<line class=\"line s{style}\" x1=\"{x:.1}\" y1=\"{y:.1}\" x2=\"{:.1}\" y2=\"{y:.1}\"/>{}",
        x + 36.0,
        marker(style, x + 18.0, y)
    )
}

/// The symbol of a style, its middle at (`x`, `y`).
pub(super) fn marker(style: usize, x: f64, y: f64) -> String {
    let path = match style {
        0 => format!("M{:.1} {y:.1}a3.2 3.2 0 1 0 6.4 0a3.2 3.2 0 1 0 -6.4 0z", x - 3.2),
        1 => format!("M{:.1} {:.1}h6v6h-6z", x - 3.0, y - 3.0),
        2 => format!("M{x:.1} {:.1}l4 7h-8z", y - 4.5),
        3 => format!("M{x:.1} {:.1}l4.2 4.2l-4.2 4.2l-4.2 -4.2z", y - 4.2),
        4 => format!("M{x:.1} {:.1}l4 -7h-8z", y + 4.5),
        _ => format!("M{:.1} {:.1}h2.4v-2.8h2.4v2.8h2.4v2.4h-2.4v2.8h-2.4v-2.8h-2.4z", x - 3.6, y - 1.2),
    };
    format!("<path class=\"marker s{style}\" d=\"{path}\"/>")
}

/// The panel in words: where each line starts, where it ends, and when it crosses the threshold.
fn description(figure: &Figure, panel: &Panel) -> String {
    let sentences: Vec<_> = panel
        .lines
        .iter()
        .filter_map(|line| {
            let name = figure.series.get(line.series)?;
            let (first, last) = (line.points.first()?, line.points.last()?);
            let mut sentence = format!("{name}: {} to {}", at(first), at(last));
            if let Some(threshold) = &figure.threshold
                && let Some(crossing) = line.points.iter().find(|point| point.mean > threshold.value)
            {
                let _ = write!(sentence, ", above {} from step {}", threshold.label, crossing.steps);
            }
            Some(sentence)
        })
        .collect();
    format!("{} over optimiser steps. {}.", figure.y_label, sentences.join("; "))
}

fn at(point: &Point) -> String {
    format!("{:.2} at step {}", point.mean, point.steps)
}

#[cfg(test)]
mod tests {
    use super::super::specimen;
    use super::*;

    #[test]
    fn a_panel() {
        let figure = specimen::figure();
        insta::assert_snapshot!(panel(&figure, 0).replace("><", ">\n<"));
    }

    #[test]
    fn a_figure_stands_alone() {
        let svg = stand_alone(&specimen::figure());
        assert!(svg.contains("<style>") && svg.contains("<title id=\"title\">"));
        assert!(!svg.replace("http://www.w3.org/2000/svg", "").contains("http"), "no outside reference");
        assert_eq!(svg.matches("<g ").count(), svg.matches("</g>").count());
    }

    #[test]
    fn a_panel_without_points_is_still_a_picture() {
        let mut figure = specimen::figure();
        figure.panels =
            vec![Panel { title: "nothing".into(), lines: vec![Line { series: 0, points: vec![] }] }];
        assert!(panel(&figure, 0).ends_with("</svg>"));
        assert!(!panel(&figure, 0).contains("NaN"));
    }

    #[test]
    fn ticks_reach_the_last_step() {
        assert_eq!(Axes { last: 200 }.ticks(), [0, 1, 2, 5, 10, 20, 50, 100, 200]);
        assert_eq!(Axes { last: 1 }.ticks(), [0, 1]);
    }
}
