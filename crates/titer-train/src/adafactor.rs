//! Adafactor (Shazeer and Stern, arXiv 1804.04235, algorithms 4 and 5) with a rate of its own: β₂ = 1 − t^−0.8;
//! of a matrix R ← β₂·R + (1 − β₂)·(mean over columns of g² + ε), C alike over rows, V = R·Cᵀ / mean(R); of a vector
//! V ← β₂·V + (1 − β₂)·(g² + ε); u = g / √V; w ← w − rate·u / max(1, RMS(u) / d).
//!
//! As in Transformers with `relative_step` and `scale_parameter` off. With a momentum β₁ the whole step, rate and all,
//! is averaged: m ← β₁·m + (1 − β₁)·step; w ← w − m. Weight decay is decoupled as in AdamW.

use candle_core::{D, Tensor, Var};
use titer_ops::adamw::squared_norm;

use crate::Result;
use crate::optimizer::{Rule, Update};

/// ε: added to squared gradients.
const EPSILON: f64 = 1e-30;
/// d: the root mean square above which an update is scaled down.
const CLIP: f64 = 1.0;
/// The decay of second moments is 1 − t to this power.
const DECAY: f64 = -0.8;

/// The rule.
#[derive(Debug)]
pub(crate) struct Adafactor {
    /// β₁; 0 keeps no first moment.
    pub(crate) momentum: f64,
}

impl Rule for Adafactor {
    fn keeps(&self, shape: &[usize]) -> Vec<(&'static str, Vec<usize>)> {
        let mut kept = match shape {
            [rows, columns] => vec![("rows", vec![*rows]), ("columns", vec![*columns])],
            _ => vec![("v", shape.to_vec())],
        };
        if self.momentum != 0.0 {
            kept.push(("m", shape.to_vec()));
        }
        kept
    }

    fn step(&self, gradient: &Tensor, kept: &[&Var], update: &Update) -> Result<Tensor> {
        let beta2 = 1.0 - (update.number as f64).powf(DECAY);
        let squares = (gradient.sqr()? + EPSILON)?;
        let mut kept = kept.iter().copied();
        // The running mean of what stands in `next`, where the rule keeps one more tensor.
        let mut averaged = |beta: f64, next: Tensor| -> Result<Tensor> {
            let Some(var) = kept.next() else { return Ok(next) };
            var.set(&((var.as_tensor().detach() * beta)? + (next * (1.0 - beta))?)?)?;
            Ok(var.as_tensor().detach())
        };
        let root = if gradient.rank() == 2 {
            let rows = averaged(beta2, squares.mean(D::Minus1)?)?;
            let columns = averaged(beta2, squares.mean(0)?)?;
            let rows = rows.broadcast_div(&rows.mean_keepdim(0)?)?.sqrt()?.unsqueeze(1)?;
            rows.broadcast_mul(&columns.sqrt()?.unsqueeze(0)?)?
        } else {
            averaged(beta2, squares)?.sqrt()?
        };
        let raw = (gradient / root)?;
        let size = (squared_norm(&raw)? / raw.elem_count().max(1) as f64).sqrt();
        averaged(self.momentum, (raw * (update.rate / (size / CLIP).max(1.0)))?)
    }
}
