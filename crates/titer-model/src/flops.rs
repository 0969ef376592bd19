//! What a training step costs, in floating-point operations counted from shapes.
//!
//! A product of a weight W of shape `(out, in)` with a token's input takes 2 · out · in operations (a multiplication and an
//! addition for each weight), the gradient of the input as many, and that of the weight as many. So a weight that is
//! trained takes 6 per weight and token, and one that is held fixed beside adapters 4: its own gradient is never computed.
//! The head reads supervised tokens only. Products of weights alone are counted, as is usual (arXiv 2001.08361, section
//! 2.1); scores of attention, norms, softmax and the optimiser's update are not. What an implementation spares (the last
//! layer's MLP of tokens that nobody reads, a first layer's projections of tokens that come again) is counted all the same: it
//! is what an attacker pays anywhere.

use titer_ops::Activation;

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
        let heads = self.heads();
        let (stream, inner) = (self.hidden_size, self.intermediate_size);
        let (queries, keys) = (heads.dim * heads.queries, heads.dim * heads.keys);
        let half = match self.half_is_one() && self.experts.is_none() {
            true => stream + 2 * inner,
            false => 3 * stream + 3 * inner,
        };
        let together = self.scales.is_none() && self.family.norms.after_attention.is_none() && !adapted;
        let apart = if together { 0 } else { stream + queries + keys };
        // Two norms' worth of the stream, the rotated queries and keys, the values, what was attended to.
        2 * stream + 2 * (queries + keys) + apart + half
    }

    /// Whether the half of a layer after attention is one operator, where its MLP is no mixture.
    pub(crate) fn half_is_one(&self) -> bool {
        let Norms { before_mlp, after_mlp, .. } = self.family.norms;
        let norm = before_mlp.is_some() && after_mlp.is_none() && !self.family.layer_norm;
        let mlp = !self.family.ungated && !self.has_bias("up_proj") && self.hidden_act != Activation::Gelu;
        norm && mlp && !self.parallel_residual && self.scales.is_none()
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

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use rand::SeedableRng;
    use serde_json::Value;

    use super::*;

    /// What is counted for memory is what the layers of all families do.
    #[test]
    fn the_half_is_one_operator_where_it_is_counted_as_one() {
        let mut seen = [0, 0];
        for file in ["architectures.json", "blocks.json"] {
            let path = format!("{}/../../tests/fixtures/{file}", env!("CARGO_MANIFEST_DIR"));
            let fixture: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
            for case in fixture["cases"].as_array().unwrap() {
                let config = Config::from_json(case["config"].as_object().unwrap().clone()).unwrap();
                let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(0);
                let decoder = Decoder::initialize(config, 0.1, &mut rng, &Device::Cpu).unwrap();
                let pass = decoder.pass(&[1], [0].into()).unwrap();
                for (index, layer) in decoder.tracked.layers.iter().enumerate() {
                    let is_one = layer.plain_mlp(&pass).is_some();
                    let config = decoder.config();
                    let counted = config.half_is_one() && config.mixture_of(index).is_none();
                    assert_eq!(is_one, counted, "layer {index} of {}", case["name"]);
                    seen[usize::from(is_one)] += 1;
                }
            }
        }
        assert!(seen.iter().all(|count| *count > 10), "{seen:?}");
    }
}
