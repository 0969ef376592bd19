//! y = x·Wᵀ for few rows of x, as where answers are generated token by token.
//!
//! A general product first copies the weights into an order of its own, which pays where many rows use the copy. For few it
//! takes as long as the product itself. Here each weight is read once, where it lies: every output is a product of two
//! rows that are contiguous, some rows of weights and some of x at a time in registers. The result of a row does not
//! depend on the others, nor on the number of threads.

use rayon::iter::{IndexedParallelIterator, ParallelIterator};
use rayon::slice::ParallelSliceMut;

/// Beyond so many rows the copy pays.
const MOST_ROWS: usize = 64;
/// Of short rows it pays sooner: sums across a register weigh more.
const LONG: usize = 256;
const MOST_SHORT_ROWS: usize = 8;
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
    if !(2..=most).contains(&rows) || outputs == 0 {
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
    let size = OUTPUTS_AT_ONCE * rows;
    if rayon::current_num_threads() > 1 {
        transposed.par_chunks_mut(size).enumerate().for_each(part);
    } else {
        transposed.chunks_mut(size).enumerate().for_each(part);
    }
    let mut y = vec![0.0; rows * outputs];
    // A few cache lines at a time of either side.
    const SIDE: usize = 16;
    for first in (0..outputs).step_by(SIDE) {
        for (row, y) in y.chunks_exact_mut(outputs).enumerate() {
            let columns = transposed[first * rows..].chunks_exact(rows);
            for (y, column) in y[first..].iter_mut().take(SIDE).zip(columns) {
                *y = column[row];
            }
        }
    }
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

/// A kernel for one kind of vectors: `$rows` rows of weights by at most five of x at a time.
#[cfg(target_arch = "x86_64")]
macro_rules! kernel {
    ($name:ident, $features:literal, $vector:ty, $lanes:literal, $zero:ident, $load:ident, $fma:ident, $sum:path, $rows:literal) => {
        mod $name {
            use std::arch::x86_64::*;

            /// Rows of weights at a time.
            const ROWS: usize = $rows;
            const LANES: usize = $lanes;

            /// All outputs of rows of weights: of each row those of all rows of x, one after the other.
            #[target_feature(enable = $features)]
            pub(super) fn outputs(x: &[f32], w: &[f32], inputs: usize, out: &mut [f32]) {
                let count = x.len() / inputs;
                let tiles = w.chunks(ROWS * inputs).zip(out.chunks_mut(ROWS * count));
                for (w, out) in tiles {
                    for (at, x) in x.chunks(5 * inputs).enumerate() {
                        let out = &mut out[5 * at..];
                        if w.len() == ROWS * inputs {
                            match x.len() / inputs {
                                5 => tile::<ROWS, 5>(x, w, inputs, out, count),
                                4 => tile::<ROWS, 4>(x, w, inputs, out, count),
                                3 => tile::<ROWS, 3>(x, w, inputs, out, count),
                                2 => tile::<ROWS, 2>(x, w, inputs, out, count),
                                _ => tile::<ROWS, 1>(x, w, inputs, out, count),
                            }
                        } else {
                            for (w, out) in w.chunks_exact(inputs).zip(out.chunks_mut(count)) {
                                for (x, out) in x.chunks_exact(inputs).zip(out.chunks_mut(1)) {
                                    tile::<1, 1>(x, w, inputs, out, count);
                                }
                            }
                        }
                    }
                }
            }

            #[target_feature(enable = $features)]
            #[inline]
            fn tile<const R: usize, const C: usize>(
                x: &[f32],
                w: &[f32],
                inputs: usize,
                out: &mut [f32],
                count: usize,
            ) {
                assert!(w.len() >= R * inputs && x.len() >= C * inputs, "a tile's rows must be there");
                let whole = inputs / LANES * LANES;
                let mut sums = [[$zero(); C]; R];
                for at in (0..whole).step_by(LANES) {
                    let mut xs = [$zero(); C];
                    for (c, xs) in xs.iter_mut().enumerate() {
                        // SAFETY: row c of x is there, checked above, and `at + LANES` is at most its length.
                        *xs = unsafe { $load(x.as_ptr().add(c * inputs + at)) };
                    }
                    for (r, sums) in sums.iter_mut().enumerate() {
                        // SAFETY: as above, of the weights.
                        let w = unsafe { $load(w.as_ptr().add(r * inputs + at)) };
                        for (sum, x) in sums.iter_mut().zip(xs) {
                            *sum = $fma(w, x, *sum);
                        }
                    }
                }
                for (r, sums) in sums.into_iter().enumerate() {
                    for (c, sum) in sums.into_iter().enumerate() {
                        let rest = w[r * inputs..][whole..inputs].iter().zip(&x[c * inputs + whole..]);
                        out[r * count + c] = $sum(sum) + rest.map(|(w, x)| w * x).sum::<f32>();
                    }
                }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
kernel!(
    avx512,
    "avx512f",
    __m512,
    16,
    _mm512_setzero_ps,
    _mm512_loadu_ps,
    _mm512_fmadd_ps,
    _mm512_reduce_add_ps,
    4
);
#[cfg(target_arch = "x86_64")]
kernel!(avx2, "avx2,fma", __m256, 8, _mm256_setzero_ps, _mm256_loadu_ps, _mm256_fmadd_ps, super::together, 2);

/// The sum of a register's numbers.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
#[inline]
fn together(x: std::arch::x86_64::__m256) -> f32 {
    use std::arch::x86_64::*;
    let four = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
    let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
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
        for shape in [(1, inputs, outputs), (65, inputs, outputs), (9, 96, outputs)] {
            assert!(product(&vec![0.0; shape.0 * shape.1], &w, shape).is_none());
        }
    }
}
