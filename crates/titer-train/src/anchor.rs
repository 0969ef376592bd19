//! A point in the space of weights that training is pulled back to: strength/2·Σ cᵢ(wᵢ − aᵢ)².
//!
//! The pull strength·c·(w − a) is written down, not back-propagated: no graph over all weights is built.

use std::collections::BTreeMap;

use candle_core::Tensor;
use titer_model::Decoder;
use titer_ops::adamw::squared_norm;

use crate::{Error, Gradient, Result, State};

/// Weights to stay near, and how much each of them matters.
#[derive(Debug, Clone)]
pub struct Anchor {
    weights: BTreeMap<String, Tensor>,
    importance: Option<BTreeMap<String, Tensor>>,
}

impl Anchor {
    /// At the model's present trainable weights (the adapters' where there are any), all of them equally
    /// important: c = 1.
    ///
    /// # Errors
    /// When the device has no room for a copy.
    pub fn at(model: &Decoder) -> Result<Self> {
        Ok(Self { weights: model.parameters().snapshot()?, importance: None })
    }

    /// The same with an importance cᵢ ≥ 0 for each weight, such as the diagonal of the Fisher information.
    ///
    /// # Errors
    /// When names or shapes are not the anchor's.
    pub fn weighted(self, importance: BTreeMap<String, Tensor>) -> Result<Self> {
        check(&self.weights, &importance).map_err(|problem| Error::Anchor { problem })?;
        Ok(Self { importance: Some(importance), ..self })
    }

    /// The gradient of strength/2·Σ cᵢ(wᵢ − aᵢ)² at the model's weights, with that value as the term
    /// `anchor`. It runs no tokens and costs no matrix products.
    ///
    /// # Errors
    /// When the anchor is another model's.
    pub fn pull(&self, model: &Decoder, strength: f64) -> Result<Gradient> {
        let mut by_parameter = BTreeMap::new();
        let mut squares = 0.0;
        for (name, var) in model.parameters().iter() {
            let missing = || Error::NoGradient { parameter: name.to_owned() };
            let away = (var.as_tensor().detach() - self.weights.get(name).ok_or_else(missing)?)?;
            let pull = match &self.importance {
                None => {
                    squares += squared_norm(&away)?;
                    away
                }
                Some(importance) => {
                    let importance = importance.get(name).ok_or_else(missing)?;
                    squares += squared_norm(&(&away * importance.sqrt()?)?)?;
                    (away * importance)?
                }
            };
            by_parameter.insert(name.to_owned(), (pull * strength)?);
        }
        let pull = Gradient { by_parameter, ..Gradient::none() };
        Ok(pull.with_term("anchor", strength / 2.0 * squares))
    }

    /// The anchor's weights for an objective's state, `PREFIX.` before their names. The importance is not
    /// among them: it is a constant of the run.
    pub fn state(&self, prefix: &str) -> State {
        self.weights.iter().map(|(name, weight)| (format!("{prefix}.{name}"), weight.clone())).collect()
    }

    /// Moves the anchor to where [`Anchor::state`] found it. `state` must hold nothing else.
    ///
    /// # Errors
    /// When it is not such a state of the same model; then nothing has changed.
    pub fn restore(&mut self, prefix: &str, state: State) -> Result<()> {
        let prefix = format!("{prefix}.");
        let named = |(key, tensor): (String, Tensor)| match key.strip_prefix(&prefix) {
            Some(name) => Ok((name.to_owned(), tensor)),
            None => Err(format!("{key} is not known to it")),
        };
        let weights: Result<BTreeMap<_, _>, String> = state.into_iter().map(named).collect();
        let fitting = weights.and_then(|weights| check(&self.weights, &weights).map(|()| weights));
        self.weights = fitting.map_err(|problem| Error::ObjectiveState { problem })?;
        Ok(())
    }
}

/// Whether `tensors` are named and shaped as `weights` are.
fn check(weights: &BTreeMap<String, Tensor>, tensors: &BTreeMap<String, Tensor>) -> Result<(), String> {
    for (name, weight) in weights {
        match tensors.get(name) {
            None => return Err(format!("nothing is there for {name}")),
            Some(tensor) if tensor.shape() != weight.shape() => {
                return Err(format!("{name} has shape {:?}, not {:?}", tensor.dims(), weight.dims()));
            }
            Some(_) => {}
        }
    }
    match tensors.keys().find(|name| !weights.contains_key(*name)) {
        Some(name) => Err(format!("{name} is not known to it")),
        None => Ok(()),
    }
}
