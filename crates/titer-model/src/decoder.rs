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
use crate::weights::{Attend, Pass, Read, Rows, Scored, Weights};
use crate::{Config, Error, LoraSpec, Parameters, Result, Trace, View};

/// How often tokens come in a batch on average, from where on what depends on the token alone is computed once for each.
const LEAST_REPEATED: usize = 2;

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
        Ok(Hidden { states: self.states(View::Tracked, tokens, sequences, None)? })
    }

    /// Logits at the tokens `rows` of a packed batch, shape `(rows, vocab_size)`: those that [`forward`](Self::forward) and
    /// then [`logits`](Self::logits) give, but of the last layer no more is computed than they need. Gradients are tracked
    /// in that view alone.
    ///
    /// # Errors
    /// When a token is outside the vocabulary, a sequence is longer than the model's positions, or a row does not exist.
    pub fn logits_at(
        &self,
        view: View,
        tokens: &[u32],
        sequences: &Sequences,
        rows: &[u32],
    ) -> Result<Tensor> {
        let weights = self.weights(view);
        if rows.windows(2).all(|pair| pair[0] < pair[1]) {
            return self.head(weights, &self.states(view, tokens, sequences, Some(rows))?);
        }
        let read: Vec<u32> = rows.iter().copied().collect::<BTreeSet<_>>().into_iter().collect();
        let places = rows.iter().map(|row| read.partition_point(|read| read < row) as u32);
        let places = Tensor::from_iter(places, &self.device)?;
        let states = self.states(view, tokens, sequences, Some(&read))?;
        self.head(weights, &states.index_select(&places, 0)?)
    }

    /// Hidden states of all tokens before the last norm, or of the tokens `read`, which ascend.
    pub(crate) fn states(
        &self,
        view: View,
        tokens: &[u32],
        sequences: &Sequences,
        read: Option<&[u32]>,
    ) -> Result<Tensor> {
        let heads = self.config.heads();
        let angles = self.rotary.rows(sequences);
        let last = self.config.num_hidden_layers - 1;
        let asking = read.map(|rows| sequences.asking(rows)).transpose()?;
        let asking = [sequences.clone(), asking.unwrap_or_else(|| sequences.clone())];
        let attend = move |layer, (scoring, sinks): Scored<'_>, q: &_, k: &_, v: &_| {
            attention(q, k, v, heads, scoring, sinks, &asking[usize::from(layer == last)])
        };
        if !self.recompute || view == View::Detached {
            return self.run(self.weights(view), tokens, angles, read, &mut { attend });
        }
        let pass = self.pass(tokens, angles)?;
        let (mut x, mut rows) = self.rows(&self.tracked, tokens, &pass, read)?;
        for (index, (tracked, detached)) in self.tracked.layers.iter().zip(&self.detached.layers).enumerate() {
            let (layers, pass, attend) =
                ([detached.clone(), tracked.clone()], pass.clone(), attend.clone());
            let rows = std::mem::take(&mut rows[index]);
            let rerun = move |x: &Tensor, track: bool| {
                layers[usize::from(track)].forward(index, x, &pass, &rows, &mut attend.clone())
            };
            x = recomputed(&x, Box::new(rerun), tracked.variables(), &self.aside)?;
        }
        Ok(x)
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
            let trace = layer.trace(index, &x, &pass, &Rows::default(), attend, added.get(index))?;
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
        self.head(&self.tracked, &self.picked(hidden, rows)?)
    }

    /// The same through weights that track no gradients.
    ///
    /// # Errors
    /// When a row does not exist.
    pub fn detached_logits(&self, hidden: &Hidden, rows: &[u32]) -> Result<Tensor> {
        self.head(&self.detached, &self.picked(hidden, rows)?)
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

    /// Runs without gradients, with the caller's attention and the rows of the tokens' angles: hidden states of all tokens,
    /// or of the tokens `read`, which ascend and alone have queries in the last layer.
    pub(crate) fn run_detached(
        &self,
        tokens: &[u32],
        angles: Arc<[u32]>,
        read: Option<&[u32]>,
        attend: &mut Attend<'_>,
    ) -> Result<Tensor> {
        self.run(&self.detached, tokens, angles, read, attend)
    }

    fn picked(&self, hidden: &Hidden, rows: &[u32]) -> Result<Tensor> {
        Ok(hidden.states.index_select(&Tensor::new(rows, &self.device)?, 0)?)
    }

    /// Logits of hidden states, without gradients.
    pub(crate) fn detached_head(&self, states: &Tensor) -> Result<Tensor> {
        self.head(&self.detached, states)
    }

    fn head(&self, weights: &Weights, states: &Tensor) -> Result<Tensor> {
        let logits = linear(&weights.norm.apply(states, RowNorm::new(&self.config))?, &weights.head)?;
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
        angles: Arc<[u32]>,
        read: Option<&[u32]>,
        attend: &mut Attend<'_>,
    ) -> Result<Tensor> {
        let pass = self.pass(tokens, angles)?;
        let (mut x, rows) = self.rows(weights, tokens, &pass, read)?;
        for (index, (layer, rows)) in weights.layers.iter().zip(&rows).enumerate() {
            x = layer.forward(index, &x, &pass, rows, attend)?;
        }
        Ok(x)
    }

    /// What the first layer reads, and which rows each layer has. The first one's norm and projections depend on the token
    /// alone: where tokens come again and again, they are computed once for each. The last one's queries and MLP are
    /// computed for what is read.
    fn rows(
        &self,
        weights: &Weights,
        tokens: &[u32],
        pass: &Pass,
        read: Option<&[u32]>,
    ) -> Result<(Tensor, Vec<Rows>)> {
        let mut rows = vec![Rows::default(); weights.layers.len()];
        let last = rows.len() - 1;
        if let Some(read) = read {
            let angles = read.iter().map(|row| pass.rows[*row as usize]).collect();
            rows[last].read = Some(Read { rows: Tensor::new(read, &self.device)?, angles });
        }
        let distinct: BTreeSet<u32> = tokens.iter().copied().collect();
        if last == 0 || distinct.len() * LEAST_REPEATED > tokens.len() {
            return Ok((weights.embed(tokens)?, rows));
        }
        let distinct: Vec<u32> = distinct.into_iter().collect();
        let of = tokens.iter().map(|token| distinct.partition_point(|other| other < token) as u32);
        rows[0].spread = Some(Tensor::from_iter(of, &self.device)?);
        Ok((weights.embed(&distinct)?, rows))
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
