//! What a training step costs, in floating-point operations counted from shapes.
//!
//! A product of a weight W of shape `(out, in)` with a token's input takes 2 · out · in operations (a multiplication and an
//! addition for each weight), the gradient of the input as many, and that of the weight as many. So a weight that is
//! trained takes 6 per weight and token, and one that is held fixed beside adapters 4: its own gradient is never computed.
//! The head reads supervised tokens only. Products of weights alone are counted, as is usual (arXiv 2001.08361, section
//! 2.1); scores of attention, norms, softmax and the optimiser's update are not. What an implementation spares (the last
//! layer's MLP of tokens that nobody reads, a first layer's projections of tokens that come again) is counted all the same: it
//! is what an attacker pays anywhere.

use crate::family::Norms;
use crate::{Config, Decoder, LoraSpec};

/// Weights that a token's numbers are multiplied by: counted once for many estimates.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Multiplied {
    in_layers: f64,
    in_head: f64,
}

impl Multiplied {
    /// See [`Config::training_flops`].
    pub fn training_flops(self, tokens: usize, supervised: usize) -> f64 {
        6.0 * (self.in_layers * tokens as f64 + self.in_head * supervised as f64)
    }
}

impl Config {
    /// The weights that a token is multiplied by. Of experts those alone count that a token is sent to.
    pub fn multiplied(&self) -> Multiplied {
        let in_layers =
            self.active(&self.shapes(), |name, shape| name.starts_with("model.layers.") && shape.len() == 2);
        Multiplied { in_layers: in_layers as f64, in_head: (self.vocab_size * self.hidden_size) as f64 }
    }

    /// Floating-point operations of one training step of all weights over `tokens` tokens of which `supervised` have
    /// logits: 6 · (weights of the layers · `tokens` + weights of the head · `supervised`). Of experts those alone count
    /// that a token is sent to.
    pub fn training_flops(&self, tokens: usize, supervised: usize) -> f64 {
        self.multiplied().training_flops(tokens, supervised)
    }

    /// The same of a step of adapters alone: 4 for each weight that is held fixed, 6 for each of A and B. Input gradients
    /// of the first layer's weights are counted though nothing below them is trained.
    pub fn adapter_training_flops(&self, adapter: &LoraSpec, tokens: usize, supervised: usize) -> f64 {
        let trained = self.active(&adapter.shapes(self), |_, _| true);
        self.held_training_flops(tokens, supervised) + 6.0 * trained as f64 * tokens as f64
    }

    /// The same where all weights are held fixed and something else is trained, whose own products are not counted: 4 for
    /// each weight.
    pub fn held_training_flops(&self, tokens: usize, supervised: usize) -> f64 {
        self.training_flops(tokens, supervised) * 4.0 / 6.0
    }

    /// Numbers that a training step keeps of each token and layer for its backward pass, the layer's output among them; with
    /// adapters the projections of attention keep more. Where the half after attention is one operator
    /// ([`titer_ops::mlp`]) that is the gate and what it multiplies; elsewhere each part's result.
    pub fn kept_numbers(&self, adapted: bool) -> usize {
        let (family, heads) = (self.family, self.heads());
        let Norms { after_attention, before_mlp, after_mlp, .. } = family.norms;
        let (stream, inner) = (self.hidden_size, self.intermediate_size);
        let (queries, keys) = (heads.dim * heads.queries, heads.dim * heads.keys);
        let plain = self.scales.is_none() && !self.parallel_residual;
        let norm = before_mlp.is_some() && !family.layer_norm;
        let one = plain && norm && after_mlp.is_none() && !family.ungated && !self.mlp_bias;
        let half = match one && self.experts.is_none() {
            true => stream + 2 * inner,
            false => 3 * stream + 3 * inner,
        };
        let together = plain && after_attention.is_none() && !adapted;
        let apart = if together { 0 } else { stream + queries + keys };
        // Two norms' worth of the stream, the rotated queries and keys, the values, what was attended to.
        2 * stream + 2 * (queries + keys) + apart + half
    }

    /// Weights of the adapters themselves, those of all experts included.
    pub fn adapter_parameter_count(&self, adapter: &LoraSpec) -> usize {
        adapter.shapes(self).values().map(|shape| shape.iter().product::<usize>()).sum()
    }
}

impl Decoder {
    /// Floating-point operations of one training step over `tokens` tokens of which `supervised` have logits; see
    /// [`Config::training_flops`], [`Config::adapter_training_flops`] and [`Config::held_training_flops`]. Layers that are computed again count once.
    pub fn training_flops(&self, tokens: usize, supervised: usize) -> f64 {
        match self.adapter() {
            Some(adapter) => self.config().adapter_training_flops(adapter, tokens, supervised),
            None if self.soft().is_some() => self.config().held_training_flops(tokens, supervised),
            None => self.config().training_flops(tokens, supervised),
        }
    }
}
