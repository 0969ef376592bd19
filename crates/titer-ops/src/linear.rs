//! y = x·Wᵀ, the projection of every layer.

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};

use crate::{composed, cpu};

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
        Ok((CpuStorage::F32(product(x, w.transposed())), Shape::from((rows, outputs))))
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

/// The product of two matrices, row-major.
fn product(a: Matrix<'_>, b: Matrix<'_>) -> Vec<f32> {
    assert_eq!(a.columns, b.rows, "inner dimensions must match");
    let (m, k, n) = (a.rows, a.columns, b.columns);
    let mut out = Vec::<f32>::with_capacity(m * n);
    // SAFETY: both operands' memory covers rows × columns in either order of strides (checked where they
    // are made, kept by transposition); `out` has room for m × n numbers, all of which gemm writes since
    // it is told not to read the destination.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            n as isize,
            false,
            a.values.as_ptr(),
            a.column_stride as isize,
            a.row_stride as isize,
            b.values.as_ptr(),
            b.column_stride as isize,
            b.row_stride as isize,
            0.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
        out.set_len(m * n);
    }
    out
}
