//! Work on rows, divided among the threads of rayon's pool. No number depends on how it is divided.

use rayon::iter::{IntoParallelIterator, ParallelIterator};

/// Fewer numbers than these are quicker on one thread.
const WORTH: usize = 1 << 15;

/// Calls `f` with parts of `out`, which has rows of so many numbers, and the first row of each part.
pub(crate) fn rows(out: &mut [f32], width: usize, f: impl Fn(usize, &mut [f32]) + Sync + Send) {
    rows_of(out, width, width, f);
}

/// The same where each row is made of so many numbers, which are what says whether it is worth it.
pub(crate) fn rows_of(
    out: &mut [f32],
    width: usize,
    read: usize,
    f: impl Fn(usize, &mut [f32]) + Sync + Send,
) {
    let width = width.max(1);
    let rows = out.len().div_ceil(width);
    let Some(rows) = share(rows, read) else { return f(0, out) };
    each(out.chunks_mut(rows * width).enumerate().collect(), |(at, out)| f(at * rows, out));
}

/// The same of several that have the same numbers.
pub(crate) fn alike<const N: usize>(of: [&mut [f32]; N], f: impl Fn(usize, [&mut [f32]; N]) + Sync + Send) {
    let numbers = of.first().map_or(0, |of| of.len());
    let Some(numbers) = share(numbers, 1) else { return f(0, of) };
    let mut parts = of.map(|of| of.chunks_mut(numbers));
    let parts = std::iter::from_fn(|| {
        let part: Vec<_> = parts.iter_mut().map_while(Iterator::next).collect();
        <[&mut [f32]; N]>::try_from(part).ok()
    });
    each(parts.enumerate().collect(), |(at, part)| f(at * numbers, part));
}

/// Slices of so many numbers each, one after the other.
pub(crate) fn divided(mut whole: &mut [f32], sizes: impl Iterator<Item = usize>) -> Vec<&mut [f32]> {
    let take = |size: usize| {
        let (part, rest) = std::mem::take(&mut whole).split_at_mut(size);
        whole = rest;
        part
    };
    sizes.map(take).collect()
}

/// Calls `f` with each part, beside each other where there are threads.
pub(crate) fn each<T: Send>(parts: Vec<T>, f: impl Fn(T) + Sync + Send) {
    match parts.len() < 2 || rayon::current_num_threads() < 2 {
        true => parts.into_iter().for_each(f),
        false => parts.into_par_iter().for_each(f),
    }
}

/// Threads for so many rows of attention.
pub(crate) fn threads(rows: usize) -> usize {
    /// Fewer are quicker on one.
    const WORTH: usize = 64;
    if rows < WORTH { 1 } else { rayon::current_num_threads() }
}

/// The rows of each part, where there is to be more than one.
fn share(rows: usize, width: usize) -> Option<usize> {
    let threads = rayon::current_num_threads();
    (threads > 1 && rows > 1 && rows * width >= WORTH).then(|| rows.div_ceil(threads))
}

/// y += x.
pub(crate) fn add(y: &mut [f32], x: &[f32]) {
    rows(y, 1, |first, y| y.iter_mut().zip(&x[first..]).for_each(|(y, x)| *y += x));
}
