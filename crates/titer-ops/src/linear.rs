//! y = x·Wᵀ, the projection of every layer.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor, bail};

use crate::rotary::{self, Rotary, Rotate};
use crate::{composed, cpu, few_rows, parallel};

/// y = x·Wᵀ for x of shape `(rows, in)` and W of shape `(out, in)`; y has shape `(rows, out)`.
///
/// Differentiable in both. A weight that tracks no gradient costs none.
///
/// # Errors
/// When the shapes do not match.
pub fn linear(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    if cpu::applies(&[x, weight]) {
        x.contiguous()?.apply_op2(&weight.contiguous()?, Linear { rotate: None })
    } else {
        composed::linear(x, weight)
    }
}

/// The same, and each head of y rotated: see [`crate::rotary()`].
///
/// # Errors
/// When the shapes do not match or a position lies beyond the table.
pub fn linear_rotated(x: &Tensor, weight: &Tensor, table: &Rotary, positions: &Arc<[u32]>) -> Result<Tensor> {
    rotary::fits((x.dim(0)?, weight.dim(0)?), table, positions)?;
    if cpu::applies(&[x, weight]) {
        let rotate = Some(Rotate::new(table, positions));
        x.contiguous()?.apply_op2(&weight.contiguous()?, Linear { rotate })
    } else {
        composed::rotary(&composed::linear(x, weight)?, table, positions)
    }
}

/// y = to + x·Wᵀ. Differentiable in all three.
///
/// # Errors
/// When the shapes do not match.
pub fn linear_added(x: &Tensor, weight: &Tensor, to: &Tensor) -> Result<Tensor> {
    if cpu::applies(&[x, weight, to]) {
        x.contiguous()?.apply_op3(&weight.contiguous()?, &to.contiguous()?, Added)
    } else {
        to + composed::linear(x, weight)?
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

/// x·Wᵀ, and scale·(x·Aᵀ)·Bᵀ where there is an adapter.
#[derive(Clone, Copy)]
pub(crate) struct Projection<'a> {
    pub(crate) weight: Matrix<'a>,
    pub(crate) adapter: Option<Adapter<'a>>,
}

/// A and B.
#[derive(Clone, Copy)]
pub(crate) struct Adapter<'a> {
    pub(crate) a: Matrix<'a>,
    pub(crate) b: Matrix<'a>,
    pub(crate) scale: f32,
}

impl Projection<'_> {
    pub(crate) fn forward(&self, x: Matrix<'_>) -> Vec<f32> {
        let few = few_rows::product(x.values, self.weight.values, (x.rows, x.columns, self.weight.rows));
        let mut y = few.unwrap_or_else(|| product(x, self.weight.transposed()));
        if let Some(Adapter { a, b, scale }) = self.adapter {
            let z = product(x, a.transposed());
            add_product(&mut y, scale, Matrix::row_major(&z, x.rows, a.rows), b.transposed());
        }
        y
    }

    /// Adds the gradient of x to `dx`, or makes one, for that of the result, `g`, and what of it comes
    /// [through B](Adapter::through_b).
    pub(crate) fn input_gradient(
        &self,
        g: Matrix<'_>,
        dz: Option<Matrix<'_>>,
        dx: Option<Vec<f32>>,
    ) -> Vec<f32> {
        let mut dx = match dx {
            Some(mut dx) => {
                add_product(&mut dx, 1.0, g, self.weight);
                dx
            }
            None => product(g, self.weight),
        };
        if let (Some(Adapter { a, .. }), Some(dz)) = (self.adapter, dz) {
            add_product(&mut dx, 1.0, dz, a);
        }
        dx
    }
}

impl Adapter<'_> {
    /// The gradient of x·Aᵀ for that of the result.
    pub(crate) fn through_b(&self, g: Matrix<'_>) -> Vec<f32> {
        let mut dz = product(g, self.b);
        dz.iter_mut().for_each(|value| *value *= self.scale);
        dz
    }

    /// The gradients of A and B.
    pub(crate) fn gradients(&self, x: Matrix<'_>, g: Matrix<'_>, dz: Matrix<'_>) -> [Vec<f32>; 2] {
        let z = product(x, self.a.transposed());
        let mut db = product(g.transposed(), Matrix::row_major(&z, x.rows, self.a.rows));
        db.iter_mut().for_each(|value| *value *= self.scale);
        [product(dz.transposed(), x), db]
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
            let weight = Matrix::row_major(ws, outputs, inputs);
            let y = Projection { weight, adapter: Some(Adapter { a, b, scale: self.scale }) }.forward(x);
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
            let (a_, b_) = (Matrix::row_major(a_s, rank, inputs), Matrix::row_major(bs, outputs, rank));
            let adapter = Adapter { a: a_, b: b_, scale: self.scale };
            let weight = Matrix::row_major(ws, outputs, inputs);
            let projection = Projection { weight, adapter: Some(adapter) };
            let g = Matrix::row_major(gs, rows, outputs);
            let dz = adapter.through_b(g);
            let dz = Matrix::row_major(&dz, rows, rank);
            let dx = x.track_op().then(|| cpu::tensor_like(projection.input_gradient(g, Some(dz), None), x));
            let [da, db] = adapter.gradients(Matrix::row_major(xs, rows, inputs), g, dz);
            Ok((dx.transpose()?, Some(cpu::tensor_like(da, a)?), Some(cpu::tensor_like(db, b)?)))
        })
    }
}

struct Linear {
    /// Of the result.
    rotate: Option<Rotate>,
}

/// x·Wᵀ of two matrices of these shapes.
pub(crate) fn projected(
    s1: &CpuStorage,
    l1: &Layout,
    s2: &CpuStorage,
    l2: &Layout,
) -> Result<(Vec<f32>, Shape)> {
    let (rows, inputs) = l1.shape().dims2()?;
    let (outputs, expected) = l2.shape().dims2()?;
    if inputs != expected {
        bail!(
            "linear: input has {inputs} features, the weight of shape ({outputs}, {expected}) takes {expected}"
        );
    }
    let x = Matrix::row_major(cpu::numbers(s1, l1)?, rows, inputs);
    let weight = Matrix::row_major(cpu::numbers(s2, l2)?, outputs, inputs);
    Ok((Projection { weight, adapter: None }.forward(x), Shape::from((rows, outputs))))
}

/// The gradients of x and W for that of x·Wᵀ, those that are wanted.
pub(crate) fn gradients(x: &Tensor, weight: &Tensor, gs: &[f32]) -> Result<(Option<Tensor>, Option<Tensor>)> {
    let ((rows, inputs), outputs) = (x.dims2()?, weight.dim(0)?);
    cpu::read([x, weight], |[xs, ws]| {
        let g = Matrix::row_major(gs, rows, outputs);
        let dx = || cpu::tensor_like(product(g, Matrix::row_major(ws, outputs, inputs)), x);
        let dw = || cpu::tensor_like(product(g.transposed(), Matrix::row_major(xs, rows, inputs)), weight);
        Ok((x.track_op().then(dx).transpose()?, weight.track_op().then(dw).transpose()?))
    })
}

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
        let (mut y, shape) = projected(s1, l1, s2, l2)?;
        if let Some(rotate) = &self.rotate {
            rotate.apply(&mut y, shape.dims2()?.1);
        }
        Ok((CpuStorage::F32(y), shape))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let grad = grad.contiguous()?;
        cpu::read([&grad], |[gs]| {
            let Some(rotate) = &self.rotate else { return gradients(x, weight, gs) };
            let mut gs = gs.to_vec();
            rotate.back().apply(&mut gs, weight.dim(0)?);
            gradients(x, weight, &gs)
        })
    }
}

/// x, W and what the product is added to.
struct Added;

impl CustomOp3 for Added {
    fn name(&self) -> &'static str {
        "linear-added"
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
        let (mut y, shape) = projected(s1, l1, s2, l2)?;
        if l3.shape() != &shape {
            bail!("linear-added: the product has shape {shape:?}, what it is added to {:?}", l3.shape());
        }
        parallel::add(&mut y, cpu::numbers(s3, l3)?);
        Ok((CpuStorage::F32(y), shape))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        to: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let grad = grad.contiguous()?;
        let (dx, dw) = cpu::read([&grad], |[gs]| gradients(x, weight, gs))?;
        Ok((dx, dw, to.track_op().then_some(grad)))
    }
}

/// A matrix in memory, by strides.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    values: &'a [f32],
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    pub(crate) fn row_major(values: &'a [f32], rows: usize, columns: usize) -> Self {
        assert_eq!(values.len(), rows * columns, "a matrix's memory must match its shape");
        Self { values, rows, columns, row_stride: columns, column_stride: 1 }
    }

    pub(crate) fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }
}

/// The product of two matrices, row-major.
pub(crate) fn product(a: Matrix<'_>, b: Matrix<'_>) -> Vec<f32> {
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
pub(crate) fn add_product(out: &mut [f32], scale: f32, a: Matrix<'_>, b: Matrix<'_>) {
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
