//! `panacea`: a perturbation that raises the loss of harmful answers, and weights that go on fitting under
//! which it does so most. Each step follows ∇g(w) + λ·(∇h(w) − ∇h(w + ε)), ε = ρ·∇h(w)/‖∇h(w)‖, with h the
//! cross-entropy of harmful answers and g of the task; in the end ε is added to w.
//!
//! Source: Wang et al., *Panacea: Mitigating harmful fine-tuning for large language models via
//! post-fine-tuning perturbation*, arXiv 2501.18100, Algorithm 1, and its public code (w-yibo/Panacea), from
//! which come the cap on h(w + ε) and the norm over adapters where adapters are trained. There g is the
//! user's own loss and the steps are the user's fine-tuning. A repair sees the tuned model and none of the
//! user's data: g is the loss of the defender's permitted examples, and with no steps at all only the
//! perturbation remains.

use std::collections::BTreeMap;

use candle_core::Tensor;
use serde::Deserialize;
use titer_data::{Packed, Sampler};
use titer_model::Decoder;
use titer_plan::stage::TrainSpec;
use titer_plan::{DefenceStage, Method, MethodKind, Parameter};
use titer_train::loss::{mean_cross_entropy, value};
use titer_train::{Cost, Gradient, Objective, Trainer};

use super::edit::differences;
use super::{Place, Repair, RepairContext, RepairReport};
use crate::{DefenceContext, Result};

/// Added to the gradient's norm before dividing by it, as in the public code.
const EPSILON: f64 = 1e-7;

/// The settings.
#[derive(Debug, Clone, Deserialize)]
pub struct Panacea {
    /// ρ: the perturbation's Euclidean norm over all trained weights.
    pub rho: f64,
    /// λ: weight of the harmful loss that the perturbation brings.
    pub lambda: f64,
    /// Perturbed harmful cross-entropy, in nats, above which it exerts no pull.
    pub cap: f64,
    /// Optimiser steps before the perturbation is added; 0 perturbs the tuned model itself.
    pub steps: u64,
    /// Their learning rate, constant.
    pub rate: f64,
    /// Harmful examples per step.
    pub batch_harmful: usize,
    /// Permitted examples per step.
    pub batch_permitted: usize,
    /// Largest global gradient norm.
    pub clip: f64,
    /// Where the final perturbation is made.
    pub place: Place,
}

pub(crate) fn method() -> Method {
    let parameters = vec![
        Parameter::real("rho", "1", 1.0, 0.0..=1e6, "norm of the perturbation over all trained weights"),
        Parameter::real("lambda", "1", 1e-3, 0.0..=1e6, "weight of the harmful loss under perturbation"),
        Parameter::real("cap", "nats", 5.0, 0.0..=1e3, "perturbed harmful loss above which it is silent"),
        Parameter::integer("steps", "steps", 100, 0..=10_000_000, "steps before the perturbation is added"),
        Parameter::real("rate", "1/step", 2e-5, 1e-9..=1.0, "their learning rate, constant"),
        Parameter::integer("batch_harmful", "examples", 16, 1..=65_536, "harmful examples per step"),
        Parameter::integer("batch_permitted", "examples", 16, 1..=65_536, "permitted examples per step"),
        Parameter::real("clip", "1", 1.0, 1e-9..=1e9, "largest global gradient norm"),
        Place::parameter(),
    ];
    Method {
        name: "panacea",
        kind: MethodKind::defence(DefenceStage::PostFineTuning, Place::sham().with("lambda", 0.0)),
        version: 1,
        summary: "adds the perturbation of given norm that raises the loss of harmful answers most",
        citation: "Wang et al., arXiv 2501.18100",
        parameters,
    }
}

impl Panacea {
    /// What its steps follow, before the perturbation is added.
    ///
    /// # Errors
    /// When there are fewer examples than a batch needs.
    pub fn objective(&self, data: &DefenceContext) -> Result<impl Objective + use<>> {
        Ok(Perturbed {
            harmful: self.harmful(data)?,
            permitted: data.sampler("panacea/permitted", &data.permitted, self.batch_permitted)?,
            rho: self.rho,
            lambda: self.lambda,
            cap: self.cap,
        })
    }

    fn harmful(&self, data: &DefenceContext) -> Result<Sampler> {
        data.sampler("panacea/harmful", &data.harmful, self.batch_harmful)
    }
}

impl Repair for Panacea {
    fn training(&self) -> (u64, f64) {
        (self.steps, (2 * self.batch_harmful + self.batch_permitted) as f64)
    }

    fn repair(&self, tuned: Decoder, context: &RepairContext) -> Result<(Decoder, RepairReport)> {
        let mut objective = self.objective(&context.data)?;
        let before = tuned.parameters().snapshot()?;
        let batch = self.batch_harmful + self.batch_permitted;
        let spec = TrainSpec::constant(self.steps, batch, self.rate, Some(self.clip));
        let mut trainer = Trainer::new(spec, &tuned)?;
        trainer.fit(&tuned, &mut objective, &mut ())?;

        let harmful = self.harmful(&context.data)?.batch(self.steps);
        let mut gradient = of_cross_entropy(&tuned, &harmful)?;
        for (name, along) in &mut gradient.by_parameter {
            *along = self.place.put_tensor(context.data.seed, name, along)?;
        }
        tuned.parameters().assign(&perturbed(&tuned, &gradient, self.rho)?)?;
        let mut report = RepairReport { cost: trainer.spent(), ..RepairReport::default() };
        report.cost += gradient.cost;
        for (name, var) in tuned.parameters().iter() {
            report.changed += differences(&before[name], var.as_tensor())?;
            report.considered += var.elem_count() as u64;
        }
        Ok((tuned.merge()?, report))
    }
}

fn of_cross_entropy(model: &Decoder, batch: &Packed) -> titer_train::Result<Gradient> {
    let loss = mean_cross_entropy(model, batch)?;
    Ok(Gradient::of(&loss, model, Cost::of(model, batch))?.with_term("cross_entropy", value(&loss)?))
}

/// w + ρ·∇/‖∇‖.
fn perturbed(
    model: &Decoder,
    gradient: &Gradient,
    rho: f64,
) -> titer_train::Result<BTreeMap<String, Tensor>> {
    let scale = rho / (gradient.norm()? + EPSILON);
    let weights = model.parameters().iter();
    let moved = weights.map(|(name, var)| {
        let step = (&gradient.by_parameter[name] * scale)?;
        Ok((name.to_owned(), (var.as_tensor().detach() + step)?))
    });
    moved.collect()
}

struct Perturbed {
    harmful: Sampler,
    permitted: Sampler,
    rho: f64,
    lambda: f64,
    cap: f64,
}

impl Objective for Perturbed {
    fn gradient(&mut self, model: &Decoder, step: u64) -> titer_train::Result<Gradient> {
        let harmful = self.harmful.batch(step);
        let task = of_cross_entropy(model, &self.permitted.batch(step))?;
        let plain = of_cross_entropy(model, &harmful)?;
        let shaken = model.duplicate()?;
        shaken.parameters().assign(&perturbed(model, &plain, self.rho)?)?;
        let loss = mean_cross_entropy(&shaken, &harmful)?;
        let (raised, cost) = (value(&loss)?, Cost::of(&shaken, &harmful));
        // min(h, cap) has no gradient above the cap.
        let pull = if raised > self.cap { 0.0 } else { -self.lambda };
        let shaken = Gradient::of(&loss, &shaken, cost)?.with_term("perturbed_cross_entropy", raised);
        task.add_scaled(self.lambda, &plain)?.add_scaled(pull, &shaken)
    }
}
