//! y = (x − mean(x)) / √(var(x) + ε) · w + b (arXiv 1607.06450), row by row.

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};
use multiversion::multiversion;

use crate::{composed, cpu};

/// Layer norm of each row of x, shape `(rows, features)`, scaled by w and moved by b, both of shape `(features)`.
///
/// # Errors
/// When the shapes do not match.
pub fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, epsilon: f64) -> Result<Tensor> {
    if cpu::applies(&[x, weight, bias]) {
        let op = LayerNorm { epsilon: epsilon as f32 };
        x.contiguous()?.apply_op3(&weight.contiguous()?, &bias.contiguous()?, op)
    } else {
        composed::layer_norm(x, weight, bias, epsilon)
    }
}

struct LayerNorm {
    epsilon: f32,
}

impl CustomOp3 for LayerNorm {
    fn name(&self) -> &'static str {
        "layer-norm"
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
        let (_, features) = l1.shape().dims2()?;
        if l2.shape().dims1()? != features || l3.shape().dims1()? != features {
            let (weight, bias) = (l2.shape(), l3.shape());
            bail!("layer-norm: input has {features} features, weight {weight:?} and bias {bias:?} do not");
        }
        let x = cpu::numbers(s1, l1)?;
        let mut y = vec![0.0; x.len()];
        forward(x, cpu::numbers(s2, l2)?, cpu::numbers(s3, l3)?, self.epsilon, &mut y);
        Ok((CpuStorage::F32(y), l1.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let grad = grad.contiguous()?;
        cpu::read([x, weight, &grad], |[xs, ws, gs]| {
            let (mut dx, mut dw, mut db) = (vec![0.0; xs.len()], vec![0.0; ws.len()], vec![0.0; ws.len()]);
            backward(xs, ws, gs, self.epsilon, &mut dx, &mut dw, &mut db);
            let dw = weight.track_op().then(|| cpu::tensor_like(dw, weight)).transpose()?;
            let db = bias.track_op().then(|| cpu::tensor_like(db, bias)).transpose()?;
            Ok((Some(cpu::tensor_like(dx, x)?), dw, db))
        })
    }
}

/// Writes the row less its mean, and says what one over its deviation is.
#[inline(always)]
fn moments(x: &[f32], epsilon: f32, centred: &mut [f32]) -> f32 {
    let n = x.len() as f32;
    let mean = x.iter().sum::<f32>() / n;
    for (centred, x) in centred.iter_mut().zip(x) {
        *centred = x - mean;
    }
    1.0 / (cpu::dot(centred, centred) / n + epsilon).sqrt()
}

#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2"))]
fn forward(x: &[f32], w: &[f32], b: &[f32], epsilon: f32, y: &mut [f32]) {
    let n = w.len();
    for (x, y) in x.chunks_exact(n).zip(y.chunks_exact_mut(n)) {
        let scale = moments(x, epsilon, y);
        for ((y, w), b) in y.iter_mut().zip(w).zip(b) {
            *y = *y * scale * w + b;
        }
    }
}

/// With s = 1/√(var(x) + ε) and x̂ = s·(x − mean(x)): dx = s·(g·w − mean(g·w) − x̂·mean(g·w·x̂)), dw = Σ over rows
/// of g·x̂, db = Σ over rows of g.
#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2"))]
fn backward(x: &[f32], w: &[f32], g: &[f32], epsilon: f32, dx: &mut [f32], dw: &mut [f32], db: &mut [f32]) {
    let n = w.len();
    let (mut normed, mut gw) = (vec![0.0f32; n], vec![0.0f32; n]);
    for ((x, g), dx) in x.chunks_exact(n).zip(g.chunks_exact(n)).zip(dx.chunks_exact_mut(n)) {
        let scale = moments(x, epsilon, &mut normed);
        for i in 0..n {
            normed[i] *= scale;
            gw[i] = g[i] * w[i];
            dw[i] += g[i] * normed[i];
            db[i] += g[i];
        }
        let (mean, along) = (gw.iter().sum::<f32>() / n as f32, cpu::dot(&gw, &normed) / n as f32);
        for ((dx, gw), normed) in dx.iter_mut().zip(&gw).zip(&normed) {
            *dx = scale * (gw - mean - normed * along);
        }
    }
}
