//! Rotary position embedding (arXiv 2104.09864), in the half-split form of Hugging Face's Llama: the
//! first half of a head's features is rotated against the second.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, DType, Device, Layout, Result, Shape, Tensor, bail};
use multiversion::multiversion;

use crate::{composed, cpu};

/// The angles of each position: cosines and sines of shape `(positions, head_dim / 2)`.
#[derive(Debug, Clone)]
pub struct Rotary {
    cos: Arc<[f32]>,
    sin: Arc<[f32]>,
    half: usize,
}

impl Rotary {
    /// Angles `position · theta^(−2i / head_dim)` for all positions below `positions`.
    ///
    /// # Errors
    /// When `head_dim` is odd.
    pub fn new(head_dim: usize, positions: usize, theta: f64) -> Result<Self> {
        if head_dim == 0 || !head_dim.is_multiple_of(2) {
            bail!("rotary embedding needs an even number of features per head, got {head_dim}");
        }
        let half = head_dim / 2;
        let frequencies: Vec<f32> = (0..half).map(|i| theta.powf(-(i as f64) / half as f64) as f32).collect();
        let angles = || (0..positions).flat_map(|p| frequencies.iter().map(move |f| p as f32 * f));
        Ok(Self { cos: angles().map(f32::cos).collect(), sin: angles().map(f32::sin).collect(), half })
    }

    /// Features of one head.
    pub fn head_dim(&self) -> usize {
        2 * self.half
    }

    /// Number of positions that have angles.
    pub fn positions(&self) -> usize {
        self.cos.len() / self.half
    }

    /// Cosines and sines of `positions`, each of shape `(positions, head_dim / 2)`.
    pub(crate) fn tables(
        &self,
        positions: &[u32],
        dtype: DType,
        device: &Device,
    ) -> Result<(Tensor, Tensor)> {
        let rows = |table: &[f32]| {
            let values: Vec<f32> =
                positions.iter().flat_map(|p| self.row(table, *p).iter().copied()).collect();
            Tensor::from_vec(values, (positions.len(), self.half), device)?.to_dtype(dtype)
        };
        Ok((rows(&self.cos)?, rows(&self.sin)?))
    }

    fn row<'a>(&self, table: &'a [f32], position: u32) -> &'a [f32] {
        &table[position as usize * self.half..][..self.half]
    }
}

/// Rotates each head of x, shape `(tokens, heads · head_dim)`, by the angles of its token's position.
///
/// # Errors
/// When the shapes do not match or a position lies beyond the table.
pub fn rotary(x: &Tensor, table: &Rotary, positions: &Arc<[u32]>) -> Result<Tensor> {
    let (tokens, features) = x.dims2()?;
    if tokens != positions.len() || !features.is_multiple_of(table.head_dim()) {
        bail!(
            "rotary: input of shape ({tokens}, {features}) does not fit {} positions and heads of {}",
            positions.len(),
            table.head_dim()
        );
    }
    if let Some(position) = positions.iter().find(|p| **p as usize >= table.positions()) {
        bail!("rotary: position {position} is beyond the model's {} positions", table.positions());
    }
    if cpu::applies(&[x]) {
        x.contiguous()?.apply_op1(Rotate { table: table.clone(), positions: positions.clone(), sign: 1.0 })
    } else {
        composed::rotary(x, table, positions)
    }
}

/// Rotation by `sign` times the table's angles; the backward pass is the rotation back.
struct Rotate {
    table: Rotary,
    positions: Arc<[u32]>,
    sign: f32,
}

impl CustomOp1 for Rotate {
    fn name(&self) -> &'static str {
        "rotary"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = cpu::numbers(storage, layout)?;
        let (_, features) = layout.shape().dims2()?;
        let mut y = vec![0.0; x.len()];
        for ((x, y), position) in
            x.chunks_exact(features).zip(y.chunks_exact_mut(features)).zip(self.positions.iter())
        {
            let (cos, sin) = (&self.table.cos, &self.table.sin);
            rotate_token(x, self.table.row(cos, *position), self.table.row(sin, *position), self.sign, y);
        }
        Ok((CpuStorage::F32(y), layout.shape().clone()))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let back = Self { table: self.table.clone(), positions: self.positions.clone(), sign: -self.sign };
        Ok(Some(grad.contiguous()?.apply_op1_no_bwd(&back)?))
    }
}

#[multiversion(targets("x86_64+avx2", "x86_64+avx512f+avx512vl"))]
fn rotate_token(x: &[f32], cos: &[f32], sin: &[f32], sign: f32, y: &mut [f32]) {
    let half = cos.len();
    for (x, y) in x.chunks_exact(2 * half).zip(y.chunks_exact_mut(2 * half)) {
        let (x1, x2) = x.split_at(half);
        let (y1, y2) = y.split_at_mut(half);
        for i in 0..half {
            let s = sign * sin[i];
            y1[i] = x1[i] * cos[i] - x2[i] * s;
            y2[i] = x2[i] * cos[i] + x1[i] * s;
        }
    }
}
