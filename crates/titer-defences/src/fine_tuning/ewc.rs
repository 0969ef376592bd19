//! `ewc`: elastic weight consolidation: weights that alignment depends on are held harder: min f_user(w) +
//! λ/2·Σ Fᵢ(wᵢ − startᵢ)², F the diagonal of the empirical Fisher information of alignment data at the
//! start: the mean over batches of the squared gradient of their mean cross-entropy.
//!
//! Source: Kirkpatrick et al., *Overcoming catastrophic forgetting in neural networks*, arXiv 1612.00796,
//! equation 3; a baseline of git-disl/Vaccine and git-disl/Lisa (`FITrainer`), which has λ where this has
//! λ/2 and sums over batches. With one example per batch F is the Fisher information of answers, each
//! weighted by its length; larger batches average gradients before they are squared.
//!
//! Of fresh adapters B is zero, so that A has no gradient at the start and F does not hold it.

use std::collections::BTreeMap;

use candle_core::Tensor;
use serde::Deserialize;
use titer_data::Sampler;
use titer_model::Decoder;
use titer_plan::{DefenceStage, Method, MethodKind, Parameter};
use titer_train::loss::{mean_cross_entropy, value};
use titer_train::{Anchor, Cost, Gradient, Objective};

use super::guide::GuideSampler;
use super::{Guard, Guide, UserTraining, training_alone};
use crate::{DefenceContext, Result};

/// The settings.
#[derive(Debug, Clone, Deserialize)]
pub struct Ewc {
    /// The alignment data; `batch` examples to each squared gradient.
    #[serde(flatten)]
    pub guide: Guide,
    /// λ: strength of the pull to the start.
    pub lambda: f64,
    /// Squared gradients in the mean.
    pub fisher_batches: u64,
}

pub(crate) fn method() -> Method {
    let own = [
        Parameter::real("lambda", "1", 1e7, 0.0..=1e12, "λ: strength of the pull to the start"),
        Parameter::integer(
            "fisher_batches",
            "batches",
            64,
            1..=1_000_000,
            "alignment batches whose squared gradients say which weights matter",
        ),
    ];
    Method {
        name: "ewc",
        kind: MethodKind::defence(DefenceStage::FineTuning, training_alone()),
        version: 1,
        summary: "pulls each weight to its start as hard as alignment data depend on it",
        citation: "Kirkpatrick et al., arXiv 1612.00796",
        parameters: own.into_iter().chain(Guide::parameters(1)).collect(),
    }
}

impl Guard for Ewc {
    /// None: alignment data are read once, before the first step.
    fn extra_examples_per_step(&self) -> f64 {
        0.0
    }

    fn objective(
        &self,
        user: UserTraining,
        context: &DefenceContext,
        start: &Decoder,
    ) -> Result<Box<dyn Objective>> {
        let (fisher, spent) = fisher(start, &self.guide.sampler("ewc", context)?, self.fisher_batches)?;
        let anchor = Anchor::at(start)?.weighted(fisher)?;
        Ok(Box::new(Consolidated { user: user.batches, anchor, lambda: self.lambda, spent }))
    }
}

/// The diagonal by parameter, and what computing it took.
fn fisher(model: &Decoder, guide: &GuideSampler, batches: u64) -> Result<(BTreeMap<String, Tensor>, Cost)> {
    let mut sum: BTreeMap<String, Tensor> = BTreeMap::new();
    let mut spent = Cost::default();
    for at in 0..batches {
        let batch = guide.batch(at);
        let gradient = Gradient::of(&mean_cross_entropy(model, &batch)?, model, Cost::of(model, &batch))?;
        for (name, gradient) in gradient.by_parameter {
            let mut square = (gradient.detach().sqr()? / batches as f64)?;
            if let Some(before) = sum.get(&name) {
                square = (before + square)?;
            }
            sum.insert(name, square);
        }
        spent += gradient.cost;
    }
    Ok((sum, spent))
}

struct Consolidated {
    user: Sampler,
    anchor: Anchor,
    lambda: f64,
    /// What the Fisher information took; the first step bears it.
    spent: Cost,
}

impl Objective for Consolidated {
    /// The anchor is the start and F a function of it: a resumed run computes the same again.
    fn gradient(&mut self, model: &Decoder, step: u64) -> titer_train::Result<Gradient> {
        let batch = self.user.batch(step);
        let loss = mean_cross_entropy(model, &batch)?;
        let mut cost = Cost::of(model, &batch);
        if step == 0 {
            cost += self.spent;
        }
        Gradient::of(&loss, model, cost)?
            .with_term("cross_entropy", value(&loss)?)
            .add_scaled(1.0, &self.anchor.pull(model, self.lambda)?)
    }
}
