//! One AdamW update (arXiv 1711.05101) of one parameter, in place.
//!
//! m ← β₁·m + (1 − β₁)·g; v ← β₂·v + (1 − β₂)·g²;
//! w ← w − rate·weight_decay·w − rate·(m/(1 − β₁ᵗ)) / (√(v/(1 − β₂ᵗ)) + ε).

use candle_core::{CpuStorage, InplaceOp2, InplaceOp3, Layout, Result, Tensor, Var};
use multiversion::multiversion;

use crate::cpu;

/// The settings of one update.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Update {
    /// Learning rate of this step.
    pub rate: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// t: the number of this update, from 1.
    pub step: u64,
    /// Every gradient is multiplied by it first: the global-norm clip.
    pub gradient_scale: f64,
}

/// Updates `parameter` and its moments `m` and `v` in place, all of one shape.
///
/// # Errors
/// When the shapes differ.
pub fn update(parameter: &Var, gradient: &Tensor, m: &Var, v: &Var, update: &Update) -> Result<()> {
    let gradient = gradient.detach();
    let bias1 = 1.0 - update.beta1.powf(update.step as f64);
    let bias2 = 1.0 - update.beta2.powf(update.step as f64);
    if cpu::applies(&[parameter, &gradient]) {
        let gradient = gradient.contiguous()?;
        let scale = update.gradient_scale as f32;
        m.inplace_op2(&gradient, &First { beta: update.beta1 as f32, scale })?;
        v.inplace_op2(&gradient, &Second { beta: update.beta2 as f32, scale })?;
        let step = Step {
            keep: (1.0 - update.rate * update.weight_decay) as f32,
            size: (update.rate / bias1) as f32,
            root_bias2: bias2.sqrt() as f32,
            epsilon: update.epsilon as f32,
        };
        parameter.inplace_op3(m, v, &step)
    } else {
        let gradient = (gradient.to_dtype(m.dtype())? * update.gradient_scale)?;
        m.set(&((m.as_tensor() * update.beta1)? + (&gradient * (1.0 - update.beta1))?)?.detach())?;
        v.set(&((v.as_tensor() * update.beta2)? + (gradient.sqr()? * (1.0 - update.beta2))?)?.detach())?;
        let direction =
            (m.as_tensor() / bias1)?.div(&((v.as_tensor() / bias2)?.sqrt()? + update.epsilon)?)?;
        let kept = (parameter.to_dtype(m.dtype())? * (1.0 - update.rate * update.weight_decay))?;
        parameter.set(&(kept - (direction * update.rate)?)?.to_dtype(parameter.dtype())?.detach())
    }
}

struct First {
    beta: f32,
    scale: f32,
}

impl InplaceOp2 for First {
    fn name(&self) -> &'static str {
        "adamw-first-moment"
    }

    fn cpu_fwd(&self, s1: &mut CpuStorage, l1: &Layout, s2: &CpuStorage, l2: &Layout) -> Result<()> {
        let (beta, rest, scale) = (self.beta, 1.0 - self.beta, self.scale);
        for (m, g) in cpu::numbers_mut(s1, l1)?.iter_mut().zip(cpu::numbers(s2, l2)?) {
            *m = beta * *m + rest * (g * scale);
        }
        Ok(())
    }
}

struct Second {
    beta: f32,
    scale: f32,
}

impl InplaceOp2 for Second {
    fn name(&self) -> &'static str {
        "adamw-second-moment"
    }

    fn cpu_fwd(&self, s1: &mut CpuStorage, l1: &Layout, s2: &CpuStorage, l2: &Layout) -> Result<()> {
        let (beta, rest, scale) = (self.beta, 1.0 - self.beta, self.scale);
        for (v, g) in cpu::numbers_mut(s1, l1)?.iter_mut().zip(cpu::numbers(s2, l2)?) {
            let g = g * scale;
            *v = beta * *v + rest * (g * g);
        }
        Ok(())
    }
}

struct Step {
    keep: f32,
    size: f32,
    root_bias2: f32,
    epsilon: f32,
}

impl InplaceOp3 for Step {
    fn name(&self) -> &'static str {
        "adamw-step"
    }

    fn cpu_fwd(
        &self,
        s1: &mut CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
        s3: &CpuStorage,
        l3: &Layout,
    ) -> Result<()> {
        step(self, cpu::numbers(s2, l2)?, cpu::numbers(s3, l3)?, cpu::numbers_mut(s1, l1)?);
        Ok(())
    }
}

#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2"))]
fn step(settings: &Step, m: &[f32], v: &[f32], w: &mut [f32]) {
    for ((w, m), v) in w.iter_mut().zip(m).zip(v) {
        let root = v.sqrt() / settings.root_bias2 + settings.epsilon;
        *w = *w * settings.keep - settings.size * (m / root);
    }
}

/// Squared Euclidean norm of a tensor, summed in f64 and in a fixed order.
///
/// # Errors
/// When the tensor cannot be read.
pub fn squared_norm(tensor: &Tensor) -> Result<f64> {
    if cpu::applies(&[tensor]) {
        cpu::read([&tensor.contiguous()?], |[values]| {
            Ok(values.chunks(1024).map(|chunk| f64::from(cpu::dot(chunk, chunk))).sum())
        })
    } else {
        let sum = tensor.to_dtype(candle_core::DType::F32)?.sqr()?.sum_all()?;
        Ok(f64::from(sum.to_scalar::<f32>()?))
    }
}
