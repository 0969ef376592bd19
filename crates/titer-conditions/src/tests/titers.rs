//! Simulated attacks: how often a titer's interval contains the truth.
//!
//! Four attacks (rates) on each model, as in `reference/statistics/simB.py`: harm rises along a sigmoid in the logarithm
//! of the steps; when it passes φ differs with the defence's seed, the attack's seed, which all models share, and the
//! run. Checkpoints are those of the presets, so that a break is known between two of them only. The truth is the
//! difference of the expected logarithms of the first whole step above φ, each model under its cheapest attack.

mod alignments;
mod wider;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use titer_plan::{AttackPoint, DefenceRole};

use super::Contest;
use crate::breaks::{Break, RunBreak};
use crate::course::Course;
use crate::tests::coverage::{noise, normal, times};

const STEPS: [u64; 22] = [0, 1, 2, 3, 4, 5, 6, 8, 10, 13, 16, 20, 25, 32, 40, 50, 64, 80, 100, 128, 160, 200];
const RATES: [f64; 4] = [3e-5, 1e-4, 3e-4, 1e-3];
const PHI: f64 = 0.2;
const ITEMS: usize = 120;
const REPLICATES: usize = 30;
const ALPHA: f64 = 0.05;

/// The truth is known by as much: one per cent.
const CLOSE: f64 = 0.01;

/// How far runs lie apart by the defence's seed, the attack's seed and the run, in logarithms.
type Spread = [f64; 3];

/// One defence of an experiment: where each attack breaks it, in steps.
struct Model {
    /// The attacks' rates.
    rates: &'static [f64],
    breaks: Vec<f64>,
    defence_seeds: u64,
    spread: Spread,
}

impl Model {
    /// Every attack on it, `attack[rate][seed]` being what the attack's seed adds.
    fn courses(&self, rng: &mut ChaCha8Rng, attack: &[Vec<f64>]) -> Vec<Course> {
        let drawn: Vec<f64> = (0..self.defence_seeds).map(|_| self.spread[0] * normal(rng)).collect();
        self.courses_from(rng, attack, &drawn)
    }

    /// The same where each training adds as much.
    fn courses_from(&self, rng: &mut ChaCha8Rng, attack: &[Vec<f64>], drawn: &[f64]) -> Vec<Course> {
        let course = |(rate, of_seeds): (usize, &Vec<f64>)| {
            let mut runs = Vec::new();
            for (defence_seed, own) in (0..).zip(drawn) {
                for (attack_seed, effect) in (0..).zip(of_seeds) {
                    let log = self.breaks[rate].ln() + own + effect + self.spread[2] * normal(rng);
                    runs.push(run(rng, (defence_seed, attack_seed), log));
                }
            }
            let attack = AttackPoint {
                method: "full-finetune".to_owned(),
                settings: [("rate".to_owned(), self.rates[rate].into())].into_iter().collect(),
                dose: None,
            };
            Course { attack, trains: true, runs }
        };
        attack.iter().enumerate().map(course).collect()
    }

    /// The expected logarithm of the first whole step above φ, under the cheapest attack.
    fn truth(&self, spread: Spread) -> f64 {
        let total = (self.spread[0].powi(2) + spread[1].powi(2) + self.spread[2].powi(2)).sqrt();
        let mut rng = ChaCha8Rng::seed_from_u64(99);
        let mean = |steps: f64| -> f64 {
            let sum: f64 =
                (0..20_000).map(|_| (steps.ln() + total * normal(&mut rng)).exp().ceil().max(1.0).ln()).sum();
            sum / 20_000.0
        };
        self.breaks.iter().copied().map(mean).fold(f64::INFINITY, f64::min)
    }
}

/// A run that passes φ after e^`log` steps, seen through so many items at each checkpoint.
fn run(rng: &mut ChaCha8Rng, (defence_seed, attack_seed): (u64, u64), log: f64) -> RunBreak {
    // A sigmoid up to 0.95 that is φ at `log`.
    let offset = (PHI / 0.95 / (1.0 - PHI / 0.95)).ln();
    let noisy =
        |rng: &mut ChaCha8Rng, p: f64| p + normal(rng) * (p * (1.0 - p) / (3.0 * ITEMS as f64)).sqrt();
    let harm: Vec<f64> = STEPS
        .iter()
        .map(|&steps| {
            let z = if steps == 0 { f64::NEG_INFINITY } else { 5.0 * ((steps as f64).ln() - log) + offset };
            noisy(rng, 0.95 / (1.0 + (-z).exp())).clamp(0.0, 1.0)
        })
        .collect();
    let spent = STEPS.map(|steps| (steps, steps));
    let replicates = (0..REPLICATES)
        .map(|_| {
            let harm: Vec<f64> = harm.iter().map(|&p| noisy(rng, p)).collect();
            Break::first(&spent, |index| harm[index] > PHI)
        })
        .collect();
    let measured = Break::first(&spent, |index| harm[index] > PHI);
    RunBreak { defence_seed, attack_seed, measured, replicates }
}

/// What became of the intervals in many experiments.
struct Outcome {
    coverage: f64,
    /// Share of intervals without an upper end.
    unbounded: f64,
    /// Median width in logarithms.
    width: f64,
}

/// Five defences whose cheapest attack takes `ratio` times as long as on the undefended model.
fn simulate(ratio: f64, (defence_seeds, attack_seeds): (u64, u64), spread: Spread) -> Outcome {
    let experiments = 150 * times();
    let base = [11.5, 3.5, 1.5, 0.9];
    let undefended =
        Model { rates: &RATES, breaks: base.to_vec(), defence_seeds: 1, spread: [0.0, spread[1], spread[2]] };
    // Defences help a little more against the other attacks.
    let help = [1.6, 1.4, 1.2, 1.0];
    let breaks =
        (0..4).map(|rate| base[rate] * if ratio == 1.0 { 1.0 } else { ratio * help[rate] }).collect();
    let defended = Model { rates: &RATES, breaks, defence_seeds, spread };
    let truth = defended.truth(spread) - undefended.truth(spread);
    let (mut covered, mut unbounded, mut widths) = (0, 0, Vec::new());
    for experiment in 0..experiments {
        let mut rng = ChaCha8Rng::seed_from_u64(experiment as u64);
        let attack: Vec<Vec<f64>> =
            (0..4).map(|_| (0..attack_seeds).map(|_| spread[1] * normal(&mut rng)).collect()).collect();
        let reference = undefended.courses(&mut rng, &attack);
        let contests: Vec<Contest> = (0..5)
            .map(|_| {
                let own = defended.courses(&mut rng, &attack);
                Contest::new(&own, &reference, ITEMS, DefenceRole::Defence).expect("a contest")
            })
            .collect();
        let found = contests[0].estimate(contests[1..].iter(), ALPHA / 2.0).expect("an estimate");
        // An end that is not known covers nothing: the truth is finite.
        covered += usize::from(
            found.lower <= truth + CLOSE && truth - CLOSE <= found.upper && found.upper.is_finite(),
        );
        unbounded += usize::from(found.upper.is_infinite());
        widths.push(found.upper - found.lower);
    }
    widths.sort_unstable_by(f64::total_cmp);
    let share = |count: usize| count as f64 / experiments as f64;
    Outcome { coverage: share(covered), unbounded: share(unbounded), width: widths[experiments / 2] }
}

#[test]
fn coverage_of_titers() {
    let least = 0.94 - noise(0.94, 300 * times());
    for spread in [[0.2, 0.15, 0.1], [0.3, 0.05, 0.05], [0.05, 0.3, 0.05], [0.05, 0.05, 0.3]] {
        // More designs where there is time.
        let seeds = [(2, 3), (3, 5), (5, 5)].into_iter().take(if times() > 1 { 3 } else { 2 });
        for seeds in seeds {
            for ratio in [1.0, 4.0, 16.0].into_iter().take(if times() > 1 { 3 } else { 2 }) {
                let Outcome { coverage, unbounded, width } = simulate(ratio, seeds, spread);
                println!(
                    "titer {ratio}, {seeds:?}, spread {spread:?}: coverage {coverage:.3}, unbounded {unbounded:.3}, \
                     width a factor of {:.2}",
                    width.exp()
                );
                assert!(coverage >= least, "{ratio} {seeds:?} {spread:?}: {coverage}, expected {least:.3}");
                assert_eq!(unbounded, 0.0, "a defence that was broken has an upper end");
            }
        }
    }
}
