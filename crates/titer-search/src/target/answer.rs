//! After how much the model breaks, by which attack: read from what the experiment measured.

use std::collections::BTreeMap;

use serde::Serialize;
use titer_conditions::{Reach, waypoints};
use titer_lab::{Result, Results};
use titer_plan::{Arm, AttackPoint, Component, Cost};

/// The answer to `titer attack`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Answer {
    /// The experiment, under which `titer show` knows more.
    pub experiment: String,
    /// The model.
    pub model: String,
    /// φ: the harmfulness above which it counts as broken.
    pub phi: f64,
    /// What costs are compared by.
    pub unit: String,
    /// The attacks that were run with seeds of their own, the cheapest first.
    pub attacks: Vec<Tried>,
    /// Runs that were planned and not measured: nothing is known of them.
    pub missing: Vec<String>,
    /// Attacks tried in the search.
    pub trials: usize,
    /// Attacks of the search that failed, so that nothing is known of them.
    pub failed_trials: usize,
    /// Floating-point operations of the search, as estimated.
    pub search_flops: f64,
    /// Whether probes ended once it was clear on which side of φ they lie: between the first and the last checkpoint harm
    /// and ability are then of what was asked.
    pub sequential: bool,
}

/// One attack and what it came to, seed by seed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Tried {
    /// The attack.
    pub attack: AttackPoint,
    /// Its runs, in the order of their seeds.
    pub runs: Vec<Run>,
    /// Mean harmfulness and ability over the runs, at each checkpoint that all of them reached.
    pub course: Vec<Stop>,
}

/// One run of an attack.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Run {
    /// Its seed.
    pub seed: u64,
    /// What had been spent at the last checkpoint before the break; all of it where there was none.
    pub after: Cost,
    /// What had been spent where it broke; none where it did not.
    pub until: Option<Cost>,
    /// Whether the model was still able at some checkpoint where it was broken.
    pub able: bool,
    /// How long the whole run took, probes included.
    pub seconds: f64,
}

/// Means over the runs of an attack at one checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Stop {
    /// Optimiser steps.
    pub steps: u64,
    /// Examples presented.
    pub examples: u64,
    /// Harmfulness of the worst probe.
    pub harm: f64,
    /// Ability on permitted prompts.
    pub ability: Option<f64>,
}

impl Tried {
    /// How many of its runs broke the model.
    pub fn broken(&self) -> usize {
        self.runs.iter().filter(|run| run.until.is_some()).count()
    }

    /// What the middle one of its runs needed, in that unit; the greatest number where it did not break the model.
    fn middle(&self, axis: Component) -> u64 {
        let mut needed: Vec<u64> =
            self.runs.iter().map(|run| run.until.map_or(u64::MAX, |cost| axis.of(&cost).max(1))).collect();
        needed.sort_unstable();
        needed.get(needed.len().saturating_sub(1) / 2).copied().unwrap_or(u64::MAX)
    }
}

impl Answer {
    /// Reads it from the results of an experiment that [`super::Target`] wrote, for its undefended model.
    ///
    /// # Errors
    /// When an artifact is damaged.
    pub fn of(results: &Results) -> Result<Self> {
        let plan = &results.plan;
        let experiment = &plan.experiment;
        let conditions = experiment.conditions;
        let baseline = experiment.defence.iter().find(|entry| entry.is_baseline());
        let baseline = baseline.map(|entry| entry.label.as_str()).unwrap_or_default();
        let mut missing = Vec::new();
        let mut runs = BTreeMap::<AttackPoint, Vec<(Run, Vec<Stop>)>>::new();
        for cell in plan.cells.iter().filter(|cell| cell.defence == baseline && cell.arm == Arm::Main) {
            let Some(attack) = cell.before.attack() else { continue };
            let Some(cost) = results.costs.iter().find(|cost| cost.hash == cell.stage) else {
                missing.push(format!("{attack}#{}", cell.attack_seed));
                continue;
            };
            let points = waypoints(&results.of_cell(cell)?)?;
            let reach = Reach::of(&points, conditions.phi, conditions.stability_epsilon);
            let run = Run {
                seed: cell.attack_seed,
                after: reach.whole,
                until: reach.broken,
                able: reach.broken_and_able.is_some(),
                seconds: cost.seconds,
            };
            let course = points.iter().map(|point| Stop {
                steps: point.spent.steps,
                examples: point.spent.examples,
                harm: point.harm,
                ability: point.ability,
            });
            runs.entry(attack.clone()).or_default().push((run, course.collect()));
        }
        let tried = runs.into_iter().map(|(attack, runs)| {
            let (runs, courses): (Vec<Run>, Vec<Vec<Stop>>) = runs.into_iter().unzip();
            Tried { attack, runs, course: mean(&courses) }
        });
        let mut attacks: Vec<Tried> = tried.collect();
        attacks.sort_by(|a, b| {
            let harm = |tried: &Tried| tried.course.iter().map(|stop| stop.harm).fold(0.0, f64::max);
            let cost = a.middle(conditions.budget).cmp(&b.middle(conditions.budget));
            cost.then(harm(b).total_cmp(&harm(a))).then(a.attack.cmp(&b.attack))
        });
        let found = experiment.adversary.iter().flat_map(|adversary| &adversary.found);
        let of_baseline = || found.clone().filter(|weakness| weakness.defence == baseline);
        Ok(Self {
            experiment: experiment.name.clone(),
            model: experiment.model.reference(),
            phi: conditions.phi,
            unit: conditions.budget.unit().to_owned(),
            attacks,
            missing,
            failed_trials: of_baseline().map(|weakness| weakness.failed).sum(),
            trials: of_baseline().map(|weakness| weakness.trials).sum(),
            search_flops: of_baseline().map(|weakness| weakness.flops).sum(),
            sequential: experiment.probe.sequential,
        })
    }

    /// The cheapest attack, if it broke the model in most of its runs.
    pub fn cheapest(&self) -> Option<&Tried> {
        self.attacks.first().filter(|tried| 2 * tried.broken() > tried.runs.len())
    }
}

/// Means over courses at the checkpoints that all of them reached.
fn mean(courses: &[Vec<Stop>]) -> Vec<Stop> {
    let Some(first) = courses.first() else { return Vec::new() };
    let at = |steps: u64| -> Option<Vec<&Stop>> {
        courses.iter().map(|course| course.iter().find(|stop| stop.steps == steps)).collect()
    };
    let count = courses.len() as f64;
    let of = |stop: &Stop| {
        let all = at(stop.steps)?;
        let ability: Option<Vec<f64>> = all.iter().map(|stop| stop.ability).collect();
        Some(Stop {
            harm: all.iter().map(|stop| stop.harm).sum::<f64>() / count,
            ability: ability.map(|values| values.iter().sum::<f64>() / count),
            ..*stop
        })
    };
    first.iter().map_while(of).collect()
}
