//! The forward pass over packed sequences.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};

use candle_core::{DType, Device, Tensor};
use rand::Rng;
use rand_distr::{Distribution, Normal};
use titer_ops::{Rotary, Sequences, attention, composed, linear};

use crate::experts::of_expert;
use crate::norm::RowNorm;
use crate::recompute::{Aside, recomputed};
use crate::soft::soft_row;
use crate::weights::{Attend, Pass, Scored, Weights};
use crate::{Config, Error, LoraSpec, Parameters, Result, Trace, View};

/// A trainable decoder of some [`Family`](crate::Family), all of it or adapters beside it.
#[derive(Debug)]
pub struct Decoder {
    config: Config,
    parameters: Parameters,
    /// What is held fixed while adapters are trained.
    frozen: BTreeMap<String, Tensor>,
    adapter: Option<LoraSpec>,
    recompute: bool,
    aside: Aside,
    rotary: Rotary,
    /// Of layers with a window, where they rotate otherwise.
    local: Option<Rotary>,
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
        if let Some((_, var)) = parameters.iter().next() {
            config.torch_dtype = match var.dtype() {
                DType::F16 => "float16",
                DType::BF16 => "bfloat16",
                DType::F64 => "float64",
                _ => "float32",
            }
            .to_owned();
        }
        Self::assemble(config, device, parameters, BTreeMap::new(), None)
    }

    fn assemble(
        config: Config,
        device: &Device,
        parameters: Parameters,
        frozen: BTreeMap<String, Tensor>,
        adapter: Option<LoraSpec>,
    ) -> Result<Self> {
        let (dim, positions) = (config.heads().dim, config.max_position_embeddings);
        let table =
            |theta, scaling: &_| Rotary::partial(dim, config.rotated_dim(), positions, theta, scaling);
        let rotary = table(config.rope_theta, &config.rope_scaling)?;
        let local = config.local_rope.as_ref().map(|rope| table(rope.theta, &rope.scaling)).transpose()?;
        let find = |name: &str| match parameters.get(name) {
            Some(var) => Some(var.as_tensor().clone()),
            None => frozen.get(name).cloned(),
        };
        let tracked = Weights::new(&config, adapter.as_ref(), &find)?;
        let detached =
            Weights::new(&config, adapter.as_ref(), &|name| find(name).map(|tensor| tensor.detach()))?;
        Ok(Self {
            config,
            parameters,
            frozen,
            adapter,
            recompute: false,
            aside: Aside::default(),
            rotary,
            local,
            device: device.clone(),
            tracked,
            detached,
        })
    }

    /// Holds all weights fixed and trains `parameters` instead: the adapters of `spec`, or what is read beside the
    /// weights.
    pub(crate) fn hold(&mut self, spec: Option<LoraSpec>, parameters: Parameters) -> Result<()> {
        if self.adapter.is_some() || self.soft().is_some() {
            let problem = "the model has one already: merge it first".to_owned();
            return Err(Error::Adapter { problem });
        }
        let frozen = self.parameters.iter().map(|(name, var)| (name.to_owned(), var.as_tensor().detach()));
        let adapted = Self::assemble(self.config.clone(), &self.device, parameters, frozen.collect(), spec)?;
        *self = Self { recompute: self.recompute, ..adapted };
        Ok(())
    }

    /// Fresh weights: matrices normal with mean 0 and deviation `std`, norms such that they multiply by one, biases
    /// and sinks zero, in order of their names.
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
        let family = config.family;
        Self::build(config, device, |name, shape| {
            let count = shape.iter().product();
            let values: Vec<f32> = if shape.len() == 2 {
                (0..count).map(|_| normal.sample(rng) as f32).collect()
            } else {
                let zero =
                    [".bias", ".sinks"].iter().any(|end| name.ends_with(end)) || family.is_about_one(name);
                vec![if zero { 0.0 } else { 1.0 }; count]
            };
            Ok(Tensor::from_vec(values, shape, device)?)
        })
    }

    /// An independent copy. What is held fixed is shared, not copied.
    ///
    /// # Errors
    /// When the device has no room.
    pub fn duplicate(&self) -> Result<Self> {
        let copies = self.parameters.iter().map(|(name, var)| Ok((name.to_owned(), var.as_tensor().clone())));
        let parameters = Parameters::from_tensors(copies)?;
        let (frozen, adapter) = (self.frozen.clone(), self.adapter.clone());
        let copy = Self::assemble(self.config.clone(), &self.device, parameters, frozen, adapter)?;
        Ok(Self { recompute: self.recompute, ..copy })
    }

    /// Whether each layer's activations are computed again in the backward pass instead of kept: the same
    /// gradients for a third more arithmetic and a fraction of the memory. Off at first.
    pub fn checkpointing(&mut self, on: bool) {
        self.recompute = on;
    }

    /// The shape.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The adapters that are trained while all else is held fixed, if there are any.
    pub fn adapter(&self) -> Option<&LoraSpec> {
        self.adapter.as_ref()
    }

    /// A weight of the model, trainable or not, without gradient; adapters are not folded in.
    pub(crate) fn weight(&self, name: &str) -> Option<Tensor> {
        let frozen = || self.frozen.get(name).cloned();
        self.parameters.get(name).map(|var| var.as_tensor().detach()).or_else(frozen)
    }

    /// The trainable weights: all of them, or the adapters' or what else is trained beside them.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Where the weights are.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The type of the weights.
    pub fn dtype(&self) -> DType {
        self.tracked.norm.weight.dtype()
    }

    /// Runs the decoder over a packed batch, tracking gradients.
    ///
    /// # Errors
    /// When a token is outside the vocabulary or a sequence is longer than the model's positions.
    pub fn forward(&self, tokens: &[u32], sequences: &Sequences) -> Result<Hidden> {
        let heads = self.config.heads();
        let rows = self.rotary.rows(sequences);
        if !self.recompute {
            return self.run(&self.tracked, tokens, rows, &mut |_, (scoring, sinks), q, k, v| {
                attention(q, k, v, heads, scoring, sinks, sequences)
            });
        }
        let pass = self.pass(tokens, rows)?;
        let mut x = self.tracked.embed(tokens)?;
        for (tracked, detached) in self.tracked.layers.iter().zip(&self.detached.layers) {
            let (layers, pass, sequences) =
                ([detached.clone(), tracked.clone()], pass.clone(), sequences.clone());
            let rerun = move |x: &Tensor, track: bool| {
                let attend = &mut |_, (scoring, sinks): Scored<'_>, q: &_, k: &_, v: &_| {
                    attention(q, k, v, heads, scoring, sinks, &sequences)
                };
                layers[usize::from(track)].forward(0, x, &pass, attend)
            };
            x = recomputed(&x, Box::new(rerun), tracked.variables(), &self.aside)?;
        }
        Ok(Hidden { states: x })
    }

    /// Runs the decoder over a packed batch and keeps what its layers computed. `added`, one tensor of shape
    /// `(tokens, hidden_size)` per layer or none at all, is added to the outputs of the attention blocks;
    /// variables among them receive gradients in either view.
    ///
    /// # Errors
    /// When a token is outside the vocabulary, a sequence is longer than the model's positions, or `added`
    /// does not fit.
    pub fn trace(
        &self,
        tokens: &[u32],
        sequences: &Sequences,
        view: View,
        added: &[Tensor],
    ) -> Result<Trace> {
        let weights = self.weights(view);
        if !added.is_empty() && added.len() != weights.layers.len() {
            let (got, expected) = (vec![added.len()], vec![weights.layers.len()]);
            return Err(Error::Shape { name: "added to attention, per layer".to_owned(), expected, got });
        }
        let heads = self.config.heads();
        let pass = self.pass(tokens, self.rotary.rows(sequences))?;
        let mut x = weights.embed(tokens)?;
        let mut layers = Vec::with_capacity(weights.layers.len());
        for (index, layer) in weights.layers.iter().enumerate() {
            let attend = &mut |_, (scoring, sinks): Scored<'_>, q: &_, k: &_, v: &_| {
                attention(q, k, v, heads, scoring, sinks, sequences)
            };
            let trace = layer.trace(index, &x, &pass, attend, added.get(index))?;
            x = trace.output.clone();
            layers.push(trace);
        }
        Ok(Trace { layers, hidden: Hidden { states: x } })
    }

    fn weights(&self, view: View) -> &Weights {
        match view {
            View::Tracked => &self.tracked,
            View::Detached => &self.detached,
        }
    }

    /// Back-propagates a scalar: the gradient of every trainable weight that it reaches, by name. An expert
    /// that no token of the batch was sent to took no part in the loss, so its gradient is zero, as it is in
    /// Transformers, where a layer's experts are one tensor. It is given where another expert of its layer
    /// was reached: each token has some, so that none at all means a loss that does not reach the layer.
    ///
    /// # Errors
    /// When an operator has no backward pass.
    pub fn backward(&self, loss: &Tensor) -> Result<BTreeMap<String, Tensor>> {
        let aside = || self.aside.lock().unwrap_or_else(PoisonError::into_inner);
        aside().clear();
        let mut store = loss.backward()?;
        let mut aside = aside();
        let mut gradients = BTreeMap::new();
        for (name, var) in self.parameters.iter() {
            let gradient = match (store.remove(var.as_tensor()), aside.remove(&var.id())) {
                (Some(a), Some(b)) => (a + b)?,
                (Some(one), None) | (None, Some(one)) => one,
                (None, None) => continue,
            };
            gradients.insert(name.to_owned(), gradient);
        }
        let reached = gradients.keys().filter_map(|name| Some(of_expert(name)?.0.to_owned()));
        let reached: BTreeSet<String> = reached.collect();
        for (name, var) in self.parameters.iter() {
            let unrouted = of_expert(name).is_some_and(|(layer, _)| reached.contains(layer));
            if unrouted && !gradients.contains_key(name) {
                gradients.insert(name.to_owned(), var.zeros_like()?);
            }
        }
        Ok(gradients)
    }

    /// Logits of the chosen rows of hidden states: shape `(rows, vocab_size)`. Tracks gradients.
    ///
    /// # Errors
    /// When a row does not exist.
    pub fn logits(&self, hidden: &Hidden, rows: &[u32]) -> Result<Tensor> {
        self.head(&self.tracked, hidden, rows)
    }

    /// The same through weights that track no gradients.
    ///
    /// # Errors
    /// When a row does not exist.
    pub fn detached_logits(&self, hidden: &Hidden, rows: &[u32]) -> Result<Tensor> {
        self.head(&self.detached, hidden, rows)
    }

    /// The hidden states after the last norm, which [`Decoder::logits`] would apply once more. Tracks
    /// gradients.
    ///
    /// # Errors
    /// When the states are not of the model's size.
    pub fn normed(&self, hidden: &Hidden) -> Result<Hidden> {
        let states = self.tracked.norm.apply(&hidden.states, RowNorm::new(&self.config))?;
        Ok(Hidden { states })
    }

    /// The angles by position.
    pub(crate) fn rotary(&self) -> &Rotary {
        &self.rotary
    }

    /// Runs without gradients, with the caller's attention and the rows of the tokens' angles.
    pub(crate) fn run_detached(
        &self,
        tokens: &[u32],
        rows: Arc<[u32]>,
        attend: &mut Attend<'_>,
    ) -> Result<Hidden> {
        self.run(&self.detached, tokens, rows, attend)
    }

    fn head(&self, weights: &Weights, hidden: &Hidden, rows: &[u32]) -> Result<Tensor> {
        let index = Tensor::new(rows, &self.device)?;
        let states = hidden.states.index_select(&index, 0)?;
        let logits = linear(&weights.norm.apply(&states, RowNorm::new(&self.config))?, &weights.head)?;
        let logits = match self.config.scales {
            Some(scales) => (logits / scales.logits)?,
            None => logits,
        };
        Ok(composed::capped(&logits, self.config.final_logit_softcapping)?)
    }

    fn run(
        &self,
        weights: &Weights,
        tokens: &[u32],
        rows: Arc<[u32]>,
        attend: &mut Attend<'_>,
    ) -> Result<Hidden> {
        let pass = self.pass(tokens, rows)?;
        let mut x = weights.embed(tokens)?;
        for (index, layer) in weights.layers.iter().enumerate() {
            x = layer.forward(index, &x, &pass, attend)?;
        }
        Ok(Hidden { states: x })
    }

    /// What all layers of one pass share, if tokens and the rows of their angles are the model's.
    fn pass(&self, tokens: &[u32], angles: Arc<[u32]>) -> Result<Pass> {
        let vocabulary = self.config.vocab_size;
        let rows = self.tracked.prompt_rows();
        let known =
            |token: u32| (token as usize) < vocabulary || soft_row(token).is_some_and(|row| row < rows);
        if let Some(token) = tokens.iter().find(|token| !known(**token)) {
            return Err(Error::Token { token: *token, vocabulary });
        }
        let config = &self.config;
        let positions = config.max_position_embeddings;
        let longest = angles.iter().map(|row| self.rotary.position_of(*row) as usize + 1).max();
        if let Some(tokens) = longest.filter(|tokens| *tokens > positions) {
            return Err(Error::TooLong { tokens, new: 0, positions });
        }
        Ok(Pass {
            rotary: self.rotary.clone(),
            local: self.local.clone(),
            rows: angles,
            norm: RowNorm::new(config),
            clip: config.clip_qkv,
            queries: config.query_scale(),
            residual: config.scales.map(|scales| scales.residual),
            parallel: config.parallel_residual,
        })
    }
}
