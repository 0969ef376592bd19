//! Products of small matrices, computed in tiles whose sums stay in registers. Each sum runs in the order of its index,
//! whatever the tiles: bits do not depend on them.

use std::ops::Range;

use crate::cpu::LANES;

/// Rows of a tile, and its columns.
pub(super) const ROWS: usize = 4;
const COLUMNS: usize = 2 * LANES;

/// Numbers in whole lanes.
#[inline(always)]
pub(super) fn padded(count: usize) -> usize {
    count.next_multiple_of(LANES)
}

/// Columns of packed rows as rows, padded.
#[inline(always)]
pub(super) fn transpose(from: &[f32], dim: usize, length: usize, to: &mut Vec<f32>) {
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
pub(super) struct Left<'a> {
    pub(super) values: &'a [f32],
    pub(super) by_row: usize,
    pub(super) by_step: usize,
}

/// The right matrix: element (step, column) lies at step · width + column.
#[derive(Clone, Copy)]
pub(super) struct Right<'a> {
    pub(super) values: &'a [f32],
    pub(super) width: usize,
}

impl<'a> Right<'a> {
    /// The matrix without its first columns.
    #[inline(always)]
    pub(super) fn from(self, column: usize) -> Self {
        Self { values: &self.values[column..], ..self }
    }
}

/// sum + a·b, rounded once where the processor has an instruction for it; without one that would be a slow call.
#[inline(always)]
fn plus<const FUSED: bool>(sum: f32, a: f32, b: f32) -> f32 {
    if FUSED { a.mul_add(b, sum) } else { sum + a * b }
}

/// C = \[C +\] A·B for `R` rows of A and `W` columns of B.
#[inline(always)]
fn tile<const FUSED: bool, const R: usize, const W: usize>(
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
                *sum = plus::<FUSED>(*sum, a, *b);
            }
        }
    }
    for (r, sums) in sums.iter().enumerate() {
        c[r * c_width..][..W].copy_from_slice(sums);
    }
}

/// C = \[C +\] A·B for `R` rows of A; the columns are whole lanes.
#[inline(always)]
pub(super) fn strip<const FUSED: bool, const R: usize>(
    a: Left<'_>,
    b: Right<'_>,
    steps: usize,
    c: &mut [f32],
    (columns, c_width): (usize, usize),
    add: bool,
) {
    let mut column = 0;
    while column + COLUMNS <= columns {
        tile::<FUSED, R, COLUMNS>(a, b.from(column), steps, &mut c[column..], c_width, add);
        column += COLUMNS;
    }
    if column < columns {
        tile::<FUSED, R, LANES>(a, b.from(column), steps, &mut c[column..], c_width, add);
    }
}

/// The same for one tile's rows, or fewer at an end.
#[inline(always)]
pub(super) fn rows<const FUSED: bool>(
    count: usize,
    a: Left<'_>,
    b: Right<'_>,
    steps: usize,
    c: &mut [f32],
    shape: (usize, usize),
    add: bool,
) {
    if count == ROWS {
        return strip::<FUSED, ROWS>(a, b, steps, c, shape, add);
    }
    for row in 0..count {
        let a = Left { values: &a.values[row * a.by_row..], ..a };
        strip::<FUSED, 1>(a, b, steps, &mut c[row * shape.1..], shape, add);
    }
}

/// Tiles of so many rows.
#[inline(always)]
pub(super) fn tiles(rows: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let end = rows.end;
    rows.step_by(ROWS).map(move |start| start..(start + ROWS).min(end))
}
