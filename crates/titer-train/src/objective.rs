//! Which gradient to follow this step.

use std::collections::BTreeMap;

use candle_core::Tensor;
use titer_data::Sampler;
use titer_model::{Decoder, View};
use titer_ops::{Sequences, cross_entropy};

use crate::loss::{load_balance, mean_cross_entropy, value};
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
    balance: f64,
}

impl Supervised {
    /// On batches of `sampler`.
    pub fn new(sampler: Sampler) -> Self {
        Self { sampler, balance: 0.0 }
    }

    /// The same with so many times the [`load_balance`] of the model's experts added to the loss, as in
    /// training a mixture from nothing. Nothing changes for 0 or a model without experts.
    #[must_use]
    pub fn balanced(self, weight: f64) -> Self {
        Self { balance: weight, ..self }
    }
}

impl Objective for Supervised {
    fn gradient(&mut self, model: &Decoder, step: u64) -> Result<Gradient> {
        let batch = self.sampler.batch(step);
        let cost = Cost::of(model, &batch);
        let Some(experts) = model.config().experts.as_ref().filter(|_| self.balance != 0.0) else {
            let loss = mean_cross_entropy(model, &batch)?;
            return Ok(Gradient::of(&loss, model, cost)?.with_term("cross_entropy", value(&loss)?));
        };
        let trace = model.trace(&batch.tokens, &Sequences::new(&batch.offsets)?, View::Tracked, &[])?;
        let logits = model.logits(&trace.hidden, &batch.rows)?;
        let (loss, balance) =
            (cross_entropy(&logits, &batch.targets)?.mean_all()?, load_balance(&trace, experts)?);
        let gradient = Gradient::of(&(&loss + (&balance * self.balance)?)?, model, cost)?;
        Ok(gradient.with_term("cross_entropy", value(&loss)?).with_term("load_balance", value(&balance)?))
    }
}
