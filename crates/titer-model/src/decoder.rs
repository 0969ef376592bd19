//! The forward pass over packed sequences.

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use rand::Rng;
use rand_distr::{Distribution, Normal};
use titer_ops::{Rotary, Sequences, attention, linear, rms_norm, rotary, swiglu};

use crate::weights::Weights;
use crate::{Config, Error, Parameters, Result};

/// A trainable decoder of the Llama family.
#[derive(Debug)]
pub struct Decoder {
    config: Config,
    parameters: Parameters,
    rotary: Rotary,
    device: Device,
    /// Views of the parameters that track gradients, and others that do not: training uses the first,
    /// generation the second.
    tracked: Weights,
    detached: Weights,
}

/// What a pass over a packed batch leaves: final hidden states before the last norm.
#[derive(Debug, Clone)]
pub struct Hidden {
    /// Shape `(tokens, hidden_size)`.
    pub states: Tensor,
}

/// Computes a layer's attention from its rotated queries and keys and its values.
type Attend<'a> = dyn FnMut(usize, &Tensor, &Tensor, &Tensor) -> Result<Tensor> + 'a;

impl Decoder {
    /// From a configuration and exactly the tensors that it asks for; their numbers are copied.
    ///
    /// # Errors
    /// When the configuration is not supported, or a tensor is missing, unexpected or misshapen.
    pub fn new(config: Config, tensors: &BTreeMap<String, Tensor>) -> Result<Self> {
        config.check()?;
        let shapes = config.shapes();
        for (name, shape) in &shapes {
            let Some(tensor) = tensors.get(name) else {
                return Err(Error::Missing { name: name.clone(), shape: shape.clone() });
            };
            if tensor.dims() != shape {
                return Err(Error::Shape {
                    name: name.clone(),
                    expected: shape.clone(),
                    got: tensor.dims().to_vec(),
                });
            }
        }
        if let Some(name) = tensors.keys().find(|name| !shapes.contains_key(*name)) {
            return Err(Error::Unexpected { name: name.clone() });
        }
        let device = tensors.values().next().map_or(Device::Cpu, |tensor| tensor.device().clone());
        Self::build(config, &device, |name, _| Ok(tensors[name].clone()))
    }

    /// From a checked configuration and a source of tensors, asked for one at a time so that the weights
    /// are never held twice.
    pub(crate) fn build(
        mut config: Config,
        device: &Device,
        mut tensor: impl FnMut(&str, &[usize]) -> Result<Tensor>,
    ) -> Result<Self> {
        let shapes = config.shapes();
        let tensors = shapes.iter().map(|(name, shape)| Ok((name.clone(), tensor(name, shape)?)));
        let parameters = Parameters::from_tensors(tensors)?;
        let rotary = Rotary::scaled(
            config.heads().dim,
            config.max_position_embeddings,
            config.rope_theta,
            config.rope_scaling,
        )?;
        let tracked = Weights::new(&config, &parameters, Tensor::clone)?;
        let detached = Weights::new(&config, &parameters, Tensor::detach)?;
        config.torch_dtype = match tracked.norm.dtype() {
            DType::F16 => "float16",
            DType::BF16 => "bfloat16",
            DType::F64 => "float64",
            _ => "float32",
        }
        .to_owned();
        Ok(Self { config, parameters, rotary, device: device.clone(), tracked, detached })
    }

    /// Fresh weights: matrices normal with mean 0 and deviation `std`, norms one, biases zero, in order of
    /// their names.
    ///
    /// # Errors
    /// When the configuration is not supported or `std` is not a finite, non-negative number.
    pub fn initialize(config: Config, std: f64, rng: &mut impl Rng, device: &Device) -> Result<Self> {
        let Ok(normal) = Normal::new(0.0, std) else {
            return Err(Error::Unsupported {
                key: "init_std".to_owned(),
                value: std.to_string(),
                remedy: "a finite number of at least 0 is".to_owned(),
            });
        };
        config.check()?;
        Self::build(config, device, |name, shape| {
            let count = shape.iter().product();
            let values: Vec<f32> = if shape.len() == 2 {
                (0..count).map(|_| normal.sample(rng) as f32).collect()
            } else {
                vec![if name.ends_with(".bias") { 0.0 } else { 1.0 }; count]
            };
            Ok(Tensor::from_vec(values, shape, device)?)
        })
    }

    /// An independent copy.
    ///
    /// # Errors
    /// When the device has no room.
    pub fn duplicate(&self) -> Result<Self> {
        Self::build(self.config.clone(), &self.device, |name, shape| {
            let missing = || Error::Missing { name: name.to_owned(), shape: shape.to_vec() };
            Ok(self.parameters.get(name).ok_or_else(missing)?.as_tensor().clone())
        })
    }

    /// The shape.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The trainable weights.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Where the weights are.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The type of the weights.
    pub fn dtype(&self) -> DType {
        self.tracked.norm.dtype()
    }

    /// Runs the decoder over a packed batch, tracking gradients.
    ///
    /// # Errors
    /// When a token is outside the vocabulary or a sequence is longer than the model's positions.
    pub fn forward(&self, tokens: &[u32], sequences: &Sequences) -> Result<Hidden> {
        let heads = self.config.heads();
        self.run(&self.tracked, tokens, sequences.positions().into(), &mut |_, q, k, v| {
            Ok(attention(q, k, v, heads, sequences)?)
        })
    }

    /// Logits of the chosen rows of hidden states: shape `(rows, vocab_size)`. Tracks gradients.
    ///
    /// # Errors
    /// When a row does not exist.
    pub fn logits(&self, hidden: &Hidden, rows: &[u32]) -> Result<Tensor> {
        self.head(&self.tracked, hidden, rows)
    }

    pub(crate) fn detached_logits(&self, hidden: &Hidden, rows: &[u32]) -> Result<Tensor> {
        self.head(&self.detached, hidden, rows)
    }

    /// Runs without gradients, with the caller's attention.
    pub(crate) fn run_detached(
        &self,
        tokens: &[u32],
        positions: Arc<[u32]>,
        attend: &mut Attend<'_>,
    ) -> Result<Hidden> {
        self.run(&self.detached, tokens, positions, attend)
    }

    fn head(&self, weights: &Weights, hidden: &Hidden, rows: &[u32]) -> Result<Tensor> {
        let index = Tensor::new(rows, &self.device)?;
        let states = hidden.states.index_select(&index, 0)?;
        Ok(linear(&rms_norm(&states, &weights.norm, self.config.rms_norm_eps)?, &weights.head)?)
    }

    fn run(
        &self,
        weights: &Weights,
        tokens: &[u32],
        positions: Arc<[u32]>,
        attend: &mut Attend<'_>,
    ) -> Result<Hidden> {
        let vocabulary = self.config.vocab_size;
        if let Some(token) = tokens.iter().find(|token| **token as usize >= vocabulary) {
            return Err(Error::Token { token: *token, vocabulary });
        }
        let longest = positions.iter().max().map_or(0, |position| *position as usize + 1);
        if let Some(window) = self.config.sliding_window.filter(|window| longest > *window) {
            return Err(Error::Window { tokens: longest, window });
        }
        let epsilon = self.config.rms_norm_eps;
        let head_dim = self.config.heads().dim;
        let mut x = weights.embedding.index_select(&Tensor::new(tokens, &self.device)?, 0)?;
        for (index, layer) in weights.layers.iter().enumerate() {
            let y = rms_norm(&x, &layer.attention_norm, epsilon)?;
            let q = rotary(&layer.q.heads(&y, head_dim, epsilon)?, &self.rotary, &positions)?;
            let k = rotary(&layer.k.heads(&y, head_dim, epsilon)?, &self.rotary, &positions)?;
            let attended = attend(index, &q, &k, &layer.v.apply(&y)?)?;
            x = (x + layer.o.apply(&attended)?)?;
            let y = rms_norm(&x, &layer.mlp_norm, epsilon)?;
            let y = swiglu(&layer.gate.apply(&y)?, &layer.up.apply(&y)?)?;
            x = (x + layer.down.apply(&y)?)?;
        }
        Ok(Hidden { states: x })
    }
}
