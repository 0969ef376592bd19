//! y = x·Wᵀ for few rows of x, as where answers are generated token by token.
//!
//! A general product first copies the weights into an order of its own, which pays where many rows use the copy. For few it
//! takes as long as the product itself. Here each weight is read once, where it lies: every output is a product of two
//! rows that are contiguous, some rows of weights and some of x at a time in registers. The result of a row does not
//! depend on the others, nor on the number of threads.

use crate::parallel;

/// Beyond so many rows the copy pays.
const MOST_ROWS: usize = 128;
/// Of short rows it pays sooner: sums across a register weigh more.
const LONG: usize = 256;
const MOST_SHORT_ROWS: usize = 32;
/// Outputs that a thread computes at a time.
const OUTPUTS_AT_ONCE: usize = 256;

/// How a processor does it: outputs of consecutive rows of weights, each for all rows of x.
type Kernel = unsafe fn(x: &[f32], w: &[f32], inputs: usize, out: &mut [f32]);

/// The product for x of shape `(rows, inputs)` and W of shape `(outputs, inputs)`, where it is quicker than a general one.
pub(crate) fn product(
    x: &[f32],
    w: &[f32],
    (rows, inputs, outputs): (usize, usize, usize),
) -> Option<Vec<f32>> {
    let most = if inputs < LONG { MOST_SHORT_ROWS } else { MOST_ROWS };
    if !(2..=most).contains(&rows) || inputs == 0 || outputs == 0 {
        return None;
    }
    let kernel = kernel()?;
    let mut transposed = vec![0.0; rows * outputs];
    let part = |(at, out): (usize, &mut [f32])| {
        let first = at * OUTPUTS_AT_ONCE * inputs;
        let w = &w[first..first + out.len() / rows * inputs];
        // SAFETY: the processor has what the kernel needs; the slices hold whole rows, whose number it reads off them.
        unsafe { kernel(x, w, inputs, out) }
    };
    parallel::each(transposed.chunks_mut(OUTPUTS_AT_ONCE * rows).enumerate().collect(), part);
    let mut y = vec![0.0; rows * outputs];
    // A few cache lines at a time of either side.
    const SIDE: usize = 16;
    parallel::rows(&mut y, outputs, |first_row, y| {
        for first in (0..outputs).step_by(SIDE) {
            for (at, y) in y.chunks_exact_mut(outputs).enumerate() {
                let columns = transposed[first * rows..].chunks_exact(rows);
                for (y, column) in y[first..].iter_mut().take(SIDE).zip(columns) {
                    *y = column[first_row + at];
                }
            }
        }
    });
    Some(y)
}

#[cfg(not(target_arch = "x86_64"))]
fn kernel() -> Option<Kernel> {
    None
}

#[cfg(target_arch = "x86_64")]
fn kernel() -> Option<Kernel> {
    if is_x86_feature_detected!("avx512f") {
        Some(avx512::outputs)
    } else if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        Some(avx2::outputs)
    } else {
        None
    }
}

/// A kernel for one kind of vectors: `$rows` rows of weights by at most four of x at a time.
#[cfg(target_arch = "x86_64")]
macro_rules! kernel {
    ($name:ident, $features:literal, $lanes:literal, $zero:ident, $load:ident, $fma:ident, $totals:path, $rows:literal) => {
        mod $name {
            use std::arch::x86_64::*;

            use super::COLUMNS;

            /// Rows of weights at a time.
            const ROWS: usize = $rows;
            const LANES: usize = $lanes;

            /// All outputs of rows of weights: of each row those of all rows of x, one after the other.
            #[target_feature(enable = $features)]
            pub(super) fn outputs(x: &[f32], w: &[f32], inputs: usize, out: &mut [f32]) {
                let count = x.len() / inputs;
                let tiles = count.div_ceil(COLUMNS);
                for (at, out) in out.chunks_mut(ROWS * count).enumerate() {
                    let (w, coming) = w[at * ROWS * inputs..].split_at(out.len() / count * inputs);
                    let coming = &coming[..coming.len().min(w.len())];
                    for (at, x) in x.chunks(COLUMNS * inputs).enumerate() {
                        fetch(coming, at, tiles);
                        let out = &mut out[COLUMNS * at..];
                        match x.len() / inputs {
                            4 => tile::<4>(x, w, inputs, out, count),
                            3 => tile::<3>(x, w, inputs, out, count),
                            2 => tile::<2>(x, w, inputs, out, count),
                            _ => tile::<1>(x, w, inputs, out, count),
                        }
                    }
                }
            }

            /// Asks for a part of the weights that come next, as the tile `at` of so many is computed: the memory works
            /// while the processor does. Few tiles would ask for much at a time and wait for it.
            #[target_feature(enable = $features)]
            #[inline]
            fn fetch(coming: &[f32], at: usize, tiles: usize) {
                /// Numbers of a cache line.
                const LINE: usize = 16;
                if tiles < 4 {
                    return;
                }
                let part = coming.len().div_ceil(tiles).next_multiple_of(LINE).max(LINE);
                for line in coming.chunks(part).nth(at).unwrap_or_default().chunks(LINE) {
                    _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast());
                }
            }

            /// The outputs of up to [`ROWS`] rows of weights for C of x. By indices: sums that are gone through by iterators
            /// do not stay in registers.
            #[allow(clippy::needless_range_loop)]
            #[target_feature(enable = $features)]
            #[inline]
            fn tile<const C: usize>(x: &[f32], w: &[f32], inputs: usize, out: &mut [f32], count: usize) {
                let rows = w.len() / inputs;
                assert!(rows > 0 && x.len() >= C * inputs, "a tile's rows must be there");
                let whole = inputs / LANES * LANES;
                let mut sums = [[$zero(); COLUMNS]; ROWS];
                // Where there are fewer rows, the last stands for those that are not there.
                let mut starts = [0; ROWS];
                for (r, start) in starts.iter_mut().enumerate() {
                    *start = r.min(rows - 1) * inputs;
                }
                for at in (0..whole).step_by(LANES) {
                    let mut xs = [$zero(); C];
                    for c in 0..C {
                        // SAFETY: row c of x is there, checked above, and `at + LANES` is at most its length.
                        xs[c] = unsafe { $load(x.as_ptr().add(c * inputs + at)) };
                    }
                    for r in 0..ROWS {
                        // SAFETY: as above, of the weights.
                        let w = unsafe { $load(w.as_ptr().add(starts[r] + at)) };
                        for c in 0..C {
                            sums[r][c] = $fma(w, xs[c], sums[r][c]);
                        }
                    }
                }
                let totals = $totals(sums);
                for r in 0..rows {
                    let out = &mut out[r * count..][..C];
                    if C == COLUMNS {
                        // SAFETY: there is room for four numbers.
                        unsafe { _mm_storeu_ps(out.as_mut_ptr(), totals[r]) };
                    } else {
                        let mut all = [0.0; COLUMNS];
                        // SAFETY: as above.
                        unsafe { _mm_storeu_ps(all.as_mut_ptr(), totals[r]) };
                        out.copy_from_slice(&all[..C]);
                    }
                    if whole < inputs {
                        for (c, out) in out.iter_mut().enumerate() {
                            let rest = w[r * inputs..][whole..inputs].iter().zip(&x[c * inputs + whole..]);
                            *out += rest.map(|(w, x)| w * x).sum::<f32>();
                        }
                    }
                }
            }
        }
    };
}

/// Rows of x at a time.
#[cfg(target_arch = "x86_64")]
const COLUMNS: usize = 4;

#[cfg(target_arch = "x86_64")]
kernel!(
    avx512,
    "avx512f",
    16,
    _mm512_setzero_ps,
    _mm512_loadu_ps,
    _mm512_fmadd_ps,
    super::totals_of_sixteen,
    4
);
#[cfg(target_arch = "x86_64")]
kernel!(avx2, "avx2,fma", 8, _mm256_setzero_ps, _mm256_loadu_ps, _mm256_fmadd_ps, super::totals_of_eight, 2);

/// The sum of each register's numbers, of all at once: halves are added as long as there are some.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
#[inline]
#[allow(clippy::needless_range_loop)]
fn totals_of_sixteen(sums: [[std::arch::x86_64::__m512; COLUMNS]; 4]) -> [std::arch::x86_64::__m128; 4] {
    use std::arch::x86_64::*;
    let mut eights = [[_mm512_setzero_ps(); COLUMNS]; 2];
    for r in 0..2 {
        for c in 0..COLUMNS {
            let (a, b) = (sums[r][c], sums[r + 2][c]);
            eights[r][c] =
                _mm512_add_ps(_mm512_shuffle_f32x4::<0x44>(a, b), _mm512_shuffle_f32x4::<0xee>(a, b));
        }
    }
    let mut fours = [_mm512_setzero_ps(); COLUMNS];
    for c in 0..COLUMNS {
        let (a, b) = (eights[0][c], eights[1][c]);
        fours[c] = _mm512_add_ps(_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0xdd>(a, b));
    }
    let [a, b, c, d] = fours;
    let a = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
    let b = _mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
    let ones = _mm512_add_ps(_mm512_shuffle_ps::<0x44>(a, b), _mm512_shuffle_ps::<0xee>(a, b));
    // The second and third quarter stand in each other's place.
    let (a, b) = (_mm512_extractf32x4_ps::<0>(ones), _mm512_extractf32x4_ps::<2>(ones));
    [a, b, _mm512_extractf32x4_ps::<1>(ones), _mm512_extractf32x4_ps::<3>(ones)]
}

/// The same of half as many, which are half as wide.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
#[inline]
#[allow(clippy::needless_range_loop)]
fn totals_of_eight(sums: [[std::arch::x86_64::__m256; COLUMNS]; 2]) -> [std::arch::x86_64::__m128; 2] {
    use std::arch::x86_64::*;
    let mut fours = [_mm256_setzero_ps(); COLUMNS];
    for c in 0..COLUMNS {
        let (a, b) = (sums[0][c], sums[1][c]);
        fours[c] = _mm256_add_ps(_mm256_permute2f128_ps::<0x20>(a, b), _mm256_permute2f128_ps::<0x31>(a, b));
    }
    let [a, b, c, d] = fours;
    let a = _mm256_add_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
    let b = _mm256_add_ps(_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
    let ones = _mm256_add_ps(_mm256_shuffle_ps::<0x44>(a, b), _mm256_shuffle_ps::<0xee>(a, b));
    [_mm256_castps256_ps128(ones), _mm256_extractf128_ps::<1>(ones)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(count: usize, seed: usize) -> Vec<f32> {
        (0..count).map(|i| ((i * 7919 + seed * 104_729) % 1013) as f32 / 507.0 - 1.0).collect()
    }

    fn expected(x: &[f32], w: &[f32], inputs: usize) -> Vec<f64> {
        let dot = |x: &[f32], w: &[f32]| x.iter().zip(w).map(|(x, w)| f64::from(*x) * f64::from(*w)).sum();
        x.chunks(inputs).flat_map(|x| w.chunks(inputs).map(move |w| dot(x, w))).collect()
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn both_kernels_compute_the_product() {
        let mut kernels: Vec<Kernel> = Vec::new();
        if is_x86_feature_detected!("avx512f") {
            kernels.push(avx512::outputs);
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            kernels.push(avx2::outputs);
        }
        for kernel in kernels {
            for (rows, inputs, outputs) in [(2, 300, 7), (5, 17, 9), (11, 64, 8), (13, 5, 3), (6, 33, 1)] {
                let (x, w) = (numbers(rows * inputs, 1), numbers(outputs * inputs, 2));
                let mut out = vec![0.0; rows * outputs];
                // SAFETY: the processor has what the kernel needs, and the slices hold whole rows.
                unsafe { kernel(&x, &w, inputs, &mut out) };
                let expected = expected(&x, &w, inputs);
                for row in 0..rows {
                    for output in 0..outputs {
                        let (got, expected) = (out[output * rows + row], expected[row * outputs + output]);
                        assert!((f64::from(got) - expected).abs() < 1e-4, "{rows} {inputs} {outputs}: {got}");
                    }
                }
            }
        }
    }

    #[test]
    fn it_is_the_same_on_any_number_of_threads_and_beside_any_rows() {
        let (inputs, outputs) = (320, 700);
        let w = numbers(outputs * inputs, 2);
        let x = numbers(9 * inputs, 1);
        let Some(all) = product(&x, &w, (9, inputs, outputs)) else { return };
        for (got, expected) in all.iter().zip(expected(&x, &w, inputs)) {
            assert!((f64::from(*got) - expected).abs() < 1e-4);
        }
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        assert_eq!(pool.install(|| product(&x, &w, (9, inputs, outputs))).as_ref(), Some(&all));
        let part = product(&x[2 * inputs..6 * inputs], &w, (4, inputs, outputs)).unwrap();
        assert_eq!(part[..], all[2 * outputs..6 * outputs]);
        // One row, many, and many short ones are left to the general product.
        for shape in [(1, inputs, outputs), (129, inputs, outputs), (33, 96, outputs)] {
            assert!(product(&vec![0.0; shape.0 * shape.1], &w, shape).is_none());
        }
    }
}
