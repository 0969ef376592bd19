//! `refusal-distillation`: keep the model's answers to alignment prompts where they were: min f_user(w) +
//! β·KL(p_start ‖ p_w), the mean over the supervised positions of alignment examples.
//!
//! Rehearsal of distributions on the provider's own examples, at every step. It is no baseline of the field, which
//! compares on the user's batch: that is `kl`. Qi et al., arXiv 2406.05946, measure by the same divergence what
//! fine-tuning does to a model.

use serde::Deserialize;
use titer_data::Sampler;
use titer_model::Decoder;
use titer_plan::{DefenceStage, Method, MethodKind, Parameter, Sham};
use titer_train::loss::{constant_logits, mean_cross_entropy, mean_divergence, supervised_logits, value};
use titer_train::{Cost, Gradient, Objective};

use super::guide::GuideSampler;
use super::{Guard, Guide, UserTraining};
use crate::{DefenceContext, Result};

const NAME: &str = "refusal-distillation";

/// The settings.
#[derive(Debug, Clone, Deserialize)]
pub struct RefusalDistillation {
    /// The alignment data.
    #[serde(flatten)]
    pub guide: Guide,
    /// β: weight of the divergence.
    pub beta: f64,
    /// What alignment examples are rehearsed towards.
    pub target: Rehearsed,
}

/// What alignment examples are rehearsed towards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rehearsed {
    /// The next-token distributions of the aligned model.
    Distributions,
    /// The answers as they are written: the same rehearsal without the anchor.
    Answers,
}

pub(crate) fn method() -> Method {
    let own = [
        Parameter::real("beta", "1", 1.0, 0.0..=1e6, "β: weight of the divergence from the start"),
        Parameter::choice(
            "target",
            "distributions",
            &["distributions", "answers"],
            "what is rehearsed: the aligned model's distributions, or the answers as written (cross-entropy)",
        ),
    ];
    Method {
        name: NAME,
        kind: MethodKind::defence(
            DefenceStage::FineTuning,
            Sham::Settings { settings: vec![("target", "answers".into())] },
        ),
        version: 1,
        summary: "holds the next-token distributions on alignment data near the aligned model's",
        citation: "",
        parameters: own.into_iter().chain(Guide::parameters(16)).collect(),
    }
}

impl Guard for RefusalDistillation {
    fn extra_examples_per_step(&self) -> f64 {
        self.guide.batch as f64
    }

    fn objective(
        &self,
        user: UserTraining,
        context: &DefenceContext,
        start: &Decoder,
    ) -> Result<Box<dyn Objective>> {
        Ok(Box::new(Anchored {
            user: user.batches,
            guide: self.guide.sampler(NAME, context)?,
            start: start.duplicate()?,
            beta: self.beta,
            target: self.target,
        }))
    }
}

struct Anchored {
    user: Sampler,
    guide: GuideSampler,
    start: Decoder,
    beta: f64,
    target: Rehearsed,
}

impl Objective for Anchored {
    fn gradient(&mut self, model: &Decoder, step: u64) -> titer_train::Result<Gradient> {
        let (user, guide) = (self.user.batch(step), self.guide.batch(step));
        let cross_entropy = mean_cross_entropy(model, &user)?;
        let mut cost = Cost::of(model, &user) + Cost::of(model, &guide);
        let (rehearsed, term) = match self.target {
            Rehearsed::Distributions => {
                cost += Cost::of_reading(model, &guide);
                let reference = constant_logits(&self.start, &guide)?;
                (mean_divergence(&supervised_logits(model, &guide)?, &reference)?, "divergence")
            }
            Rehearsed::Answers => (mean_cross_entropy(model, &guide)?, "guide_cross_entropy"),
        };
        let loss = (&cross_entropy + (&rehearsed * self.beta)?)?;
        Ok(Gradient::of(&loss, model, cost)?
            .with_term("cross_entropy", value(&cross_entropy)?)
            .with_term(term, value(&rehearsed)?))
    }
}
