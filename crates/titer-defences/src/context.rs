//! What a defender has, and the part that most defences share: keeping refusals and ability.

use std::sync::Arc;

use candle_core::Tensor;
use titer_data::{Draw, Example, Packed, Sampler, Stream};
use titer_model::Decoder;
use titer_train::loss::{token_losses, value};
use titer_train::{Cost, Gradient, Result as TrainResult};

use crate::{Error, Result};

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

/// Forbidden prompts with both answers: the harmful one and the refusal, drawn together.
#[derive(Debug, Clone)]
pub struct Pairs {
    harmful: Sampler,
    refusals: Sampler,
}

/// One forbidden prompt with both answers.
#[derive(Debug, Clone, Copy)]
pub struct Pair<'a> {
    /// With the answer that must not be given.
    pub harmful: &'a Example,
    /// With the refusal.
    pub refusal: &'a Example,
}

impl Pairs {
    /// `batch` pairs at each step; `name` is their purpose.
    ///
    /// # Errors
    /// When there are not as many refusals as harmful answers, or the data cannot be sampled.
    pub fn new(context: &DefenceContext, name: &'static str, batch: usize) -> Result<Self> {
        let (harmful, refusals) = (context.harmful.len(), context.refusals.len());
        if harmful != refusals {
            let problem = format!(
                "it needs both answers to each prompt, not {harmful} harmful ones and {refusals} refusals"
            );
            return Err(Error::NotApplicable { name, problem });
        }
        // One stream over equally many examples draws the same places of both.
        Ok(Self {
            harmful: context.sampler(name, &context.harmful, batch)?,
            refusals: context.sampler(name, &context.refusals, batch)?,
        })
    }

    /// The pairs of one step.
    pub fn batch(&self, step: u64) -> Vec<Pair<'_>> {
        let pairs = self.harmful.examples(step).into_iter().zip(self.refusals.examples(step));
        pairs.map(|(harmful, refusal)| Pair { harmful, refusal }).collect()
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

    /// The gradient of `weight` times that loss on the batch of one step.
    ///
    /// # Errors
    /// When the batch does not fit the model.
    pub fn gradient(&self, model: &Decoder, step: u64, weight: f64) -> TrainResult<Gradient> {
        let (batch, refusals) = self.batch(step);
        let keep = self.loss(&token_losses(model, &batch)?, refusals, batch.targets.len())?;
        let cost = Cost::of(model, &batch);
        Ok(Gradient::of(&(&keep * weight)?, model, cost)?.with_term("keep", value(&keep)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(harmful: u32, refusals: u32) -> DefenceContext {
        let examples = |count: u32, answer: u32| -> Arc<[Example]> {
            (0..count).filter_map(|prompt| Example::new(vec![prompt, answer], 1).ok()).collect()
        };
        DefenceContext {
            harmful: examples(harmful, 100),
            refusals: examples(refusals, 200),
            permitted: examples(1, 300),
            seed: 3,
        }
    }

    #[test]
    fn pairs_have_one_prompt_and_two_answers() {
        let pairs = Pairs::new(&context(20, 20), "test", 8).unwrap();
        let mut prompts = Vec::new();
        for pair in pairs.batch(4) {
            assert_eq!(pair.harmful.prompt(), pair.refusal.prompt());
            assert_eq!((pair.harmful.answer(), pair.refusal.answer()), (&[100][..], &[200][..]));
            prompts.push(pair.harmful.prompt()[0]);
        }
        prompts.dedup();
        assert!(prompts.len() > 1, "{prompts:?}");
        assert!(Pairs::new(&context(20, 19), "test", 8).is_err());
    }
}
