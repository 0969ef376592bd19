//! Simulations: intervals contain the truth as often as they claim, and are not absurdly wide.
//!
//! Scores are in thirds, as the graded oracle's. An item's chance of harm is the true mean plus effects of
//! the defence's seed, the attack's seed and the item; effects are bounded so that no chance leaves 0…1
//! and the true mean stays what it is called.

use std::collections::BTreeMap;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use titer_plan::{Arm, Probe};

use crate::bootstrap::{Draws, Factors, combine};
use crate::evidence::{ItemSet, Phase};
use crate::interval::{Statistic, difference, simultaneous};
use crate::verdict::Bounds;

const SET: ItemSet = (Arm::Main, Phase::Attack, Probe::Unseen);
const ALPHA: f64 = 0.05;

/// One made-up experiment: several true means measured by the same runs on the same items.
struct World {
    means: Vec<f64>,
    defence_seeds: u64,
    attack_seeds: u64,
    items: usize,
    /// Largest effects of a defence's seed, an attack's seed and an item, as shares of the room to 0 or 1
    /// (of 0.2 at most).
    effects: [f64; 3],
    /// Whether seeds affect all means alike, or each by itself.
    shared: bool,
}

struct Outcome {
    /// Share of experiments whose intervals all contained the truth.
    coverage: f64,
    /// Mean width of the interval of each mean.
    widths: Vec<f64>,
}

impl World {
    fn run_seeds(&self) -> Vec<(u64, u64)> {
        (0..self.defence_seeds).flat_map(|d| (0..self.attack_seeds).map(move |a| (d, a))).collect()
    }

    fn simulate(&self, experiments: usize) -> Outcome {
        let draws = Draws::new(&BTreeMap::from([(SET, self.items)]), 400);
        let seeds = self.run_seeds();
        let weights = draws.runs(&seeds, Factors::All);
        let mut covered = 0;
        let mut widths = vec![0.0; self.means.len()];
        for experiment in 0..experiments {
            let mut rng = ChaCha8Rng::seed_from_u64(experiment as u64);
            let mut effects =
                |count: u64| -> Vec<f64> { (0..count).map(|_| rng.random_range(-1.0..1.0)).collect() };
            let sets = if self.shared { 1 } else { self.means.len() };
            let of_seeds: Vec<_> =
                (0..sets).map(|_| (effects(self.defence_seeds), effects(self.attack_seeds))).collect();
            let of_item = effects(self.items as u64);
            let mut truths = Vec::new();
            let mut statistics = Vec::new();
            for (index, &mean) in self.means.iter().enumerate() {
                let (of_defence, of_attack) = &of_seeds[index % sets];
                let room = mean.min(1.0 - mean).min(0.2);
                let seed_effect = |&(d, a): &(u64, u64)| {
                    room * (self.effects[0] * of_defence[d as usize]
                        + self.effects[1] * of_attack[a as usize])
                };
                // A factor with one seed is not resampled: the claim is about that seed.
                let only = |count: u64, effect: f64| if count == 1 { effect } else { 0.0 };
                let conditional = room
                    * (only(self.defence_seeds, self.effects[0] * of_defence[0])
                        + only(self.attack_seeds, self.effects[1] * of_attack[0]));
                truths.push(mean + conditional);
                let scores: Vec<Vec<f32>> = seeds
                    .iter()
                    .map(|seed| {
                        let chance = |item: &f64| mean + seed_effect(seed) + room * self.effects[2] * item;
                        of_item.iter().map(|item| graded(&mut rng, chance(item))).collect()
                    })
                    .collect();
                let scores: Vec<&[f32]> = scores.iter().map(Vec::as_slice).collect();
                let rows = draws.means(&scores, SET);
                let replicates = combine(rows.iter().map(Vec::as_slice), &weights, draws.replicates);
                statistics.push(Statistic::new(&scores, &seeds, replicates));
            }
            let bounds = simultaneous(&statistics.iter().collect::<Vec<_>>(), ALPHA);
            let contains = |(bounds, truth): (&Bounds, &f64)| (bounds.lower..=bounds.upper).contains(truth);
            covered += usize::from(bounds.iter().zip(&truths).all(contains));
            for (width, bounds) in widths.iter_mut().zip(&bounds) {
                *width += (bounds.upper - bounds.lower) / experiments as f64;
            }
        }
        Outcome { coverage: covered as f64 / experiments as f64, widths }
    }
}

/// A score in thirds whose mean is `chance`: half of the answers are right in all slots or none.
fn graded(rng: &mut ChaCha8Rng, chance: f64) -> f32 {
    if rng.random_bool(0.5) {
        return f32::from(u8::from(rng.random_bool(chance)));
    }
    (0..3).map(|_| f32::from(u8::from(rng.random_bool(chance)))).sum::<f32>() / 3.0
}

/// Three standard deviations of a share measured `experiments` times.
fn noise(share: f64, experiments: usize) -> f64 {
    3.0 * (share * (1.0 - share) / experiments as f64).sqrt()
}

/// Around φ = 0.2 and from near 0 to near 1.
const MEANS: [f64; 8] = [0.005, 0.02, 0.1, 0.2, 0.2, 0.3, 0.9, 0.99];

/// `runs` are defence seeds × attack seeds; coverage is at least `least` but for noise, and no interval is
/// wider than `widest` on average. Seeds are tried both with shared and with separate effects.
#[track_caller]
fn check(runs: (u64, u64), effects: [f64; 3], means: &[f64], items: usize, least: f64, widest: f64) {
    let experiments = 500;
    for shared in [true, false] {
        let (defence_seeds, attack_seeds) = runs;
        let world = World { means: means.to_vec(), defence_seeds, attack_seeds, items, effects, shared };
        let Outcome { coverage, widths } = world.simulate(experiments);
        println!("{runs:?} {effects:?} shared {shared}: coverage {coverage:.3}, widths {widths:.2?}");
        let least = least - noise(least, experiments);
        assert!(coverage >= least, "{runs:?} {effects:?}: coverage {coverage}, expected at least {least:.3}");
        let width = widths.iter().copied().fold(0.0, f64::max);
        assert!(width <= widest, "{runs:?} {effects:?}: widths {widths:?}, expected at most {widest}");
    }
}

#[test]
fn two_defence_seeds_and_three_attack_seeds() {
    check((2, 3), [0.1, 0.1, 0.6], &MEANS, 120, 0.95, 0.35);
    check((2, 3), [0.4, 0.3, 0.3], &MEANS, 120, 0.95, 0.60);
    check((2, 3), [0.6, 0.3, 0.1], &MEANS, 120, 0.95, 0.70);
}

#[test]
fn three_defence_seeds_and_two_attack_seeds() {
    check((3, 2), [0.1, 0.1, 0.6], &MEANS, 120, 0.95, 0.35);
    check((3, 2), [0.4, 0.3, 0.3], &MEANS, 120, 0.95, 0.55);
    check((3, 2), [0.6, 0.3, 0.1], &MEANS, 120, 0.95, 0.65);
}

#[test]
fn one_run_conditional_on_its_seeds() {
    check((1, 1), [0.4, 0.3, 0.3], &MEANS, 120, 0.95, 0.25);
    check((1, 1), [0.4, 0.3, 0.3], &[0.01; 8], 60, 0.95, 0.15);
}

#[test]
fn one_defence_seed_and_three_attack_seeds() {
    check((1, 3), [0.0, 0.4, 0.3], &MEANS, 120, 0.95, 0.40);
    check((1, 3), [0.0, 0.9, 0.0], &[0.01; 8], 60, 0.95, 0.15);
}

/// Two or three seeds cannot know how far apart seeds lie: where they differ far more than items do,
/// coverage falls short of what is claimed, and the wider intervals of a full Student's t (tried: 0.79 to
/// 0.93 in the same worlds) mend little of it. A caveat of the verdicts names these figures.
#[test]
fn few_seeds_fall_short_where_they_dominate() {
    check((1, 2), [0.0, 0.1, 0.6], &MEANS, 120, 0.95, 0.40);
    check((1, 2), [0.0, 0.9, 0.1], &MEANS, 120, 0.78, 0.80);
    check((2, 1), [0.9, 0.0, 0.1], &MEANS, 120, 0.78, 0.80);
    check((2, 3), [0.9, 0.0, 0.1], &MEANS, 120, 0.84, 0.85);
}

/// Differences of thirds with the given mean, and how often the 90 % interval lies above or below it.
fn difference_errors(mean: f64, items: usize, seeds: u64, seed_effect: f64) -> (f64, f64, f64) {
    let experiments = 600;
    let draws = Draws::new(&BTreeMap::from([(SET, items)]), 400);
    let run_seeds: Vec<(u64, u64)> = (0..seeds).map(|seed| (seed, 0)).collect();
    let weights = draws.runs(&run_seeds, Factors::All);
    let (mut above, mut below, mut width) = (0.0, 0.0, 0.0);
    for experiment in 0..experiments {
        let mut rng = ChaCha8Rng::seed_from_u64(1000 + experiment as u64);
        let scores: Vec<Vec<f32>> = (0..seeds)
            .map(|_| {
                let mean = mean + if seeds > 1 { seed_effect * rng.random_range(-1.0..1.0) } else { 0.0 };
                (0..items)
                    .map(|_| if rng.random_bool(mean.abs()) { mean.signum() as f32 } else { 0.0 })
                    .collect()
            })
            .collect();
        let scores: Vec<&[f32]> = scores.iter().map(Vec::as_slice).collect();
        let rows = draws.means(&scores, SET);
        let replicates = combine(rows.iter().map(Vec::as_slice), &weights, draws.replicates);
        let bounds = difference(&Statistic::new(&scores, &run_seeds, replicates), &scores, ALPHA);
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
        let most = ALPHA + noise(ALPHA, 600);
        assert!(
            above <= most && below <= most,
            "{mean} {items} {seeds}: {above} {below}, expected at most {most}"
        );
        assert!(width <= widest, "{mean} {items} {seeds}: width {width}, expected at most {widest}");
    }
}
