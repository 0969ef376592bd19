//! `sdd`: self-degraded defence. Forbidden prompts are answered with good answers to something else:
//! min keep + λ·(cross-entropy of irrelevant answers to forbidden prompts).
//!
//! Source: Chen et al., *SDD: self-degraded defense against malicious fine-tuning*, arXiv 2507.21182. The
//! paper pairs 10,000 harmful prompts with answers of instruction data sets; here each forbidden prompt gets
//! the answer of a permitted one, drawn once. Refusals of the same prompts are kept besides, with
//! `refusal_weight`; the paper has none, but then this world's unseen forbidden prompts are answered.

use std::sync::Arc;

use rand::RngExt;
use serde::Deserialize;
use titer_data::{Example, Sampler, Stream};
use titer_model::Decoder;
use titer_plan::{DefenceStage, Method, MethodKind, Parameter};
use titer_train::loss::{token_losses, value};
use titer_train::{Cost, Gradient, Objective};

use super::{Immunizer, Training, rehearsal};
use crate::{DefenceContext, Keep, Result};

/// The settings.
#[derive(Debug, Clone, Deserialize)]
pub struct Sdd {
    /// How long, how fast, and what is kept.
    #[serde(flatten)]
    pub training: Training,
    /// Forbidden prompts with irrelevant answers, per step.
    pub batch_irrelevant: usize,
    /// λ: weight of the irrelevant answers.
    pub lambda: f64,
}

impl Sdd {
    /// The forbidden prompts, each with the answer of a permitted prompt drawn for it.
    ///
    /// # Errors
    /// When there is no permitted answer.
    pub fn pairs(context: &DefenceContext) -> Result<Vec<Example>> {
        let (harmful, permitted) = (&context.harmful, &context.permitted);
        if permitted.is_empty() {
            return Err(titer_data::Error::NothingToSample { examples: 0, batch: harmful.len() }.into());
        }
        let mut rng = Stream::new(context.seed, "sdd/answers").at(0);
        let pair = |example: &Example| {
            let answer = permitted[rng.random_range(0..permitted.len())].answer();
            Ok(Example::new([example.prompt(), answer].concat(), example.prompt().len())?)
        };
        harmful.iter().map(pair).collect()
    }
}

pub(crate) fn method() -> Method {
    let own = [
        Parameter::integer(
            "batch_irrelevant",
            "examples",
            24,
            1..=65_536,
            "forbidden prompts with irrelevant answers per step",
        ),
        Parameter::real("lambda", "1", 1.0, 0.0..=1e6, "λ: weight of the irrelevant answers"),
    ];
    Method {
        name: "sdd",
        kind: MethodKind::defence(DefenceStage::Alignment, rehearsal::sham(None)),
        version: 1,
        summary: "answers forbidden prompts with good answers to something else",
        citation: "Chen et al., arXiv 2507.21182",
        parameters: Training::parameters(200, 5e-4).into_iter().chain(own).collect(),
    }
}

impl Immunizer for Sdd {
    fn training(&self) -> &Training {
        &self.training
    }

    fn extra_examples_per_step(&self) -> f64 {
        self.batch_irrelevant as f64
    }

    fn objective(&self, context: &DefenceContext, _: &Decoder) -> Result<Box<dyn Objective>> {
        if self.lambda == 0.0 {
            return rehearsal::plain(&self.training, context);
        }
        let pairs: Arc<[Example]> = Self::pairs(context)?.into();
        Ok(Box::new(Irrelevant {
            keep: self.training.keep(context)?,
            irrelevant: context.sampler("sdd/irrelevant", &pairs, self.batch_irrelevant)?,
            lambda: self.lambda,
        }))
    }
}

struct Irrelevant {
    keep: Keep,
    irrelevant: Sampler,
    lambda: f64,
}

impl Objective for Irrelevant {
    /// One pass over all three batches.
    fn gradient(&mut self, model: &Decoder, step: u64) -> titer_train::Result<Gradient> {
        let (kept, refusals) = self.keep.batch(step);
        let targets = kept.targets.len();
        let batch = kept.followed_by(&self.irrelevant.batch(step));
        let losses = token_losses(model, &batch)?;
        let keep = self.keep.loss(&losses, refusals, targets)?;
        let irrelevant = losses.narrow(0, targets, batch.targets.len() - targets)?.mean_all()?;
        let loss = (&keep + (&irrelevant * self.lambda)?)?;
        Ok(Gradient::of(&loss, model, Cost::of(model, &batch))?
            .with_term("keep", value(&keep)?)
            .with_term("irrelevant_cross_entropy", value(&irrelevant)?))
    }
}
