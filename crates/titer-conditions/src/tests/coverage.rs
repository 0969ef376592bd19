//! Simulations: intervals contain the truth as often as they claim, and are not absurdly wide.
//!
//! Scores are in thirds, as the graded oracle's. An item's chance of harm is the true mean plus effects of
//! the defence's seed, the attack's seed and the item; effects are bounded so that no chance leaves 0…1
//! and the true mean stays what it is called. `TITER_SIMULATIONS=20 cargo test --release -p titer-conditions coverage --
//! --nocapture` tries twenty times as many experiments.

use std::collections::BTreeMap;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use titer_plan::{Arm, Cost, DefenceRole, Probe};

use crate::bootstrap::{Draws, combine};
use crate::evidence::{ItemSet, Phase, Point, Run};
use crate::interval::{Lent, Statistic, simultaneous};
use crate::paired::Differences;
use crate::verdict::Bounds;

const SET: ItemSet = (Arm::Main, Phase::Attack, Probe::Unseen);
const ALPHA: f64 = 0.05;

/// How many times as many experiments as a test has time for.
pub(crate) fn times() -> usize {
    option_env!("TITER_SIMULATIONS").and_then(|times| times.parse().ok()).unwrap_or(1)
}

/// Three standard deviations of a share measured `experiments` times.
pub(crate) fn noise(share: f64, experiments: usize) -> f64 {
    3.0 * (share * (1.0 - share) / experiments as f64).sqrt()
}

/// One made-up experiment: several true means of several defences, measured by runs with the same seeds on the same
/// items.
struct World {
    means: Vec<f64>,
    defences: usize,
    defence_seeds: u64,
    attack_seeds: u64,
    items: usize,
    /// Largest effects of a defence's seed, an attack's seed and an item, as shares of the room to 0 or 1
    /// (of 0.2 at most).
    effects: [f64; 3],
    /// Whether seeds affect all means alike, or each by itself.
    shared: bool,
    /// How unequal the defences' spreads are: the standard deviation of their logarithms.
    unequal: f64,
}

struct Outcome {
    /// Share of defences whose intervals all contained the truth.
    coverage: f64,
    /// Mean width of the interval of each mean.
    widths: Vec<f64>,
}

/// A standard normal deviate (Box and Muller).
pub(crate) fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let (u, v) = (rng.random_range(f64::MIN_POSITIVE..1.0), rng.random_range(0.0..1.0f64));
    (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

impl World {
    fn run_seeds(&self) -> Vec<(u64, u64)> {
        (0..self.defence_seeds).flat_map(|d| (0..self.attack_seeds).map(move |a| (d, a))).collect()
    }

    /// The means of one defence, and what they are measured as.
    fn defence(
        &self,
        rng: &mut ChaCha8Rng,
        draws: &Draws,
        weights: &[Vec<f32>],
    ) -> (Vec<f64>, Vec<Statistic>) {
        let seeds = self.run_seeds();
        // Effects stay bounded where a spread is large.
        let most = 1.0 / self.effects.iter().sum::<f64>();
        let times = (self.unequal * normal(rng) - self.unequal.powi(2)).exp().min(most);
        let mut effects = |count: u64, times: f64| -> Vec<f64> {
            (0..count).map(|_| times * rng.random_range(-1.0..1.0)).collect()
        };
        let sets = if self.shared { 1 } else { self.means.len() };
        let of_seeds: Vec<_> = (0..sets)
            .map(|_| (effects(self.defence_seeds, times), effects(self.attack_seeds, times)))
            .collect();
        let of_item = effects(self.items as u64, 1.0);
        let mut truths = Vec::new();
        let mut statistics = Vec::new();
        for (index, &mean) in self.means.iter().enumerate() {
            let (of_defence, of_attack) = &of_seeds[index % sets];
            let room = mean.min(1.0 - mean).min(0.2);
            let seed_effect = |&(d, a): &(u64, u64)| {
                room * (self.effects[0] * of_defence[d as usize] + self.effects[1] * of_attack[a as usize])
            };
            truths.push(mean);
            let scores: Vec<Vec<f32>> = seeds
                .iter()
                .map(|seed| {
                    let chance = |item: &f64| mean + seed_effect(seed) + room * self.effects[2] * item;
                    of_item.iter().map(|item| graded(rng, chance(item).clamp(0.0, 1.0))).collect()
                })
                .collect();
            let scores: Vec<&[f32]> = scores.iter().map(Vec::as_slice).collect();
            let rows = draws.means(&scores, SET);
            let replicates = combine(rows.iter().map(Vec::as_slice), weights, draws.replicates);
            statistics.push(Statistic::new(&scores, &seeds, replicates));
        }
        (truths, statistics)
    }

    fn simulate(&self, experiments: usize) -> Outcome {
        let draws = Draws::new(&BTreeMap::from([(SET, self.items)]), 400);
        let weights = draws.runs(&self.run_seeds());
        let mut covered = 0;
        let count = (experiments * self.defences) as f64;
        let mut widths = vec![0.0; self.means.len()];
        for experiment in 0..experiments {
            let mut rng = ChaCha8Rng::seed_from_u64(experiment as u64);
            let defences: Vec<_> =
                (0..self.defences).map(|_| self.defence(&mut rng, &draws, &weights)).collect();
            for (own, (truths, statistics)) in defences.iter().enumerate() {
                let others = || defences.iter().enumerate().filter(move |(other, _)| *other != own);
                let lent: Vec<Lent> = (0..self.means.len())
                    .map(|index| {
                        let others: Vec<_> = others()
                            .map(|(_, (_, statistics))| (DefenceRole::Defence, &statistics[index]))
                            .collect();
                        Lent::of(others.into_iter())
                    })
                    .collect();
                let bounds = simultaneous(&statistics.iter().collect::<Vec<_>>(), &lent, ALPHA);
                let contains =
                    |(bounds, truth): (&Bounds, &f64)| (bounds.lower..=bounds.upper).contains(truth);
                covered += usize::from(bounds.iter().zip(truths).all(contains));
                for (width, bounds) in widths.iter_mut().zip(&bounds) {
                    *width += (bounds.upper - bounds.lower) / count;
                }
            }
        }
        Outcome { coverage: covered as f64 / count, widths }
    }
}

/// A score in thirds whose mean is `chance`: half of the answers are right in all slots or none.
fn graded(rng: &mut ChaCha8Rng, chance: f64) -> f32 {
    if rng.random_bool(0.5) {
        return f32::from(u8::from(rng.random_bool(chance)));
    }
    (0..3).map(|_| f32::from(u8::from(rng.random_bool(chance)))).sum::<f32>() / 3.0
}

/// Around φ = 0.2 and from near 0 to near 1.
const MEANS: [f64; 8] = [0.005, 0.02, 0.1, 0.2, 0.2, 0.3, 0.9, 0.99];

/// `runs` are defences × defence seeds × attack seeds; coverage is at least 0.94, the nominal one less 0.01, but for
/// noise, and no interval is wider than `widest` on average. Seeds are tried both with shared and with separate effects.
#[track_caller]
fn check(runs: (usize, u64, u64), effects: [f64; 3], unequal: f64, items: usize, widest: f64) {
    let (defences, defence_seeds, attack_seeds) = runs;
    let experiments = times() * 300usize.div_ceil(defences);
    for shared in [true, false] {
        let means = MEANS.to_vec();
        let world = World { means, defences, defence_seeds, attack_seeds, items, effects, shared, unequal };
        let Outcome { coverage, widths } = world.simulate(experiments);
        println!(
            "{runs:?} {effects:?} unequal {unequal} shared {shared}: coverage {coverage:.3}, widths {widths:.2?}"
        );
        // Defences of one experiment are judged on the same draws of lenders: count experiments, not defences.
        let least = 0.94 - noise(0.94, experiments);
        assert!(coverage >= least, "{runs:?} {effects:?}: coverage {coverage}, expected at least {least:.3}");
        let width = widths.iter().copied().fold(0.0, f64::max);
        assert!(width <= widest, "{runs:?} {effects:?}: widths {widths:?}, expected at most {widest}");
    }
}

#[test]
fn coverage_where_items_dominate() {
    check((11, 2, 3), [0.1, 0.1, 0.6], 0.0, 120, 0.35);
    check((5, 3, 2), [0.1, 0.1, 0.6], 0.0, 120, 0.35);
    check((3, 5, 5), [0.1, 0.1, 0.6], 0.0, 120, 0.35);
}

#[test]
fn coverage_where_seeds_dominate() {
    check((11, 2, 3), [0.6, 0.3, 0.1], 0.0, 120, 0.70);
    check((11, 2, 3), [0.9, 0.0, 0.1], 0.0, 120, 0.70);
    check((11, 1, 2), [0.0, 0.9, 0.1], 0.0, 120, 0.80);
    check((5, 2, 3), [0.6, 0.3, 0.1], 0.0, 120, 0.80);
    check((3, 5, 5), [0.6, 0.3, 0.1], 0.0, 120, 0.60);
}

#[test]
fn coverage_where_spreads_are_unequal() {
    check((11, 2, 3), [0.6, 0.3, 0.1], 0.4, 120, 0.70);
    check((11, 5, 5), [0.6, 0.3, 0.1], 0.4, 120, 0.60);
}

#[test]
fn coverage_of_few_defences() {
    check((3, 2, 3), [0.6, 0.3, 0.1], 0.0, 120, 0.85);
    check((2, 2, 3), [0.6, 0.3, 0.1], 0.0, 120, 0.95);
}

/// A run of a model that scores as given before any attack.
fn run(seed: u64, scores: Vec<f32>) -> Run {
    let point = Point {
        steps: 0,
        cost: Cost::default(),
        mean: scores.iter().map(|&score| f64::from(score)).sum::<f64>() / scores.len() as f64,
        refused: 0.0,
        degenerate: 0.0,
        refusals: vec![0.0; scores.len()],
        babble: vec![0.0; scores.len()],
        scores,
    };
    Run { defence_seed: seed, attack_seed: 0, points: vec![point] }
}

/// Differences with the given mean, and how often the 90 % interval lies above or below it.
fn difference_errors(mean: f64, items: usize, seeds: u64, seed_effect: f64) -> (f64, f64, f64) {
    let experiments = 300 * times();
    let (mut above, mut below, mut width) = (0.0, 0.0, 0.0);
    for experiment in 0..experiments {
        let mut rng = ChaCha8Rng::seed_from_u64(1000 + experiment as u64);
        let mut model = || -> Vec<Run> {
            (0..seeds)
                .map(|seed| {
                    let mean = mean + if seeds > 1 { seed_effect * rng.random_range(-1.0..1.0) } else { 0.0 };
                    let score = |_| if rng.random_bool(mean.abs()) { mean.signum() as f32 } else { 0.0 };
                    run(seed, (0..items).map(score).collect())
                })
                .collect()
        };
        let reference = [run(0, vec![0.0; items])];
        let of = |run: &Run| Some(run.points[0].scores.clone());
        let own = Differences::new(&model(), &reference, DefenceRole::Defence, of).expect("differences");
        let others: Vec<Differences> = (0..4)
            .map(|_| Differences::new(&model(), &reference, DefenceRole::Defence, of).expect("differences"))
            .collect();
        let others: Vec<_> = others.iter().map(|other| &other.sample).collect();
        let bounds = own.change(&others, ALPHA, 0.05).interval;
        above += f64::from(u8::from(bounds.lower > mean)) / experiments as f64;
        below += f64::from(u8::from(bounds.upper < mean)) / experiments as f64;
        width += (bounds.upper - bounds.lower) / experiments as f64;
    }
    (above, below, width)
}

#[test]
fn differences_err_on_each_side_no_more_than_alpha() {
    for (mean, items, seeds, effect, widest) in [
        (-0.05, 120, 1, 0.0, 0.09),
        (-0.05, 400, 2, 0.01, 0.10),
        (-0.01, 120, 2, 0.005, 0.09),
        (0.003, 120, 1, 0.0, 0.07),
        (0.05, 400, 3, 0.02, 0.10),
    ] {
        let (above, below, width) = difference_errors(mean, items, seeds, effect);
        println!(
            "difference {mean}, {items} items, {seeds} seeds: {above:.3} above, {below:.3} below, width {width:.3}"
        );
        let most = ALPHA + 0.01 + noise(ALPHA, 600 * times());
        assert!(
            above <= most && below <= most,
            "{mean} {items} {seeds}: {above} {below}, expected at most {most}"
        );
        assert!(width <= widest, "{mean} {items} {seeds}: width {width}, expected at most {widest}");
    }
}
