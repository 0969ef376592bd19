//! Simulations through the whole of `decide`: titer and trainability contain the truth as often as claimed.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use titer_plan::{Condition, Probe};

use crate::frames::{At, FAST, Setup, of};

const EXPERIMENTS: u64 = 120;

/// Three standard deviations below a share of 0.95.
fn least(share: f64) -> f64 {
    share - 3.0 * (share * (1.0 - share) / EXPERIMENTS as f64).sqrt()
}

fn setup() -> Setup {
    let mut setup = Setup { items: 60, attacks: vec![FAST], probes: vec![Probe::Unseen], ..Setup::default() };
    setup.cadence = vec![0, 2, 4, 6, 8, 12, 16, 20, 24, 32, 40, 48, 64];
    setup.settings.resamples = 300;
    setup
}

/// A point's scores: chance as given, with effects of seeds on the speed.
fn evidence(experiment: u64, chance: impl Fn(At, f64) -> f64) -> titer_conditions::Evidence {
    let setup = setup();
    let effect = |kind: u64, seed: u64| {
        ChaCha8Rng::seed_from_u64(experiment * 1000 + kind * 100 + seed).random_range(-1.0..1.0f64)
    };
    setup.evidence(|at| {
        let own = if at.shielded() { effect(1, at.defence_seed) } else { 0.0 };
        let speed = 1.0 + 0.15 * effect(0, at.attack_seed) + 0.15 * own;
        let chance = chance(at, at.steps as f64 * speed);
        let run = at.defence_seed * 10 + at.attack_seed + u64::from(at.shielded()) * 100;
        let stream = (run * 1000 + at.steps) * 10
            + Probe::ALL.iter().position(|probe| *probe == at.probe).expect("a known probe") as u64;
        let mut rng = ChaCha8Rng::seed_from_u64(experiment);
        rng.set_stream(stream);
        Some((0..setup.items).map(|_| f64::from(u8::from(rng.random_bool(chance)))).collect())
    })
}

fn lowers_at(lowers: &mut [f64], share: f64) -> f64 {
    lowers.sort_unstable_by(f64::total_cmp);
    lowers[(share * lowers.len() as f64) as usize]
}

#[test]
fn titers() {
    // Harm rises with the square of the steps: without effects of seeds the undefended model's mean is φ at 5
    // and the shield's at 20 steps. Speed's variance, 0.15² / 3 each, moves both alike but for the shield's own.
    let square = |steps: f64, at: f64| (0.2 * (steps / at).powi(2)).min(0.9);
    let spread = 0.15f64.powi(2) / 3.0;
    let truth = 20.0 / 5.0 * ((1.0 + spread) / (1.0 + 2.0 * spread)).sqrt();
    let mut covered = 0;
    let mut lowers = Vec::new();
    for experiment in 0..EXPERIMENTS {
        let evidence = evidence(experiment, |at, steps| match at.probe {
            probe if probe.is_harmful() => square(steps, if at.shielded() { 20.0 } else { 5.0 }),
            _ => 1.0,
        });
        let titer = of(&evidence, "shield").titer;
        lowers.push(titer.lower);
        covered += u64::from(titer.lower <= truth && titer.upper.is_none_or(|upper| upper >= truth));
    }
    let coverage = covered as f64 / EXPERIMENTS as f64;
    let spread: Vec<f64> = [0.25, 0.5, 0.75].map(|share| lowers_at(&mut lowers, share)).to_vec();
    println!("titer {truth:.2}: coverage {coverage:.3}, quartiles of the lower bound {spread:.2?}");
    assert!(spread[1] > 1.2, "lower bounds of {truth:.2} say too little: {spread:?}");
    assert!(coverage >= least(0.95), "{coverage}");
}

#[test]
fn delays() {
    // Quality rises along a sigmoid around 20 steps; the shield is 1.3 times as slow.
    let (mut covered, mut decided, mut width) = (0u32, 0u32, 0.0);
    for experiment in 0..EXPERIMENTS {
        let evidence = evidence(experiment, |at, steps| match at.probe {
            Probe::HarmlessTask => {
                let steps = steps / if at.shielded() { 1.3 } else { 1.0 };
                1.0 / (1.0 + ((20.0 - steps) / 3.0).exp())
            }
            _ => 0.0,
        });
        let verdict = of(&evidence, "shield").conditions[&Condition::Trainability].clone();
        // Without an interval the target was out of reach in some replicates, and nothing was claimed.
        let Some(bounds) = verdict.interval else { continue };
        decided += 1;
        covered += u32::from((bounds.lower..=bounds.upper).contains(&0.3));
        width += bounds.upper - bounds.lower;
    }
    let (coverage, width) = (f64::from(covered) / f64::from(decided), width / f64::from(decided));
    println!("delay: coverage {coverage:.3} of {decided}, mean width {width:.2}");
    assert!(u64::from(decided) > EXPERIMENTS / 2 && width < 0.7, "{decided} decided, width {width}");
    assert!(coverage >= least(0.90), "{coverage}");
}
