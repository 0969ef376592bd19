//! Simulated learning curves: how often trainability holds, fails and errs.
//!
//! Quality rises along a sigmoid in the logarithm of the steps, as in `reference/statistics/simC.py`: half at 54.7 steps,
//! up to 0.96. The speed differs with the defence's seed and with the tuning's seed, which both models share.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use titer_plan::DefenceRole;

use super::{delays, reach, read};
use crate::power::{Spread, estimate};
use crate::sample::{Reading, Sample};
use crate::spreads::Measured;
use crate::tests::coverage::{noise, normal, times};

const STEPS: [u64; 14] = [0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 115, 130, 150];
const ALPHA: f64 = 0.05;
const REPLICATES: usize = 60;

/// One run's learning, with items that are learnt once and for all.
fn learn(
    rng: &mut ChaCha8Rng,
    seeds: (u64, u64),
    log_half: f64,
    items: usize,
    resample: &[Vec<usize>],
) -> Reading {
    let chance = |steps: u64| 0.96 / (1.0 + (-5.2 * ((steps.max(1) as f64).ln() - log_half)).exp());
    let threshold: Vec<f64> = (0..items).map(|_| rng.random_range(0.0..1.0)).collect();
    let learnt = |steps: u64, item: usize| threshold[item] < chance(steps);
    let time = |chosen: &dyn Fn(usize) -> usize| {
        let quality = |index: usize| {
            (0..items).filter(|&place| learnt(STEPS[index], chosen(place))).count() as f64 / items as f64
        };
        reach(&STEPS, quality, 0.48).map(f64::ln)
    };
    let replicates = resample.iter().map(|draw| time(&|place| draw[place]));
    read(seeds, time(&|place| place), 150, replicates)
}

/// A design: defence seeds × tuning seeds × items.
type Design = (u64, u64, usize);

/// The delays of five defences that are all `slower`.
fn experiment(index: usize, (defence_seeds, attack_seeds, items): Design, slower: f64) -> Vec<Sample> {
    let mut rng = ChaCha8Rng::seed_from_u64(index as u64);
    let resample: Vec<Vec<usize>> =
        (0..REPLICATES).map(|_| (0..items).map(|_| rng.random_range(0..items)).collect()).collect();
    let tuning: Vec<f64> = (0..attack_seeds).map(|_| 0.08 * normal(&mut rng)).collect();
    let mut model = |defence_seeds: u64, slower: f64| -> Vec<Reading> {
        let mut runs = Vec::new();
        for defence in 0..defence_seeds {
            let own = if slower.is_nan() { 0.0 } else { slower.ln() + 0.05 * normal(&mut rng) };
            for (seed, tuning) in (0..).zip(&tuning) {
                let half = 54.7f64.ln() + own + tuning + 0.05 * normal(&mut rng);
                runs.push(learn(&mut rng, (defence, seed), half, items, &resample));
            }
        }
        runs
    };
    let reference = model(1, f64::NAN);
    let delays = |own: Vec<Reading>| delays(&own, &reference, items, DefenceRole::Defence).expect("a sample");
    (0..5).map(|_| delays(model(defence_seeds, slower))).collect()
}

/// How often a defence that is `slower` is shown to be at most ε slower, and to be more than ε slower.
fn shown(design: Design, slower: f64) -> (f64, f64) {
    let experiments = 100 * times();
    let margin = 1.25f64.ln();
    let (mut holds, mut fails) = (0, 0);
    for index in 0..experiments {
        let samples = experiment(index, design, slower);
        let others: Vec<&Sample> = samples[1..].iter().collect();
        let found = samples[0].estimate(&others, ALPHA);
        holds += usize::from(found.upper <= margin);
        fails += usize::from(found.lower > margin);
    }
    (holds as f64 / experiments as f64, fails as f64 / experiments as f64)
}

#[test]
fn coverage_of_trainability_errs_no_more_than_alpha() {
    let most = ALPHA + 0.01 + noise(ALPHA, 200 * times());
    for design in [(2, 3, 100), (3, 5, 100), (5, 5, 60)] {
        let (holds, fails) = shown(design, 1.25);
        println!("{design:?}, slower by exactly ε: holds {holds:.3}, fails {fails:.3}");
        assert!(holds <= most && fails <= most, "{design:?}: {holds} {fails}, expected at most {most:.3}");
    }
}

#[test]
fn coverage_of_trainability_decides_where_it_should_and_as_often_as_a_pilot_predicts() {
    let pilot: Vec<Sample> = (0..40).flat_map(|index| experiment(1000 + index, (2, 3, 100), 1.0)).collect();
    let spread = Measured::of(pilot.iter()).or(Spread::default());
    for (design, least) in [((2, 3, 100), 0.3), ((2, 3, 300), 0.5), ((3, 5, 300), 0.9)] {
        let (holds, fails) = shown(design, 1.0);
        let (defence_seeds, tuning_seeds, items) = design;
        let seeds = (defence_seeds as usize, tuning_seeds as usize);
        let predicted = estimate(spread, seeds, items, 4, ALPHA).power(1.25f64.ln(), ALPHA);
        println!("{design:?}, as fast: holds {holds:.3}, predicted {predicted:.3}, fails {fails:.3}");
        // More seeds and items than the pilot's decide a little more than is said.
        assert!((holds - 0.2..=holds + 0.1).contains(&predicted), "{design:?}: {predicted} {holds}");
        assert!(holds >= least, "{design:?}: shown in {holds}, expected at least {least}");
        assert!(fails <= 0.02, "{design:?}: {fails}");
    }
    let (holds, fails) = shown((3, 5, 300), 2.0);
    assert!(fails >= 0.9 && holds == 0.0, "twice as slow: fails {fails}, holds {holds}");
}
