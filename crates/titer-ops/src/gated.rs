//! y = f(gate)·up (arXiv 2002.05202), f one of the [`Activation`]s.

use std::f32::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};
use multiversion::multiversion;

use crate::{composed, cpu, parallel};

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
    match Gated::by(activation).filter(|_| cpu::applies(&[gate, up])) {
        Some(op) => gate.contiguous()?.apply_op2(&up.contiguous()?, op),
        None => composed::gated(gate, up, activation),
    }
}

/// A gate of GELU by a hyperbolic tangent, or of SiLU.
#[derive(Clone, Copy)]
pub(crate) struct Gated {
    tanh: bool,
}

impl Gated {
    /// By that activation, if there is a kernel of it.
    pub(crate) fn by(activation: Activation) -> Option<Self> {
        match activation {
            Activation::Silu => Some(Self { tanh: false }),
            Activation::GeluTanh => Some(Self { tanh: true }),
            Activation::Gelu => None,
        }
    }

    /// gate := f(gate)·up.
    pub(crate) fn forward(self, gate: &mut [f32], up: &[f32]) {
        let part = match self.tanh {
            false => silu,
            true => gelu_tanh,
        };
        parallel::rows(gate, 1, |first, gate| part(gate, &up[first..]));
    }

    /// gate and up become their gradients for that of the result, `g`.
    pub(crate) fn backward(self, gate: &mut [f32], up: &mut [f32], g: &[f32]) {
        let part = match self.tanh {
            false => silu_backward,
            true => gelu_tanh_backward,
        };
        parallel::alike([gate, up], |first, [gate, up]| part(gate, up, &g[first..]));
    }
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
        let mut y = cpu::numbers(s1, l1)?.to_vec();
        self.forward(&mut y, cpu::numbers(s2, l2)?);
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
            let (mut d_gate, mut d_up) = (gates.to_vec(), ups.to_vec());
            self.backward(&mut d_gate, &mut d_up, gs);
            Ok((Some(cpu::tensor_like(d_gate, gate)?), Some(cpu::tensor_like(d_up, up)?)))
        })
    }
}

#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2"))]
fn silu(gate: &mut [f32], up: &[f32]) {
    for (gate, up) in gate.iter_mut().zip(up) {
        *gate = *gate * cpu::sigmoid(*gate) * up;
    }
}

#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2"))]
fn silu_backward(gate: &mut [f32], up: &mut [f32], g: &[f32]) {
    for ((gate, up), g) in gate.iter_mut().zip(up).zip(g) {
        let sigmoid = cpu::sigmoid(*gate);
        let silu = *gate * sigmoid;
        *gate = g * *up * (sigmoid + silu * (1.0 - sigmoid));
        *up = g * silu;
    }
}

/// 2·√(2/π).
const TWICE: f32 = 2.0 * FRAC_2_SQRT_PI * FRAC_1_SQRT_2;
const CUBIC: f32 = 0.044_715;

#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2"))]
fn gelu_tanh(gate: &mut [f32], up: &[f32]) {
    for (gate, up) in gate.iter_mut().zip(up) {
        let twice_u = TWICE * (*gate + CUBIC * *gate * *gate * *gate);
        *gate = *gate * cpu::sigmoid(twice_u) * up;
    }
}

#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2"))]
fn gelu_tanh_backward(gate: &mut [f32], up: &mut [f32], g: &[f32]) {
    for ((gate, up), g) in gate.iter_mut().zip(up).zip(g) {
        let square = *gate * *gate;
        let sigmoid = cpu::sigmoid(TWICE * *gate * (1.0 + CUBIC * square));
        let slope = TWICE * (1.0 + 3.0 * CUBIC * square);
        let gelu = *gate * sigmoid;
        *gate = g * *up * (sigmoid + gelu * (1.0 - sigmoid) * slope);
        *up = g * gelu;
    }
}
