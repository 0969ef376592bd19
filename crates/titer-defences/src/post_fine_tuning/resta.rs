//! `resta`: add back what harm takes away: w + γ·(w_aligned − w_unsafe), with w_unsafe the aligned model
//! fine-tuned on the defender's harmful text.
//!
//! Source: Bhardwaj et al., *Language models are Homer Simpson! Safety re-alignment of fine-tuned language
//! models through task arithmetic*, arXiv 2402.11746. Before the vector is added, the user's update may be
//! thinned by DARE (Yu et al., arXiv 2311.03099): each entry of w − w_aligned is dropped with probability p
//! and the others are divided by 1 − p.

use candle_core::{Device, Tensor};
use rand::RngExt;
use serde::Deserialize;
use titer_data::Stream;
use titer_model::Decoder;
use titer_plan::stage::TrainSpec;
use titer_plan::{DefenceStage, Method, MethodKind, Parameter};
use titer_train::{Selection, Supervised, Trainer};

use super::edit::{counterpart, edit};
use super::{Place, Repair, RepairContext, RepairReport};
use crate::Result;

const NAME: &str = "resta";

/// The settings.
#[derive(Debug, Clone, Deserialize)]
pub struct Resta {
    /// Which weights the vector is added to.
    #[serde(flatten)]
    pub selection: Selection,
    /// γ: how much of the safety vector is added.
    pub gamma: f64,
    /// p: the share of the user's update that DARE drops, 0…1, 1 excluded.
    pub drop: f64,
    /// Optimiser steps that make the aligned model unsafe.
    pub steps: u64,
    /// Their learning rate, constant.
    pub rate: f64,
    /// Harmful examples per step.
    pub batch: usize,
    /// Largest global gradient norm.
    pub clip: f64,
    /// Where the edit is made.
    pub place: Place,
}

pub(crate) fn method() -> Method {
    let own = [
        Parameter::real("gamma", "1", 0.8, 0.0..=1e3, "how much of the safety vector is added"),
        Parameter::real("drop", "1", 0.0, 0.0..=0.999, "share of the user's update that DARE drops"),
        Parameter::integer("steps", "steps", 50, 1..=10_000_000, "steps that make the aligned model unsafe"),
        Parameter::real("rate", "1/step", 3e-4, 1e-9..=1.0, "their learning rate, constant"),
        Parameter::integer("batch", "examples", 16, 1..=65_536, "harmful examples per step"),
        Parameter::real("clip", "1", 1.0, 1e-9..=1e9, "largest global gradient norm"),
        Place::parameter(),
    ];
    Method {
        name: NAME,
        kind: MethodKind::defence(DefenceStage::PostFineTuning, Place::sham()),
        version: 1,
        summary: "adds the difference between the aligned model and one made harmful on purpose",
        citation: "Bhardwaj et al., arXiv 2402.11746",
        parameters: Selection::parameters().into_iter().chain(own).collect(),
    }
}

impl Repair for Resta {
    fn training(&self) -> (u64, f64) {
        (self.steps, self.batch as f64)
    }

    fn repair(&self, tuned: Decoder, context: &RepairContext) -> Result<(Decoder, RepairReport)> {
        let harmful = context.data.sampler("resta/harmful", &context.data.harmful, self.batch)?;
        let harmed = context.aligned.duplicate()?.merge()?;
        let spec = TrainSpec::constant(self.steps, self.batch, self.rate, Some(self.clip));
        let mut trainer = Trainer::new(spec, &harmed)?;
        trainer.fit(&harmed, &mut Supervised::new(harmful), &mut ())?;

        let model = tuned.merge()?;
        let report = edit(NAME, &model, &self.selection, |name, weight| {
            let aligned = counterpart(NAME, &context.aligned, name, weight)?;
            let safety = (&aligned - counterpart(NAME, &harmed, name, weight)?)?;
            let kept = match self.drop > 0.0 {
                false => weight.clone(),
                true => (&aligned + self.thinned(context.data.seed, name, &(weight - &aligned)?)?)?,
            };
            self.place.edited(context.data.seed, name, weight, (kept + (safety * self.gamma)?)?)
        })?;
        Ok((model, RepairReport { cost: trainer.spent(), ..report }))
    }
}

impl Resta {
    /// DARE: entries dropped at random, the others rescaled so that the mean stays.
    fn thinned(&self, seed: u64, name: &str, update: &Tensor) -> Result<Tensor> {
        let mut rng = Stream::new(seed, &format!("resta/drop/{name}")).at(0);
        let rescaled = (1.0 / (1.0 - self.drop)) as f32;
        let factors: Vec<f32> = (0..update.elem_count())
            .map(|_| if rng.random::<f64>() < self.drop { 0.0 } else { rescaled })
            .collect();
        let factors = Tensor::from_vec(factors, update.shape(), &Device::Cpu)?.to_device(update.device())?;
        Ok((update * factors)?)
    }
}
