//! Attention of one head over one sequence, forward and backward, by blocks of queries.
//!
//! Everything is a product of two small matrices, computed in tiles whose sums stay in registers. What they read is laid
//! out without gaps first, rows padded with zeros to whole lanes, so that no loop has a tail. Each sum runs in the order
//! of its index, whatever the tiles: bits do not depend on them.

use std::ops::Range;

use multiversion::multiversion;

use crate::cpu::{self, LANES};
use crate::scoring::Scoring;

/// Rows of a tile, and its columns.
const ROWS: usize = 4;
const COLUMNS: usize = 2 * LANES;
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

#[inline(always)]
fn padded(count: usize) -> usize {
    count.next_multiple_of(LANES)
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

/// Columns of packed rows as rows, padded.
#[inline(always)]
fn transpose(from: &[f32], dim: usize, length: usize, to: &mut Vec<f32>) {
    let (width, columns) = (padded(dim), padded(length));
    to.resize(width * columns, 0.0);
    for first in (0..length).step_by(LANES) {
        for d in (0..width).step_by(LANES) {
            // Eight rows by eight, in registers. Below the last row nothing but zeros.
            let mut block = [[0f32; LANES]; LANES];
            for (r, block) in block.iter_mut().enumerate().take(length - first) {
                block.copy_from_slice(&from[(first + r) * width + d..][..LANES]);
            }
            for lane in 0..LANES {
                let to = &mut to[(d + lane) * columns + first..][..LANES];
                for r in 0..LANES {
                    to[r] = block[r][lane];
                }
            }
        }
    }
}

/// The left matrix of a product: element (row, step) lies at row · by_row + step · by_step.
#[derive(Clone, Copy)]
struct Left<'a> {
    values: &'a [f32],
    by_row: usize,
    by_step: usize,
}

/// The right matrix: element (step, column) lies at step · width + column.
#[derive(Clone, Copy)]
struct Right<'a> {
    values: &'a [f32],
    width: usize,
}

impl<'a> Right<'a> {
    /// The matrix without its first columns.
    #[inline(always)]
    fn from(self, column: usize) -> Self {
        Self { values: &self.values[column..], ..self }
    }
}

/// C = \[C +\] A·B for `R` rows of A and `W` columns of B.
#[inline(always)]
fn tile<const R: usize, const W: usize>(
    a: Left<'_>,
    b: Right<'_>,
    steps: usize,
    c: &mut [f32],
    c_width: usize,
    add: bool,
) {
    let mut sums = [[0f32; W]; R];
    if add {
        for (r, sums) in sums.iter_mut().enumerate() {
            sums.copy_from_slice(&c[r * c_width..][..W]);
        }
    }
    for step in 0..steps {
        let b = &b.values[step * b.width..][..W];
        for (r, sums) in sums.iter_mut().enumerate() {
            let a = a.values[r * a.by_row + step * a.by_step];
            for (sum, b) in sums.iter_mut().zip(b) {
                *sum += a * b;
            }
        }
    }
    for (r, sums) in sums.iter().enumerate() {
        c[r * c_width..][..W].copy_from_slice(sums);
    }
}

/// C = \[C +\] A·B for `R` rows of A; the columns are whole lanes.
#[inline(always)]
fn strip<const R: usize>(
    a: Left<'_>,
    b: Right<'_>,
    steps: usize,
    c: &mut [f32],
    (columns, c_width): (usize, usize),
    add: bool,
) {
    let mut column = 0;
    while column + COLUMNS <= columns {
        tile::<R, COLUMNS>(a, b.from(column), steps, &mut c[column..], c_width, add);
        column += COLUMNS;
    }
    if column < columns {
        tile::<R, LANES>(a, b.from(column), steps, &mut c[column..], c_width, add);
    }
}

/// The same for one tile's rows, or fewer at an end.
#[inline(always)]
fn rows(
    count: usize,
    a: Left<'_>,
    b: Right<'_>,
    steps: usize,
    c: &mut [f32],
    shape: (usize, usize),
    add: bool,
) {
    if count == ROWS {
        return strip::<ROWS>(a, b, steps, c, shape, add);
    }
    for row in 0..count {
        let a = Left { values: &a.values[row * a.by_row..], ..a };
        strip::<1>(a, b, steps, &mut c[row * shape.1..], shape, add);
    }
}

/// Tiles of so many rows.
#[inline(always)]
fn tiles(rows: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let end = rows.end;
    rows.step_by(ROWS).map(move |start| start..(start + ROWS).min(end))
}

/// x·Bᵀ of a block's queries, tile by tile over the keys that each tile sees: `x` is packed and begins with the block.
#[inline(always)]
fn over_keys(head: &Head<'_>, block: &Range<usize>, x: &[f32], transposed: &[f32], to: &mut [f32]) {
    let (width, columns) = (padded(head.dim), padded(head.length));
    for tile in tiles(block.clone()) {
        let keys = lanes(&head.asking.seen(tile.clone(), head.scoring));
        let at = tile.start - block.start;
        let a = Left { values: &x[at * width..], by_row: width, by_step: 1 };
        let to = &mut to[at * columns + keys.start..];
        let b = Right { values: transposed, width: columns }.from(keys.start);
        rows(tile.len(), a, b, head.dim, to, (keys.len(), columns), false);
    }
}

/// P·X of one tile of queries over the keys that it sees: `p` begins with the tile, `x` is packed.
#[inline(always)]
fn over_rows(head: &Head<'_>, tile: Range<usize>, p: &[f32], x: &[f32], to: &mut [f32]) {
    let (width, columns) = (padded(head.dim), padded(head.length));
    let seen = head.asking.seen(tile.clone(), head.scoring);
    let a = Left { values: &p[seen.start..], by_row: columns, by_step: 1 };
    let b = Right { values: &x[seen.start * width..], width };
    rows(tile.len(), a, b, seen.len(), to, (width, width), false);
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
        return strip::<1>(p, x, p.values.len(), out, (dim, dim), false);
    }
    out.fill(0.0);
    for (j, p) in p.iter().enumerate() {
        cpu::add_scaled(out, *p, x.row(j, dim));
    }
}

/// The head's output, in rows of `width` of which it has the first features.
#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2"))]
pub(super) fn forward(head: Head<'_>, scratch: &mut Scratch, out: &mut [f32], out_width: usize) {
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
        over_keys(&head, &block, &scratch.q, &scratch.k_transposed, &mut scratch.p);
        for (query, row) in block.clone().zip(scratch.p.chunks_exact_mut(columns)) {
            let seen = asking.seen(query..query + 1, scoring);
            probabilities(&head, row, &seen, &of_block);
        }
        for tile in tiles(block) {
            let p = &scratch.p[(tile.start - start) * columns..];
            over_rows(&head, tile.clone(), p, &scratch.v, &mut scratch.out);
            for (query, row) in tile.zip(scratch.out.chunks_exact(width)) {
                cpu::copy(&row[..dim], &mut out[query * out_width..][..dim]);
            }
        }
    }
}

/// Adds to the gradients of q, k and v for that of the output, `g`, and says the sink's.
#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2"))]
pub(super) fn backward(head: Head<'_>, g: Strided<'_>, scratch: &mut Scratch, d: Gradients<'_>) -> f32 {
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
        over_keys(&head, &block, &scratch.q, &scratch.k_transposed, &mut scratch.p);
        over_keys(&head, &block, &scratch.g, &scratch.v_transposed, &mut scratch.ds);
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
            over_rows(&head, tile.clone(), ds, &scratch.k, &mut scratch.out);
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
                rows(tile.len(), a, Right { values: x, width }, steps, sum, (width, width), true);
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
