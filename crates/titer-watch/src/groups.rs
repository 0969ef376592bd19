//! The runs of one attack on one defence taken together: a mean line and a band from the lowest to the highest.

use std::collections::{BTreeMap, BTreeSet};

use titer_plan::{Arm, Before, Probe};
use titer_view::band::{Band, mean, while_all_go_on};

use super::widgets::chart::Point;
use titer_lab::live::{Curve, CurvePoint, ExperimentView};

/// What the runs of a group have in common.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Group {
    /// What was done to the model.
    pub(crate) before: Before,
    /// The defence's label.
    pub(crate) defence: String,
    /// What the defence may have seen.
    pub(crate) arm: Arm,
}

impl Group {
    fn of(curve: &Curve) -> Self {
        Self { before: curve.before.clone(), defence: curve.defence.clone(), arm: curve.arm }
    }

    fn has(&self, curve: &Curve) -> bool {
        curve.before == self.before && curve.defence == self.defence && curve.arm == self.arm
    }

    /// For lists and legends.
    pub(crate) fn name(&self) -> String {
        let arm = match self.arm {
            Arm::Main => "",
            Arm::CrossDomain => " (cross-domain)",
        };
        format!("{} · {}{arm}", self.defence, self.before)
    }
}

/// The groups that were asked about a probe as they were attacked, in the order of the plan.
pub(crate) fn groups(view: &ExperimentView, probe: Probe) -> Vec<Group> {
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
pub(crate) fn probes(view: &ExperimentView) -> Vec<Probe> {
    let asked = |probe: &Probe| {
        view.curves.iter().any(|curve| curve.probe == *probe && curve.before != Before::Nothing)
    };
    Probe::ALL.into_iter().filter(asked).collect()
}

/// What is on the x axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Budget {
    /// Optimiser steps.
    #[default]
    Steps,
    /// Examples presented.
    Examples,
    /// Arithmetic.
    Flops,
}

impl Budget {
    /// All, in the order in which a key goes through them.
    pub(crate) const ALL: [Self; 3] = [Self::Steps, Self::Examples, Self::Flops];

    /// As a label.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Steps => "steps",
            Self::Examples => "examples",
            Self::Flops => "FLOPs",
        }
    }

    /// What was spent until a point.
    pub(crate) fn of(self, point: &CurvePoint) -> f64 {
        match self {
            Self::Steps => point.steps as f64,
            Self::Examples => point.examples as f64,
            Self::Flops => point.flops,
        }
    }
}

/// The runs of a group on one probe.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Gathered {
    /// The points at which every run was still going on.
    pub(crate) points: Vec<Point>,
    /// How many runs.
    pub(crate) runs: usize,
    /// How many of them go on.
    pub(crate) live: usize,
}

/// Takes the runs of a group on one probe together.
pub(crate) fn gather(view: &ExperimentView, group: &Group, probe: Probe, budget: Budget) -> Gathered {
    let curves: Vec<_> =
        view.curves.iter().filter(|curve| curve.probe == probe && group.has(curve)).collect();
    let mut steps = BTreeMap::<u64, Vec<&CurvePoint>>::new();
    for point in curves.iter().flat_map(|curve| curve.points.iter()) {
        steps.entry(point.steps).or_default().push(point);
    }
    Gathered {
        points: while_all_go_on(&steps).map(|(_, points)| taken_together(points, budget)).collect(),
        runs: curves.len(),
        live: curves.iter().filter(|curve| curve.live).count(),
    }
}

fn taken_together(points: &[&CurvePoint], budget: Budget) -> Point {
    let Band { mean: y, low, high } = Band::of(points.iter().map(|point| point.mean));
    Point { x: mean(points.iter().map(|point| budget.of(point))), y, low, high }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::specimen;

    #[test]
    fn a_line_ends_with_the_first_of_its_runs() {
        let mut view = specimen::experiment();
        let template = view.curves[0].clone();
        let run = |seed: u64, means: &[f64]| Curve {
            attack_seed: seed,
            points: Arc::new(
                (0..)
                    .zip(means)
                    .map(|(at, mean)| CurvePoint {
                        steps: at * 5,
                        examples: at * 80,
                        flops: 0.0,
                        mean: *mean,
                        standard_error: None,
                    })
                    .collect(),
            ),
            live: seed == 1,
            ..template.clone()
        };
        view.curves = vec![run(0, &[0.0, 0.2, 0.3]), run(1, &[0.1, 0.6]), run(2, &[])];
        let group = groups(&view, template.probe).remove(0);
        let gathered = gather(&view, &group, template.probe, Budget::Examples);
        assert_eq!((gathered.runs, gathered.live), (3, 1));
        assert_eq!(gathered.points.len(), 2);
        assert_eq!(gathered.points[1], Point { x: 80.0, y: 0.4, low: 0.2, high: 0.6 });
    }

    #[test]
    fn groups_keep_the_order_of_the_plan() {
        let view = specimen::experiment();
        let groups = groups(&view, Probe::Seen);
        assert!(groups.len() >= 2, "{groups:?}");
        assert_eq!(groups[0].defence, view.curves[0].defence);
        let distinct: BTreeSet<_> = groups.iter().collect();
        assert_eq!(distinct.len(), groups.len());
        assert_eq!(probes(&view), [Probe::Seen, Probe::Unseen, Probe::Permitted]);
    }
}
