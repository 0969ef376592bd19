//! What a defender has, and the part that most defences share: keeping refusals and ability.

use std::sync::Arc;

use candle_core::Tensor;
use titer_data::{Draw, Example, Packed, Sampler, Stream};
use titer_train::Result as TrainResult;

use crate::Result;

/// The defender's data and randomness. None of it is in any split that attacks or probes use.
#[derive(Debug, Clone)]
pub struct DefenceContext {
    /// Forbidden prompts with the answers that must not be given.
    pub harmful: Arc<[Example]>,
    /// The same prompts with the refusal.
    pub refusals: Arc<[Example]>,
    /// Permitted prompts with their answers.
    pub permitted: Arc<[Example]>,
    /// Seeds everything that the defence draws.
    pub seed: u64,
}

impl DefenceContext {
    /// A sampler of this defence's, named after its purpose.
    ///
    /// # Errors
    /// When there are no examples or the batch is empty.
    pub fn sampler(&self, name: &str, examples: &Arc<[Example]>, batch: usize) -> Result<Sampler> {
        Ok(Sampler::new(examples.clone(), Stream::new(self.seed, name), batch, Draw::WithReplacement)?)
    }
}

/// The two batches that keep a model as it is while a defence changes it: share · refusal loss +
/// (1 − share) · permitted loss.
#[derive(Debug, Clone)]
pub struct Keep {
    refusals: Sampler,
    permitted: Sampler,
    share: f64,
}

impl Keep {
    /// `share` is the weight of the refusals.
    ///
    /// # Errors
    /// When the data cannot be sampled.
    pub fn new(context: &DefenceContext, refusals: usize, permitted: usize, share: f64) -> Result<Self> {
        Ok(Self {
            refusals: context.sampler("keep/refusals", &context.refusals, refusals)?,
            permitted: context.sampler("keep/permitted", &context.permitted, permitted)?,
            share,
        })
    }

    /// The batch of one step, refusals first, and how many of its targets are refusals'.
    pub fn batch(&self, step: u64) -> (Packed, usize) {
        let refusals = self.refusals.batch(step);
        let targets = refusals.targets.len();
        (refusals.followed_by(&self.permitted.batch(step)), targets)
    }

    /// The loss from the losses of the batch's targets: a scalar.
    ///
    /// # Errors
    /// When there are fewer losses than targets.
    pub fn loss(&self, token_losses: &Tensor, refusals: usize, targets: usize) -> TrainResult<Tensor> {
        let refusal = token_losses.narrow(0, 0, refusals)?.mean_all()?;
        let permitted = token_losses.narrow(0, refusals, targets - refusals)?.mean_all()?;
        Ok(((refusal * self.share)? + (permitted * (1.0 - self.share))?)?)
    }
}
