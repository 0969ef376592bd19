//! Simulations: a probe that ends early ends on the wrong side no more often than its level says, however near its mean lies
//! to the threshold, and one whose case is clear ends soon.

use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{Side, SideTest};
use crate::tests::coverage::{noise, times};

const ITEMS: usize = 120;
const PHI: f64 = 0.2;

/// Scores of a probe whose sum is `thirds` / 3, in answers of three slots each.
fn scores(thirds: usize, rng: &mut ChaCha8Rng) -> Vec<f64> {
    let mut slots: Vec<f64> = (0..3 * ITEMS).map(|slot| f64::from(u8::from(slot < thirds)) / 3.0).collect();
    // Half of the harm comes in answers that are right altogether.
    slots[thirds / 2 / 3 * 3..].shuffle(rng);
    let mut scores: Vec<f64> = slots.chunks(3).map(|slots| slots.iter().sum()).collect();
    scores.shuffle(rng);
    scores
}

/// The side at which a probe ends, and after how many answers.
fn ends(scores: &[f64], threshold: f64, level: f64) -> (Option<Side>, usize) {
    let mut test = SideTest::new(scores.len(), threshold, level);
    for (asked, &score) in scores.iter().enumerate() {
        if let Some(side) = test.side() {
            return (Some(side), asked);
        }
        test.see(score);
    }
    (test.side(), scores.len())
}

/// How often probes whose sum is `thirds` / 3 end on the wrong side, and how many items they are asked on average.
fn simulate(thirds: usize, level: f64) -> (f64, f64) {
    let (count, above) = (4000 * times(), thirds as f64 / 3.0 > PHI * ITEMS as f64);
    let (mut wrong, mut asked) = (0, 0);
    for seed in 0..count {
        let mut rng = ChaCha8Rng::seed_from_u64(seed as u64);
        let (side, items) = ends(&scores(thirds, &mut rng), PHI, level);
        wrong += usize::from(side.is_some_and(|side| (side == Side::Above) != above));
        asked += items;
    }
    (wrong as f64 / count as f64, asked as f64 / count as f64)
}

#[test]
fn a_probe_at_the_margin_errs_no_more_than_its_level() {
    // φ is a sum of 72 thirds: one less, one more, and some farther off.
    for (thirds, level) in [(71, 0.05), (73, 0.05), (65, 0.05), (80, 0.05), (71, 0.3), (73, 0.3)] {
        let (wrong, asked) = simulate(thirds, level);
        println!("{thirds} thirds at level {level}: wrong {wrong:.4}, {asked:.1} items");
        let most = level + noise(level, 4000 * times());
        assert!(wrong <= most, "{thirds} {level}: {wrong}, expected at most {most:.4}");
        assert!(asked < ITEMS as f64, "{thirds} {level}: looking early must be worth it");
    }
}

#[test]
fn clear_cases_end_soon() {
    for (thirds, most) in [(0, 56.0), (9, 66.0), (180, 46.0), (300, 17.0)] {
        let (wrong, asked) = simulate(thirds, 6e-7);
        println!("{thirds} thirds: {asked:.1} items");
        assert!(wrong == 0.0 && asked <= most, "{thirds}: {asked} items, {wrong} wrong");
    }
}

#[test]
fn the_end_is_always_the_side_of_all_items() {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    for _ in 0..2000 {
        let (thirds, threshold) = (rng.random_range(0..=3 * ITEMS), rng.random_range(0.01..0.99));
        let scores = scores(thirds, &mut rng);
        let whole = scores.iter().sum::<f64>() / ITEMS as f64;
        // Only what is certain is said at a level that no bet can win.
        let (side, _) = ends(&scores, threshold, 1e-300);
        if let Some(side) = side {
            assert_eq!(side == Side::Above, whole > threshold, "{thirds} {threshold}");
        } else {
            assert!((whole - threshold).abs() < 1e-6, "{thirds} {threshold}: {whole}");
        }
    }
}

#[test]
fn what_it_takes_at_least_is_never_more_than_it_takes() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    for thirds in [0, 30, 65, 72, 80, 200, 360] {
        let scores = scores(thirds, &mut rng);
        let (side, end) = ends(&scores, PHI, 1e-4);
        let mut test = SideTest::new(ITEMS, PHI, 1e-4);
        for (asked, &score) in scores.iter().enumerate().take(end) {
            let now = scores[..asked].iter().sum::<f64>() / asked.max(1) as f64;
            let least = test.least().expect("it is not clear yet");
            // Of a mean that crosses φ before its end less would have been expected from the other side.
            let stays = side.is_some_and(|side| asked == 0 || (side == Side::Above) == (now > PHI));
            assert!(
                !stays || asked + least <= end,
                "{thirds}: {least} more after {asked}, but it took {end}"
            );
            test.see(score);
        }
        assert!(end == ITEMS || test.least().is_none());
    }
}
