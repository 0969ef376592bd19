//! y = x / √(mean(x²) + ε) · w (arXiv 1910.07467), row by row; in Gemma with 1 + w in place of w.

use std::borrow::Cow;

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};
use multiversion::multiversion;

use crate::{composed, cpu, parallel};

/// Root-mean-square norm of each row of x, shape `(rows, features)`, scaled by w, shape `(features)`.
///
/// # Errors
/// When the shapes do not match.
pub fn rms_norm(x: &Tensor, weight: &Tensor, epsilon: f64) -> Result<Tensor> {
    if cpu::applies(&[x, weight]) {
        let op = RmsNorm::new(epsilon, false);
        x.contiguous()?.apply_op2(&weight.contiguous()?, op)
    } else {
        composed::rms_norm(x, weight, epsilon)
    }
}

/// The same with 1 + w in place of w, so that weights of zero change nothing and decay towards that.
///
/// # Errors
/// When the shapes do not match.
pub fn rms_norm_about_one(x: &Tensor, weight: &Tensor, epsilon: f64) -> Result<Tensor> {
    if cpu::applies(&[x, weight]) {
        let op = RmsNorm::new(epsilon, true);
        x.contiguous()?.apply_op2(&weight.contiguous()?, op)
    } else {
        composed::rms_norm_about_one(x, weight, epsilon)
    }
}

/// Rows whose gradients of w are added up before they are added to the others'.
const ROWS: usize = 64;

pub(crate) struct RmsNorm {
    epsilon: f32,
    about_one: bool,
}

impl RmsNorm {
    /// By 1 + w in place of w, if `about_one`.
    pub(crate) fn new(epsilon: f64, about_one: bool) -> Self {
        Self { epsilon: epsilon as f32, about_one }
    }

    /// All rows of x, normed; the weight has the features of a row.
    pub(crate) fn forward(&self, x: &[f32], weight: &[f32]) -> Vec<f32> {
        let features = weight.len();
        let mut y = vec![0.0; x.len()];
        let factors = self.factors(weight);
        parallel::rows(&mut y, features, |first, y| {
            forward(&x[first * features..][..y.len()], &factors, self.epsilon, y);
        });
        y
    }

    /// The gradients of x and w for that of the result, `g`.
    pub(crate) fn backward(&self, x: &[f32], weight: &[f32], g: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let n = weight.len();
        let (factors, size) = (self.factors(weight), ROWS * n);
        let (mut dx, mut parts) = (vec![0.0; x.len()], vec![0.0; x.len().div_ceil(size.max(1)) * n]);
        let mut dw = vec![0.0; n];
        let blocks = dx.chunks_mut(size.max(1)).zip(parts.chunks_mut(n.max(1))).enumerate();
        parallel::each(blocks.collect(), |(at, (dx, dw))| {
            let [x, g] = [x, g].map(|of| &of[at * size..][..dx.len()]);
            backward(x, &factors, g, self.epsilon, dx, dw);
        });
        for part in parts.chunks(n.max(1)) {
            cpu::update(&mut dw, part, |dw, part| dw + part);
        }
        (dx, dw)
    }

    /// What rows are multiplied by.
    fn factors<'a>(&self, weight: &'a [f32]) -> Cow<'a, [f32]> {
        match self.about_one {
            true => weight.iter().map(|w| 1.0 + w).collect(),
            false => weight.into(),
        }
    }
}

impl CustomOp2 for RmsNorm {
    fn name(&self) -> &'static str {
        "rms-norm"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (_, features) = l1.shape().dims2()?;
        if l2.shape().dims1()? != features {
            bail!("rms-norm: input has {features} features, the weight has shape {:?}", l2.shape());
        }
        let y = self.forward(cpu::numbers(s1, l1)?, cpu::numbers(s2, l2)?);
        Ok((CpuStorage::F32(y), l1.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let grad = grad.contiguous()?;
        cpu::read([x, weight, &grad], |[xs, ws, gs]| {
            let (dx, dw) = self.backward(xs, ws, gs);
            let dw = weight.track_op().then(|| cpu::tensor_like(dw, weight)).transpose()?;
            Ok((Some(cpu::tensor_like(dx, x)?), dw))
        })
    }
}

#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2"))]
fn forward(x: &[f32], w: &[f32], epsilon: f32, y: &mut [f32]) {
    let n = w.len();
    for (x, y) in x.chunks_exact(n).zip(y.chunks_exact_mut(n)) {
        let scale = 1.0 / (cpu::dot(x, x) / n as f32 + epsilon).sqrt();
        for ((y, x), w) in y.iter_mut().zip(x).zip(w) {
            *y = x * scale * w;
        }
    }
}

/// With s = 1/√(mean(x²) + ε): dx = s·(g·w) − x·s³·mean(g·w·x), dw = Σ over rows of g·x·s.
#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2"))]
fn backward(x: &[f32], w: &[f32], g: &[f32], epsilon: f32, dx: &mut [f32], dw: &mut [f32]) {
    let n = w.len();
    let mut gw = vec![0.0f32; n];
    for ((x, g), dx) in x.chunks_exact(n).zip(g.chunks_exact(n)).zip(dx.chunks_exact_mut(n)) {
        let scale = 1.0 / (cpu::dot(x, x) / n as f32 + epsilon).sqrt();
        for i in 0..n {
            gw[i] = g[i] * w[i];
            dw[i] += g[i] * x[i] * scale;
        }
        let along = cpu::dot(&gw, x) / n as f32 * scale * scale * scale;
        for ((dx, gw), x) in dx.iter_mut().zip(&gw).zip(x) {
            *dx = gw * scale - x * along;
        }
    }
}
