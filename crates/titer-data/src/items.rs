//! What splits of every kind share: the size of a share, a proof of being disjoint, a seeded choice.

use std::collections::BTreeSet;
use std::fmt::Display;

use rand::seq::index;

use crate::{Error, Result, Stream};

/// How many of `of` a share is, rounded down.
pub(crate) fn part(share: f64, of: usize) -> usize {
    // The small addend keeps a share such as 0.1 of 30 from losing an item to rounding.
    (share * of as f64 + 1e-9).floor() as usize
}

/// Refuses two named sets of items that share one.
///
/// # Errors
/// Names both sets and the first item that they share.
pub fn prove_disjoint<T: Ord + Display>(
    first: (&'static str, &[T]),
    second: (&'static str, &[T]),
) -> Result<()> {
    let known: BTreeSet<&T> = first.1.iter().collect();
    match second.1.iter().find(|item| known.contains(item)) {
        Some(item) => Err(Error::Overlap { first: first.0, second: second.0, item: item.to_string() }),
        None => Ok(()),
    }
}

/// `count` distinct items by the stream's choice, in its order.
///
/// # Errors
/// When there are fewer.
pub fn pick<T: Clone>(items: &[T], count: usize, stream: &Stream) -> Result<Vec<T>> {
    if count > items.len() {
        return Err(Error::TooFewItems { wanted: count, available: items.len() });
    }
    let chosen = index::sample(&mut stream.at(0), items.len(), count);
    Ok(chosen.iter().map(|at| items[at].clone()).collect())
}
