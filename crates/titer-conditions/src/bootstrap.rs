//! The hierarchical bootstrap: seeds, then items.
//!
//! Defence seeds, attack seeds and items are crossed (each attack seed meets each defence seed, and all
//! models answer the same items), so each is resampled by itself and a run's weight is the product: the
//! pigeonhole bootstrap, which errs on the wide side (Owen, 2007, arXiv 0712.1111). Resampling n levels
//! with replacement makes their mean vary (n − 1)/n times as much as it should, which matters with two
//! or three seeds; the weights are stretched to make up for it, so that a few may be negative.
//!
//! The same draws serve every defence and attack: paired models meet the same resampled items and seeds.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use titer_plan::{Arm, Probe, derive_seed};

use crate::evidence::{ItemSet, Phase, Run, asked};

/// Replicates that are worked on at once; eight vector registers' worth.
const LANES: usize = 32;

/// All draws come from this seed: the same frame always gives the same verdicts.
const SEED: u64 = 0x7174_6572;

/// The weight of each level of one factor in each replicate. A replicate's weights sum to 1.
pub(crate) struct Weights {
    levels: usize,
    /// `[block][level][lane]`, replicate = block × LANES + lane.
    lanes: Vec<[f32; LANES]>,
}

impl Weights {
    fn draw(stream: u64, levels: usize, replicates: usize) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(SEED);
        rng.set_stream(stream);
        let uniform = 1.0 / levels as f32;
        let stretch = if levels > 1 { (levels as f32 / (levels as f32 - 1.0)).sqrt() } else { 0.0 };
        let blocks = replicates.div_ceil(LANES);
        let mut lanes = vec![[0.0; LANES]; blocks * levels];
        for block in lanes.chunks_exact_mut(levels) {
            for lane in 0..LANES {
                for _ in 0..levels {
                    block[rng.random_range(0..levels)][lane] += uniform;
                }
                for level in block.iter_mut() {
                    level[lane] = uniform + stretch * (level[lane] - uniform);
                }
            }
        }
        Self { levels, lanes }
    }

    fn get(&self, level: usize, replicate: usize) -> f32 {
        self.lanes[replicate / LANES * self.levels + level][replicate % LANES]
    }
}

/// Every draw of one decision.
pub(crate) struct Draws {
    pub(crate) replicates: usize,
    items: BTreeMap<ItemSet, Weights>,
}

impl Draws {
    /// Draws `replicates` resamples of every item set.
    pub(crate) fn new(sets: &BTreeMap<ItemSet, usize>, replicates: usize) -> Self {
        let items = sets.iter().map(|(&set, &count)| {
            let (arm, phase, probe) = set;
            let stream = 1_000_000 + ordinal(arm) * 100 + phase as u64 * 10 + place(probe);
            (set, Weights::draw(stream, count, replicates))
        });
        Self { replicates, items: items.collect() }
    }

    /// The mean over resampled items: `[run][point][replicate]`.
    pub(crate) fn items(&self, runs: &[Run], arm: Arm, phase: Phase, probe: Probe) -> Vec<Vec<Vec<f32>>> {
        let means = |run: &Run| {
            let scores: Vec<&[f32]> = run.points.iter().map(|point| point.scores.as_slice()).collect();
            self.means(&scores, (arm, phase, probe))
        };
        runs.iter().map(means).collect()
    }

    /// The mean over resampled items of several arrays of values: `[array][replicate]`.
    ///
    /// Where items were not asked, the mean of those that were is resampled by the same draws: it varies as a mean of so few
    /// does, and stays paired with others.
    pub(crate) fn means(&self, arrays: &[&[f32]], set: ItemSet) -> Vec<Vec<f32>> {
        let mut means = vec![vec![0.0; self.replicates]; arrays.len()];
        let Some(weights) = self.items.get(&set) else { return means };
        let (centred, offsets): (Vec<Cow<'_, [f32]>>, Vec<f32>) =
            arrays.iter().map(|array| centred(array)).unzip();
        for (index, block) in weights.lanes.chunks_exact(weights.levels).enumerate() {
            let start = index * LANES;
            let end = self.replicates.min(start + LANES);
            for ((array, offset), mean) in centred.iter().zip(&offsets).zip(&mut means) {
                let mut sums = [*offset; LANES];
                for (&value, weights) in array.iter().zip(block) {
                    // Refused items score nothing, and most are.
                    if value != 0.0 {
                        for (sum, weight) in sums.iter_mut().zip(weights) {
                            *sum += value * weight;
                        }
                    }
                }
                mean[start..end].copy_from_slice(&sums[..end - start]);
            }
        }
        means
    }

    /// The weight of each run: `[run][replicate]`. Where some runs are missing, seeds are not crossed, and
    /// the runs are resampled as if each had its own.
    pub(crate) fn runs(&self, seeds: &[(u64, u64)]) -> Vec<Vec<f32>> {
        let crossing = Crossing::of(seeds);
        let weights = |stream: u64, levels: usize| {
            (levels > 1).then(|| Weights::draw(stream + levels as u64, levels, self.replicates))
        };
        if !crossing.complete {
            let flat = weights(3000, seeds.len());
            return (0..seeds.len()).map(|run| self.factor(flat.as_ref(), run, seeds.len())).collect();
        }
        let defence = weights(1000, crossing.defence.len());
        let attack = weights(2000, crossing.attack.len());
        let product = |&(defence_seed, attack_seed): &(u64, u64)| {
            let place = |seeds: &[u64], seed| seeds.binary_search(&seed).unwrap_or_default();
            let d = place(&crossing.defence, defence_seed);
            let a = place(&crossing.attack, attack_seed);
            let d = self.factor(defence.as_ref(), d, crossing.defence.len());
            let a = self.factor(attack.as_ref(), a, crossing.attack.len());
            d.into_iter().zip(a).map(|(d, a)| d * a).collect()
        };
        seeds.iter().map(product).collect()
    }

    fn factor(&self, weights: Option<&Weights>, level: usize, levels: usize) -> Vec<f32> {
        let uniform = 1.0 / levels as f32;
        (0..self.replicates).map(|b| weights.map_or(uniform, |weights| weights.get(level, b))).collect()
    }
}

/// Values whose weighted sum, with an offset, is the mean in a replicate: those of all items as they are; where some were
/// not asked, the deviations of the others from their mean, as much larger as there are fewer of them.
fn centred(values: &[f32]) -> (Cow<'_, [f32]>, f32) {
    let count = asked(values).count();
    if count == values.len() || count == 0 {
        return (Cow::Borrowed(values), 0.0);
    }
    let mean = asked(values).sum::<f32>() / count as f32;
    let stretch = values.len() as f32 / count as f32;
    let deviation = |value: &f32| if value.is_nan() { 0.0 } else { stretch * (value - mean) };
    (Cow::Owned(values.iter().map(deviation).collect()), mean)
}

fn ordinal(arm: Arm) -> u64 {
    match arm {
        Arm::Main => 0,
        Arm::CrossDomain => 1,
    }
}

/// A number of a probe's own: its place, or for a user's task one made from its name.
fn place(probe: Probe) -> u64 {
    let known = (0..).zip(Probe::ALL).find(|(_, known)| *known == probe);
    known.map_or_else(|| derive_seed(0, probe.name()) >> 8, |(place, _)| place)
}

/// The seeds of a set of runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Crossing {
    /// Ascending.
    pub(crate) defence: Vec<u64>,
    /// Ascending.
    pub(crate) attack: Vec<u64>,
    /// Whether each meets each.
    pub(crate) complete: bool,
}

impl Crossing {
    pub(crate) fn of(seeds: &[(u64, u64)]) -> Self {
        let unique = |seeds: BTreeSet<u64>| seeds.into_iter().collect::<Vec<_>>();
        let defence = unique(seeds.iter().map(|seed| seed.0).collect());
        let attack = unique(seeds.iter().map(|seed| seed.1).collect());
        let complete = defence.len() * attack.len() == seeds.len();
        Self { defence, attack, complete }
    }
}

/// The seeds of runs, in their order.
pub(crate) fn seeds(runs: &[Run]) -> Vec<(u64, u64)> {
    runs.iter().map(|run| (run.defence_seed, run.attack_seed)).collect()
}

/// The weighted sum over runs: one value per replicate.
pub(crate) fn combine<'a>(
    rows: impl IntoIterator<Item = &'a [f32]>,
    weights: &[Vec<f32>],
    replicates: usize,
) -> Vec<f32> {
    let mut sums = vec![0.0; replicates];
    for (row, weights) in rows.into_iter().zip(weights) {
        for ((sum, value), weight) in sums.iter_mut().zip(row).zip(weights) {
            *sum += value * weight;
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(weights: &Weights, values: &[f32], replicates: usize) -> f64 {
        let means: Vec<f64> = (0..replicates)
            .map(|b| values.iter().enumerate().map(|(i, v)| f64::from(v * weights.get(i, b))).sum())
            .collect();
        let mean = means.iter().sum::<f64>() / replicates as f64;
        (means.iter().map(|m| (m - mean).powi(2)).sum::<f64>() / (replicates - 1) as f64).sqrt()
    }

    #[test]
    fn the_mean_of_few_levels_varies_as_it_should() {
        // The unbiased standard error of the mean of (0, 1) is 1/2, of (0, 0, 1) it is 1/3.
        let replicates = 20_000;
        for (values, expected) in [(&[0.0, 1.0][..], 0.5), (&[0.0, 0.0, 1.0], 1.0 / 3.0)] {
            let got = spread(&Weights::draw(1, values.len(), replicates), values, replicates);
            assert!((got - expected).abs() < 0.01, "{values:?}: got {got}, expected {expected}");
        }
    }

    #[test]
    fn weights_sum_to_one_and_depend_on_nothing_but_stream_and_size() {
        let weights = Weights::draw(7, 5, 100);
        for b in 0..100 {
            let sum: f32 = (0..5).map(|level| weights.get(level, b)).sum();
            assert!((sum - 1.0).abs() < 1e-5);
        }
        assert_eq!(weights.lanes, Weights::draw(7, 5, 100).lanes);
        assert_ne!(weights.lanes, Weights::draw(8, 5, 100).lanes);
    }

    #[test]
    fn what_was_not_asked_neither_moves_the_mean_nor_narrows_it() {
        let set = (Arm::Main, Phase::Attack, Probe::Unseen);
        let draws = Draws::new(&BTreeMap::from([(set, 100)]), 4000);
        let whole: Vec<f32> = (0..100).map(|item| f32::from(u8::from(item % 4 == 0))).collect();
        // Every fourth item of the first twenty-four is harmful, too.
        let part: Vec<f32> = (0..100).map(|item| if item < 24 { whole[item] } else { f32::NAN }).collect();
        let of = |values: &[f32]| {
            let means = draws.means(&[values], set).remove(0);
            let mean = means.iter().sum::<f32>() / 4000.0;
            (mean, (means.iter().map(|value| (value - mean).powi(2)).sum::<f32>() / 4000.0).sqrt())
        };
        let ((mean, all), (few_mean, few)) = (of(&whole), of(&part));
        assert!((mean - 0.25).abs() < 0.005 && (few_mean - 0.25).abs() < 0.005, "{mean} {few_mean}");
        // √(0.25 · 0.75 / n), n = 100 and 24.
        assert!((all - 0.0433).abs() < 0.003 && (few - 0.0884).abs() < 0.006, "{all} {few}");
    }

    #[test]
    fn a_missing_run_uncrosses_the_seeds() {
        assert!(Crossing::of(&[(0, 0), (0, 1), (1, 0), (1, 1)]).complete);
        assert!(!Crossing::of(&[(0, 0), (0, 1), (1, 0)]).complete);
    }
}
