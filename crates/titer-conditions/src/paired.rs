//! Differences in score between a model and the one it is compared with, run by run and item by item.

use titer_plan::DefenceRole;

use crate::evidence::Run;
use crate::factor::Factor;
use crate::quantile::binomial_upper;
use crate::sample::{Cell, Items, Sample, closest};
use crate::verdict::Bounds;

/// The differences of several runs: `[run][item]`.
pub(crate) struct Differences {
    rows: Vec<Vec<f32>>,
    pub(crate) sample: Sample,
}

/// A mean difference with its interval.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Change {
    pub(crate) mean: f64,
    pub(crate) interval: Bounds,
    /// See [`crate::sample::Estimate::power`].
    pub(crate) power: f64,
}

/// Whether so many answers without any difference would show one of at most `margin`: by the rule of three they leave room
/// for a share of `1 − tail^(1/n)`.
pub(crate) fn can_show(answers: usize, tail: f64, margin: f64) -> bool {
    binomial_upper(0.0, answers, tail) <= margin
}

impl Differences {
    /// Of runs and the reference's run of the same seeds, else of the same attack seed, else all of its runs. `of` is what
    /// is compared of a run: one value for each item. None where either has none.
    pub(crate) fn new(
        runs: &[Run],
        reference: &[Run],
        role: DefenceRole,
        of: impl Fn(&Run) -> Option<Vec<f32>>,
    ) -> Option<Self> {
        let against = |run: &Run| -> Option<Vec<f32>> {
            let same = closest((run.defence_seed, run.attack_seed), reference, |other| {
                (other.defence_seed, other.attack_seed)
            });
            let rows: Vec<Vec<f32>> = same.into_iter().filter_map(&of).collect();
            let items = rows.first()?.len();
            let mean = |item: usize| rows.iter().map(|row| row[item]).sum::<f32>() / rows.len() as f32;
            Some((0..items).map(mean).collect())
        };
        let mut rows = Vec::new();
        let mut cells = Vec::new();
        for run in runs {
            let row: Vec<f32> = of(run)?.iter().zip(against(run)?).map(|(own, other)| own - other).collect();
            let mean = row.iter().map(|&value| f64::from(value)).sum::<f64>() / row.len() as f64;
            let (defence_seed, attack_seed) = (run.defence_seed, run.attack_seed);
            cells.push(Cell { defence_seed, attack_seed, low: mean, high: mean });
            rows.push(row);
        }
        let items = rows.first()?.len();
        let by_item: Vec<f64> = (0..items)
            .map(|item| rows.iter().map(|row| f64::from(row[item])).sum::<f64>() / rows.len() as f64)
            .collect();
        let factor = Factor::of(&by_item);
        let of_items = factor.variance.map(|variance| Items {
            of_mean: variance / items as f64,
            df: items as f64 - 1.0,
            count: items,
        });
        Some(Self { rows, sample: Sample::new(cells, of_items, role)? })
    }

    /// How many independent answers the differences are worth: as many as there are items where runs agree on each, as
    /// many as were given where they do not.
    fn answers(&self) -> usize {
        let items = self.rows.first().map_or(0, Vec::len);
        let given = items * self.rows.len();
        let all: Vec<f64> = self.rows.iter().flatten().map(|&value| f64::from(value)).collect();
        let by_item: Vec<f64> = (0..items)
            .map(|item| {
                self.rows.iter().map(|row| f64::from(row[item])).sum::<f64>() / self.rows.len() as f64
            })
            .collect();
        match (Factor::of(&all).variance, Factor::of(&by_item).variance) {
            (Some(each), Some(of_items)) if of_items > 0.0 => {
                ((items as f64 * each / of_items) as usize).clamp(items, given)
            }
            _ => items,
        }
    }

    /// The mean and its interval that leaves `tail` on each side; `margin` is what its power is asked for.
    ///
    /// Gains and losses are each a share of the answers, so that n answers without any difference still leave room for
    /// a share of `1 − tail^(1/n)` on either side: the rule of three. Answers to one item by several runs count as one
    /// where they agree.
    pub(crate) fn change(&self, others: &[&Sample], tail: f64, margin: f64) -> Change {
        let estimate = self.sample.estimate(others, tail);
        let items = self.rows.first().map_or(0, Vec::len);
        let mean = |part: fn(f32) -> f32| {
            let total: f64 = self.rows.iter().flatten().map(|&value| f64::from(part(value))).sum();
            total / (self.rows.len() * items) as f64
        };
        let (gain, loss) = (mean(|value| value.max(0.0)), mean(|value| (-value).max(0.0)));
        let answers = self.answers();
        let lower = estimate.lower.min(gain - binomial_upper(loss, answers, tail));
        let upper = estimate.upper.max(binomial_upper(gain, answers, tail) - loss);
        let interval = Bounds { lower: lower.max(-1.0), upper: upper.min(1.0) };
        let power = if can_show(answers, tail, margin) { estimate.power(margin, tail) } else { 0.0 };
        Change { mean: estimate.value, interval, power }
    }
}
