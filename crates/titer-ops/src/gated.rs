//! y = f(gate)·up (arXiv 2002.05202), f one of the [`Activation`]s.

use std::f32::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};
use multiversion::multiversion;

use crate::{composed, cpu};

/// What the gate of an MLP passes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Activation {
    /// x/(1 + e^−x).
    #[default]
    Silu,
    /// x·(1 + tanh(√(2/π)·(x + 0.044715·x³)))/2, which is x/(1 + e^−2u) for the argument u of tanh (arXiv
    /// 1606.08415).
    GeluTanh,
    /// x·(1 + erf(x/√2))/2 (arXiv 1606.08415).
    Gelu,
}

impl Activation {
    /// f(x), of primitives that have a backward pass.
    ///
    /// # Errors
    /// When the device has no room.
    pub fn apply(self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Silu => x.silu(),
            Self::GeluTanh => x.gelu(),
            Self::Gelu => x.gelu_erf(),
        }
    }
}

/// silu(gate)·up, element by element; both of one shape.
///
/// # Errors
/// When the shapes differ.
pub fn swiglu(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    gated(gate, up, Activation::Silu)
}

/// f(gate)·up, element by element; both of one shape.
///
/// # Errors
/// When the shapes differ.
pub fn gated(gate: &Tensor, up: &Tensor, activation: Activation) -> Result<Tensor> {
    if gate.shape() != up.shape() {
        bail!("gated: gate has shape {:?}, up has shape {:?}", gate.shape(), up.shape());
    }
    match activation {
        Activation::Silu | Activation::GeluTanh if cpu::applies(&[gate, up]) => {
            let op = Gated { tanh: activation == Activation::GeluTanh };
            gate.contiguous()?.apply_op2(&up.contiguous()?, op)
        }
        _ => composed::gated(gate, up, activation),
    }
}

/// A gate of GELU by a hyperbolic tangent, or of SiLU.
struct Gated {
    tanh: bool,
}

impl CustomOp2 for Gated {
    fn name(&self) -> &'static str {
        "gated"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (gate, up) = (cpu::numbers(s1, l1)?, cpu::numbers(s2, l2)?);
        let mut y = vec![0.0; gate.len()];
        match self.tanh {
            false => silu(gate, up, &mut y),
            true => gelu_tanh(gate, up, &mut y),
        }
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
            match self.tanh {
                false => silu_backward(gates, ups, gs, &mut d_gate, &mut d_up),
                true => gelu_tanh_backward(gates, ups, gs, &mut d_gate, &mut d_up),
            }
            let d_gate = Tensor::from_vec(d_gate, gate.shape(), gate.device())?;
            let d_up = Tensor::from_vec(d_up, gate.shape(), gate.device())?;
            Ok((Some(d_gate), Some(d_up)))
        })
    }
}

#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2"))]
fn silu(gate: &[f32], up: &[f32], y: &mut [f32]) {
    for ((y, gate), up) in y.iter_mut().zip(gate).zip(up) {
        *y = gate * cpu::sigmoid(*gate) * up;
    }
}

#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2"))]
fn silu_backward(gate: &[f32], up: &[f32], g: &[f32], d_gate: &mut [f32], d_up: &mut [f32]) {
    let n = g.len();
    let (gate, up, d_gate, d_up) = (&gate[..n], &up[..n], &mut d_gate[..n], &mut d_up[..n]);
    for i in 0..n {
        let sigmoid = cpu::sigmoid(gate[i]);
        let silu = gate[i] * sigmoid;
        d_gate[i] = g[i] * up[i] * (sigmoid + silu * (1.0 - sigmoid));
        d_up[i] = g[i] * silu;
    }
}

/// 2·√(2/π).
const TWICE: f32 = 2.0 * FRAC_2_SQRT_PI * FRAC_1_SQRT_2;
const CUBIC: f32 = 0.044_715;

#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2"))]
fn gelu_tanh(gate: &[f32], up: &[f32], y: &mut [f32]) {
    for ((y, gate), up) in y.iter_mut().zip(gate).zip(up) {
        let twice_u = TWICE * (gate + CUBIC * gate * gate * gate);
        *y = gate * cpu::sigmoid(twice_u) * up;
    }
}

#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2"))]
fn gelu_tanh_backward(gate: &[f32], up: &[f32], g: &[f32], d_gate: &mut [f32], d_up: &mut [f32]) {
    let n = g.len();
    let (gate, up, d_gate, d_up) = (&gate[..n], &up[..n], &mut d_gate[..n], &mut d_up[..n]);
    for i in 0..n {
        let square = gate[i] * gate[i];
        let sigmoid = cpu::sigmoid(TWICE * gate[i] * (1.0 + CUBIC * square));
        let slope = TWICE * (1.0 + 3.0 * CUBIC * square);
        let gelu = gate[i] * sigmoid;
        d_gate[i] = g[i] * up[i] * (sigmoid + gelu * (1.0 - sigmoid) * slope);
        d_up[i] = g[i] * gelu;
    }
}
