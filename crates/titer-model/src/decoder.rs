//! The decoder: its weights, how they come to be, and their gradients.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;

use candle_core::{DType, Device, Tensor};
use rand::Rng;
use rand_distr::{Distribution, Normal};
use titer_ops::Rotary;

use crate::experts::of_expert;
use crate::recompute::Aside;
use crate::weights::Weights;
use crate::{Base, Config, Error, LoraSpec, Parameters, Result};

/// A trainable decoder of some [`Family`](crate::Family), all of it or adapters beside it.
#[derive(Debug)]
pub struct Decoder {
    pub(crate) config: Config,
    parameters: Parameters,
    /// What is held fixed while adapters are trained.
    frozen: BTreeMap<String, Tensor>,
    adapter: Option<LoraSpec>,
    pub(crate) recompute: bool,
    pub(crate) aside: Aside,
    pub(crate) rotary: Rotary,
    /// Of layers with a window, where they rotate otherwise.
    pub(crate) local: Option<Rotary>,
    pub(crate) device: Device,
    /// Views of the parameters that track gradients, and others that do not: training uses the first,
    /// generation the second.
    pub(crate) tracked: Weights,
    pub(crate) detached: Weights,
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
    /// weights. Where that takes another type, each weight is let go once it was converted, so that never all are held
    /// twice: where the device has no room even so, nothing is left of the model.
    pub(crate) fn hold(&mut self, base: Base, spec: Option<LoraSpec>, parameters: Parameters) -> Result<()> {
        if self.adapter.is_some() || self.soft().is_some() {
            let problem = "the model has one already: merge it first".to_owned();
            return Err(Error::Adapter { problem });
        }
        (self.tracked, self.detached) = (Weights::none(&self.device)?, Weights::none(&self.device)?);
        let own = std::mem::take(&mut self.parameters).into_iter();
        let own = own.map(|(name, var)| (name, var.into_inner()));
        let weights = std::mem::take(&mut self.frozen).into_iter().chain(own);
        let frozen = weights.map(|(name, weight)| Ok((name, base.held(&weight)?)));
        let frozen = frozen.collect::<candle_core::Result<_>>()?;
        let adapted = Self::assemble(self.config.clone(), &self.device, parameters, frozen, spec)?;
        *self = Self { recompute: self.recompute, ..adapted };
        Ok(())
    }

    /// The model with all weights held fixed, as adapters stand beside them, and nothing to train yet.
    ///
    /// # Errors
    /// When it has adapters already, or the device has no room.
    pub fn held(mut self, base: Base) -> Result<Self> {
        self.hold(base, None, Parameters::default())?;
        Ok(self)
    }

    /// The same model in the same memory, all of its weights held fixed: several may train adapters beside them at once.
    ///
    /// # Errors
    /// When the device has no room for the angles of its positions.
    pub fn lend(&self) -> Result<Self> {
        let own = self.parameters.iter().map(|(name, var)| (name.to_owned(), var.as_tensor().detach()));
        let frozen = self.frozen.clone().into_iter().chain(own).collect();
        let (config, adapter) = (self.config.clone(), self.adapter.clone());
        let lent = Self::assemble(config, &self.device, Parameters::default(), frozen, adapter)?;
        Ok(Self { recompute: self.recompute, ..lent })
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

    /// The type of the weights, or where these are held fixed in another, of norms and of what flows between them.
    pub fn dtype(&self) -> DType {
        self.tracked.norm.weight.dtype()
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
}
