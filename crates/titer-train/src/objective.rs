//! Which gradient to follow this step.

use std::collections::BTreeMap;

use candle_core::Tensor;
use titer_data::Sampler;
use titer_model::Decoder;

use crate::loss::{mean_cross_entropy, value};
use crate::{Cost, Error, Gradient, Result};

/// What an objective must keep between steps, by name.
pub type State = BTreeMap<String, Tensor>;

/// Which gradient to follow this step.
pub trait Objective {
    /// The gradient at the model's present weights. A pure function of weights, step and the objective's
    /// state, so that a resumed run follows the same path.
    ///
    /// # Errors
    /// When the loss cannot be computed or does not reach every parameter.
    fn gradient(&mut self, model: &Decoder, step: u64) -> Result<Gradient>;

    /// What must be kept between steps; nothing for most objectives, since sampling depends on the step
    /// alone.
    ///
    /// # Errors
    /// When the state cannot be read.
    fn state(&self) -> Result<State> {
        Ok(State::new())
    }

    /// Takes up what [`Objective::state`] gave.
    ///
    /// # Errors
    /// When it is not this objective's state.
    fn restore(&mut self, state: State) -> Result<()> {
        match state.keys().next() {
            None => Ok(()),
            Some(name) => Err(Error::ObjectiveState { problem: format!("{name} is not known to it") }),
        }
    }
}

/// Ordinary supervised fine-tuning: mean cross-entropy over the answers.
#[derive(Debug, Clone)]
pub struct Supervised {
    sampler: Sampler,
}

impl Supervised {
    /// On batches of `sampler`.
    pub fn new(sampler: Sampler) -> Self {
        Self { sampler }
    }
}

impl Objective for Supervised {
    fn gradient(&mut self, model: &Decoder, step: u64) -> Result<Gradient> {
        let batch = self.sampler.batch(step);
        let loss = mean_cross_entropy(model, &batch)?;
        Ok(Gradient::of(&loss, model, Cost::of(model, &batch))?.with_term("cross_entropy", value(&loss)?))
    }
}
