//! A gradient as a value: what objectives return and combine.

use std::collections::{BTreeMap, BTreeSet};

use candle_core::Tensor;
use titer_data::Packed;
use titer_model::Decoder;
use titer_ops::adamw::squared_norm;

use crate::{Error, Result};

/// The direction to follow in one step, parameter by parameter, with what is worth logging of it.
#[derive(Debug, Clone)]
pub struct Gradient {
    /// By parameter name; the shapes are the parameters'.
    pub by_parameter: BTreeMap<String, Tensor>,
    /// Named parts of the loss, in nats unless the name says otherwise.
    pub terms: Vec<(&'static str, f64)>,
    /// What computing it took.
    pub cost: Cost,
    /// Parameters that this step leaves as they are, bit for bit: the optimiser passes over them, so that
    /// weight decay does not move them either. See [`Gradient::holding`].
    pub held: BTreeSet<String>,
}

/// What computing a gradient took.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Cost {
    /// Examples presented.
    pub examples: u64,
    /// Tokens run forward and backward.
    pub tokens: u64,
    /// Floating-point operations of the matrix products.
    pub flops: f64,
}

impl Cost {
    /// The cost of one forward and backward pass of `model` over `batch`.
    pub fn of(model: &Decoder, batch: &Packed) -> Self {
        Self {
            examples: batch.sequences() as u64,
            tokens: batch.tokens.len() as u64,
            flops: model.training_flops(batch.tokens.len(), batch.rows.len()),
        }
    }

    /// What a fixed reference adds that only reads a batch which is trained on: a forward pass, two
    /// operations per weight and token where training has six, and no further examples or tokens.
    pub fn of_reading(model: &Decoder, batch: &Packed) -> Self {
        let flops = model.config().training_flops(batch.tokens.len(), batch.rows.len()) / 3.0;
        Self { flops, ..Self::default() }
    }
}

impl std::ops::Add for Cost {
    type Output = Self;

    fn add(mut self, other: Self) -> Self {
        self += other;
        self
    }
}

impl std::ops::AddAssign for Cost {
    fn add_assign(&mut self, other: Self) {
        self.examples += other.examples;
        self.tokens += other.tokens;
        self.flops += other.flops;
    }
}

impl Gradient {
    /// Back-propagates a scalar loss to every trainable parameter of `model`.
    ///
    /// # Errors
    /// When a parameter receives no gradient: the optimiser would pass over it in silence.
    pub fn of(loss: &Tensor, model: &Decoder, cost: Cost) -> Result<Self> {
        let by_parameter = model.backward(loss)?;
        let mut names = model.parameters().iter().map(|(name, _)| name);
        if let Some(name) = names.find(|name| !by_parameter.contains_key(*name)) {
            return Err(Error::NoGradient { parameter: name.to_owned() });
        }
        Ok(Self { by_parameter, cost, ..Self::none() })
    }

    /// No direction, no terms, no cost.
    pub(crate) fn none() -> Self {
        let (by_parameter, held) = (BTreeMap::new(), BTreeSet::new());
        Self { by_parameter, terms: Vec::new(), cost: Cost::default(), held }
    }

    /// The same for a loss that is known to reach only some parameters, such as one on the hidden states of
    /// one layer: the others' gradient is zero.
    ///
    /// # Errors
    /// When an operator has no backward pass or the device has no room.
    pub fn partial(loss: &Tensor, model: &Decoder, cost: Cost) -> Result<Self> {
        let mut by_parameter = model.backward(loss)?;
        for (name, var) in model.parameters().iter() {
            if !by_parameter.contains_key(name) {
                by_parameter.insert(name.to_owned(), var.zeros_like()?);
            }
        }
        Ok(Self { by_parameter, cost, ..Self::none() })
    }

    /// Nothing yet, to add gradients of the same model to.
    ///
    /// # Errors
    /// When the device has no room.
    pub fn zeros(&self) -> Result<Self> {
        let zeros =
            self.by_parameter.iter().map(|(name, gradient)| Ok((name.clone(), gradient.zeros_like()?)));
        Ok(Self { by_parameter: zeros.collect::<Result<_>>()?, ..Self::none() })
    }

    /// The same with one more named value to log.
    #[must_use]
    pub fn with_term(mut self, name: &'static str, value: f64) -> Self {
        self.terms.push((name, value));
        self
    }

    /// The same with the parameters of these names held: they do not move, and their gradient, zero now, no
    /// longer counts in the norm.
    ///
    /// # Errors
    /// When the device has no room.
    pub fn holding(mut self, held: impl Fn(&str) -> bool) -> Result<Self> {
        for (name, gradient) in self.by_parameter.iter_mut().filter(|(name, _)| held(name)) {
            *gradient = gradient.zeros_like()?;
            self.held.insert(name.clone());
        }
        Ok(self)
    }

    /// self + factor · other; terms and costs of both are kept. What self holds stays held.
    ///
    /// # Errors
    /// When the two are of different models.
    pub fn add_scaled(mut self, factor: f64, other: &Self) -> Result<Self> {
        for (name, gradient) in &mut self.by_parameter {
            if self.held.contains(name) {
                continue;
            }
            let Some(added) = other.by_parameter.get(name) else {
                return Err(Error::NoGradient { parameter: name.clone() });
            };
            *gradient = (&*gradient + (added * factor)?)?;
        }
        self.terms.extend(&other.terms);
        self.cost += other.cost;
        Ok(self)
    }

    /// Euclidean norm over all parameters.
    ///
    /// # Errors
    /// When a tensor cannot be read.
    pub fn norm(&self) -> Result<f64> {
        let squares = self.by_parameter.values().map(squared_norm).sum::<candle_core::Result<f64>>()?;
        Ok(squares.sqrt())
    }
}
