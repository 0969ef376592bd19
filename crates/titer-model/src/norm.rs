//! The norms of a decoder: RMSNorm, or LayerNorm where a bias is there.

use candle_core::Tensor;
use titer_ops::{layer_norm, rms_norm};

#[derive(Debug)]
pub(crate) struct Normed {
    pub(crate) weight: Tensor,
    pub(crate) bias: Option<Tensor>,
}

impl Normed {
    /// x, of shape `(tokens, features)`, after the norm.
    pub(crate) fn apply(&self, x: &Tensor, epsilon: f64) -> candle_core::Result<Tensor> {
        match &self.bias {
            Some(bias) => layer_norm(x, &self.weight, bias, epsilon),
            None => rms_norm(x, &self.weight, epsilon),
        }
    }

    pub(crate) fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        std::iter::once(&self.weight).chain(&self.bias)
    }
}
