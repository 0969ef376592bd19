//! The runs of one attack on one defence as one line: their mean, and the band from the lowest to the highest. The
//! same on a page and on a screen.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use titer_lab::live::{Curve, CurvePoint, ExperimentView};
use titer_plan::{Arm, Before, Probe};

/// A value with the interval around it. What is no number is left out of pictures.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Point {
    /// What was spent, or the step.
    pub x: f64,
    /// The value: of several runs the mean.
    pub y: f64,
    /// The lowest run, or the interval's lower end.
    pub low: f64,
    /// The highest run, or its upper end.
    pub high: f64,
}

impl Point {
    /// A value without an interval.
    pub fn exact(x: f64, y: f64) -> Self {
        Self { x, y, low: y, high: y }
    }

    /// The value without its interval.
    pub fn alone(self) -> Self {
        Self::exact(self.x, self.y)
    }

    /// Whether all of it can be drawn.
    pub fn is_finite(&self) -> bool {
        [self.x, self.y, self.low, self.high].into_iter().all(f64::is_finite)
    }

    /// Of several runs, at least one: what each had spent, and its value.
    fn of(runs: &[(f64, f64)]) -> Self {
        let mean = |of: fn(&(f64, f64)) -> f64| runs.iter().map(of).sum::<f64>() / runs.len() as f64;
        let values = || runs.iter().map(|run| run.1);
        Self {
            x: mean(|run| run.0),
            y: mean(|run| run.1),
            low: values().fold(f64::INFINITY, f64::min),
            high: values().fold(f64::NEG_INFINITY, f64::max),
        }
    }
}

/// What was measured after so many steps: of each run that came that far what it had spent, and its value.
pub type Steps = BTreeMap<u64, Vec<(f64, f64)>>;

/// A line of the steps at which every run that has begun was still going on: where one was broken off, a mean over
/// the others would flatter the defence.
pub fn line(steps: &Steps) -> Vec<Point> {
    let runs = steps.values().map(Vec::len).max().unwrap_or(0);
    steps.values().filter(|values| values.len() == runs).map(|values| Point::of(values)).collect()
}

/// What the runs of a line have in common.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Group {
    /// What was done to the model.
    pub before: Before,
    /// The defence's label.
    pub defence: String,
    /// What the defence may have seen.
    pub arm: Arm,
}

impl Group {
    fn of(curve: &Curve) -> Self {
        Self { before: curve.before.clone(), defence: curve.defence.clone(), arm: curve.arm }
    }

    fn has(&self, curve: &Curve) -> bool {
        curve.before == self.before && curve.defence == self.defence && curve.arm == self.arm
    }

    /// For lists and legends.
    pub fn name(&self) -> String {
        let arm = match self.arm {
            Arm::Main => "",
            Arm::CrossDomain => " (cross-domain)",
        };
        format!("{} · {}{arm}", self.defence, self.before)
    }
}

/// The groups that were asked about a probe as they were attacked, in the order of the plan.
pub fn groups(view: &ExperimentView, probe: Probe) -> Vec<Group> {
    let mut groups = Vec::new();
    // Runs of one group mostly follow each other: few names are compared.
    let mut known = BTreeSet::new();
    for curve in view.curves.iter().filter(|curve| curve.probe == probe && curve.before != Before::Nothing) {
        if groups.last().is_some_and(|last: &Group| last.has(curve)) {
            continue;
        }
        let group = Group::of(curve);
        if known.insert(group.clone()) {
            groups.push(group);
        }
    }
    groups
}

/// The probes that were asked, in the order of the tables.
pub fn probes(view: &ExperimentView) -> Vec<Probe> {
    let asked = |probe: &Probe| {
        view.curves.iter().any(|curve| curve.probe == *probe && curve.before != Before::Nothing)
    };
    Probe::ALL.into_iter().filter(asked).collect()
}

/// What is on the x axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Spent {
    /// Optimiser steps.
    #[default]
    Steps,
    /// Examples presented.
    Examples,
    /// Arithmetic.
    Flops,
}

impl Spent {
    /// All, in the order in which a key goes through them.
    pub const ALL: [Self; 3] = [Self::Steps, Self::Examples, Self::Flops];

    /// As a label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Steps => "steps",
            Self::Examples => "examples",
            Self::Flops => "FLOPs",
        }
    }

    fn of(self, point: &CurvePoint) -> f64 {
        match self {
            Self::Steps => point.steps as f64,
            Self::Examples => point.examples as f64,
            Self::Flops => point.flops,
        }
    }
}

/// The runs of a group on one probe.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Gathered {
    /// The points at which every run was still going on.
    pub points: Vec<Point>,
    /// How many runs.
    pub runs: usize,
    /// How many of them go on.
    pub live: usize,
}

/// Takes the runs of a group on one probe together.
pub fn gather(view: &ExperimentView, group: &Group, probe: Probe, spent: Spent) -> Gathered {
    let curves: Vec<_> =
        view.curves.iter().filter(|curve| curve.probe == probe && group.has(curve)).collect();
    let mut steps = Steps::new();
    for point in curves.iter().flat_map(|curve| curve.points.iter()) {
        steps.entry(point.steps).or_default().push((spent.of(point), point.mean));
    }
    Gathered {
        points: line(&steps),
        runs: curves.len(),
        live: curves.iter().filter(|curve| curve.live).count(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use titer_specimen::live::experiment;

    use super::*;

    #[test]
    fn a_line_ends_with_the_first_of_its_runs() {
        let at = |x: f64, values: &[f64]| values.iter().map(|value| (x, *value)).collect::<Vec<_>>();
        let steps =
            Steps::from([(0, at(0.0, &[0.0, 0.1])), (5, at(80.0, &[0.2, 0.6])), (10, at(160.0, &[0.3]))]);
        let points = line(&steps);
        assert_eq!(points.len(), 2);
        assert_eq!(points[1], Point { x: 80.0, y: 0.4, low: 0.2, high: 0.6 });
        assert!(line(&Steps::new()).is_empty());
    }

    #[test]
    fn runs_of_a_group_are_taken_together() {
        let mut view = experiment();
        let template = view.curves[0].clone();
        let run = |seed: u64, means: &[f64]| {
            let point = |(at, mean): (u64, &f64)| CurvePoint {
                steps: at * 5,
                examples: at * 80,
                flops: 0.0,
                mean: *mean,
                standard_error: None,
            };
            let points = Arc::new((0..).zip(means).map(point).collect());
            Curve { attack_seed: seed, points, live: seed == 1, ..template.clone() }
        };
        view.curves = vec![run(0, &[0.0, 0.2, 0.3]), run(1, &[0.1, 0.6]), run(2, &[])];
        let group = groups(&view, template.probe).remove(0);
        let gathered = gather(&view, &group, template.probe, Spent::Examples);
        assert_eq!((gathered.runs, gathered.live), (3, 1));
        assert_eq!(gathered.points.last(), Some(&Point { x: 80.0, y: 0.4, low: 0.2, high: 0.6 }));
    }

    #[test]
    fn groups_keep_the_order_of_the_plan() {
        let view = experiment();
        let groups = groups(&view, Probe::Seen);
        assert!(groups.len() >= 2, "{groups:?}");
        assert_eq!(groups[0].defence, view.curves[0].defence);
        let distinct: BTreeSet<_> = groups.iter().collect();
        assert_eq!(distinct.len(), groups.len());
        assert_eq!(probes(&view), [Probe::Seen, Probe::Unseen, Probe::Permitted]);
    }
}
