//! Which settings are tried, in which order: spread evenly, and the same whenever they are asked for.
//!
//! The R sequence (M. Roberts, *The unreasonable effectiveness of quasirandom sequences*, 2018): multiples of
//! the powers of 1/φ, φ^(d+1) = φ + 1, modulo 1, which leave no region of d dimensions unvisited for long. A
//! seed turns each dimension by an amount of its own (Cranley and Patterson, 1976). More trials continue the
//! sequence, so that a larger budget repeats the smaller one's.

use titer_plan::derive_seed;

use super::space::{Axis, Setting};

/// Draws in a row that bring nothing new, after which a space counts as exhausted.
const PATIENCE: usize = 1000;

/// Settings without end, until the space holds no other.
#[derive(Debug)]
pub(super) struct Sampler<'a> {
    axes: &'a [Axis],
    turns: Vec<f64>,
    next: u64,
    drawn: Vec<Setting>,
}

impl<'a> Sampler<'a> {
    /// Draws that never repeat `first`, which is tried anyhow.
    pub(super) fn new(axes: &'a [Axis], seed: u64, first: Setting) -> Self {
        let turn = |axis: &Axis| unit(derive_seed(seed, &format!("search/{}", axis.key)));
        Self { axes, turns: axes.iter().map(turn).collect(), next: 1, drawn: vec![first] }
    }

    fn point(&self, index: u64) -> Setting {
        let step = 1.0 / golden(self.axes.len());
        let axes = self.axes.iter().zip(&self.turns).enumerate();
        axes.map(|(dimension, (axis, turn))| {
            let share = turn + index as f64 * step.powi(dimension as i32 + 1);
            (axis.key.clone(), axis.at(share.fract()))
        })
        .collect()
    }
}

impl Iterator for Sampler<'_> {
    type Item = Setting;

    fn next(&mut self) -> Option<Setting> {
        for _ in 0..PATIENCE {
            let setting = self.point(self.next);
            self.next += 1;
            if !self.drawn.contains(&setting) {
                self.drawn.push(setting.clone());
                return Some(setting);
            }
        }
        None
    }
}

/// The root above 1 of x^(d+1) = x + 1, by iteration to the last bit.
fn golden(dimensions: usize) -> f64 {
    let exponent = 1.0 / (dimensions as f64 + 1.0);
    (0..64).fold(2.0, |root: f64, _| (1.0 + root).powf(exponent))
}

/// A number in 0…1 from the highest 53 bits.
pub(super) fn unit(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::space::Values;
    use super::*;

    fn axes() -> Vec<Axis> {
        let real = |key: &str| Axis {
            key: key.to_owned(),
            unit: "1".to_owned(),
            values: Values::Real { low: 0.0, high: 1.0, log: false },
        };
        vec![real("a"), real("b")]
    }

    fn drawn(axes: &[Axis], seed: u64, count: usize) -> Vec<Setting> {
        Sampler::new(axes, seed, Setting::new()).take(count).collect()
    }

    #[test]
    fn the_same_seed_draws_the_same_and_more_trials_continue() {
        let axes = axes();
        assert_eq!(drawn(&axes, 3, 20)[..8], drawn(&axes, 3, 8)[..]);
        assert_ne!(drawn(&axes, 3, 8), drawn(&axes, 4, 8));
        let pinned = Setting::from([("a".to_owned(), 0.425.into()), ("b".to_owned(), 0.841.into())]);
        assert_eq!(drawn(&axes, 0, 1), [pinned]);
    }

    #[test]
    fn no_quarter_of_the_square_stays_empty() {
        let axes = axes();
        for seed in 0..50 {
            let mut quarters = [0; 4];
            for setting in drawn(&axes, seed, 12) {
                let half = |key: &str| usize::from(setting[key].as_f64().unwrap() >= 0.5);
                quarters[2 * half("a") + half("b")] += 1;
            }
            assert!(quarters.iter().all(|count| *count >= 1), "seed {seed}: {quarters:?}");
        }
    }

    #[test]
    fn a_small_space_is_exhausted_without_repeats() {
        let of: Vec<Value> = vec!["x".into(), "y".into(), "z".into()];
        let axes = [Axis { key: "k".to_owned(), unit: String::new(), values: Values::Listed { of } }];
        let first = Setting::from([("k".to_owned(), "y".into())]);
        let others: Vec<_> = Sampler::new(&axes, 0, first).collect();
        assert_eq!(others.len(), 2);
        assert!(others.iter().all(|setting| setting["k"] != "y"));
    }

    #[test]
    fn golden_ratios() {
        assert!((golden(1) - 1.618_033_988_749_895).abs() < 1e-14);
        assert!((golden(2) - 1.324_717_957_244_746).abs() < 1e-14);
    }
}
