//! Work on rows, divided among the threads of rayon's pool. No number depends on how it is divided.

use rayon::iter::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};
use rayon::slice::ParallelSliceMut;

/// Fewer numbers than these are quicker on one thread.
const WORTH: usize = 1 << 15;

/// Calls `f` with parts of `out`, which has rows of so many numbers, and the first row of each part.
pub(crate) fn rows(out: &mut [f32], width: usize, f: impl Fn(usize, &mut [f32]) + Sync) {
    rows_of(out, width, width, f);
}

/// The same where each row is made of so many numbers, which are what says whether it is worth it.
pub(crate) fn rows_of(out: &mut [f32], width: usize, read: usize, f: impl Fn(usize, &mut [f32]) + Sync) {
    let width = width.max(1);
    let rows = out.len().div_ceil(width);
    match share(rows, read) {
        Some(each) => out.par_chunks_mut(each * width).enumerate().for_each(|(at, out)| f(at * each, out)),
        None => f(0, out),
    }
}

/// The same of several that have the same numbers.
pub(crate) fn alike<const N: usize>(of: [&mut [f32]; N], f: impl Fn(usize, [&mut [f32]; N]) + Sync) {
    let numbers = of.first().map_or(0, |of| of.len());
    let Some(each) = share(numbers, 1) else { return f(0, of) };
    let mut parts = of.map(|of| of.chunks_mut(each));
    let parts: Vec<[&mut [f32]; N]> = std::iter::from_fn(|| {
        let part: Vec<_> = parts.iter_mut().map_while(Iterator::next).collect();
        part.try_into().ok()
    })
    .collect();
    parts.into_par_iter().enumerate().for_each(|(at, part)| f(at * each, part));
}

/// Calls `f` with block after block of two, which have so many numbers of each, and the number of the block.
pub(crate) fn blocks(
    [(a, of_a), (b, of_b)]: [(&mut [f32], usize); 2],
    f: impl Fn(usize, [&mut [f32]; 2]) + Sync,
) {
    let (of_a, of_b) = (of_a.max(1), of_b.max(1));
    match share(a.len(), 1) {
        Some(_) => {
            let blocks = a.par_chunks_mut(of_a).zip(b.par_chunks_mut(of_b)).enumerate();
            blocks.for_each(|(at, (a, b))| f(at, [a, b]));
        }
        None => {
            let blocks = a.chunks_mut(of_a).zip(b.chunks_mut(of_b)).enumerate();
            blocks.for_each(|(at, (a, b))| f(at, [a, b]));
        }
    }
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

/// Calls `f` with each part.
pub(crate) fn each<T: Send>(parts: Vec<T>, f: impl Fn(T) + Sync + Send) {
    match parts.len() {
        0 | 1 => parts.into_iter().for_each(f),
        _ => parts.into_par_iter().for_each(f),
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
