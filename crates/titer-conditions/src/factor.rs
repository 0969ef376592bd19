//! How far the levels of a factor lie apart: the trainings of a defence, the runs of an attack.
//!
//! Few levels know little of their own spread, so that a variance between seeds is drawn towards the mean of the same
//! variance over the other defences, weighted by degrees of freedom (a moderated t; Smyth, 2004). But what the defences
//! meet together they know no better than one of them does: trainings of the same seed begin from one alignment and are
//! compared with it. So the squares between seeds are taken apart, as in an analysis of variance of defences by seeds:
//! those of the seeds' means over the defences have the degrees of freedom of one defence, the rest has what is left of
//! all. Where nothing is in common the first is the share of one defence among all, and both together have the degrees of
//! freedom of all.

use std::collections::BTreeMap;

/// The other defences may count for as many degrees of freedom, however many they are: their spreads need not be equal.
const MOST_BORROWED: f64 = 30.0;

/// A variance of a mean, and its degrees of freedom.
pub(crate) type Variance = (f64, f64);

/// Satterthwaite's degrees of freedom of a sum of independent variances.
pub(crate) fn satterthwaite(components: &[Variance]) -> f64 {
    let total: f64 = components.iter().map(|(variance, _)| variance).sum();
    let weighted: f64 = components.iter().map(|(variance, df)| variance * variance / df).sum();
    if weighted > 0.0 { total * total / weighted } else { f64::INFINITY }
}

/// The spread of one factor's levels.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Factor {
    /// How many levels were measured.
    pub(crate) levels: usize,
    /// The variance between levels; none of fewer than two.
    pub(crate) variance: Option<f64>,
    /// By how much each level lies above their mean, by its seed; empty where levels have no seeds that others have too.
    above: BTreeMap<u64, f64>,
}

impl Factor {
    /// Of levels without seeds.
    pub(crate) fn of(values: &[f64]) -> Self {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        Self::planned(values.len(), (values.len() > 1).then(|| squares / (n - 1.0)))
    }

    /// Of levels that have seeds.
    pub(crate) fn by_seed(values: impl Iterator<Item = (u64, f64)>) -> Self {
        let values: BTreeMap<u64, f64> = values.collect();
        let mean = values.values().sum::<f64>() / values.len() as f64;
        let of = Self::of(&values.values().copied().collect::<Vec<_>>());
        let above = values.into_iter().map(|(seed, value)| (seed, value - mean)).filter(|_| of.levels > 1);
        Self { above: above.collect(), ..of }
    }

    /// Of so many levels whose spread is given.
    pub(crate) fn planned(levels: usize, variance: Option<f64>) -> Self {
        Self { levels, variance, above: BTreeMap::new() }
    }

    /// The same of values that are `times` as large.
    pub(crate) fn scaled(&self, times: f64) -> Self {
        Self {
            levels: self.levels,
            variance: self.variance.map(|variance| variance * times * times),
            above: self.above.iter().map(|(seed, above)| (*seed, above * times)).collect(),
        }
    }

    pub(crate) fn df(&self) -> f64 {
        self.variance.map_or(0.0, |_| (self.levels - 1) as f64)
    }

    /// The variance of the mean over the levels and its degrees of freedom, with what others know of it.
    pub(crate) fn of_mean(&self, others: &Borrowed) -> Option<Variance> {
        let borrowed = others.df.min(MOST_BORROWED);
        let df = borrowed + self.df();
        let variance = (borrowed * others.variance + self.df() * self.variance.unwrap_or(0.0)) / df;
        (df > 0.0).then(|| (variance / self.levels.max(1) as f64, df))
    }

    /// The same in its parts: what seeds have in common over the defences, and the rest.
    pub(crate) fn components(&self, others: &Borrowed) -> Vec<Variance> {
        let Some((variance, df)) = self.of_mean(others) else { return Vec::new() };
        let mut together = others.together.clone();
        together.add(self);
        match together.common() {
            Some((share, of_seeds)) if df > of_seeds => {
                vec![(share * variance, of_seeds), ((1.0 - share) * variance, df - of_seeds)]
            }
            _ => vec![(variance, df)],
        }
    }
}

/// A variance between levels as the other defences have it; without any where `df` is 0.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Borrowed {
    pub(crate) variance: f64,
    pub(crate) df: f64,
    together: Together,
}

impl Borrowed {
    /// The mean of what the others found, weighted by what each knows.
    pub(crate) fn of<'a>(others: impl Iterator<Item = &'a Factor>) -> Self {
        let mut all = Self::default();
        for factor in others {
            all.variance += factor.df() * factor.variance.unwrap_or(0.0);
            all.df += factor.df();
            all.together.add(factor);
        }
        all.variance = if all.df > 0.0 { all.variance / all.df } else { 0.0 };
        all
    }

    /// Of others whose spread is given.
    pub(crate) fn planned(variance: f64, df: f64) -> Self {
        Self { variance, df, together: Together::default() }
    }

    /// The same of values that are `times` as large.
    pub(crate) fn scaled(&self, times: f64) -> Self {
        let square = times * times;
        let sums = self.together.sums.iter().map(|(seed, (sum, count))| (*seed, (sum * times, *count)));
        Self {
            variance: self.variance * square,
            df: self.df,
            together: Together { sums: sums.collect(), squares: self.together.squares * square },
        }
    }
}

/// Levels of several defences by their seeds.
#[derive(Debug, Clone, PartialEq, Default)]
struct Together {
    /// Of each seed: the sum of how far its levels lie above their means, and how many there are.
    sums: BTreeMap<u64, (f64, f64)>,
    squares: f64,
}

impl Together {
    fn add(&mut self, factor: &Factor) {
        for (seed, above) in &factor.above {
            let (sum, count) = self.sums.entry(*seed).or_default();
            (*sum, *count) = (*sum + above, *count + 1.0);
            self.squares += above * above;
        }
    }

    /// The share of the squares that lies between the seeds' means over all defences, and its degrees of freedom.
    fn common(&self) -> Option<Variance> {
        let between: f64 = self.sums.values().map(|(sum, count)| sum * sum / count).sum();
        (self.squares > 0.0).then(|| ((between / self.squares).min(1.0), self.sums.len() as f64 - 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn factor(values: &[f64]) -> Factor {
        Factor::by_seed((0..).zip(values.iter().copied()))
    }

    #[test]
    fn degrees_of_freedom_follow_the_larger_variance() {
        assert!((satterthwaite(&[(1.0, 2.0), (0.0, 100.0)]) - 2.0).abs() < 1e-12);
        assert!((satterthwaite(&[(1.0, 1.0), (1.0, 1.0)]) - 2.0).abs() < 1e-12);
        assert_eq!(satterthwaite(&[(0.0, 1.0)]), f64::INFINITY);
    }

    #[test]
    fn what_seeds_have_in_common_no_number_of_defences_knows_better() {
        let own = factor(&[1.0, 2.0, 6.0]);
        // Variance 7, and that of the mean over three seeds.
        assert_eq!(own.components(&Borrowed::default()), [(7.0 / 3.0, 2.0)]);
        let same = [factor(&[11.0, 12.0, 16.0]), factor(&[0.0, 1.0, 5.0])];
        let lent = Borrowed::of(same.iter());
        assert_eq!(own.of_mean(&lent), Some((7.0 / 3.0, 6.0)));
        assert_eq!(own.components(&lent), [(7.0 / 3.0, 2.0), (0.0, 4.0)]);
        assert!((satterthwaite(&own.components(&lent)) - 2.0).abs() < 1e-12);
    }

    #[test]
    fn seeds_without_anything_in_common_know_it_all() {
        // Rows of a Latin square: the seeds' means are equal.
        let others = [factor(&[2.0, 6.0, 1.0]), factor(&[6.0, 1.0, 2.0])];
        let components = factor(&[1.0, 2.0, 6.0]).components(&Borrowed::of(others.iter()));
        assert!(
            components[0].0.abs() < 1e-12 && (components[1].0 - 7.0 / 3.0).abs() < 1e-12,
            "{components:?}"
        );
        assert_eq!(components[1].1, 4.0);
    }

    #[test]
    fn shares_are_the_same_whatever_the_unit() {
        let others = [factor(&[2.0, 3.0, 1.0]), factor(&[0.5, 1.0, 2.0])];
        let (own, lent) = (factor(&[1.0, 2.0, 6.0]), Borrowed::of(others.iter()));
        let scaled = own.scaled(3.0).components(&lent.scaled(3.0));
        for ((large, df), (small, same)) in scaled.into_iter().zip(own.components(&lent)) {
            assert!((large - 9.0 * small).abs() < 1e-9 && df == same, "{large} {small}");
        }
    }

    #[test]
    fn one_training_borrows_what_others_know_of_both_parts() {
        let others = [factor(&[1.0, 3.0]), factor(&[0.0, 2.0])];
        assert_eq!(factor(&[5.0]).components(&Borrowed::of(others.iter())), [(2.0, 1.0), (0.0, 1.0)]);
        assert_eq!(factor(&[5.0]).components(&Borrowed::default()), []);
    }
}
