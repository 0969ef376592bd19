//! The frame in which values are drawn: two axes, the grid, and the words around it.

use std::fmt::Write as _;

use titer_view::scale::{Room, Scale};

use super::super::escape;

/// Width of a letter of a picture's words, about.
pub(super) const LETTER: f64 = 7.3;
/// Height of a line of them.
const LINE: usize = 14;

/// One axis: its scale, from where to where it is drawn, and what it is called.
pub(super) struct Axis<'a> {
    pub(super) scale: Scale,
    pub(super) ends: [f64; 2],
    pub(super) label: &'a str,
}

impl Axis<'_> {
    /// The place of a value; what lies outside is drawn at the edge, and so is what is no number.
    pub(super) fn at(&self, value: f64) -> f64 {
        let [start, end] = self.ends;
        start + self.scale.place(value).unwrap_or(0.0).clamp(0.0, 1.0) * (end - start)
    }

    /// The values that are named, those whose names have room: each takes so much of the axis.
    fn ticks(&self, extent: fn(&str) -> usize) -> Vec<(f64, String)> {
        let length = (self.ends[1] - self.ends[0]).abs();
        let ticks = self.scale.ticks(Room { cells: length as usize, apart: 4, extent });
        ticks.into_iter().map(|tick| (self.at(tick.value), tick.label)).collect()
    }
}

/// The rectangle that holds the values.
#[derive(Clone, Copy)]
pub(super) struct Frame {
    pub(super) left: f64,
    pub(super) top: f64,
    pub(super) right: f64,
    pub(super) bottom: f64,
}

impl Frame {
    /// The grid, the named values, and the names of both axes.
    pub(super) fn push(self, svg: &mut String, x: &Axis<'_>, y: &Axis<'_>) {
        let Self { left, top, right, bottom } = self;
        for (at, name) in y.ticks(|_| LINE) {
            let _ = write!(
                svg,
                "<path class=\"grid\" d=\"M{left} {at:.1}H{right}\"/>\
                 <text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{name}</text>",
                left - 5.0,
                at + 4.0
            );
        }
        for (at, name) in x.ticks(|name| (LETTER * name.len() as f64) as usize) {
            let _ = write!(
                svg,
                "<path class=\"grid\" d=\"M{at:.1} {top}V{bottom}\"/>\
                 <text class=\"tick\" x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{name}</text>",
                bottom + 15.0
            );
        }
        let _ = write!(
            svg,
            "<path class=\"axis\" d=\"M{left} {top}V{bottom}H{right}\"/>\
             <text class=\"label\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\
             <text class=\"label\" transform=\"translate(11 {:.1}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
            (left + right) / 2.0,
            bottom + 31.0,
            escape::html(x.label),
            (top + bottom) / 2.0,
            escape::html(y.label)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_values_leave_each_other_room() {
        let frame = Frame { left: 0.0, top: 0.0, right: 100.0, bottom: 100.0 };
        let axis = |high: f64, ends| Axis { scale: Scale::linear(0.0, high), ends, label: "x" };
        let mut svg = String::new();
        frame.push(&mut svg, &axis(1000.0, [0.0, 100.0]), &axis(1.0, [100.0, 0.0]));
        let named: Vec<_> =
            svg.split("middle\">").skip(1).filter_map(|rest| rest.split('<').next()).collect();
        assert_eq!(named, ["0", "500", "1k", "x", "x"]);
        assert_eq!(svg.matches("text-anchor=\"end\"").count(), 3);
        assert_eq!(axis(1.0, [100.0, 0.0]).at(2.0), 0.0);
    }
}
