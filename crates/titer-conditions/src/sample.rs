//! What a comparison is estimated from: one value for each defence seed and attack seed, and how far such values lie
//! apart, which the defences of an experiment tell each other.
//!
//! A mean over crossed seeds varies by its items, its defence seeds and its attack seeds. Two or three seeds know
//! little of their own spread, which the other defences lend (see [`crate::factor`]). The interval is Student's with
//! Satterthwaite's degrees of freedom; values known between two ends only widen it by what is not known.

use std::collections::{BTreeMap, BTreeSet};

use titer_plan::DefenceRole;

use crate::factor::{Borrowed, Factor, satterthwaite};
use crate::quantile::{t_below, t_upper};

/// One value, between two ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Cell {
    pub(crate) defence_seed: u64,
    pub(crate) attack_seed: u64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Cell {
    /// The middle; whichever end is finite where one is not.
    fn middle(&self) -> f64 {
        match (self.low.is_finite(), self.high.is_finite()) {
            (true, true) => f64::midpoint(self.low, self.high),
            (true, false) => self.low,
            (false, true) => self.high,
            (false, false) => 0.0,
        }
    }
}

/// How a mean varies with the items.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Items {
    /// The variance of the mean.
    pub(crate) of_mean: f64,
    /// Its degrees of freedom.
    pub(crate) df: f64,
    /// How many items there are.
    pub(crate) count: usize,
}

/// Values by seeds, and how their mean varies with the items.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    cells: Vec<Cell>,
    items: Option<Items>,
    defence: Factor,
    attack: Factor,
    /// What it is compared as.
    role: DefenceRole,
}

/// A mean with its interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Estimate {
    pub(crate) value: f64,
    pub(crate) lower: f64,
    pub(crate) upper: f64,
    /// Satterthwaite's degrees of freedom of the interval.
    pub(crate) df: f64,
    /// Standard error of the mean.
    pub(crate) error: f64,
    /// Whether nobody has more than one attack seed, so that nothing is known of others where they matter.
    pub(crate) blind: bool,
}

impl Estimate {
    /// Both ends of the interval: open where one attack seed is all that is known, however well its items agree.
    pub(crate) fn ends(&self) -> (f64, f64) {
        if self.blind { (f64::NEG_INFINITY, f64::INFINITY) } else { (self.lower, self.upper) }
    }

    /// The chance that an interval as wide as this one, `tail` on each side, ends within `margin` where the truth is 0.
    pub(crate) fn power(&self, margin: f64, tail: f64) -> f64 {
        let half = self.error * t_upper(tail, self.df);
        // What is not known of the values lies on either side.
        let unknown = 0.5 * (self.upper - self.lower) - half;
        let room = margin - unknown - half;
        match self.error > 0.0 {
            true => t_below(room / self.error, self.df),
            false => f64::from(u8::from(room >= 0.0)),
        }
    }
}

impl Sample {
    /// None of no cells.
    pub(crate) fn new(cells: Vec<Cell>, items: Option<Items>, role: DefenceRole) -> Option<Self> {
        let by = |of: fn(&Cell) -> u64| -> Factor {
            let mut levels = BTreeMap::<u64, (f64, f64)>::new();
            for cell in &cells {
                let level = levels.entry(of(cell)).or_default();
                *level = (level.0 + cell.middle(), level.1 + 1.0);
            }
            Factor::by_seed(levels.into_iter().map(|(seed, (sum, count))| (seed, sum / count)))
        };
        let (defence, attack) = (by(|cell| cell.defence_seed), by(|cell| cell.attack_seed));
        (!cells.is_empty()).then_some(Self { cells, items, defence, attack, role })
    }

    /// Of values that are yet to be measured, whose spread is given.
    pub(crate) fn planned(cells: Vec<Cell>, items: Option<Items>, defence: Factor, attack: Factor) -> Self {
        Self { cells, items, defence, attack, role: DefenceRole::Defence }
    }

    /// Whether its spread says something of other defences.
    pub(crate) fn lends(&self) -> bool {
        self.role.lends()
    }

    /// The spread between defence seeds, and that between attack seeds.
    pub(crate) fn factors(&self) -> [&Factor; 2] {
        [&self.defence, &self.attack]
    }

    /// The variance between items of the mean over all runs.
    pub(crate) fn between_items(&self) -> Option<f64> {
        self.items.map(|items| items.of_mean * items.count as f64)
    }

    /// The width between whose ends values are known, on average over those that have two.
    pub(crate) fn gap(&self) -> Option<f64> {
        let gaps = self.cells.iter().map(|cell| cell.high - cell.low).filter(|gap| gap.is_finite());
        let (sum, count) = gaps.fold((0.0, 0.0), |(sum, count), gap| (sum + gap, count + 1.0));
        (count > 0.0).then(|| sum / count)
    }

    fn mean(&self, of: impl Fn(&Cell) -> f64) -> f64 {
        self.cells.iter().map(of).sum::<f64>() / self.cells.len() as f64
    }

    /// How many runs stand behind it.
    pub(crate) fn runs(&self) -> usize {
        self.cells.len()
    }

    /// The mean and its interval that leaves `tail` on each side, with the spreads of `others`.
    pub(crate) fn estimate(&self, others: &[&Self], tail: f64) -> Estimate {
        let borrowed = |of: fn(&Self) -> &Factor| {
            Borrowed::of(others.iter().filter(|other| other.lends()).map(|other| of(other)))
        };
        let mut components: Vec<(f64, f64)> =
            self.items.into_iter().map(|items| (items.of_mean, items.df)).collect();
        // A model that was given has no other seeds.
        if self.role != DefenceRole::Baseline || self.defence.levels > 1 {
            components.extend(self.defence.components(&borrowed(|sample| &sample.defence)));
        }
        // All defences meet the same attack seeds and the same runs of the reference, so that together they know little
        // more of these than one does: the variance is theirs, but it counts no more than one's own.
        let shared = self.attack.of_mean(&borrowed(|sample| &sample.attack));
        let blind = shared.is_none();
        components.extend(shared.map(|(variance, df)| (variance, df.min(self.attack.df()).max(1.0))));
        let variance: f64 = components.iter().map(|(variance, _)| variance).sum();
        let df = satterthwaite(&components);
        let half = variance.sqrt() * t_upper(tail, df);
        Estimate {
            value: self.mean(Cell::middle),
            lower: self.mean(|cell| cell.low) - half,
            upper: self.mean(|cell| cell.high) + half,
            df,
            error: variance.sqrt(),
            blind,
        }
    }
}

/// The estimate for one defence of a group, with the spreads of all the others.
pub(crate) fn estimate(group: &[(&str, Option<Sample>)], defence: &str, tail: f64) -> Option<Estimate> {
    let own = group.iter().find(|(label, _)| *label == defence)?.1.as_ref()?;
    let others = group.iter().filter(|(label, _)| *label != defence);
    let others: Vec<&Sample> = others.filter_map(|(_, sample)| sample.as_ref()).collect();
    Some(own.estimate(&others, tail))
}

/// One run's reading of a quantity: between two ends, and in each replicate of the items.
#[derive(Debug, Clone)]
pub(crate) struct Reading {
    pub(crate) seeds: Seeds,
    pub(crate) low: f64,
    pub(crate) high: f64,
    pub(crate) replicates: Vec<f64>,
}

/// A run's defence seed and attack seed.
pub(crate) type Seeds = (u64, u64);

/// The runs of a reference that one run is compared with: that of the same seeds, else those of the same attack seed,
/// else all.
pub(crate) fn closest<R>(seeds: Seeds, reference: &[R], of: impl Fn(&R) -> Seeds) -> Vec<&R> {
    let rank = |other: &R| {
        let other = of(other);
        (other.1 == seeds.1, other == seeds)
    };
    let best = reference.iter().map(&rank).max();
    reference.iter().filter(|other| Some(rank(other)) == best).collect()
}

/// The differences between each run's reading and the mean of those that it is compared with; runs that are compared with
/// none are left out.
pub(crate) fn differences<'a>(
    pairs: impl Iterator<Item = (&'a Reading, Vec<&'a Reading>)>,
    items: usize,
    role: DefenceRole,
) -> Option<Sample> {
    let (mut cells, mut replicates) = (Vec::new(), Vec::<f64>::new());
    for (own, reference) in pairs.filter(|(_, reference)| !reference.is_empty()) {
        let mean = |of: &dyn Fn(&Reading) -> f64| {
            reference.iter().map(|other| of(other)).sum::<f64>() / reference.len() as f64
        };
        let (defence_seed, attack_seed) = own.seeds;
        let (low, high) = (own.low - mean(&|other| other.high), own.high - mean(&|other| other.low));
        cells.push(Cell { defence_seed, attack_seed, low, high });
        replicates.resize(own.replicates.len(), 0.0);
        for (b, sum) in replicates.iter_mut().enumerate() {
            *sum += own.replicates[b] - mean(&|other| other.replicates[b]);
        }
    }
    let count = cells.len().max(1) as f64;
    replicates.iter_mut().for_each(|sum| *sum /= count);
    Sample::new(cells, of_items(&replicates, items), role)
}

/// The variance of some replicates, with the degrees of freedom that `count` items have.
fn of_items(replicates: &[f64], count: usize) -> Option<Items> {
    let of_mean = Factor::of(replicates).variance?;
    let df = count.min(replicates.len()).saturating_sub(1) as f64;
    (count > 1).then_some(Items { of_mean, df, count })
}

/// The attack seeds of some cells' runs, ascending.
pub(crate) fn seeds(pairs: impl Iterator<Item = u64>) -> Vec<u64> {
    pairs.collect::<BTreeSet<u64>>().into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(values: [[f64; 3]; 2]) -> Sample {
        let cells = (0..2).flat_map(|d| (0..3).map(move |a| (d, a)));
        let cells = cells.map(|(d, a)| Cell {
            defence_seed: d as u64,
            attack_seed: a as u64,
            low: values[d][a],
            high: values[d][a],
        });
        Sample::new(cells.collect(), None, DefenceRole::Defence).unwrap()
    }

    #[test]
    fn alone_it_is_students_interval_over_both_factors() {
        // Defence means 2 and 4: variance of the mean 1, df 1. Attack means 2, 3, 4: variance 1/3, df 2.
        let estimate = sample([[1.0, 2.0, 3.0], [3.0, 4.0, 5.0]]).estimate(&[], 0.025);
        let df = (4.0f64 / 3.0).powi(2) / (1.0 + (1.0f64 / 9.0) / 2.0);
        assert!((estimate.value - 3.0).abs() < 1e-12 && (estimate.df - df).abs() < 1e-12, "{estimate:?}");
        let half = (4.0f64 / 3.0).sqrt() * t_upper(0.025, df);
        assert!((estimate.upper - 3.0 - half).abs() < 1e-9 && (3.0 - estimate.lower - half).abs() < 1e-9);
    }

    #[test]
    fn others_lend_their_spread() {
        let (still, moving) = (sample([[1.0; 3]; 2]), sample([[0.0, 0.0, 0.0], [2.0, 2.0, 2.0]]));
        assert_eq!(still.estimate(&[], 0.025).upper, 1.0);
        // The defence's variance: own 0 with df 1, the other's 2 with df 1, so 1 with df 2, halved for two seeds. Half
        // of the squares are what both have in common, with df 1, half what each has alone, with df 1 too.
        let lent = still.estimate(&[&moving], 0.025);
        assert!((lent.upper - 1.0 - 0.5f64.sqrt() * t_upper(0.025, 2.0)).abs() < 1e-9, "{lent:?}");
    }

    #[test]
    fn what_is_not_known_widens_the_interval() {
        let cells = vec![Cell { defence_seed: 0, attack_seed: 0, low: 1.0, high: 2.0 }];
        let estimate = Sample::new(cells, None, DefenceRole::Baseline).unwrap().estimate(&[], 0.025);
        assert_eq!((estimate.value, estimate.lower, estimate.upper), (1.5, 1.0, 2.0));
        let open = vec![Cell { defence_seed: 0, attack_seed: 0, low: 1.0, high: f64::INFINITY }];
        let open = Sample::new(open, None, DefenceRole::Baseline).unwrap();
        assert!(open.estimate(&[], 0.025).upper.is_infinite());
    }
}
