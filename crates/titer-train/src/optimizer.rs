//! The optimisers behind one interface: AdamW, and those that are a [`Rule`] for one parameter at a time.

use std::collections::BTreeMap;
use std::fmt;

use candle_core::{DType, Tensor, Var};
use titer_model::Decoder;
use titer_plan::stage::{Optimizer as Named, TrainSpec};

use crate::adafactor::Adafactor;
use crate::sgd::Sgd;
use crate::{AdamW, Error, Gradient, Result, State};

/// How a parameter follows its gradient, by what the rule keeps of it.
pub(crate) trait Rule: fmt::Debug {
    /// What it keeps of a parameter of that shape: names and shapes. All of it is zero at first, and `f32` whatever the
    /// parameter's type.
    fn keeps(&self, shape: &[usize]) -> Vec<(&'static str, Vec<usize>)>;

    /// What is taken from the parameter, which has the `gradient`'s shape; both are `f32`. `kept` is what
    /// [`Rule::keeps`] says, in its order, and is brought up to date.
    ///
    /// # Errors
    /// When the tensor library fails.
    fn step(&self, gradient: &Tensor, kept: &[&Var], update: &Update) -> Result<Tensor>;
}

/// One update.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Update {
    /// Learning rate of this step.
    pub(crate) rate: f64,
    /// Its number, from 1.
    pub(crate) number: u64,
}

/// An optimiser with its state as a value.
#[derive(Debug)]
pub(crate) enum Optimizer {
    AdamW(AdamW),
    Ruled(Ruled),
}

/// What a rule keeps of one parameter, in its order.
type Kept = Vec<(&'static str, Var)>;

/// An optimiser by a [`Rule`].
#[derive(Debug)]
pub(crate) struct Ruled {
    rule: Box<dyn Rule>,
    kept: BTreeMap<String, Kept>,
    updates: u64,
}

impl Optimizer {
    /// The one that `spec` names, before its first update.
    ///
    /// # Errors
    /// When the device has no room.
    pub(crate) fn new(model: &Decoder, spec: &TrainSpec) -> Result<Self> {
        let Some(rule) = rule(spec.optimizer) else { return Ok(Self::AdamW(AdamW::new(model)?)) };
        let mut kept = BTreeMap::new();
        for (name, var) in model.parameters().iter() {
            let zeros = rule.keeps(var.dims()).into_iter();
            let zeros = zeros.map(|(what, shape)| Ok((what, Var::zeros(shape, DType::F32, var.device())?)));
            kept.insert(name.to_owned(), zeros.collect::<Result<_>>()?);
        }
        Ok(Self::Ruled(Ruled { rule, kept, updates: 0 }))
    }

    /// Updates every parameter of `model` in place, in order of their names, but for those that the gradient holds:
    /// these keep their weights and what is kept of them. `scale` multiplies the gradient first.
    ///
    /// # Errors
    /// When a parameter has no gradient.
    pub(crate) fn update(
        &mut self,
        model: &Decoder,
        gradient: &Gradient,
        spec: &TrainSpec,
        rate: f64,
        scale: f64,
    ) -> Result<()> {
        match self {
            Self::AdamW(optimizer) => optimizer.update(model, gradient, spec, rate, scale),
            Self::Ruled(optimizer) => optimizer.update(model, gradient, spec, rate, scale),
        }
    }

    /// Updates made so far.
    pub(crate) fn updates(&self) -> u64 {
        match self {
            Self::AdamW(optimizer) => optimizer.updates(),
            Self::Ruled(optimizer) => optimizer.updates,
        }
    }

    /// What a checkpoint needs of it, by name.
    pub(crate) fn state(&self) -> State {
        match self {
            Self::AdamW(optimizer) => optimizer.state(),
            Self::Ruled(optimizer) => optimizer.state(),
        }
    }

    /// From a saved state; its names must be exactly those that the model's parameters have with this optimiser.
    pub(crate) fn restore(
        model: &Decoder,
        spec: &TrainSpec,
        state: &State,
        updates: u64,
    ) -> Result<Self, String> {
        match rule(spec.optimizer) {
            None => AdamW::restore(model, state, updates).map(Self::AdamW),
            Some(rule) => Ruled::restore(rule, model, state, updates).map(Self::Ruled),
        }
    }
}

/// The rule of an optimiser that is one.
fn rule(named: Named) -> Option<Box<dyn Rule>> {
    match named {
        Named::Adamw => None,
        Named::Sgd { momentum } => Some(Box::new(Sgd { momentum })),
        Named::Adafactor { momentum } => Some(Box::new(Adafactor { momentum })),
    }
}

impl Ruled {
    fn update(
        &mut self,
        model: &Decoder,
        gradient: &Gradient,
        spec: &TrainSpec,
        rate: f64,
        scale: f64,
    ) -> Result<()> {
        self.updates += 1;
        let update = Update { rate, number: self.updates };
        for (name, var) in model.parameters().iter().filter(|(name, _)| !gradient.held.contains(*name)) {
            let missing = || Error::NoGradient { parameter: name.to_owned() };
            let gradient = gradient.by_parameter.get(name).ok_or_else(missing)?;
            let kept: Vec<&Var> =
                self.kept.get(name).ok_or_else(missing)?.iter().map(|(_, var)| var).collect();
            let gradient = (gradient.detach().to_dtype(DType::F32)? * scale)?;
            let step = self.rule.step(&gradient, &kept, &update)?;
            let weights = var.as_tensor().detach().to_dtype(DType::F32)?;
            let moved = ((weights * (1.0 - rate * spec.weight_decay))? - step)?;
            var.set(&moved.to_dtype(var.dtype())?)?;
        }
        Ok(())
    }

    /// What the rule keeps, by its name for it before the parameter's.
    fn state(&self) -> State {
        let entries = |(name, kept): (&String, &Kept)| -> Vec<(String, Tensor)> {
            kept.iter().map(|(what, var)| (format!("{what}.{name}"), var.as_tensor().clone())).collect()
        };
        self.kept.iter().flat_map(entries).collect()
    }

    fn restore(rule: Box<dyn Rule>, model: &Decoder, state: &State, updates: u64) -> Result<Self, String> {
        let mut kept = BTreeMap::new();
        for (name, var) in model.parameters().iter() {
            let take = |(what, shape): (&'static str, Vec<usize>)| -> Result<(&'static str, Var), String> {
                let key = format!("{what}.{name}");
                let tensor = state.get(&key).ok_or_else(|| format!("{key} is missing"))?;
                if tensor.dims() != shape {
                    return Err(format!("{key} has shape {:?} instead of {shape:?}", tensor.dims()));
                }
                let copy = tensor.copy().and_then(|copy| Var::from_tensor(&copy));
                Ok((what, copy.map_err(|error| error.to_string())?))
            };
            let of_this = rule.keeps(var.dims()).into_iter().map(take).collect::<Result<_, String>>()?;
            kept.insert(name.to_owned(), of_this);
        }
        let expected: usize = kept.values().map(Vec::len).sum();
        if state.len() != expected {
            return Err(format!("{} tensors where the optimiser keeps {expected}", state.len()));
        }
        Ok(Self { rule, kept, updates })
    }
}
