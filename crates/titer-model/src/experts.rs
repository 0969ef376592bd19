//! The shape of a mixture of experts, and how its families name its weights.

use std::collections::BTreeMap;

use candle_core::{D, DType, Tensor};
use titer_ops::{Routes, composed};

use crate::config::{LARGEST_SIZE, unsupported};
use crate::family::{self, Mixture};
use crate::{Config, Result};

/// Experts in all layers together at most: the largest published models have some 25 thousand.
const MOST_EXPERTS: usize = 1 << 16;

/// Layers whose MLP is a choice among experts: a router gives each token a probability for each expert, and
/// the token passes through the most probable ones.
#[derive(Debug, Clone, PartialEq)]
pub struct Experts {
    /// Number of experts of a layer.
    pub count: usize,
    /// Experts that each token passes through.
    pub per_token: usize,
    /// Width of an expert's SwiGLU: in Mixtral and OLMoE, [`Config::intermediate_size`].
    pub width: usize,
    /// Whether the chosen experts' probabilities are divided by their sum (`norm_topk_prob`; always in
    /// Mixtral, where that is the softmax over the chosen logits).
    pub normalized: bool,
    /// Width of the expert that all tokens pass through, times the sigmoid of a gate of its own: in
    /// Qwen2-MoE alone.
    pub shared_width: Option<usize>,
    /// Of so many layers the last has experts (`decoder_sparse_step` of the Qwen families).
    pub step: usize,
    /// Layers that have an ordinary MLP all the same (`mlp_only_layers` of the Qwen families).
    pub dense_layers: Vec<usize>,
    /// How an expert's SwiGLU differs from the usual one: in gpt-oss alone.
    pub clamp: Option<Clamp>,
}

/// gpt-oss's SwiGLU: (up + 1)·gate·sigmoid(alpha·gate), gate cut off above limit and up at plus and minus limit
/// (arXiv 2508.10925).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Clamp {
    /// Where gate and up are cut off (`swiglu_limit`).
    pub limit: f64,
    /// What the gate is multiplied by in the sigmoid (`swiglu_alpha`).
    pub alpha: f64,
}

impl Clamp {
    /// The SwiGLU of gate and up; both of one shape.
    pub(crate) fn swiglu(self, gate: &Tensor, up: &Tensor) -> candle_core::Result<Tensor> {
        let gate = gate.minimum(self.limit)?;
        let up = (up.clamp(-self.limit, self.limit)? + 1.0)?;
        (&gate * sigmoid(&(&gate * self.alpha)?)?)? * up
    }
}

/// 1 / (1 + e^−x), of primitives that have a backward pass.
pub(crate) fn sigmoid(x: &Tensor) -> candle_core::Result<Tensor> {
    (x.neg()?.exp()? + 1.0)?.recip()
}

impl Experts {
    /// Probabilities of the experts from router logits: softmax over all of them in `f32`, shape
    /// `(tokens, experts)`. Tracks gradients.
    ///
    /// # Errors
    /// When the device has no room.
    pub fn probabilities(logits: &Tensor) -> Result<Tensor> {
        Ok(probabilities(logits)?)
    }

    /// The experts that each token passes through by its router logits, and their weights, `f32` of shape
    /// `(tokens, per_token)`, which track gradients.
    ///
    /// # Errors
    /// When there are fewer logits than experts to be chosen.
    pub fn route(&self, logits: &Tensor) -> Result<(Routes, Tensor)> {
        Ok(route(logits, self.per_token, self.normalized)?)
    }

    /// Whether this layer's MLP is one of experts.
    pub fn in_layer(&self, layer: usize) -> bool {
        !self.dense_layers.contains(&layer) && (layer + 1).is_multiple_of(self.step)
    }

    /// Refuses what cannot be.
    pub(crate) fn check(&self, config: &Config, of: &Mixture) -> Result<()> {
        let layers = config.num_hidden_layers;
        if self.count == 0 || self.count > MOST_EXPERTS / layers {
            let remedy = format!("at least 1 and at most {MOST_EXPERTS} in all layers are");
            return unsupported("num_experts", self.count, &remedy);
        }
        if self.per_token == 0 || self.per_token > self.count {
            let remedy = format!("1 to num_experts ({}) is", self.count);
            return unsupported("num_experts_per_tok", self.per_token, &remedy);
        }
        let sizes = [
            ("moe_intermediate_size", Some(self.width)),
            ("shared_expert_intermediate_size", self.shared_width),
        ];
        for (key, size) in sizes {
            if let Some(size) = size.filter(|size| *size == 0 || *size > LARGEST_SIZE) {
                return unsupported(key, size, &format!("1 to {LARGEST_SIZE} is"));
            }
        }
        if self.shared_width.is_some() != of.shared_width.is_some() {
            let remedy = "as the model_type has it is";
            return unsupported("shared_expert_intermediate_size", "set or not", remedy);
        }
        if self.step == 0 || (self.step > 1 && !of.sparse) {
            return unsupported("decoder_sparse_step", self.step, "at least 1, and for other families 1, is");
        }
        if let Some(layer) = self.dense_layers.iter().find(|layer| !of.sparse || **layer >= layers) {
            return unsupported(
                "mlp_only_layers",
                layer,
                &format!("in Qwen families, 0 to {} is", layers - 1),
            );
        }
        if of.width.is_none() && self.width != config.intermediate_size {
            return unsupported(
                "moe_intermediate_size",
                self.width,
                "for this model_type intermediate_size is",
            );
        }
        if self.clamp.is_some() != of.clamp.is_some() {
            return unsupported("swiglu_limit", "set or not", "as the model_type has it is");
        }
        if let Some(Clamp { limit, alpha }) = self.clamp {
            for (key, value) in [("swiglu_limit", limit), ("swiglu_alpha", alpha)] {
                if !(value > 0.0 && value.is_finite()) {
                    return unsupported(key, value, "a finite number above 0 is");
                }
            }
        }
        if of.normalized.is_none() && !self.normalized {
            return unsupported("norm_topk_prob", false, "for this model_type true is");
        }
        Ok(())
    }

    /// Weights of a layer of experts, less than which do not count.
    pub(crate) fn layer_size(&self) -> Option<usize> {
        let shared = self.shared_width.unwrap_or(0);
        self.width
            .checked_mul(3)?
            .checked_add(1)?
            .checked_mul(self.count)?
            .checked_add(shared.checked_mul(3)?)
    }
}

pub(crate) fn probabilities(logits: &Tensor) -> candle_core::Result<Tensor> {
    composed::softmax(&logits.to_dtype(DType::F32)?, D::Minus1)
}

pub(crate) fn route(
    logits: &Tensor,
    per_token: usize,
    normalized: bool,
) -> candle_core::Result<(Routes, Tensor)> {
    let probabilities = probabilities(logits)?;
    let routes = Routes::best(&probabilities, per_token)?;
    let weights = probabilities.gather(&routes.index(logits.device())?, 1)?;
    let weights = if normalized { weights.broadcast_div(&weights.sum_keepdim(D::Minus1)?)? } else { weights };
    Ok((routes, weights))
}

impl Config {
    /// The same decoder with `count` experts in place of each layer's MLP, each of its width, and
    /// `per_token` of them for each token: a Mixtral.
    #[must_use]
    pub fn with_experts(self, count: usize, per_token: usize) -> Self {
        let experts = Experts {
            count,
            per_token,
            width: self.intermediate_size,
            normalized: true,
            shared_width: None,
            step: 1,
            dense_layers: Vec::new(),
            clamp: None,
        };
        Self {
            architectures: vec![family::MIXTRAL.class.to_owned()],
            family: &family::MIXTRAL,
            experts: Some(experts),
            ..self
        }
    }

    /// The experts of this layer, if it has some.
    pub fn experts_of(&self, layer: usize) -> Option<&Experts> {
        self.experts.as_ref().filter(|experts| experts.in_layer(layer))
    }

    /// The experts of this layer and what its family calls their parts, if it has some.
    pub(crate) fn mixture_of(&self, layer: usize) -> Option<(&Experts, &'static Mixture)> {
        self.experts_of(layer).zip(self.family.mixture.as_ref())
    }

    /// Adds the weights of a layer of experts.
    pub(crate) fn expert_shapes(
        &self,
        prefix: &str,
        (experts, of): (&Experts, &Mixture),
        shapes: &mut BTreeMap<String, Vec<usize>>,
    ) {
        let (d, projections) = (self.hidden_size, of.projections);
        let block = format!("{prefix}.{}", of.block);
        let swiglu = |width| [vec![width, d], vec![width, d], vec![d, width]];
        shapes.insert(format!("{block}.gate.weight"), vec![experts.count, d]);
        if of.biases {
            shapes.insert(format!("{block}.gate.bias"), vec![experts.count]);
        }
        for expert in 0..experts.count {
            for (projection, shape) in projections.iter().zip(swiglu(experts.width)) {
                let module = format!("{block}.experts.{expert}.{projection}");
                if of.biases {
                    shapes.insert(format!("{module}.bias"), shape[..1].to_vec());
                }
                shapes.insert(format!("{module}.weight"), shape);
            }
        }
        if let Some(width) = experts.shared_width {
            shapes.insert(format!("{block}.shared_expert_gate.weight"), vec![1, d]);
            for (projection, shape) in projections.iter().zip(swiglu(width)) {
                shapes.insert(format!("{block}.shared_expert.{projection}.weight"), shape);
            }
        }
    }

    /// Counts the numbers of chosen tensors, those of experts by the share of experts that a token passes
    /// through.
    pub(crate) fn active<'a>(
        &self,
        shapes: impl IntoIterator<Item = (&'a String, &'a Vec<usize>)>,
        choose: impl Fn(&str, &[usize]) -> bool,
    ) -> usize {
        let (mut always, mut routed) = (0, 0);
        for (name, shape) in shapes.into_iter().filter(|(name, shape)| choose(name, shape)) {
            let sum = if of_expert(name).is_some() { &mut routed } else { &mut always };
            *sum += shape.iter().product::<usize>();
        }
        let share = self.experts.as_ref().map_or(0, |experts| routed / experts.count * experts.per_token);
        always + share
    }
}

/// Whether the weight or bias of this name is a router's: its logits say which experts a token passes through.
pub fn is_router(name: &str) -> bool {
    name.ends_with(".gate.weight") || name.ends_with(".gate.bias")
}

/// What the names of all weights (or adapters) of experts of one layer begin with, and which expert's this
/// is; none for a weight of no expert, and for those of the shared one.
pub fn of_expert(name: &str) -> Option<(&str, usize)> {
    const MARK: &str = ".experts.";
    let start = name.find(MARK)? + MARK.len();
    let (expert, _) = name[start..].split_once('.')?;
    Some((&name[..start], expert.parse().ok()?))
}
