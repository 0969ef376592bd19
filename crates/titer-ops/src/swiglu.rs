//! y = silu(gate)·up, silu(x) = x/(1 + e^−x) (arXiv 2002.05202).

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};
use multiversion::multiversion;

use crate::{composed, cpu};

/// silu(gate)·up, element by element; both of one shape.
///
/// # Errors
/// When the shapes differ.
pub fn swiglu(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    if gate.shape() != up.shape() {
        bail!("swiglu: gate has shape {:?}, up has shape {:?}", gate.shape(), up.shape());
    }
    if cpu::applies(&[gate, up]) {
        gate.contiguous()?.apply_op2(&up.contiguous()?, SwiGlu)
    } else {
        composed::swiglu(gate, up)
    }
}

struct SwiGlu;

impl CustomOp2 for SwiGlu {
    fn name(&self) -> &'static str {
        "swiglu"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let gate = cpu::numbers(s1, l1)?;
        let mut y = vec![0.0; gate.len()];
        forward(gate, cpu::numbers(s2, l2)?, &mut y);
        Ok((CpuStorage::F32(y), l1.shape().clone()))
    }

    fn bwd(
        &self,
        gate: &Tensor,
        up: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let grad = grad.contiguous()?;
        cpu::read([gate, up, &grad], |[gates, ups, gs]| {
            let mut d_gate = vec![0.0; gates.len()];
            let mut d_up = vec![0.0; gates.len()];
            backward(gates, ups, gs, &mut d_gate, &mut d_up);
            let d_gate = Tensor::from_vec(d_gate, gate.shape(), gate.device())?;
            let d_up = Tensor::from_vec(d_up, gate.shape(), gate.device())?;
            Ok((Some(d_gate), Some(d_up)))
        })
    }
}

#[multiversion(targets("x86_64+avx2", "x86_64+avx512f+avx512vl"))]
fn forward(gate: &[f32], up: &[f32], y: &mut [f32]) {
    for ((y, gate), up) in y.iter_mut().zip(gate).zip(up) {
        *y = gate * cpu::sigmoid(*gate) * up;
    }
}

#[multiversion(targets("x86_64+avx2", "x86_64+avx512f+avx512vl"))]
fn backward(gate: &[f32], up: &[f32], g: &[f32], d_gate: &mut [f32], d_up: &mut [f32]) {
    let n = g.len();
    let (gate, up, d_gate, d_up) = (&gate[..n], &up[..n], &mut d_gate[..n], &mut d_up[..n]);
    for i in 0..n {
        let sigmoid = cpu::sigmoid(gate[i]);
        let silu = gate[i] * sigmoid;
        d_gate[i] = g[i] * up[i] * (sigmoid + silu * (1.0 - sigmoid));
        d_up[i] = g[i] * silu;
    }
}
