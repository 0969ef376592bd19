//! The norms of a decoder: RMSNorm by w or 1 + w, or LayerNorm where a bias is there.

use candle_core::Tensor;
use titer_ops::{layer_norm, rms_norm, rms_norm_about_one};

use crate::Config;

/// How the norms of a decoder make y of a row x: x / √(mean(x²) + ε) times w or 1 + w.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RowNorm {
    pub(crate) epsilon: f64,
    pub(crate) about_one: bool,
}

impl RowNorm {
    pub(crate) fn new(config: &Config) -> Self {
        Self { epsilon: config.rms_norm_eps, about_one: config.family.norms_about_one }
    }

    pub(crate) fn apply(self, x: &Tensor, weight: &Tensor) -> candle_core::Result<Tensor> {
        match self.about_one {
            true => rms_norm_about_one(x, weight, self.epsilon),
            false => rms_norm(x, weight, self.epsilon),
        }
    }
}

/// The weights of a norm.
#[derive(Debug)]
pub(crate) struct Normed {
    pub(crate) weight: Tensor,
    pub(crate) bias: Option<Tensor>,
}

impl Normed {
    /// x, of shape `(tokens, features)`, after the norm.
    pub(crate) fn apply(&self, x: &Tensor, by: RowNorm) -> candle_core::Result<Tensor> {
        match &self.bias {
            Some(bias) => layer_norm(x, &self.weight, bias, by.epsilon),
            None => by.apply(x, &self.weight),
        }
    }

    pub(crate) fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        std::iter::once(&self.weight).chain(&self.bias)
    }
}
