//! Confidence intervals from resampled means.
//!
//! Three ingredients, and the widest wins: the bootstrap's standard error times a critical value; the
//! critical value stretched as Student's t with Satterthwaite's degrees of freedom stretches the normal,
//! because two or three seeds know little of their own spread; and the binomial bound for as many items,
//! so that items that all score alike never claim certainty.

use crate::quantile::{binomial_lower, binomial_upper, normal_tail, t_upper};
use crate::{bootstrap::Crossing, verdict::Bounds};

/// A mean over runs and items, and how it varies under resampling.
pub(crate) struct Statistic {
    pub(crate) mean: f64,
    /// Standard error; 0 where all runs and items agree.
    pub(crate) error: f64,
    /// Satterthwaite's degrees of freedom of the standard error.
    df: f64,
    items: usize,
    /// The mean in each replicate.
    replicates: Vec<f32>,
}

/// Mean and variance of the mean of some values, the latter with its degrees of freedom.
fn component(values: &[f64]) -> Option<(f64, f64)> {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
    (values.len() > 1).then(|| (squares / (n - 1.0) / n, n - 1.0))
}

/// Satterthwaite's degrees of freedom of a sum of independent variances.
pub(crate) fn satterthwaite(components: &[(f64, f64)]) -> f64 {
    let total: f64 = components.iter().map(|(variance, _)| variance).sum();
    let weighted: f64 = components.iter().map(|(variance, df)| variance * variance / df).sum();
    if weighted > 0.0 { total * total / weighted } else { f64::INFINITY }
}

impl Statistic {
    /// Of `scores[run][item]` with the runs' (defence seed, attack seed) and the replicates of the mean.
    pub(crate) fn new(scores: &[&[f32]], seeds: &[(u64, u64)], replicates: Vec<f32>) -> Self {
        let items = scores.first().map_or(0, |run| run.len());
        let runs: Vec<f64> = scores
            .iter()
            .map(|run| run.iter().map(|&score| f64::from(score)).sum::<f64>() / items as f64)
            .collect();
        let by_item: Vec<f64> = (0..items)
            .map(|item| scores.iter().map(|run| f64::from(run[item])).sum::<f64>() / scores.len() as f64)
            .collect();
        let by_seed = |levels: &[u64], of: fn(&(u64, u64)) -> u64| -> Vec<f64> {
            let mean = |level: &u64| {
                let of_level = seeds.iter().zip(&runs).filter(|(seed, _)| of(seed) == *level);
                let values: Vec<f64> = of_level.map(|(_, &value)| value).collect();
                values.iter().sum::<f64>() / values.len() as f64
            };
            levels.iter().map(mean).collect()
        };
        let crossing = Crossing::of(seeds);
        let mut components = vec![component(&by_item)];
        if crossing.complete {
            components.push(component(&by_seed(&crossing.defence, |seed| seed.0)));
            components.push(component(&by_seed(&crossing.attack, |seed| seed.1)));
        } else {
            components.push(component(&runs));
        }
        let components: Vec<_> = components.into_iter().flatten().collect();
        let mean = runs.iter().sum::<f64>() / runs.len() as f64;
        let squares = replicates.iter().map(|&value| (f64::from(value) - mean).powi(2)).sum::<f64>();
        let error = (squares / replicates.len() as f64).sqrt();
        // Below the rounding of single precision nothing varies.
        let error = if error < 1e-6 { 0.0 } else { error };
        Self { mean, error, df: satterthwaite(&components), items, replicates }
    }

    /// The mean in one replicate.
    pub(crate) fn replicate(&self, index: usize) -> f32 {
        self.replicates[index]
    }

    /// The interval that leaves `tail` on each side, of a family whose errors come to `alpha`.
    ///
    /// t stretches the normal as it does at `alpha`, not at the much smaller `tail`: most means of a family
    /// share their seeds, so that the stretch is owed once, and t's far tails would let two seeds never say
    /// anything (see the simulations in `coverage`).
    fn bounds(&self, tail: f64, alpha: f64) -> Bounds {
        let normal = |tail| t_upper(tail, f64::INFINITY);
        let half = self.error * normal(tail) * t_upper(alpha / 2.0, self.df) / normal(alpha / 2.0);
        Bounds {
            lower: (self.mean - half).max(0.0).min(binomial_lower(self.mean, self.items, tail)),
            upper: (self.mean + half).min(1.0).max(binomial_upper(self.mean, self.items, tail)),
        }
    }
}

/// Intervals for means of scores in 0…1 that all hold at once with confidence 1 − `alpha`.
///
/// The studentised maximum over all means gives the share of errors that each may make by itself
/// (Hothorn, Bretz and Westfall, 2008).
/// It is never less than Bonferroni's share. Means without any spread have no studentised deviation, so
/// each of them gets Bonferroni's share and the others divide the rest.
pub(crate) fn simultaneous(statistics: &[&Statistic], alpha: f64) -> Vec<Bounds> {
    if statistics.is_empty() {
        return Vec::new();
    }
    let count = statistics.len() as f64;
    let varying: Vec<_> = statistics.iter().filter(|statistic| statistic.error > 0.0).collect();
    let bonferroni = alpha / count;
    let share = alpha * varying.len() as f64 / count;
    let replicates = varying.first().map_or(0, |statistic| statistic.replicates.len());
    let mut maxima = vec![0.0f32; replicates];
    for statistic in &varying {
        let (mean, scale) = (statistic.mean as f32, 1.0 / statistic.error as f32);
        for (maximum, value) in maxima.iter_mut().zip(&statistic.replicates) {
            *maximum = maximum.max((value - mean).abs() * scale);
        }
    }
    let critical = f64::from(quantile(&mut maxima, 1.0 - share, Round::Up).unwrap_or(f32::INFINITY));
    let each = (2.0 * normal_tail(critical)).clamp(bonferroni, alpha);
    let tail = |statistic: &Statistic| if statistic.error > 0.0 { each } else { bonferroni } / 2.0;
    statistics.iter().map(|statistic| statistic.bounds(tail(statistic), alpha)).collect()
}

/// The interval of a mean of differences in −1…1 that leaves `tail` on each side.
///
/// Gains and losses are each a share of the items, so that n items without any difference still leave
/// room for a share of `1 − tail^(1/n)` on either side: the rule of three.
pub(crate) fn difference(statistic: &Statistic, scores: &[&[f32]], tail: f64) -> Bounds {
    let mean = |part: fn(f32) -> f32| {
        let total: f64 = scores.iter().flat_map(|run| run.iter()).map(|&value| f64::from(part(value))).sum();
        total / (scores.len() * statistic.items) as f64
    };
    let (gain, loss) = (mean(|value| value.max(0.0)), mean(|value| (-value).max(0.0)));
    let half = statistic.error * t_upper(tail, statistic.df);
    Bounds {
        lower: (statistic.mean - half).min(gain - binomial_upper(loss, statistic.items, tail)).max(-1.0),
        upper: (statistic.mean + half).max(binomial_upper(gain, statistic.items, tail) - loss).min(1.0),
    }
}

/// Which neighbour stands for a quantile that falls between two values.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Round {
    Down,
    Up,
}

/// The quantile `p` of some values, which are sorted on the way; none of none.
pub(crate) fn quantile<T: Copy + PartialOrd>(values: &mut [T], p: f64, round: Round) -> Option<T> {
    values.sort_unstable_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
    let place = p * (values.len() as f64 + 1.0);
    let place = match round {
        Round::Down => place.floor(),
        Round::Up => place.ceil(),
    };
    let index = (place as usize).clamp(1, values.len().max(1)) - 1;
    values.get(index).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn constant(value: f32, items: usize) -> Statistic {
        let run = vec![value; items];
        Statistic::new(&[&run], &[(0, 0)], vec![value; 100])
    }

    #[test]
    fn scores_that_all_agree_never_claim_certainty() {
        let statistics = [constant(0.0, 120), constant(1.0, 120)];
        let bounds = simultaneous(&statistics.each_ref(), 0.05);
        // Two means share 0.05, each side of each gets 0.0125: 1 − 0.0125^(1/120).
        assert!((bounds[0].upper - 0.035_86).abs() < 1e-4, "{bounds:?}");
        assert!((bounds[1].lower - (1.0 - 0.035_86)).abs() < 1e-4, "{bounds:?}");
        assert_eq!((bounds[0].lower, bounds[1].upper), (0.0, 1.0));
    }

    #[test]
    fn no_difference_among_few_items_is_no_equivalence() {
        let run = vec![0.0; 10];
        let bounds = difference(&constant(0.0, 10), &[&run], 0.05);
        assert!((bounds.upper - 0.2589).abs() < 1e-4 && (bounds.lower + 0.2589).abs() < 1e-4, "{bounds:?}");
    }

    #[test]
    fn more_means_make_each_interval_wider() {
        let one = simultaneous(&[&constant(0.0, 50)], 0.05)[0].upper;
        let statistics: Vec<_> = (0..20).map(|_| constant(0.0, 50)).collect();
        let of_twenty = simultaneous(&statistics.iter().collect::<Vec<_>>(), 0.05)[0].upper;
        assert!(of_twenty > 1.5 * one, "{one} {of_twenty}");
    }

    #[test]
    fn quantiles_round_outwards() {
        let mut values: Vec<f64> = (1..=9).map(f64::from).rev().collect();
        assert_eq!(quantile(&mut values, 0.25, Round::Down), Some(2.0));
        assert_eq!(quantile(&mut values, 0.75, Round::Up), Some(8.0));
        assert_eq!(quantile(&mut values, 0.999, Round::Up), Some(9.0));
        assert_eq!(quantile(&mut [] as &mut [f64], 0.5, Round::Up), None);
    }

    #[test]
    fn degrees_of_freedom_follow_the_larger_variance() {
        assert!((satterthwaite(&[(1.0, 2.0), (0.0, 100.0)]) - 2.0).abs() < 1e-12);
        assert!((satterthwaite(&[(1.0, 1.0), (1.0, 1.0)]) - 2.0).abs() < 1e-12);
        assert_eq!(satterthwaite(&[(0.0, 1.0)]), f64::INFINITY);
    }
}
