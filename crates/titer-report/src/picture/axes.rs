//! The frame in which values are drawn: two scales, the grid, and the words around it.

use std::fmt::Write as _;

use super::super::escape;

/// Width of a letter of a picture's words, about.
pub(super) const LETTER: f64 = 7.3;

/// From values to places along one axis; what lies outside is drawn at the edge.
#[derive(Clone, Copy)]
pub(super) struct Scale {
    by: fn(f64) -> f64,
    low: f64,
    high: f64,
    start: f64,
    end: f64,
}

impl Scale {
    /// Even steps from `low` to `high`, which lie at `start` and `end`.
    pub(super) fn linear([low, high]: [f64; 2], [start, end]: [f64; 2]) -> Self {
        Self { by: |value| value, low, high, start, end }
    }

    /// By log(1 + x) from 0 on, so that the first steps, where models break, have room.
    pub(super) fn logarithmic(high: f64, [start, end]: [f64; 2]) -> Self {
        Self { by: f64::ln_1p, low: 0.0, high, start, end }
    }

    /// The place of a value.
    pub(super) fn at(self, value: f64) -> f64 {
        let (low, high) = ((self.by)(self.low), (self.by)(self.high));
        let share = ((self.by)(value) - low) / (high - low);
        self.start + share.clamp(0.0, 1.0) * (self.end - self.start)
    }
}

/// One axis: its scale, the values that are named, and what it is called.
pub(super) struct Axis<'a> {
    pub(super) scale: Scale,
    pub(super) ticks: Vec<f64>,
    pub(super) label: &'a str,
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
        for tick in &y.ticks {
            let at = y.scale.at(*tick);
            let _ = write!(
                svg,
                "<path class=\"grid\" d=\"M{left} {at:.1}H{right}\"/>\
                 <text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{tick}</text>",
                left - 5.0,
                at + 4.0
            );
        }
        for tick in &x.ticks {
            let at = x.scale.at(*tick);
            let _ = write!(svg, "<path class=\"grid\" d=\"M{at:.1} {top}V{bottom}\"/>");
        }
        // The ends are named, and of the others those that have room, from the right on.
        let mut taken: Vec<[f64; 2]> = Vec::new();
        for tick in x.ticks.iter().take(1).chain(x.ticks.iter().skip(1).rev()) {
            let at = x.scale.at(*tick);
            let half = LETTER * tick.to_string().len() as f64 / 2.0 + 2.0;
            let place = [at - half, at + half];
            if taken.iter().all(|other| place[1] <= other[0] || other[1] <= place[0]) {
                taken.push(place);
                let _ = write!(
                    svg,
                    "<text class=\"tick\" x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{tick}</text>",
                    bottom + 15.0
                );
            }
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
    fn scales_end_where_they_should() {
        let linear = Scale::linear([0.5, 1.0], [100.0, 0.0]);
        assert_eq!([0.5, 0.75, 1.0, 2.0].map(|value| linear.at(value)), [100.0, 50.0, 0.0, 0.0]);
        let logarithmic = Scale::logarithmic(99.0, [0.0, 10.0]);
        assert_eq!([0.0, 99.0].map(|value| logarithmic.at(value)), [0.0, 10.0]);
        assert!((logarithmic.at(9.0) - 5.0).abs() < 1e-9);
    }

    #[test]
    fn names_of_values_leave_each_other_room() {
        let frame = Frame { left: 0.0, top: 0.0, right: 100.0, bottom: 100.0 };
        let axis = |ticks: &[f64]| Axis {
            scale: Scale::linear([0.0, 1000.0], [0.0, 100.0]),
            ticks: ticks.to_vec(),
            label: "x",
        };
        let mut svg = String::new();
        frame.push(&mut svg, &axis(&[0.0, 10.0, 500.0, 1000.0]), &axis(&[]));
        assert_eq!(svg.matches("class=\"grid\"").count(), 4);
        let named: Vec<_> =
            svg.split("middle\">").skip(1).filter_map(|rest| rest.split('<').next()).collect();
        assert_eq!(named, ["0", "1000", "500", "x", "x"]);
    }
}
