//! Stochastic gradient descent with momentum, as torch has it without dampening: b ← μ·b + g; w ← w − rate·b.
//!
//! Weight decay is decoupled as in AdamW, and so not part of b.

use candle_core::{Tensor, Var};

use crate::Result;
use crate::optimizer::{Rule, Update};

/// The rule.
#[derive(Debug)]
pub(crate) struct Sgd {
    /// μ; 0 keeps nothing.
    pub(crate) momentum: f64,
}

impl Rule for Sgd {
    fn keeps(&self, shape: &[usize]) -> Vec<(&'static str, Vec<usize>)> {
        if self.momentum == 0.0 { Vec::new() } else { vec![("sum", shape.to_vec())] }
    }

    fn step(&self, gradient: &Tensor, kept: &[&Var], update: &Update) -> Result<Tensor> {
        let Some(sum) = kept.first() else { return Ok((gradient * update.rate)?) };
        sum.set(&((sum.as_tensor().detach() * self.momentum)? + gradient)?)?;
        Ok((sum.as_tensor().detach() * update.rate)?)
    }
}
