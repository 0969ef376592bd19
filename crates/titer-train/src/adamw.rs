//! AdamW (arXiv 1711.05101) over all parameters, with its state as a value.

use std::collections::BTreeMap;

use candle_core::{DType, Tensor, Var};
use titer_model::Decoder;
use titer_ops::adamw::{Update, update};
use titer_plan::stage::TrainSpec;

use crate::{Error, Gradient, Result, State};

const EPSILON: f64 = 1e-8;

/// The optimiser's state: both moments of every parameter, in `f32` whatever the parameter's type, and the
/// number of updates.
#[derive(Debug)]
pub struct AdamW {
    moments: BTreeMap<String, (Var, Var)>,
    updates: u64,
}

impl AdamW {
    /// Zero moments for every parameter of `model`.
    ///
    /// # Errors
    /// When the device has no room.
    pub fn new(model: &Decoder) -> Result<Self> {
        let moments = model
            .parameters()
            .iter()
            .map(|(name, var)| {
                let zero = || Var::zeros(var.shape(), DType::F32, var.device());
                Ok((name.to_owned(), (zero()?, zero()?)))
            })
            .collect::<Result<_>>()?;
        Ok(Self { moments, updates: 0 })
    }

    /// Updates every parameter of `model` in place, in order of their names, but for those that the gradient
    /// holds: these keep their weights and moments. `scale` multiplies the gradient first.
    ///
    /// # Errors
    /// When a parameter has no gradient.
    pub fn update(
        &mut self,
        model: &Decoder,
        gradient: &Gradient,
        spec: &TrainSpec,
        rate: f64,
        scale: f64,
    ) -> Result<()> {
        self.updates += 1;
        let settings = Update {
            rate,
            beta1: spec.beta1,
            beta2: spec.beta2,
            epsilon: EPSILON,
            weight_decay: spec.weight_decay,
            step: self.updates,
            gradient_scale: scale,
        };
        for (name, var) in model.parameters().iter().filter(|(name, _)| !gradient.held.contains(*name)) {
            let missing = || Error::NoGradient { parameter: name.to_owned() };
            let gradient = gradient.by_parameter.get(name).ok_or_else(missing)?;
            let (m, v) = self.moments.get(name).ok_or_else(missing)?;
            update(var, gradient, m, v, &settings)?;
        }
        Ok(())
    }

    /// Updates made so far.
    pub fn updates(&self) -> u64 {
        self.updates
    }

    /// The moments by name: `m.` and `v.` before the parameter's.
    pub(crate) fn state(&self) -> State {
        let entry =
            |prefix: &str, name: &str, var: &Var| (format!("{prefix}.{name}"), var.as_tensor().clone());
        self.moments.iter().flat_map(|(name, (m, v))| [entry("m", name, m), entry("v", name, v)]).collect()
    }

    /// From saved moments; the names must be exactly the model's.
    pub(crate) fn restore(model: &Decoder, state: &State, updates: u64) -> Result<Self, String> {
        if state.len() != 2 * model.parameters().len() {
            return Err(format!("{} moments for {} parameters", state.len(), model.parameters().len()));
        }
        let moments = model
            .parameters()
            .iter()
            .map(|(name, var)| {
                let take = |prefix: &str| -> Result<Var, String> {
                    let key = format!("{prefix}.{name}");
                    let tensor: &Tensor = state.get(&key).ok_or_else(|| format!("{key} is missing"))?;
                    if tensor.shape() != var.shape() {
                        return Err(format!("{key} has shape {:?}", tensor.shape()));
                    }
                    tensor.copy().and_then(|copy| Var::from_tensor(&copy)).map_err(|e| e.to_string())
                };
                Ok((name.to_owned(), (take("m")?, take("v")?)))
            })
            .collect::<Result<_, String>>()?;
        Ok(Self { moments, updates })
    }
}
