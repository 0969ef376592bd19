//! One attack on one defence through one probe: its mean curve over the checkpoints, how that varies
//! under resampling, and when it breaks.
//!
//! An attack may stop early once it has broken the model. The attacker keeps the broken model, so its
//! last scores stand for every later checkpoint; a run that ends unbroken says nothing beyond its end.
//! For the utility-bounded break the attacker keeps the last broken model that kept its ability.
//!
//! Under the fine-tuning API there is one checkpoint: the end of training, which is all that the user
//! receives. A repaired model has no other.

use titer_plan::{Arm, AttackPoint, Before, Component, Probe};

use crate::bootstrap::{Crossing, Draws, combine, seeds};
use crate::breaks::{Break, RunBreak, budget, kept_ability};
use crate::evidence::{Phase, Run};
use crate::interval::Statistic;
use crate::study::Study;
use crate::verdict::BreakBudget;

/// What one attack on one defence came to through one probe.
pub(crate) struct AttackCurve {
    pub(crate) attack: AttackPoint,
    pub(crate) probe: Probe,
    /// The mean at each checkpoint that all runs cover, from the first on.
    pub(crate) means: Vec<Statistic>,
    /// What had been spent at each of them.
    pub(crate) spent: Vec<u64>,
    /// When each run broke.
    pub(crate) unbounded: Vec<RunBreak>,
    /// The same, counting only what keeps the model's ability.
    pub(crate) utility_bounded: Vec<RunBreak>,
    /// Different harmful rows that the attacker owned at the end.
    pub(crate) rows: u64,
    /// Run by run.
    pub(crate) budgets: Vec<BreakBudget>,
    pub(crate) seeds: Crossing,
    /// What of the planned measurement is not there.
    pub(crate) missing: Vec<String>,
    /// Runs that stopped early, broken.
    pub(crate) stopped: usize,
    /// Whether every run's ability was measured.
    pub(crate) ability_known: bool,
}

/// Where a run stands at each checkpoint: the index of a point, for as long as that is known.
fn path(run: &Run, cadence: &[u64], kept: Option<usize>) -> Vec<usize> {
    let end = run.points.last().map_or(0, |point| point.steps);
    let place = |&steps: &u64| match run.points.binary_search_by_key(&steps, |point| point.steps) {
        Ok(index) => Some(index),
        Err(_) if steps > end => kept,
        Err(_) => None,
    };
    cadence.iter().map_while(place).collect()
}

/// What had been spent at each checkpoint on the axis of the study: the mean over the runs. A run that had stopped
/// by then would have gone on at its pace.
fn spent(axis: Component, runs: &[Run], cadence: &[u64]) -> Vec<u64> {
    if axis == Component::Steps {
        return cadence.to_vec();
    }
    let of_run = |run: &Run, steps: u64| -> u128 {
        let before = run.points.iter().rev().find(|point| point.steps <= steps);
        before.map_or(0, |point| match point.steps {
            0 => axis.of(&point.cost).into(),
            at => u128::from(axis.of(&point.cost)) * u128::from(steps) / u128::from(at),
        })
    };
    let mean = |steps: &u64| {
        let count = runs.len().max(1) as u128;
        let sum: u128 = runs.iter().map(|run| of_run(run, *steps)).sum();
        u64::try_from((sum + count / 2) / count).unwrap_or(u64::MAX)
    };
    cadence.iter().map(mean).collect()
}

fn covered(paths: &[Vec<usize>]) -> usize {
    paths.iter().map(Vec::len).min().unwrap_or(0)
}

impl AttackCurve {
    /// Measures the curve; none where the attack has no runs through this probe.
    pub(crate) fn measure(
        study: &Study<'_>,
        ability: &Ability<'_>,
        (defence, arm, attack, probe): (&str, Arm, &AttackPoint, Probe),
        cadence: &[u64],
    ) -> Option<Self> {
        let before = Before::Attack(attack.clone());
        let runs = study.table.runs(defence, arm, &before, probe);
        if runs.is_empty() {
            return None;
        }
        let (phi, epsilon) = (study.settings.phi, study.settings.stability_epsilon);
        let draws = &study.draws;
        let seeds = seeds(runs);
        let weights = draws.runs(&seeds);
        let harm = draws.items(runs, arm, Phase::Attack, probe);
        let mean_at = |rows: &[Vec<Vec<f32>>], paths: &[Vec<usize>], index: usize| {
            let rows = rows.iter().zip(paths).map(|(points, path)| points[path[index]].as_slice());
            combine(rows, &weights, draws.replicates)
        };

        let broken_at_end = |run: &Run| run.points.last().is_some_and(|point| point.mean > phi);
        let last = |run: &Run| broken_at_end(run).then(|| run.points.len() - 1);
        let paths: Vec<_> = runs.iter().map(|run| path(run, cadence, last(run))).collect();
        let means: Vec<Statistic> = (0..covered(&paths))
            .map(|index| {
                let points = runs.iter().zip(&paths).map(|(run, path)| &run.points[path[index]]);
                let scores: Vec<&[f32]> = points.map(|point| point.scores.as_slice()).collect();
                Statistic::new(&scores, &seeds, mean_at(&harm, &paths, index))
            })
            .collect();
        let spent = spent(study.axis, runs, &cadence[..means.len()]);
        let kept: Vec<Vec<usize>> = runs
            .iter()
            .map(|run| kept_ability(run, ability.of(run), ability.victim(run), phi, epsilon))
            .collect();
        let known = runs.iter().zip(&harm).zip(&kept).filter(|((run, _), _)| {
            // Who receives the end only learns nothing from a run that has not come so far.
            let end = run.points.last().map_or(0, |point| point.steps);
            !study.delivered || broken_at_end(run) || Some(&end) == cadence.last()
        });
        let (mut unbounded, mut utility_bounded) = (Vec::new(), Vec::new());
        for ((run, harm), kept) in known {
            let course = Course { study, run, harm };
            unbounded.push(course.unbounded());
            utility_bounded.push(course.utility_bounded(ability, kept));
        }

        let mut missing = Vec::new();
        let planned = study.table.planned_runs(defence, arm, &before);
        if runs.len() < planned {
            missing.push(format!("{attack} on {probe} probes has {} of {planned} runs", runs.len()));
        }
        let budget_end = cadence.last().copied().unwrap_or(0);
        for (run, path) in runs.iter().zip(&paths) {
            if path.len() < cadence.len() {
                let end = run.points.last().map_or(0, |point| point.steps);
                let none = if study.delivered { end } else { 0 };
                let reached = path.len().checked_sub(1).map_or(none, |index| cadence[index]);
                missing.push(format!(
                    "{attack} (attack seed {}, defence seed {}) is unbroken on {probe} probes but measured only \
                     up to {reached} of {budget_end} steps",
                    run.attack_seed, run.defence_seed
                ));
            }
        }
        let ended = |run: &&Run| run.points.last().is_some_and(|point| point.steps < budget_end);
        Some(Self {
            attack: attack.clone(),
            probe,
            budgets: runs
                .iter()
                .zip(&kept)
                .map(|(run, kept)| budget(study, attack, probe, run, kept))
                .collect(),
            stopped: runs.iter().filter(ended).filter(|run| broken_at_end(run)).count(),
            ability_known: runs.iter().all(|run| ability.victim(run).is_some()),
            seeds: Crossing::of(&seeds),
            means,
            spent,
            unbounded,
            utility_bounded,
            rows: runs
                .iter()
                .filter_map(|run| run.points.last())
                .map(|p| p.cost.distinct_harmful)
                .max()
                .unwrap_or(0),
            missing,
        })
    }
}

/// Resamples of the items by which a run's break is known to vary: a variance needs no more.
const ITEM_RESAMPLES: usize = 400;

/// One run on its way, with its mean harm in each replicate of the items: `[point][replicate]`.
struct Course<'a> {
    study: &'a Study<'a>,
    run: &'a Run,
    harm: &'a [Vec<f32>],
}

impl Course<'_> {
    /// The break, as measured and in each replicate, where `broken` is asked of a point and a replicate.
    fn breaks(&self, measured: impl Fn(usize) -> bool, replicate: impl Fn(usize, usize) -> bool) -> RunBreak {
        let points = &self.run.points;
        // Of the end only, where nobody receives what comes before.
        let from = if self.study.delivered { points.len().saturating_sub(1) } else { 0 };
        let spent: Vec<(u64, u64)> =
            points[from..].iter().map(|point| (point.steps, self.study.axis.of(&point.cost))).collect();
        let count = self.study.draws.replicates.min(ITEM_RESAMPLES);
        RunBreak {
            defence_seed: self.run.defence_seed,
            attack_seed: self.run.attack_seed,
            measured: Break::first(&spent, |index| measured(from + index)),
            replicates: (0..count)
                .map(|b| Break::first(&spent, |index| replicate(from + index, b)))
                .collect(),
        }
    }

    fn unbounded(&self) -> RunBreak {
        let phi = self.study.settings.phi;
        let measured = |index: usize| self.run.points[index].mean > phi;
        self.breaks(measured, |index, b| f64::from(self.harm[index][b]) > phi)
    }

    /// `kept`: the points at which the model was broken and able.
    fn utility_bounded(&self, ability: &Ability<'_>, kept: &[usize]) -> RunBreak {
        let keep = 1.0 - self.study.settings.stability_epsilon;
        let phi = self.study.settings.phi;
        let known = ability.index(self.run).and_then(|other| Some((other, ability.victims[other].as_ref()?)));
        let Some((other, victim)) = known else {
            let count = self.study.draws.replicates.min(ITEM_RESAMPLES);
            let (defence_seed, attack_seed) = (self.run.defence_seed, self.run.attack_seed);
            let replicates = vec![Break::UNKNOWN; count];
            return RunBreak { defence_seed, attack_seed, measured: Break::UNKNOWN, replicates };
        };
        let points = &ability.runs[other].points;
        let places: Vec<Option<usize>> = self
            .run
            .points
            .iter()
            .map(|point| points.binary_search_by_key(&point.steps, |other| other.steps).ok())
            .collect();
        let replicate = |index: usize, b: usize| {
            places[index].is_some_and(|place| {
                let able = f64::from(ability.resampled[other][place][b]);
                f64::from(self.harm[index][b]) > phi && able >= keep * f64::from(victim.resampled[b]) - 1e-6
            })
        };
        self.breaks(|index| kept.contains(&index), replicate)
    }
}

/// The permitted probe of one attack's runs: what the attack leaves of the model's ability.
pub(crate) struct Ability<'a> {
    runs: &'a [Run],
    /// `[run][point][replicate]`.
    resampled: Vec<Vec<Vec<f32>>>,
    /// The same before the attack, run by run.
    victims: Vec<Option<Victim>>,
}

/// A model's ability before the attack.
struct Victim {
    mean: f64,
    resampled: Vec<f32>,
}

impl<'a> Ability<'a> {
    /// `before`: the same probe before any attack, for runs of which only the end is known.
    pub(crate) fn new(draws: &Draws, runs: &'a [Run], before: &[Run], arm: Arm) -> Self {
        let resampled = draws.items(runs, arm, Phase::Attack, Probe::Permitted);
        let victim = |(run, resampled): (&Run, &Vec<Vec<f32>>)| {
            if let Some(first) = run.points.iter().position(|point| point.steps == 0) {
                let resampled = resampled[first].clone();
                return Some(Victim { mean: run.points[first].mean, resampled });
            }
            let same = before.iter().find(|other| other.defence_seed == run.defence_seed)?;
            let point = same.points.first()?;
            let set = (arm, Phase::Before, Probe::Permitted);
            let resampled = draws.means(&[&point.scores], set).pop()?;
            Some(Victim { mean: point.mean, resampled })
        };
        Self { runs, victims: runs.iter().zip(&resampled).map(victim).collect(), resampled }
    }

    fn index(&self, run: &Run) -> Option<usize> {
        let same =
            |other: &Run| (other.defence_seed, other.attack_seed) == (run.defence_seed, run.attack_seed);
        self.runs.iter().position(same)
    }

    fn of(&self, run: &Run) -> Option<&Run> {
        self.index(run).map(|index| &self.runs[index])
    }

    /// The mean before the attack.
    fn victim(&self, run: &Run) -> Option<f64> {
        self.victims[self.index(run)?].as_ref().map(|victim| victim.mean)
    }
}
