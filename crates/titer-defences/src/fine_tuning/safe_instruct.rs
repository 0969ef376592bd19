//! `safe-instruct`: mix refusals into the user's data: a share of the rows that are trained on are the
//! provider's.
//!
//! Source: Bianchi et al., *Safety-tuned LLaMAs*, arXiv 2309.07875 (3 % of the training set); with images
//! Zong et al., *Safety fine-tuning at (almost) no cost*, arXiv 2402.02207 (VLGuard). Here the mixture is exact in every stretch of steps: a batch of the user's
//! size gives up so many of its places that refusals have had their share of all places so far, and the
//! loss is the mean over all supervised tokens, as it is when rows are mixed in a file.

use serde::Deserialize;
use titer_data::Sampler;
use titer_model::Decoder;
use titer_plan::{DefenceStage, Method, MethodKind, Parameter};
use titer_train::loss::{mean_cross_entropy, value};
use titer_train::{Cost, Gradient, Objective};

use super::{Guard, UserTraining, training_alone};
use crate::{DefenceContext, Result};

/// The settings.
#[derive(Debug, Clone, Deserialize)]
pub struct SafeInstruct {
    /// Share of the examples trained on that are refusals.
    pub share: f64,
}

pub(crate) fn method() -> Method {
    Method {
        name: "safe-instruct",
        kind: MethodKind::defence(DefenceStage::FineTuning, training_alone()),
        version: 1,
        summary: "mixes a share of refusals into the user's data",
        citation: "Bianchi et al., arXiv 2309.07875",
        parameters: vec![Parameter::real(
            "share",
            "1",
            0.1,
            0.0..=1.0,
            "s: share of the examples trained on that are refusals",
        )],
    }
}

impl Guard for SafeInstruct {
    /// None: refusals take places of the user's.
    fn extra_examples_per_step(&self) -> f64 {
        0.0
    }

    fn objective(
        &self,
        user: UserTraining,
        context: &DefenceContext,
        _: &Decoder,
    ) -> Result<Box<dyn Objective>> {
        let places = user.batches.batch_size();
        let refusals = context.sampler("safe-instruct/refusals", &context.refusals, places)?;
        Ok(Box::new(Mixed { user: user.batches, refusals, share: self.share }))
    }
}

struct Mixed {
    user: Sampler,
    refusals: Sampler,
    share: f64,
}

impl Mixed {
    /// Refusals in the batch of a step: the whole ones that have come due with it.
    fn refusals(&self, step: u64) -> usize {
        let places = self.user.batch_size();
        let due = |steps: u64| (self.share * places as f64 * steps as f64).floor();
        ((due(step + 1) - due(step)) as usize).min(places)
    }
}

impl Objective for Mixed {
    fn gradient(&mut self, model: &Decoder, step: u64) -> titer_train::Result<Gradient> {
        let refusals = self.refusals(step);
        let user = self.user.batch(step).first(self.user.batch_size() - refusals);
        let batch = user.followed_by(&self.refusals.batch(step).first(refusals));
        let loss = mean_cross_entropy(model, &batch)?;
        Ok(Gradient::of(&loss, model, Cost::of(model, &batch))?
            .with_term("cross_entropy", value(&loss)?)
            .with_term("refusal_examples", refusals as f64))
    }
}
