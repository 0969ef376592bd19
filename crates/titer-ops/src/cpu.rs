//! Access to the memory of CPU tensors, and arithmetic that compilers can vectorise.

use std::cell::Cell;

use candle_core::{CpuStorage, DType, Device, InplaceOp1, Layout, Result, Storage, Tensor, Var, bail};

thread_local! {
    /// Whether the kernels stay out of it.
    static ASIDE: Cell<bool> = const { Cell::new(false) };
}

/// Calls `f`; meanwhile no kernel applies on this thread.
pub(crate) fn aside<T>(f: impl FnOnce() -> T) -> T {
    struct Back(bool);
    impl Drop for Back {
        fn drop(&mut self) {
            ASIDE.set(self.0);
        }
    }
    let _back = Back(ASIDE.replace(true));
    f()
}

/// Whether the CPU kernels apply to all of `tensors`.
pub(crate) fn applies(tensors: &[&Tensor]) -> bool {
    let kernels = !ASIDE.get();
    kernels
        && tensors.iter().all(|tensor| matches!(tensor.device(), Device::Cpu) && tensor.dtype() == DType::F32)
}

/// The numbers of a contiguous storage.
pub(crate) fn numbers<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let Some((start, end)) = layout.contiguous_offsets() else {
        bail!("expected a contiguous tensor, got strides {:?}", layout.stride());
    };
    Ok(&storage.as_slice::<f32>()?[start..end])
}

/// The numbers of a contiguous storage, to change in place.
pub(crate) fn numbers_mut<'a>(storage: &'a mut CpuStorage, layout: &Layout) -> Result<&'a mut [f32]> {
    let Some((start, end)) = layout.contiguous_offsets() else {
        bail!("expected a contiguous tensor, got strides {:?}", layout.stride());
    };
    match storage {
        CpuStorage::F32(values) => Ok(&mut values[start..end]),
        other => bail!("expected f32 in place, got {:?}", candle_core::backend::BackendStorage::dtype(other)),
    }
}

/// Calls `f` with the numbers of contiguous CPU tensors.
pub(crate) fn read<const N: usize, T>(
    tensors: [&Tensor; N],
    f: impl FnOnce([&[f32]; N]) -> Result<T>,
) -> Result<T> {
    let held = tensors.map(|tensor| tensor.storage_and_layout());
    let mut slices: [&[f32]; N] = [&[]; N];
    for (slice, (storage, layout)) in slices.iter_mut().zip(&held) {
        let Storage::Cpu(storage) = &**storage else { bail!("expected a tensor on the cpu") };
        *slice = numbers(storage, layout)?;
    }
    f(slices)
}

/// A tensor of these numbers with the shape of another.
pub(crate) fn tensor_like(values: Vec<f32>, like: &Tensor) -> Result<Tensor> {
    Tensor::from_vec(values, like.shape(), like.device())
}

/// Calls `f` with the numbers of a contiguous CPU variable, to change in place.
pub(crate) fn change(var: &Var, f: impl FnOnce(&mut [f32]) -> Result<()>) -> Result<()> {
    struct Change<F>(Cell<Option<F>>);
    impl<F: FnOnce(&mut [f32]) -> Result<()>> InplaceOp1 for Change<F> {
        fn name(&self) -> &'static str {
            "change"
        }

        fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
            let Some(f) = self.0.take() else { bail!("the change was made before") };
            f(numbers_mut(storage, layout)?)
        }
    }
    var.inplace_op1(&Change(Cell::new(Some(f))))
}

/// e^x to within 2 units in the last place for normal results, without branches or table look-ups, so
/// that a loop over it becomes vector code. Saturates at about e^±88 instead of overflowing.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    // x = n·ln 2 + r with |r| ≤ ln 2 / 2, e^x = 2^n · e^r; ln 2 in two parts keeps r exact; e^r by the
    // minimax polynomial of the Cephes library.
    const ROUND: f32 = 12_582_912.0; // 1.5 · 2^23: adding it rounds to an integer in the low mantissa bits
    let x = x.clamp(-87.3, 88.0);
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = x - n * 0.693_359_4 - n * -2.121_944_4e-4;
    let mut p = 1.987_569_1e-4;
    p = p * r + 1.398_199_9e-3;
    p = p * r + 8.333_452e-3;
    p = p * r + 4.166_579_6e-2;
    p = p * r + 1.666_666_5e-1;
    p = p * r + 0.5;
    let e = p * r * r + r + 1.0;
    let power = (shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127)) << 23;
    e * f32::from_bits(power)
}

/// 1 / (1 + e^−x).
#[inline(always)]
pub(crate) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// (e^x − e^−x) / (e^x + e^−x), without branches: near zero, where the exponentials cancel, by the polynomial of
/// the Cephes library.
#[inline(always)]
pub(crate) fn tanh(x: f32) -> f32 {
    let z = x * x;
    let mut p = -5.704_988_7e-3;
    p = p * z + 2.063_908_8e-2;
    p = p * z - 5.373_971_5e-2;
    p = p * z + 1.333_144_2e-1;
    p = p * z - 3.333_328e-1;
    let near = p * z * x + x;
    let far = (1.0 - 2.0 / (exp(2.0 * x.abs()) + 1.0)).copysign(x);
    if x.abs() < 0.625 { near } else { far }
}

/// Numbers that are computed beside each other, whatever the compiler makes of longer loops: of a short row nothing is
/// left to do one by one.
pub(crate) const LANES: usize = 8;

/// Σ aᵢ·bᵢ in a fixed order of lanes, so that the result does not depend on how it was compiled.
#[inline(always)]
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let (whole_a, rest_a) = a.as_chunks::<LANES>();
    let (whole_b, rest_b) = b.as_chunks::<LANES>();
    for (a, b) in whole_a.iter().zip(whole_b) {
        for lane in 0..LANES {
            lanes[lane] += a[lane] * b[lane];
        }
    }
    let mut sum = 0.0;
    for (a, b) in rest_a.iter().zip(rest_b) {
        sum += a * b;
    }
    together(lanes) + sum
}

/// The sum of the lanes, by halves: a sum one after the other would wait for each.
#[inline(always)]
fn together(lanes: [f32; LANES]) -> f32 {
    let [a, b, c, d, e, f, g, h] = lanes;
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}

/// Σ xᵢ in the same order.
#[inline(always)]
pub(crate) fn sum(x: &[f32]) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let (whole, rest) = x.as_chunks::<LANES>();
    for x in whole {
        for lane in 0..LANES {
            lanes[lane] += x[lane];
        }
    }
    together(lanes) + rest.iter().sum::<f32>()
}

/// The highest of all.
#[inline(always)]
pub(crate) fn highest(x: &[f32]) -> f32 {
    let higher = |a: f32, b: f32| if a > b { a } else { b };
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (whole, rest) = x.as_chunks::<LANES>();
    for x in whole {
        for lane in 0..LANES {
            lanes[lane] = higher(x[lane], lanes[lane]);
        }
    }
    lanes.iter().chain(rest).fold(f32::NEG_INFINITY, |highest, x| higher(*x, highest))
}

/// A copy; of short rows quicker than a call.
#[inline(always)]
pub(crate) fn copy(from: &[f32], to: &mut [f32]) {
    let (whole_to, rest_to) = to.as_chunks_mut::<LANES>();
    let (whole_from, rest_from) = from.as_chunks::<LANES>();
    for (to, from) in whole_to.iter_mut().zip(whole_from) {
        *to = *from;
    }
    for (to, from) in rest_to.iter_mut().zip(rest_from) {
        *to = *from;
    }
}

/// Each x := f(x).
#[inline(always)]
pub(crate) fn each(x: &mut [f32], f: impl Fn(f32) -> f32) {
    let (whole, rest) = x.as_chunks_mut::<LANES>();
    for x in whole {
        for x in x {
            *x = f(*x);
        }
    }
    for x in rest {
        *x = f(*x);
    }
}

/// Each x := e^((x − a)·scale − b). A loop of its own: as a function that is handed in, so much is not compiled into where
/// it is called, and not for the vectors of there.
#[inline(always)]
pub(crate) fn each_exp(x: &mut [f32], a: f32, scale: f32, b: f32) {
    let (whole, rest) = x.as_chunks_mut::<LANES>();
    for x in whole {
        for x in x {
            *x = exp((*x - a) * scale - b);
        }
    }
    for x in rest {
        *x = exp((*x - a) * scale - b);
    }
}

/// Each y := f(y, x).
#[inline(always)]
pub(crate) fn update(y: &mut [f32], x: &[f32], f: impl Fn(f32, f32) -> f32) {
    let (whole_y, rest_y) = y.as_chunks_mut::<LANES>();
    let (whole_x, rest_x) = x.as_chunks::<LANES>();
    for (y, x) in whole_y.iter_mut().zip(whole_x) {
        // As values: of memory the compiler would have to know that one is not part of the other.
        let (old, x) = (*y, *x);
        let mut new = [0.0; LANES];
        for lane in 0..LANES {
            new[lane] = f(old[lane], x[lane]);
        }
        *y = new;
    }
    for (y, x) in rest_y.iter_mut().zip(rest_x) {
        *y = f(*y, *x);
    }
}

/// y += a·x.
#[inline(always)]
pub(crate) fn add_scaled(y: &mut [f32], a: f32, x: &[f32]) {
    update(y, x, |y, x| y + a * x);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_accurate_over_its_range() {
        let mut worst = 0f64;
        for step in 0..200_000 {
            let x = -87.0 + 175.0 * step as f32 / 200_000.0;
            let exact = f64::from(x).exp();
            worst = worst.max((f64::from(exp(x)) - exact).abs() / exact);
        }
        assert!(worst < 3e-7, "worst relative error {worst}");
        assert!(exp(-1e4) < 1e-37 && exp(f32::NEG_INFINITY) < 1e-37);
        assert!(exp(1e4).is_finite());
    }

    #[test]
    fn tanh_is_accurate_over_its_range() {
        let mut worst = 0f64;
        for step in 0..200_000 {
            let x = -12.0 + 24.0 * (step as f32 + 0.5) / 200_000.0;
            let exact = f64::from(x).tanh();
            worst = worst.max(((f64::from(tanh(x)) - exact) / exact).abs());
        }
        assert!(worst < 3e-7, "worst relative error {worst}");
        assert_eq!((tanh(0.0), tanh(500.0), tanh(f32::NEG_INFINITY)), (0.0, 1.0, -1.0));
    }

    #[test]
    fn lanes_leave_nothing_out() {
        for n in 0..40 {
            let mut x: Vec<f32> = (0..n).map(|i| i as f32 - 20.0).collect();
            let y = x.clone();
            assert_eq!(sum(&x), (0..n).map(|i| i as f32 - 20.0).sum::<f32>(), "{n}");
            assert_eq!(highest(&x), x.iter().copied().fold(f32::NEG_INFINITY, f32::max), "{n}");
            each(&mut x, |x| 2.0 * x);
            update(&mut x, &y, |x, y| x - y);
            assert_eq!(x, y, "{n}");
        }
    }

    #[test]
    fn dot_handles_lengths_that_are_no_multiple_of_eight() {
        for n in 0..40 {
            let a: Vec<f32> = (0..n).map(|i| i as f32).collect();
            let expected: f32 = a.iter().map(|x| x * x).sum();
            assert!((dot(&a, &a) - expected).abs() <= 1e-3 * expected.max(1.0), "{n}");
        }
    }
}
