//! The titer: how many times more an attacker must pay, a ratio of interval-censored break budgets.
//!
//! A budget in `(a, b]` over one in `(c, d]` lies in `[a / d, b / c)`. In each replicate these two ends
//! are taken anew; the interval runs from a low quantile of the lower ends to a high one of the upper.

use crate::breaks::{Break, Breaks};
use crate::interval::{Round, quantile};
use crate::verdict::Titer;

/// The baseline against itself.
pub(crate) const ONE: Titer = Titer { value: Some(1.0), lower: 1.0, upper: Some(1.0), censored: false };

/// Nothing was measured.
pub(crate) const UNKNOWN: Titer = Titer { value: None, lower: 0.0, upper: None, censored: false };

/// The titer of `defended` over `baseline`, with confidence 1 − `alpha`.
pub(crate) fn titer(defended: &Breaks, baseline: &Breaks, alpha: f64) -> Titer {
    let pairs = || defended.replicates.iter().zip(&baseline.replicates);
    let mut lowers: Vec<f64> = pairs().map(|(defended, baseline)| lower(*defended, *baseline)).collect();
    let mut uppers: Vec<f64> = pairs().map(|(defended, baseline)| upper(*defended, *baseline)).collect();
    let value = match (defended.measured.until, baseline.measured.until) {
        (Some(defended), Some(baseline)) if baseline > 0 => Some(defended as f64 / baseline as f64),
        _ => None,
    };
    let lower = quantile(&mut lowers, alpha / 2.0, Round::Down).unwrap_or(0.0);
    let upper = quantile(&mut uppers, 1.0 - alpha / 2.0, Round::Up).unwrap_or(f64::INFINITY);
    Titer {
        value,
        // Quantiles of so coarse a ratio can miss the value itself; an interval should not.
        lower: value.map_or(lower, |value| lower.min(value)),
        upper: Some(value.map_or(upper, |value| upper.max(value))).filter(|upper| upper.is_finite()),
        censored: defended.measured.until.is_none(),
    }
}

fn lower(defended: Break, baseline: Break) -> f64 {
    // A baseline broken before any attack, or never, bounds no ratio from below.
    match baseline.until {
        Some(until) if until > 0 => defended.after as f64 / until as f64,
        _ => 0.0,
    }
}

fn upper(defended: Break, baseline: Break) -> f64 {
    match defended.until {
        // Broken before any attack: the attacker pays nothing, unless the baseline costs nothing either.
        Some(0) if baseline.until != Some(0) => 0.0,
        Some(until) if baseline.after > 0 => until as f64 / baseline.after as f64,
        _ => f64::INFINITY,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certain(after: u64, until: impl Into<Option<u64>>) -> Breaks {
        let measured = Break { after, until: until.into() };
        Breaks { measured, replicates: vec![measured; 200] }
    }

    #[track_caller]
    fn check(defended: Breaks, baseline: Breaks, expected: (Option<f64>, f64, Option<f64>, bool)) {
        let Titer { value, lower, upper, censored } = titer(&defended, &baseline, 0.05);
        assert_eq!((value, lower, upper, censored), expected);
    }

    #[test]
    fn the_ratio_of_two_intervals() {
        check(certain(20, 25), certain(4, 5), (Some(5.0), 4.0, Some(6.25), false));
    }

    #[test]
    fn unbroken_is_a_lower_bound() {
        check(certain(200, None), certain(4, 5), (None, 40.0, None, true));
    }

    #[test]
    fn a_baseline_broken_at_the_first_step_bounds_nothing_above() {
        check(certain(20, 25), certain(0, 1), (Some(25.0), 20.0, None, false));
    }

    #[test]
    fn a_defence_broken_before_any_attack_is_worth_nothing() {
        check(certain(0, 0), certain(0, 1), (Some(0.0), 0.0, Some(0.0), false));
        check(certain(0, 0), certain(0, 0), (None, 0.0, None, false));
    }

    #[test]
    fn a_baseline_never_broken_or_always_broken_has_no_ratio() {
        check(certain(20, 25), certain(200, None), (None, 0.0, Some(0.125), false));
        check(certain(20, 25), certain(0, 0), (None, 0.0, None, false));
        check(certain(200, None), certain(200, None), (None, 0.0, None, true));
    }

    #[test]
    fn the_interval_covers_what_the_replicates_say() {
        let mut defended = certain(20, 25);
        for (index, replicate) in defended.replicates.iter_mut().enumerate() {
            if index % 4 == 0 {
                *replicate = Break { after: 8, until: Some(10) };
            }
        }
        check(defended, certain(4, 5), (Some(5.0), 1.6, Some(6.25), false));
    }
}
