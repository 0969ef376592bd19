//! Confidence intervals from resampled means.
//!
//! The variance of a mean is that of its items, its defence seeds and its attack seeds; two or three seeds know little
//! of their own spread and borrow from the other defences under the same attack (see [`crate::sample`]). The interval is
//! Student's with Satterthwaite's degrees of freedom, or the binomial bound for as many items where that is wider, so
//! that items that all score alike never claim certainty. How the errors of many intervals share α comes from the
//! bootstrap.

use titer_plan::DefenceRole;

use crate::evidence::asked;
use crate::factor::{Borrowed, Factor, Variance, satterthwaite};
use crate::quantile::{binomial_lower, binomial_upper, normal_tail, t_upper};
use crate::{bootstrap::Crossing, verdict::Bounds};

/// A mean over runs and items, and how it varies under resampling.
pub(crate) struct Statistic {
    pub(crate) mean: f64,
    /// Standard error; 0 where all runs and items agree.
    pub(crate) error: f64,
    by_item: Option<(f64, f64)>,
    by_defence: Factor,
    by_attack: Factor,
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

impl Statistic {
    /// Of `scores[run][item]` with the runs' (defence seed, attack seed) and the replicates of the mean.
    pub(crate) fn new(scores: &[&[f32]], seeds: &[(u64, u64)], replicates: Vec<f32>) -> Self {
        let runs: Vec<f64> = scores
            .iter()
            .map(|run| asked(run).map(f64::from).sum::<f64>() / asked(run).count() as f64)
            .collect();
        // Runs that ended early were asked fewer items: how these vary is known by those that all were asked.
        let by_item: Vec<f64> = (0..scores.first().map_or(0, |run| run.len()))
            .map(|item| scores.iter().map(|run| f64::from(run[item])).sum::<f64>() / scores.len() as f64)
            .filter(|mean| !mean.is_nan())
            .collect();
        let items = by_item.len();
        let by_seed = |levels: &[u64], of: fn(&(u64, u64)) -> u64| -> Factor {
            let mean = |level: &u64| {
                let of_level = seeds.iter().zip(&runs).filter(|(seed, _)| of(seed) == *level);
                let values: Vec<f64> = of_level.map(|(_, &value)| value).collect();
                (*level, values.iter().sum::<f64>() / values.len() as f64)
            };
            Factor::by_seed(levels.iter().map(mean))
        };
        let crossing = Crossing::of(seeds);
        let one = Factor::planned(1, None);
        // Where some runs are missing, each stands for a seed of its own.
        let (by_defence, by_attack) = match crossing.complete {
            true => (by_seed(&crossing.defence, |seed| seed.0), by_seed(&crossing.attack, |seed| seed.1)),
            false => (Factor::of(&runs), one),
        };
        let mean = runs.iter().sum::<f64>() / runs.len() as f64;
        let squares = replicates.iter().map(|&value| (f64::from(value) - mean).powi(2)).sum::<f64>();
        let error = (squares / replicates.len() as f64).sqrt();
        // Below the rounding of single precision nothing varies.
        let error = if error < 1e-6 { 0.0 } else { error };
        Self { mean, error, by_item: component(&by_item), by_defence, by_attack, items, replicates }
    }

    /// By how much a share of the size `mean` can vary at most: spreads are lent in its units.
    fn scale(&self, mean: f64) -> f64 {
        (mean * (1.0 - mean)).max(0.25 / self.items.max(1) as f64)
    }

    /// Half of the interval that leaves `tail` on each side, if the true mean lies at `end`.
    fn half(&self, end: f64, tail: f64, lent: &Lent) -> f64 {
        let scale = self.scale(self.mean).max(self.scale(end));
        let scaled = |borrowed: &Borrowed| borrowed.scaled(scale.sqrt());
        let mut components: Vec<Variance> = self.by_item.into_iter().collect();
        components.extend(self.by_defence.components(&scaled(&lent.defence)));
        components.extend(self.by_attack.components(&scaled(&lent.attack)));
        let variance: f64 = components.iter().map(|(variance, _)| variance).sum();
        variance.sqrt() * t_upper(tail, satterthwaite(&components))
    }

    /// The interval that leaves `tail` on each side. As in Wilson's interval each end has the spread that is lent to
    /// a mean of its own size: a mean that is low by chance must not borrow too little.
    fn bounds(&self, tail: f64, lent: &Lent) -> Bounds {
        let end = |side: f64| {
            let step = |end: f64, _: usize| (self.mean + side * self.half(end, tail, lent)).clamp(0.0, 1.0);
            (0..ROUNDS).fold(self.mean, step)
        };
        Bounds {
            lower: end(-1.0).min(binomial_lower(self.mean, self.items, tail)),
            upper: end(1.0).max(binomial_upper(self.mean, self.items, tail)),
        }
    }
}

/// An end and the spread at it settle within so many rounds, or nearly.
const ROUNDS: usize = 6;

/// The spread between seeds that other defences lend to a mean, as a share of what a mean of their size can vary.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lent {
    defence: Borrowed,
    attack: Borrowed,
}

impl Lent {
    /// Of the same mean on other defences. How far the undefended model's alignments lie apart says too little of how far
    /// trainings do that begin from them.
    pub(crate) fn of<'a>(others: impl Iterator<Item = (DefenceRole, &'a Statistic)> + Clone) -> Self {
        let scaled = |statistic: &Statistic, factor: &Factor| {
            factor.scaled(statistic.scale(statistic.mean).sqrt().recip())
        };
        let trained = others.clone().filter(|(role, _)| role.lends());
        let trained: Vec<Factor> = trained.map(|(_, other)| scaled(other, &other.by_defence)).collect();
        let attacked: Vec<Factor> = others.map(|(_, other)| scaled(other, &other.by_attack)).collect();
        Self { defence: Borrowed::of(trained.iter()), attack: Borrowed::of(attacked.iter()) }
    }

    /// What is lent of the spread between defence seeds, and of that between attack seeds.
    pub(crate) fn factors(self) -> [Borrowed; 2] {
        [self.defence, self.attack]
    }

    /// For a model that was given, not drawn.
    pub(crate) fn given(self) -> Self {
        Self { defence: Borrowed::default(), ..self }
    }
}

/// Intervals for means of scores in 0…1 that all hold at once with confidence 1 − `alpha`.
///
/// The studentised maximum over all means gives the share of errors that each may make by itself
/// (Hothorn, Bretz and Westfall, 2008).
/// It is never less than Bonferroni's share. Means without any spread have no studentised deviation, so
/// each of them gets Bonferroni's share and the others divide the rest.
pub(crate) fn simultaneous(statistics: &[&Statistic], lent: &[Lent], alpha: f64) -> Vec<Bounds> {
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
    let critical = f64::from(quantile(&mut maxima, 1.0 - share).unwrap_or(f32::INFINITY));
    let each = (2.0 * normal_tail(critical)).clamp(bonferroni, alpha);
    let tail = |statistic: &Statistic| if statistic.error > 0.0 { each } else { bonferroni } / 2.0;
    let none = Lent::default();
    let lent = lent.iter().chain(std::iter::repeat(&none));
    statistics.iter().zip(lent).map(|(statistic, lent)| statistic.bounds(tail(statistic), lent)).collect()
}

/// The quantile `p` of some values, rounded up to one of them, which are sorted on the way; none of none.
fn quantile(values: &mut [f32], p: f64) -> Option<f32> {
    values.sort_unstable_by(f32::total_cmp);
    let place = (p * (values.len() as f64 + 1.0)).ceil();
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
        let bounds = simultaneous(&statistics.each_ref(), &[], 0.05);
        // Two means share 0.05, each side of each gets 0.0125: 1 − 0.0125^(1/120).
        assert!((bounds[0].upper - 0.035_86).abs() < 1e-4, "{bounds:?}");
        assert!((bounds[1].lower - (1.0 - 0.035_86)).abs() < 1e-4, "{bounds:?}");
        assert_eq!((bounds[0].lower, bounds[1].upper), (0.0, 1.0));
    }

    #[test]
    fn more_means_make_each_interval_wider() {
        let one = simultaneous(&[&constant(0.0, 50)], &[], 0.05)[0].upper;
        let statistics: Vec<_> = (0..20).map(|_| constant(0.0, 50)).collect();
        let of_twenty = simultaneous(&statistics.iter().collect::<Vec<_>>(), &[], 0.05)[0].upper;
        assert!(of_twenty > 1.5 * one, "{one} {of_twenty}");
    }

    #[test]
    fn alignments_lend_nothing_of_how_far_trainings_lie_apart() {
        let runs = [vec![0.2f32; 40], vec![0.6f32; 40]];
        let runs: Vec<&[f32]> = runs.iter().map(Vec::as_slice).collect();
        let of = |seeds: [(u64, u64); 2]| Statistic::new(&runs, &seeds, vec![0.4; 100]);
        let (trainings, attackers) = (of([(0, 0), (1, 0)]), of([(0, 0), (0, 1)]));
        let lent = |role, statistic| {
            let [defence, attack] = Lent::of([(role, statistic)].into_iter()).factors();
            (defence.df, attack.df)
        };
        assert_eq!(lent(DefenceRole::Defence, &trainings), (1.0, 0.0));
        assert_eq!(lent(DefenceRole::Baseline, &trainings), (0.0, 0.0));
        assert_eq!(lent(DefenceRole::Baseline, &attackers), (0.0, 1.0));
    }

    #[test]
    fn quantiles_round_up() {
        let mut values: Vec<f32> = (1..=9u8).map(f32::from).rev().collect();
        assert_eq!(quantile(&mut values, 0.75), Some(8.0));
        assert_eq!(quantile(&mut values, 0.72), Some(8.0));
        assert_eq!(quantile(&mut values, 0.999), Some(9.0));
        assert_eq!(quantile(&mut [], 0.5), None);
    }
}
