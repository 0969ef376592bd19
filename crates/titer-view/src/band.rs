//! Several runs as one line: their mean, and the band from the lowest to the highest. The same on a page and on a
//! screen.

use std::collections::BTreeMap;

/// All runs at one budget.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Band {
    /// Mean over runs.
    pub mean: f64,
    /// The lowest run.
    pub low: f64,
    /// The highest run.
    pub high: f64,
}

impl Band {
    /// Of at least one value.
    pub fn of(values: impl Iterator<Item = f64> + Clone) -> Self {
        Self {
            mean: mean(values.clone()),
            low: values.clone().fold(f64::INFINITY, f64::min),
            high: values.fold(f64::NEG_INFINITY, f64::max),
        }
    }
}

/// The mean of at least one value.
pub fn mean(values: impl Iterator<Item = f64> + Clone) -> f64 {
    values.clone().sum::<f64>() / values.count() as f64
}

/// The budgets at which every run that has begun was still going on: where one was broken off, a mean over the
/// others would flatter the defence.
pub fn while_all_go_on<T>(budgets: &BTreeMap<u64, Vec<T>>) -> impl Iterator<Item = (u64, &[T])> {
    let runs = budgets.values().map(Vec::len).max().unwrap_or(0);
    let whole = budgets.iter().filter(move |(_, values)| values.len() == runs);
    whole.map(|(steps, values)| (*steps, values.as_slice()))
}
