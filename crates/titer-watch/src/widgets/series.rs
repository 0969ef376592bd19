//! The lines of a chart.

use titer_view::curves::Point;
use titer_view::figure::Threshold;
use titer_view::{sanitise, wording};

use crate::look::Look;

/// How the values of a series are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trace {
    /// Joined, with the band around them.
    Line,
    /// Faint dots: raw values behind a smoothed line. Not in the legend.
    Dots,
}

/// One line of a chart.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Series {
    /// What the legend calls it.
    pub(crate) name: String,
    /// Which colour, dashes and sign it has.
    pub(crate) number: usize,
    /// How it is drawn.
    pub(crate) trace: Trace,
    /// Ascending in x.
    pub(crate) points: Vec<Point>,
}

impl Series {
    /// A line. Its name may be of any origin.
    pub(crate) fn line(name: &str, number: usize, points: Vec<Point>) -> Self {
        Self { name: sanitise::line(name).into_owned(), number, trace: Trace::Line, points }
    }

    /// The last value that is a number.
    pub(crate) fn last(&self) -> Option<f64> {
        self.points.iter().rev().find(|point| point.is_finite()).map(|point| point.y)
    }

    /// What can be drawn of it.
    pub(crate) fn shown(&self) -> impl Iterator<Item = &Point> + Clone {
        self.points.iter().filter(|point| point.is_finite())
    }
}

/// φ as a line to compare with.
pub(crate) fn tolerated(phi: f64, look: Look) -> Threshold {
    Threshold { value: phi, label: look.spell(&wording::tolerated(phi)).into_owned() }
}
