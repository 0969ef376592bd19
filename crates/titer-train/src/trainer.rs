//! The loop.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use titer_model::Decoder;
use titer_plan::stage::TrainSpec;

use crate::optimizer::Optimizer;
use crate::{Cost, Error, Objective, Result, checkpoint, schedule};

/// Trains one model; holds everything but the weights that a resumed run needs.
#[derive(Debug)]
pub struct Trainer {
    pub(crate) spec: TrainSpec,
    pub(crate) optimizer: Optimizer,
    pub(crate) step: u64,
    pub(crate) spent: Cost,
}

/// How a fit came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All steps were made.
    Finished,
    /// The observer asked to stop before this step.
    Stopped {
        /// Steps made.
        step: u64,
    },
}

/// A moment between two steps.
pub struct Point<'a> {
    /// Steps made so far.
    pub step: u64,
    /// What they took.
    pub spent: Cost,
    /// The model as it is.
    pub model: &'a Decoder,
    trainer: &'a Trainer,
    objective: &'a dyn Objective,
}

impl Point<'_> {
    /// Saves everything that [`Trainer::resume`] needs into an existing, empty directory.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn save(&self, folder: &Path) -> Result<()> {
        checkpoint::save(self.trainer, self.model, self.objective, folder)
    }
}

/// One step, for the log.
#[derive(Debug, Clone, PartialEq)]
pub struct StepRecord {
    /// The step, from 0.
    pub step: u64,
    /// Named parts of the loss.
    pub terms: Vec<(&'static str, f64)>,
    /// Learning rate.
    pub learning_rate: f64,
    /// Norm of the gradient before clipping.
    pub gradient_norm: f64,
    /// Tokens run in this step.
    pub tokens: u64,
    /// Wall-clock time.
    pub seconds: f64,
}

/// Watches a run: probes, logs, saves, stops it.
pub trait Observer {
    /// Called before every step and after the last one: `steps + 1` times in a full run.
    ///
    /// # Errors
    /// Whatever goes wrong ends the run.
    fn between(&mut self, point: &Point<'_>) -> Result<ControlFlow<()>>;

    /// Called after every step.
    ///
    /// # Errors
    /// Whatever goes wrong ends the run.
    fn stepped(&mut self, record: &StepRecord) -> Result<()>;
}

/// Watches nothing.
impl Observer for () {
    fn between(&mut self, _: &Point<'_>) -> Result<ControlFlow<()>> {
        Ok(ControlFlow::Continue(()))
    }

    fn stepped(&mut self, _: &StepRecord) -> Result<()> {
        Ok(())
    }
}

impl Trainer {
    /// From the first step on.
    ///
    /// # Errors
    /// When the device has no room for what the optimiser keeps.
    pub fn new(spec: TrainSpec, model: &Decoder) -> Result<Self> {
        Ok(Self { spec, optimizer: Optimizer::new(model, &spec)?, step: 0, spent: Cost::default() })
    }

    /// Steps made so far.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// What those steps took.
    pub fn spent(&self) -> Cost {
        self.spent
    }

    /// Follows the objective's gradient until all steps are made or the observer says stop.
    ///
    /// # Errors
    /// When a parameter receives no gradient, the gradient is not finite, or the observer fails.
    pub fn fit(
        &mut self,
        model: &Decoder,
        objective: &mut dyn Objective,
        observer: &mut dyn Observer,
    ) -> Result<Outcome> {
        loop {
            let point =
                Point { step: self.step, spent: self.spent, model, trainer: self, objective: &*objective };
            if observer.between(&point)?.is_break() {
                return Ok(Outcome::Stopped { step: self.step });
            }
            if self.step >= self.spec.steps {
                return Ok(Outcome::Finished);
            }
            let record = self.advance(model, objective)?;
            observer.stepped(&record)?;
        }
    }

    fn advance(&mut self, model: &Decoder, objective: &mut dyn Objective) -> Result<StepRecord> {
        let started = Instant::now();
        let gradient = objective.gradient(model, self.step)?;
        let norm = gradient.norm()?;
        if !norm.is_finite() {
            return Err(Error::Diverged { step: self.step, norm });
        }
        let rate = schedule::rate(&self.spec, self.step);
        // As torch.nn.utils.clip_grad_norm_: scale by clip / (norm + 1e-6) where that is below one.
        let scale = self.spec.clip.map_or(1.0, |clip| (clip / (norm + 1e-6)).min(1.0));
        self.optimizer.update(model, &gradient, &self.spec, rate, scale)?;
        let record = StepRecord {
            step: self.step,
            learning_rate: rate,
            gradient_norm: norm,
            tokens: gradient.cost.tokens,
            seconds: started.elapsed().as_secs_f64(),
            terms: gradient.terms,
        };
        self.spent += gradient.cost;
        self.step += 1;
        Ok(record)
    }
}
