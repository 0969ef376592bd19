//! What is trained, and how: a decoder's shape and the settings of one run of the loop.

use serde::{Deserialize, Serialize};

/// The shape of a decoder trained from nothing.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecoderSpec {
    /// Width of the residual stream.
    pub hidden: usize,
    /// Number of layers.
    pub layers: usize,
    /// Attention heads.
    pub heads: usize,
    /// Key and value heads; divides `heads`.
    pub kv_heads: usize,
    /// Width of the SwiGLU.
    pub intermediate: usize,
    /// Base of the rotary embedding.
    pub rope_theta: f64,
    /// Added to the mean square in RMSNorm.
    pub norm_epsilon: f64,
    /// Standard deviation of the initial weights.
    pub init_std: f64,
    /// Experts in place of each layer's SwiGLU, each of its width; 0 for none.
    // Absent where there are none, so that stages of dense models keep their hashes.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub experts: usize,
    /// Experts that each token passes through.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub experts_per_token: usize,
    /// Weight of the load-balancing loss in pre-training.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub balance: f64,
}

fn is_zero<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A kind of weight. Each weight of a model is of exactly one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WeightKind {
    /// The projections of attention, with their biases and norms.
    Attention,
    /// What says which experts a token passes through.
    Routers,
    /// The experts of a mixture.
    Experts,
    /// The MLP of a layer without experts, and the expert that all tokens pass through.
    Mlp,
    /// Embeddings, the layers' norms, the output head.
    Rest,
}

impl WeightKind {
    /// The kinds as specs spell them.
    pub const NAMES: [&str; 5] = ["attention", "routers", "experts", "mlp", "rest"];
}

/// The part of a model that is trained: everything else stays bit for bit as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainedPart {
    /// The kinds of weights.
    pub weights: Vec<WeightKind>,
    /// The experts, by their numbers from 0, the same in every layer; none for all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub experts: Vec<usize>,
    /// The layers, from 0; none for all of them and what lies in no layer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<usize>,
}

/// How the learning rate moves over training.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// Stays.
    Constant,
    /// Falls to zero along half a cosine.
    Cosine,
    /// Falls to zero along a line.
    Linear,
}

/// The rule by which a gradient moves weights.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Optimizer {
    /// AdamW (arXiv 1711.05101), by `beta1` and `beta2` of [`TrainSpec`].
    #[default]
    Adamw,
    /// Stochastic gradient descent.
    Sgd {
        /// The share of the running sum of gradients that the next step keeps; 0 for no such sum.
        momentum: f64,
    },
    /// Adafactor (arXiv 1804.04235): second moments of matrices by rows and columns alone, updates clipped, the rate as
    /// it is given and not relative to the weights.
    Adafactor {
        /// Decay of the first moment; 0 for none, as in the paper.
        momentum: f64,
    },
}

/// The settings of one run of the training loop.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainSpec {
    /// Optimiser steps.
    pub steps: u64,
    /// Examples per step.
    pub batch: usize,
    /// Peak learning rate.
    pub rate: f64,
    /// How the rate moves after warm-up.
    pub schedule: Schedule,
    /// Steps over which the rate rises linearly from zero.
    pub warmup_steps: u64,
    /// AdamW's decay of the first moment.
    pub beta1: f64,
    /// AdamW's decay of the second moment.
    pub beta2: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Largest global gradient norm; none for no clipping.
    pub clip: Option<f64>,
    /// The rule of its steps.
    // Absent where it is AdamW, so that stages keep their hashes.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub optimizer: Optimizer,
}

impl TrainSpec {
    /// AdamW at a constant rate, without warm-up and weight decay, betas 0.9 and 0.999.
    pub fn constant(steps: u64, batch: usize, rate: f64, clip: Option<f64>) -> Self {
        Self {
            steps,
            batch,
            rate,
            schedule: Schedule::Constant,
            warmup_steps: 0,
            beta1: 0.9,
            beta2: 0.999,
            weight_decay: 0.0,
            clip,
            optimizer: Optimizer::default(),
        }
    }
}
