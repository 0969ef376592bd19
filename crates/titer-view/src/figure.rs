//! A figure of curves as plain data: which lines there are, and which are drawn together.

use serde::Serialize;

use crate::curves::Point;

/// How many lines of one picture can be told apart, beside that of the undefended model.
pub const LINES: usize = 6;

/// The style of the undefended model, in every picture.
pub const BASELINE: usize = LINES;

/// Panels that share their axes and their lines' names.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figure {
    /// Names its file: lower case and dashes.
    pub id: String,
    /// What it shows.
    pub title: String,
    /// How to read it.
    pub caption: String,
    /// The y axis; its values are shares from 0 to 1.
    pub y_label: String,
    /// A line across each panel, with its name.
    pub threshold: Option<Threshold>,
    /// What the lines are called.
    pub series: Vec<String>,
    /// Which lines are drawn together.
    pub groups: Vec<Group>,
    /// One per attack.
    pub panels: Vec<Panel>,
}

/// Lines that are drawn in the same panels: few enough to be told apart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Group {
    /// What they have in common; empty where all are in one group.
    pub title: String,
    /// The lines.
    pub members: Vec<Member>,
}

/// One line of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Member {
    /// Index into the figure's series.
    pub series: usize,
    /// Decides colour, dashes and symbol.
    pub style: usize,
}

/// A line across a panel.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Threshold {
    /// Its height.
    pub value: f64,
    /// Its name.
    pub label: String,
}

/// One pair of axes; x is optimiser steps.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Panel {
    /// Its attack.
    pub title: String,
    /// Its lines, in the order of the series.
    pub lines: Vec<Line>,
}

/// One line with its band.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Line {
    /// Index into the figure's series.
    pub series: usize,
    /// Ascending in steps.
    pub points: Vec<Point>,
}
