//! Attention of one head over one sequence, forward and backward, by blocks of queries.
//!
//! Everything is a product of two small matrices, by [`tiles`](super::tiles). What they read is laid out without gaps
//! first, rows padded with zeros to whole lanes, so that no loop has a tail.

use std::ops::Range;

use multiversion::multiversion;
use multiversion::target::target_cfg_f;

use super::tiles::{Left, ROWS, Right, padded, rows, strip, tiles, transpose};
use crate::cpu::{self, LANES};
use crate::scoring::Scoring;

/// Queries whose probabilities are in memory at once: their number bounds it for long sequences.
const QUERIES: usize = 32;

/// The rows of one head inside a wider matrix.
#[derive(Clone, Copy)]
pub(crate) struct Strided<'a> {
    values: &'a [f32],
    width: usize,
}

impl<'a> Strided<'a> {
    pub(crate) fn new(values: &'a [f32], start: usize, width: usize) -> Self {
        Self { values: &values[start..], width }
    }

    #[inline(always)]
    pub(crate) fn row(&self, index: usize, dim: usize) -> &'a [f32] {
        &self.values[index * self.width..][..dim]
    }
}

/// The queries of one sequence.
#[derive(Clone, Copy)]
pub(super) struct Asking<'a> {
    /// Of all queries, its first.
    pub(super) first: usize,
    /// Where the sequence begins in the batch.
    pub(super) start: usize,
    /// Their tokens in the batch, where not all ask.
    pub(super) rows: Option<&'a [u32]>,
    pub(super) count: usize,
}

impl Asking<'_> {
    /// The position of a query in its sequence; positions ascend.
    #[inline(always)]
    fn position(&self, query: usize) -> usize {
        self.rows.map_or(query, |rows| rows[query] as usize - self.start)
    }

    /// The keys that these queries see, the first one's first to the last one's own.
    #[inline(always)]
    fn seen(&self, queries: Range<usize>, scoring: Scoring) -> Range<usize> {
        scoring.first(self.position(queries.start))..self.position(queries.end - 1) + 1
    }
}

/// One head of one sequence.
#[derive(Clone, Copy)]
pub(super) struct Head<'a> {
    pub(super) q: Strided<'a>,
    pub(super) k: Strided<'a>,
    pub(super) v: Strided<'a>,
    pub(super) asking: Asking<'a>,
    /// Tokens of the sequence.
    pub(super) length: usize,
    /// Features.
    pub(super) dim: usize,
    pub(super) scoring: Scoring,
    pub(super) sink: Option<f32>,
}

/// Where gradients are added to.
pub(super) struct Gradients<'a> {
    pub(super) q: &'a mut [f32],
    pub(super) k: &'a mut [f32],
    pub(super) v: &'a mut [f32],
    pub(super) q_width: usize,
    pub(super) k_width: usize,
}

/// Memory for one head of one sequence, used again for each.
#[derive(Default)]
pub(super) struct Scratch {
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    g: Vec<f32>,
    k_transposed: Vec<f32>,
    v_transposed: Vec<f32>,
    /// Scores, then probabilities of a block of queries.
    p: Vec<f32>,
    /// What these change the loss by, then the scores.
    ds: Vec<f32>,
    /// What a capped score changes by where the score does.
    slopes: Vec<f32>,
    out: Vec<f32>,
    dk: Vec<f32>,
    dv: Vec<f32>,
}

/// The whole lanes in which these places of a row are.
#[inline(always)]
fn lanes(places: &Range<usize>) -> Range<usize> {
    places.start / LANES * LANES..padded(places.end)
}

/// Rows of a head without gaps, padded.
#[inline(always)]
fn pack(from: Strided<'_>, rows: Range<usize>, dim: usize, to: &mut Vec<f32>) {
    let width = padded(dim);
    to.resize(rows.len() * width, 0.0);
    for (to, row) in to.chunks_exact_mut(width).zip(rows) {
        cpu::copy(from.row(row, dim), &mut to[..dim]);
        to[dim..].fill(0.0);
    }
}

/// x·Bᵀ of a block's queries, tile by tile over the keys that each tile sees: `x` is packed and begins with the block.
#[inline(always)]
fn over_keys<const FUSED: bool>(
    head: &Head<'_>,
    block: &Range<usize>,
    x: &[f32],
    transposed: &[f32],
    to: &mut [f32],
) {
    let (width, columns) = (padded(head.dim), padded(head.length));
    for tile in tiles(block.clone()) {
        let keys = lanes(&head.asking.seen(tile.clone(), head.scoring));
        let at = tile.start - block.start;
        let a = Left { values: &x[at * width..], by_row: width, by_step: 1 };
        let to = &mut to[at * columns + keys.start..];
        let b = Right { values: transposed, width: columns }.from(keys.start);
        rows::<FUSED>(tile.len(), a, b, head.dim, to, (keys.len(), columns), false);
    }
}

/// P·X of one tile of queries over the keys that it sees: `p` begins with the tile, `x` is packed.
#[inline(always)]
fn over_rows<const FUSED: bool>(head: &Head<'_>, tile: Range<usize>, p: &[f32], x: &[f32], to: &mut [f32]) {
    let (width, columns) = (padded(head.dim), padded(head.length));
    let seen = head.asking.seen(tile.clone(), head.scoring);
    let a = Left { values: &p[seen.start..], by_row: columns, by_step: 1 };
    let b = Right { values: &x[seen.start * width..], width };
    rows::<FUSED>(tile.len(), a, b, seen.len(), to, (width, width), false);
}

/// Of one query in its row, whose keys are `seen`: `value` everywhere else among the lanes of `all`.
#[inline(always)]
fn outside(row: &mut [f32], seen: &Range<usize>, all: &Range<usize>, value: f32) {
    let all = lanes(all);
    row[all.start..seen.start].fill(value);
    row[seen.end..all.end].fill(value);
}

/// A query's scores in its row become probabilities, zero for the block's other keys; the sink's.
#[inline(always)]
fn probabilities(head: &Head<'_>, row: &mut [f32], seen: &Range<usize>, block: &Range<usize>) -> f32 {
    let scale = 1.0 / (head.dim as f32).sqrt();
    // Whole lanes are quicker. A score of minus infinity has no probability; capped it would be one of −cap.
    let scores = match head.scoring.cap {
        None => {
            outside(row, seen, seen, f32::NEG_INFINITY);
            lanes(seen)
        }
        Some(_) => seen.clone(),
    };
    let of_sink = head.scoring.probabilities(&mut row[scores], scale, head.sink);
    outside(row, seen, block, 0.0);
    of_sink
}

/// out = Σ_j p[j]·x[j] for rows x of a head.
#[inline(always)]
pub(crate) fn weighted(p: &[f32], x: Strided<'_>, out: &mut [f32]) {
    let dim = out.len();
    if dim.is_multiple_of(LANES) {
        let p = Left { values: p, by_row: 0, by_step: 1 };
        let x = Right { values: x.values, width: x.width };
        return strip::<false, 1>(p, x, p.values.len(), out, (dim, dim), false);
    }
    out.fill(0.0);
    for (j, p) in p.iter().enumerate() {
        cpu::add_scaled(out, *p, x.row(j, dim));
    }
}

/// The head's output, in rows of `width` of which it has the first features.
#[multiversion(targets("x86_64+avx512f+avx512vl+fma", "x86_64+avx2+fma"))]
pub(super) fn forward(head: Head<'_>, scratch: &mut Scratch, out: &mut [f32], out_width: usize) {
    match target_cfg_f!(any(target_feature = "fma", target_arch = "aarch64")) {
        true => forward_with::<true>(head, scratch, out, out_width),
        false => forward_with::<false>(head, scratch, out, out_width),
    }
}

#[inline(always)]
fn forward_with<const FUSED: bool>(head: Head<'_>, scratch: &mut Scratch, out: &mut [f32], out_width: usize) {
    let Head { asking, length, dim, scoring, .. } = head;
    let (width, columns) = (padded(dim), padded(length));
    pack(head.k, 0..length, dim, &mut scratch.k);
    transpose(&scratch.k, dim, length, &mut scratch.k_transposed);
    pack(head.v, 0..length, dim, &mut scratch.v);
    scratch.p.resize(QUERIES * columns, 0.0);
    scratch.out.resize(ROWS * width, 0.0);
    for start in (0..asking.count).step_by(QUERIES) {
        let block = start..(start + QUERIES).min(asking.count);
        let of_block = asking.seen(block.clone(), scoring);
        pack(head.q, block.clone(), dim, &mut scratch.q);
        over_keys::<FUSED>(&head, &block, &scratch.q, &scratch.k_transposed, &mut scratch.p);
        for (query, row) in block.clone().zip(scratch.p.chunks_exact_mut(columns)) {
            let seen = asking.seen(query..query + 1, scoring);
            probabilities(&head, row, &seen, &of_block);
        }
        for tile in tiles(block) {
            let p = &scratch.p[(tile.start - start) * columns..];
            over_rows::<FUSED>(&head, tile.clone(), p, &scratch.v, &mut scratch.out);
            for (query, row) in tile.zip(scratch.out.chunks_exact(width)) {
                cpu::copy(&row[..dim], &mut out[query * out_width..][..dim]);
            }
        }
    }
}

/// Adds to the gradients of q, k and v for that of the output, `g`, and says the sink's.
#[multiversion(targets("x86_64+avx512f+avx512vl+fma", "x86_64+avx2+fma"))]
pub(super) fn backward(head: Head<'_>, g: Strided<'_>, scratch: &mut Scratch, d: Gradients<'_>) -> f32 {
    match target_cfg_f!(any(target_feature = "fma", target_arch = "aarch64")) {
        true => backward_with::<true>(head, g, scratch, d),
        false => backward_with::<false>(head, g, scratch, d),
    }
}

#[inline(always)]
fn backward_with<const FUSED: bool>(
    head: Head<'_>,
    g: Strided<'_>,
    scratch: &mut Scratch,
    d: Gradients<'_>,
) -> f32 {
    let Head { asking, length, dim, scoring, .. } = head;
    let (width, columns) = (padded(dim), padded(length));
    let scale = 1.0 / (dim as f32).sqrt();
    pack(head.k, 0..length, dim, &mut scratch.k);
    transpose(&scratch.k, dim, length, &mut scratch.k_transposed);
    pack(head.v, 0..length, dim, &mut scratch.v);
    transpose(&scratch.v, dim, length, &mut scratch.v_transposed);
    pack(Strided::new(d.k, 0, d.k_width), 0..length, dim, &mut scratch.dk);
    pack(Strided::new(d.v, 0, d.k_width), 0..length, dim, &mut scratch.dv);
    for memory in [&mut scratch.p, &mut scratch.ds, &mut scratch.slopes] {
        memory.resize(QUERIES * columns, 0.0);
    }
    scratch.out.resize(ROWS * width, 0.0);
    let mut d_sink = 0.0;
    for start in (0..asking.count).step_by(QUERIES) {
        let block = start..(start + QUERIES).min(asking.count);
        let of_block = asking.seen(block.clone(), scoring);
        pack(head.q, block.clone(), dim, &mut scratch.q);
        pack(g, block.clone(), dim, &mut scratch.g);
        over_keys::<FUSED>(&head, &block, &scratch.q, &scratch.k_transposed, &mut scratch.p);
        over_keys::<FUSED>(&head, &block, &scratch.g, &scratch.v_transposed, &mut scratch.ds);
        let each = scratch.p.chunks_exact_mut(columns).zip(scratch.ds.chunks_exact_mut(columns));
        for (query, (p, ds)) in block.clone().zip(each) {
            let seen = asking.seen(query..query + 1, scoring);
            let slopes = &mut scratch.slopes[seen.clone()];
            if let Some(cap) = scoring.cap {
                for (slope, score) in slopes.iter_mut().zip(&p[seen.clone()]) {
                    let tanh = cpu::tanh(score * scale / cap as f32);
                    *slope = 1.0 - tanh * tanh;
                }
            }
            let of_sink = probabilities(&head, p, &seen, &of_block);
            let whole = lanes(&seen);
            let mean = cpu::dot(&p[whole.clone()], &ds[whole.clone()]);
            d_sink -= of_sink * mean;
            cpu::update(&mut ds[whole.clone()], &p[whole], |ds, p| p * (ds - mean) * scale);
            if scoring.cap.is_some() {
                cpu::update(&mut ds[seen.clone()], slopes, |ds, slope| ds * slope);
            }
            outside(ds, &seen, &of_block, 0.0);
        }
        for tile in tiles(block.clone()) {
            let ds = &scratch.ds[(tile.start - start) * columns..];
            over_rows::<FUSED>(&head, tile.clone(), ds, &scratch.k, &mut scratch.out);
            for (query, row) in tile.zip(scratch.out.chunks_exact(width)) {
                for (d, value) in d.q[query * d.q_width..][..dim].iter_mut().zip(row) {
                    *d += value;
                }
            }
        }
        // Of each key, the queries from the first that sees it on.
        for tile in tiles(of_block) {
            let first = block.clone().position(|query| asking.position(query) >= tile.start).unwrap_or(0);
            let steps = block.len() - first;
            for (weights, x, sum) in
                [(&scratch.ds, &scratch.q, &mut scratch.dk), (&scratch.p, &scratch.g, &mut scratch.dv)]
            {
                let a =
                    Left { values: &weights[first * columns + tile.start..], by_row: 1, by_step: columns };
                let (x, sum) = (&x[first * width..], &mut sum[tile.start * width..]);
                rows::<FUSED>(tile.len(), a, Right { values: x, width }, steps, sum, (width, width), true);
            }
        }
    }
    for (sum, to) in [(&scratch.dk, d.k), (&scratch.dv, d.v)] {
        for (row, to) in sum.chunks_exact(width).zip(to.chunks_mut(d.k_width)) {
            cpu::copy(&row[..dim], &mut to[..dim]);
        }
    }
    d_sink
}
