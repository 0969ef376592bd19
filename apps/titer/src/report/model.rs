//! Everything that a report says, as plain data: no frame, no store, no clock.

use serde::Serialize;
use titer_conditions::Verdicts;

use super::pareto::Pareto;
use crate::caveats::Caveat;
use crate::comparison::Row;
use crate::table::Table;

/// One report. Two runs of one experiment differ in `timings` only.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct ReportModel {
    /// The experiment's line for people.
    pub(crate) summary: String,
    /// What the conditions came to.
    pub(crate) verdicts: Verdicts,
    /// The defences side by side; what they took in time is in `timings`.
    pub(crate) comparison: Vec<Row>,
    /// Defence against attack.
    pub(crate) heat_maps: Vec<Table>,
    /// Safety against use.
    pub(crate) pareto: Option<Pareto>,
    /// Curves over budget.
    pub(crate) figures: Vec<Figure>,
    /// What was measured, in numbers.
    pub(crate) scope: Vec<Fact>,
    /// What to know before quoting a number; what `verdicts` says of each defence, said once.
    pub(crate) caveats: Vec<Caveat>,
    /// What was planned and has no result yet.
    pub(crate) missing: Vec<String>,
    /// The resolved spec as TOML: every default stated.
    pub(crate) spec: String,
    /// What it was made with.
    pub(crate) environment: Vec<Fact>,
    /// The artifacts behind the numbers.
    pub(crate) artifacts: Vec<Artifact>,
    /// What it cost, on which hosts.
    pub(crate) timings: Timings,
}

/// A name and a value.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Fact {
    /// What it is.
    pub(crate) name: String,
    /// What it came to.
    pub(crate) value: String,
}

/// A stage's result in the store.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Artifact {
    /// The stage's kind.
    pub(crate) kind: String,
    /// The stage's label.
    pub(crate) label: String,
    /// The artifact's full name.
    pub(crate) hash: String,
}

/// What an experiment cost.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Timings {
    /// All stages together, seconds of work.
    pub(crate) seconds: f64,
    /// Where the stages ran.
    pub(crate) hosts: Vec<String>,
    /// Kind by kind, in the order of the pipeline.
    pub(crate) kinds: Vec<KindTiming>,
    /// What each defence costs whom it protects.
    pub(crate) defences: Vec<DefenceTiming>,
}

/// What a defence costs: once for a model, or more for a user.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct DefenceTiming {
    /// Its label.
    pub(crate) defence: String,
    /// Wall-clock time; none where it was not measured.
    pub(crate) seconds: Option<f64>,
}

/// What the stages of one kind cost.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct KindTiming {
    /// The kind.
    pub(crate) kind: String,
    /// How many stages.
    pub(crate) stages: usize,
    /// All of them together.
    pub(crate) seconds: f64,
    /// The longest.
    pub(crate) longest: f64,
}

/// Panels that share their axes and their lines' names.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Figure {
    /// Names its file: lower case and dashes.
    pub(crate) id: String,
    /// What it shows.
    pub(crate) title: String,
    /// How to read it.
    pub(crate) caption: String,
    /// The y axis; its values are shares from 0 to 1.
    pub(crate) y_label: String,
    /// A line across each panel, with its name.
    pub(crate) threshold: Option<Threshold>,
    /// What the lines are called.
    pub(crate) series: Vec<String>,
    /// Which lines are drawn together.
    pub(crate) groups: Vec<Group>,
    /// One per attack.
    pub(crate) panels: Vec<Panel>,
}

/// Lines that are drawn in the same panels: few enough to be told apart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Group {
    /// What they have in common; empty where all are in one group.
    pub(crate) title: String,
    /// The lines.
    pub(crate) members: Vec<Member>,
}

/// One line of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Member {
    /// Index into the figure's series.
    pub(crate) series: usize,
    /// Decides colour, dashes and symbol.
    pub(crate) style: usize,
}

/// A line across a panel.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Threshold {
    /// Its height.
    pub(crate) value: f64,
    /// Its name.
    pub(crate) label: String,
}

/// One pair of axes; x is optimiser steps.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Panel {
    /// Its attack.
    pub(crate) title: String,
    /// Its lines, in the order of the series.
    pub(crate) lines: Vec<Line>,
}

/// One line with its band.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Line {
    /// Index into the figure's series.
    pub(crate) series: usize,
    /// Ascending in `steps`.
    pub(crate) points: Vec<Point>,
}

/// One point of a line: all runs at one budget.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Point {
    /// Optimiser steps spent.
    pub(crate) steps: u64,
    /// Mean over runs.
    pub(crate) mean: f64,
    /// The lowest run.
    pub(crate) low: f64,
    /// The highest run.
    pub(crate) high: f64,
}
