//! −log softmax(logits)\[target\], row by row.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor, bail};
use multiversion::multiversion;

use crate::kept::Kept;
use crate::{composed, cpu, linear, parallel};

/// Cross-entropy in nats of each row of logits, shape `(rows, vocabulary)`, against its target: shape
/// `(rows)`. Callers hand in the rows of supervised positions only.
///
/// # Errors
/// When the number of targets differs from that of rows or a target lies outside the vocabulary.
pub fn cross_entropy(logits: &Tensor, targets: &[u32]) -> Result<Tensor> {
    let (rows, vocabulary) = logits.dims2()?;
    check(rows, vocabulary, targets)?;
    if cpu::applies(&[logits]) {
        logits.contiguous()?.apply_op1(CrossEntropy { targets: targets.into() })
    } else {
        composed::cross_entropy(logits, targets)
    }
}

/// The same of the logits x·Wᵀ, for x of shape `(rows, features)` and W of shape `(vocabulary, features)`: beside the
/// losses the logits alone are in memory, and become their own gradient.
///
/// # Errors
/// As [`cross_entropy`], and when x and W do not fit each other.
pub fn linear_cross_entropy(x: &Tensor, weight: &Tensor, targets: &[u32]) -> Result<Tensor> {
    check(x.dim(0)?, weight.dim(0)?, targets)?;
    if cpu::applies(&[x, weight]) {
        let keeps = x.track_op() || weight.track_op();
        let op = OfProduct { targets: targets.into(), keeps, kept: Kept::new(None) };
        x.contiguous()?.apply_op2(&weight.contiguous()?, op)
    } else {
        composed::cross_entropy(&composed::linear(x, weight)?, targets)
    }
}

fn check(rows: usize, vocabulary: usize, targets: &[u32]) -> Result<()> {
    if rows != targets.len() {
        bail!("cross-entropy: {rows} rows of logits against {} targets", targets.len());
    }
    if let Some(target) = targets.iter().find(|t| **t as usize >= vocabulary) {
        bail!("cross-entropy: target {target} is outside the vocabulary of {vocabulary}");
    }
    Ok(())
}

/// Numbers of a row.
fn width(logits: &[f32], targets: &[u32]) -> usize {
    (logits.len() / targets.len().max(1)).max(1)
}

/// Each row's loss.
fn losses(logits: &[f32], targets: &[u32]) -> Vec<f32> {
    let width = width(logits, targets);
    let mut losses = vec![0.0; targets.len()];
    // By the logits that are read for each.
    parallel::rows_of(&mut losses, 1, width, |first, losses| {
        let rows = logits[first * width..].chunks_exact(width).zip(&targets[first..]);
        for (loss, (row, target)) in losses.iter_mut().zip(rows) {
            *loss = log_sum_exp(row) - row[*target as usize];
        }
    });
    losses
}

/// Logits become the gradient of the losses that are weighed by `gs`.
fn differentiate(logits: &mut [f32], targets: &[u32], gs: &[f32]) {
    let width = width(logits, targets);
    parallel::rows(logits, width, |first, logits| {
        let rows = logits.chunks_exact_mut(width);
        for ((row, g), target) in rows.zip(&gs[first..]).zip(&targets[first..]) {
            let log_sum = log_sum_exp(row);
            scaled_softmax(row, log_sum, *g);
            row[*target as usize] -= g;
        }
    });
}

struct OfProduct {
    targets: Arc<[u32]>,
    /// Whether there will be a backward pass.
    keeps: bool,
    /// The logits, for the first backward pass; a second one computes them again.
    kept: Kept<Vec<f32>>,
}

impl CustomOp2 for OfProduct {
    fn name(&self) -> &'static str {
        "linear-cross-entropy"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (logits, _) = linear::projected(s1, l1, s2, l2)?;
        let losses = losses(&logits, &self.targets);
        self.kept.keep(self.keeps.then_some(logits));
        Ok((CpuStorage::F32(losses), Shape::from(self.targets.len())))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let grad = grad.contiguous()?;
        let mut logits = match self.kept.take() {
            Some(logits) => logits,
            None => linear::linear(&x.detach(), &weight.detach())?.flatten_all()?.to_vec1()?,
        };
        cpu::read([&grad], |[gs]| {
            differentiate(&mut logits, &self.targets, gs);
            linear::gradients(x, weight, &logits)
        })
    }
}

struct CrossEntropy {
    targets: Arc<[u32]>,
}

impl CustomOp1 for CrossEntropy {
    fn name(&self) -> &'static str {
        "cross-entropy"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let logits = cpu::numbers(storage, layout)?;
        Ok((CpuStorage::F32(losses(logits, &self.targets)), Shape::from(self.targets.len())))
    }

    fn bwd(&self, logits: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let grad = grad.contiguous()?;
        cpu::read([logits, &grad], |[values, gs]| {
            let mut d = values.to_vec();
            differentiate(&mut d, &self.targets, gs);
            Ok(Some(cpu::tensor_like(d, logits)?))
        })
    }
}

#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2"))]
fn log_sum_exp(row: &[f32]) -> f32 {
    let highest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut lanes = [0.0f32; 8];
    let (whole, rest) = row.as_chunks::<8>();
    for chunk in whole {
        for lane in 0..8 {
            lanes[lane] += cpu::exp(chunk[lane] - highest);
        }
    }
    let mut sum: f32 = lanes.iter().sum();
    for value in rest {
        sum += cpu::exp(value - highest);
    }
    highest + sum.ln()
}

#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2"))]
fn scaled_softmax(row: &mut [f32], log_sum: f32, scale: f32) {
    for value in row {
        *value = scale * cpu::exp(*value - log_sum);
    }
}
