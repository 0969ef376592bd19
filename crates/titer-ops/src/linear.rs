//! y = x·Wᵀ, the projection of every layer.

use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor, bail};

use crate::{composed, cpu, few_rows};

/// y = x·Wᵀ for x of shape `(rows, in)` and W of shape `(out, in)`; y has shape `(rows, out)`.
///
/// Differentiable in both. A weight that tracks no gradient costs none.
///
/// # Errors
/// When the shapes do not match.
pub fn linear(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    if cpu::applies(&[x, weight]) {
        x.contiguous()?.apply_op2(&weight.contiguous()?, Linear)
    } else {
        composed::linear(x, weight)
    }
}

/// y = x·Wᵀ + scale·(x·Aᵀ)·Bᵀ for A of shape `(rank, in)` and B of shape `(out, rank)`: low-rank adaptation
/// (arXiv 2106.09685). Differentiable in x, A and B; W is held fixed.
///
/// # Errors
/// When the shapes do not match.
pub fn lora(x: &Tensor, weight: &Tensor, a: &Tensor, b: &Tensor, scale: f64) -> Result<Tensor> {
    let weight = weight.detach();
    let ((outputs, inputs), rank) = (weight.dims2()?, a.dim(0)?);
    if a.dims() != [rank, inputs] || b.dims() != [outputs, rank] {
        bail!("lora: A {:?} and B {:?} do not fit the weight {:?}", a.shape(), b.shape(), weight.shape());
    }
    if cpu::applies(&[x, &weight, a, b]) {
        let op = Lora { weight: weight.contiguous()?, scale: scale as f32 };
        x.contiguous()?.apply_op3(&a.contiguous()?, &b.contiguous()?, op)
    } else {
        composed::lora(x, &weight, a, b, scale)
    }
}

struct Lora {
    weight: Tensor,
    scale: f32,
}

impl CustomOp3 for Lora {
    fn name(&self) -> &'static str {
        "lora"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
        s3: &CpuStorage,
        l3: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (rows, inputs) = l1.shape().dims2()?;
        let (outputs, expected) = self.weight.dims2()?;
        let rank = l2.shape().dims2()?.0;
        if inputs != expected {
            bail!("lora: input has {inputs} features, the weight takes {expected}");
        }
        let x = Matrix::row_major(cpu::numbers(s1, l1)?, rows, inputs);
        let a = Matrix::row_major(cpu::numbers(s2, l2)?, rank, inputs);
        let b = Matrix::row_major(cpu::numbers(s3, l3)?, outputs, rank);
        cpu::read([&self.weight], |[ws]| {
            let mut y = projected(x, Matrix::row_major(ws, outputs, inputs));
            let z = product(x, a.transposed());
            add_product(&mut y, self.scale, Matrix::row_major(&z, rows, rank), b.transposed());
            Ok((CpuStorage::F32(y), Shape::from((rows, outputs))))
        })
    }

    fn bwd(
        &self,
        x: &Tensor,
        a: &Tensor,
        b: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let ((rows, inputs), (outputs, rank)) = (x.dims2()?, b.dims2()?);
        let grad = grad.contiguous()?;
        cpu::read([x, a, b, &grad, &self.weight], |[xs, a_s, bs, gs, ws]| {
            let (x_, a_) = (Matrix::row_major(xs, rows, inputs), Matrix::row_major(a_s, rank, inputs));
            let (b_, g) = (Matrix::row_major(bs, outputs, rank), Matrix::row_major(gs, rows, outputs));
            let z = product(x_, a_.transposed());
            let mut dz = product(g, b_);
            dz.iter_mut().for_each(|value| *value *= self.scale);
            let dz = Matrix::row_major(&dz, rows, rank);
            let mut db = product(g.transposed(), Matrix::row_major(&z, rows, rank));
            db.iter_mut().for_each(|value| *value *= self.scale);
            let da = product(dz.transposed(), x_);
            let dx = x.track_op().then(|| {
                let mut dx = product(g, Matrix::row_major(ws, outputs, inputs));
                add_product(&mut dx, 1.0, dz, a_);
                dx
            });
            let tensor = |values, like: &Tensor| Tensor::from_vec(values, like.shape(), like.device());
            let dx = dx.map(|dx| tensor(dx, x)).transpose()?;
            Ok((dx, Some(tensor(da, a)?), Some(tensor(db, b)?)))
        })
    }
}

struct Linear;

impl CustomOp2 for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (rows, inputs) = l1.shape().dims2()?;
        let (outputs, expected) = l2.shape().dims2()?;
        if inputs != expected {
            bail!(
                "linear: input has {inputs} features, the weight of shape ({outputs}, {expected}) takes {expected}"
            );
        }
        let x = Matrix::row_major(cpu::numbers(s1, l1)?, rows, inputs);
        let w = Matrix::row_major(cpu::numbers(s2, l2)?, outputs, inputs);
        Ok((CpuStorage::F32(projected(x, w)), Shape::from((rows, outputs))))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (rows, inputs) = x.dims2()?;
        let outputs = weight.dim(0)?;
        let grad = grad.contiguous()?;
        cpu::read([x, weight, &grad], |[xs, ws, gs]| {
            let g = Matrix::row_major(gs, rows, outputs);
            let dx = x.track_op().then(|| product(g, Matrix::row_major(ws, outputs, inputs)));
            let dw = weight.track_op().then(|| product(g.transposed(), Matrix::row_major(xs, rows, inputs)));
            let tensor = |values: Option<Vec<f32>>, rows| {
                values.map(|values| Tensor::from_vec(values, (rows, inputs), x.device())).transpose()
            };
            Ok((tensor(dx, rows)?, tensor(dw, outputs)?))
        })
    }
}

/// A matrix in memory, by strides.
#[derive(Clone, Copy)]
struct Matrix<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    fn row_major(values: &'a [f32], rows: usize, columns: usize) -> Self {
        assert_eq!(values.len(), rows * columns, "a matrix's memory must match its shape");
        Self { values, rows, columns, row_stride: columns, column_stride: 1 }
    }

    fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }
}

/// x·Wᵀ of two row-major matrices.
fn projected(x: Matrix<'_>, w: Matrix<'_>) -> Vec<f32> {
    let few = few_rows::product(x.values, w.values, (x.rows, x.columns, w.rows));
    few.unwrap_or_else(|| product(x, w.transposed()))
}

/// The product of two matrices, row-major.
fn product(a: Matrix<'_>, b: Matrix<'_>) -> Vec<f32> {
    let size = a.rows * b.columns;
    let mut out = Vec::<f32>::with_capacity(size);
    // SAFETY: `out` has room for `size` numbers, all of which are written since gemm is told not to read
    // the destination.
    unsafe {
        multiply(out.as_mut_ptr(), false, 1.0, a, b);
        out.set_len(size);
    }
    out
}

/// out += scale · a · b.
fn add_product(out: &mut [f32], scale: f32, a: Matrix<'_>, b: Matrix<'_>) {
    assert_eq!(out.len(), a.rows * b.columns, "the sum must have the product's shape");
    // SAFETY: `out` holds as many numbers as the product, checked above.
    unsafe { multiply(out.as_mut_ptr(), true, scale, a, b) };
}

/// out = [out +] scale · a · b.
///
/// # Safety
/// `out` must have room for `a.rows × b.columns` numbers, initialised ones if they are added to.
unsafe fn multiply(out: *mut f32, add: bool, scale: f32, a: Matrix<'_>, b: Matrix<'_>) {
    assert_eq!(a.columns, b.rows, "inner dimensions must match");
    let (m, k, n) = (a.rows, a.columns, b.columns);
    // SAFETY: both operands' memory covers rows × columns in either order of strides (checked where they
    // are made, kept by transposition); the caller answers for `out`.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out,
            1,
            n as isize,
            add,
            a.values.as_ptr(),
            a.column_stride as isize,
            a.row_stride as isize,
            b.values.as_ptr(),
            b.column_stride as isize,
            b.row_stride as isize,
            if add { 1.0 } else { 0.0 },
            scale,
            false,
            false,
            false,
            // As many threads as rayon's pool has (one in the program, unless RAYON_NUM_THREADS says
            // more). They divide rows and columns, never a sum, so that bits do not depend on them.
            gemm::Parallelism::Rayon(0),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_have_the_same_bits_on_any_number_of_threads() {
        for (m, k, n) in [(130, 576, 192), (512, 64, 1536), (33, 1000, 600)] {
            let values = |count: usize| -> Vec<f32> {
                (0..count).map(|i| ((i * 7919) % 1013) as f32 / 507.0 - 1.0).collect()
            };
            let (a, b) = (values(m * k), values(n * k));
            let product = |threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let (a, b) = (Matrix::row_major(&a, m, k), Matrix::row_major(&b, n, k));
                pool.install(|| product(a, b.transposed()))
            };
            let one = product(1);
            for threads in [2, 3, 8] {
                assert!(product(threads) == one, "{m} × {k} × {n} on {threads} threads");
            }
        }
    }
}
