//! Rates beyond the ends of a grid: where the cheapest attack lies within it, they change no titer by more than its interval;
//! where it does not, the titer says so.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use titer_plan::DefenceRole;

use super::{ALPHA, Contest, ITEMS, Model};
use crate::course::Course;
use crate::tests::coverage::{normal, times};

/// A grid, and one rate more at either end.
const WIDE: [f64; 6] = [1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3];
const GRID: std::ops::Range<usize> = 1..5;

const SPREAD: [f64; 3] = [0.2, 0.15, 0.1];

/// Models with such break budgets, in steps, one by rate, and all attacks on them, the undefended one first.
fn courses(breaks: &[[f64; 6]], seed: u64) -> Vec<Vec<Course>> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let attack: Vec<Vec<f64>> =
        WIDE.iter().map(|_| (0..3).map(|_| SPREAD[1] * normal(&mut rng)).collect()).collect();
    let model = |(index, breaks): (usize, &[f64; 6])| {
        let undefended = index == 0;
        let spread = if undefended { [0.0, SPREAD[1], SPREAD[2]] } else { SPREAD };
        let defence_seeds = if undefended { 1 } else { 2 };
        let model = Model { rates: &WIDE, breaks: breaks.to_vec(), defence_seeds, spread };
        model.courses(&mut rng, &attack)
    };
    breaks.iter().enumerate().map(model).collect()
}

/// Every defended model against the undefended one under some of the attacks.
fn contests(all: &[Vec<Course>], rates: std::ops::Range<usize>) -> Vec<Contest> {
    all[1..]
        .iter()
        .map(|own| {
            Contest::new(&own[rates.clone()], &all[0][rates.clone()], ITEMS, DefenceRole::Defence)
                .expect("a contest")
        })
        .collect()
}

/// Value and ends of each titer, in logarithms.
fn titers(contests: &[Contest]) -> Vec<[f64; 3]> {
    let estimate = |own: usize| {
        let others = contests.iter().enumerate().filter(|(other, _)| *other != own).map(|(_, other)| other);
        let found = contests[own].estimate(others, ALPHA / 2.0).expect("an estimate");
        [found.value, found.lower, found.upper]
    };
    (0..contests.len()).map(estimate).collect()
}

#[test]
fn rates_beyond_a_grid_that_brackets_change_no_titer_by_more_than_its_interval() {
    // Gentle rates take long, and so do harsh ones, which first wreck the model; defences move where it is cheapest.
    let breaks = [
        [36.0, 12.0, 4.0, 3.0, 6.0, 14.0],
        [90.0, 36.0, 14.0, 12.0, 20.0, 44.0],
        [120.0, 50.0, 18.0, 21.0, 40.0, 90.0],
        [60.0, 24.0, 8.0, 6.0, 9.0, 25.0],
    ];
    let mut bracketed = 0;
    for seed in 0..100 * times() as u64 {
        let all = courses(&breaks, seed);
        let (narrow, wide) = (contests(&all, GRID), contests(&all, 0..WIDE.len()));
        for ((contest, [_, lower, upper]), [value, _, _]) in
            narrow.iter().zip(titers(&narrow)).zip(titers(&wide))
        {
            if contest.widen.is_none() {
                bracketed += 1;
                assert!(
                    lower <= value && value <= upper,
                    "experiment {seed}: {value} outside [{lower}, {upper}]"
                );
            }
        }
    }
    assert!(bracketed > 290 * times(), "{bracketed} titers were bracketed");
}

#[test]
fn a_grid_that_ends_where_it_still_gets_cheaper_says_so() {
    let breaks = [[36.0, 12.0, 8.0, 6.0, 4.0, 2.5], [140.0, 60.0, 40.0, 30.0, 20.0, 9.0]];
    let mut said = 0;
    for seed in 0..100 {
        let narrow = contests(&courses(&breaks, seed), GRID);
        said += usize::from(narrow[0].widen.as_deref().is_some_and(|widen| widen.contains("above 0.001")));
    }
    assert!(said >= 98, "{said} of 100 say that the grid must go on");
}
