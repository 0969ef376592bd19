//! One AdamW update (arXiv 1711.05101) of one parameter, in place.
//!
//! m ← β₁·m + (1 − β₁)·g; v ← β₂·v + (1 − β₂)·g²;
//! w ← w − rate·weight_decay·w − rate·(m/(1 − β₁ᵗ)) / (√(v/(1 − β₂ᵗ)) + ε).

use candle_core::{Result, Tensor, Var, bail};
use multiversion::multiversion;

use crate::{cpu, parallel};

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
        let settings = Settings {
            beta1: update.beta1 as f32,
            beta2: update.beta2 as f32,
            scale: update.gradient_scale as f32,
            keep: (1.0 - update.rate * update.weight_decay) as f32,
            size: (update.rate / bias1) as f32,
            root_bias2: bias2.sqrt() as f32,
            epsilon: update.epsilon as f32,
        };
        let gradient = gradient.contiguous()?;
        cpu::change(parameter, |w| {
            cpu::change(m, |m| cpu::change(v, |v| cpu::read([&gradient], |[g]| sweep(settings, w, m, v, g))))
        })
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

#[derive(Clone, Copy)]
struct Settings {
    beta1: f32,
    beta2: f32,
    scale: f32,
    keep: f32,
    size: f32,
    root_bias2: f32,
    epsilon: f32,
}

/// All of a parameter: each number is read and written once.
fn sweep(settings: Settings, w: &mut [f32], m: &mut [f32], v: &mut [f32], g: &[f32]) -> Result<()> {
    if [m.len(), v.len(), g.len()] != [w.len(); 3] {
        bail!(
            "adamw: {} weights, moments of {} and {}, a gradient of {}",
            w.len(),
            m.len(),
            v.len(),
            g.len()
        );
    }
    parallel::alike([w, m, v], |first, [w, m, v]| step(settings, w, m, v, &g[first..]));
    Ok(())
}

#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2"))]
fn step(settings: Settings, w: &mut [f32], m: &mut [f32], v: &mut [f32], g: &[f32]) {
    let Settings { beta1, beta2, scale, keep, size, root_bias2, epsilon } = settings;
    for (((w, m), v), g) in w.iter_mut().zip(m).zip(v).zip(g) {
        let g = g * scale;
        *m = beta1 * *m + (1.0 - beta1) * g;
        *v = beta2 * *v + (1.0 - beta2) * (g * g);
        *w = *w * keep - size * (*m / (v.sqrt() / root_bias2 + epsilon));
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
