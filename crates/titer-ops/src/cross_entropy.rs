//! −log softmax(logits)\[target\], row by row.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};
use multiversion::multiversion;

use crate::{composed, cpu};

/// Cross-entropy in nats of each row of logits, shape `(rows, vocabulary)`, against its target: shape
/// `(rows)`. Callers hand in the rows of supervised positions only.
///
/// # Errors
/// When the number of targets differs from that of rows or a target lies outside the vocabulary.
pub fn cross_entropy(logits: &Tensor, targets: &[u32]) -> Result<Tensor> {
    let (rows, vocabulary) = logits.dims2()?;
    if rows != targets.len() {
        bail!("cross-entropy: {rows} rows of logits against {} targets", targets.len());
    }
    if let Some(target) = targets.iter().find(|t| **t as usize >= vocabulary) {
        bail!("cross-entropy: target {target} is outside the vocabulary of {vocabulary}");
    }
    if cpu::applies(&[logits]) {
        logits.contiguous()?.apply_op1(CrossEntropy { targets: targets.into() })
    } else {
        composed::cross_entropy(logits, targets)
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
        let (rows, vocabulary) = layout.shape().dims2()?;
        let losses = logits
            .chunks_exact(vocabulary)
            .zip(self.targets.iter())
            .map(|(row, target)| log_sum_exp(row) - row[*target as usize])
            .collect();
        Ok((CpuStorage::F32(losses), Shape::from(rows)))
    }

    fn bwd(&self, logits: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let (_, vocabulary) = logits.dims2()?;
        let grad = grad.contiguous()?;
        cpu::read([logits, &grad], |[values, gs]| {
            let mut d = vec![0.0; values.len()];
            let rows = values.chunks_exact(vocabulary).zip(d.chunks_exact_mut(vocabulary));
            for ((row, d), (g, target)) in rows.zip(gs.iter().zip(self.targets.iter())) {
                scaled_softmax(row, log_sum_exp(row), *g, d);
                d[*target as usize] -= g;
            }
            Ok(Some(Tensor::from_vec(d, logits.shape(), logits.device())?))
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
fn scaled_softmax(row: &[f32], log_sum: f32, scale: f32, out: &mut [f32]) {
    for (out, value) in out.iter_mut().zip(row) {
        *out = scale * cpu::exp(value - log_sum);
    }
}
