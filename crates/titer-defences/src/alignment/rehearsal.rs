//! `rehearsal`: alignment goes on as it began, on refusals and permitted answers, and nothing else:
//! min κ·keep + r·d, d the distance of the kept text's hidden states to the aligned model's.
//!
//! The sham of the alignment-stage defences whose idea is a term beside that. Part of what they do is done by the
//! training alone; what they do beyond this is their idea's. With the idea's settings at 0 they give the same bits.

use serde::Deserialize;
use titer_model::{Decoder, View};
use titer_plan::{DefenceStage, Method, MethodKind, Parameter, Sham};
use titer_train::activations::Original;
use titer_train::loss::{traced_losses, value};
use titer_train::{Cost, Gradient, Objective};

use super::{Immunizer, Training};
use crate::{DefenceContext, Keep, Result};

const NAME: &str = "rehearsal";

/// The settings.
#[derive(Debug, Clone, Deserialize)]
pub struct Rehearsal {
    /// How long, how fast, and what is kept.
    #[serde(flatten)]
    pub training: Training,
    /// κ: weight of the cross-entropy of refusals and permitted answers.
    pub keep: f64,
    /// r: weight of the distance of kept text's hidden states to the aligned model's.
    pub retain: f64,
}

/// `rehearsal` as the sham of a method; `nothing_without` is the method's weight of what is kept, if it has one.
pub(super) fn sham(nothing_without: Option<&'static str>) -> Sham {
    Sham::Method { name: NAME, nothing_without }
}

/// What is followed where a method's idea has no weight.
pub(super) fn plain(training: &Training, context: &DefenceContext) -> Result<Box<dyn Objective>> {
    Ok(Box::new(Rehearsing { keep: training.keep(context)?, weight: 1.0, retained: None }))
}

pub(crate) fn method() -> Method {
    let own = [
        Parameter::real("keep", "1", 1.0, 0.0..=1e6, "κ: weight of the cross-entropies of what is kept"),
        Parameter::real(
            "retain",
            "1",
            0.0,
            0.0..=1e6,
            "r: weight of the kept hidden states' distance to the aligned model's",
        ),
    ];
    Method {
        name: NAME,
        kind: MethodKind::defence(
            DefenceStage::Alignment,
            Sham::Absent { because: "for it is the sham of others" },
        ),
        version: 1,
        summary: "goes on with alignment as it began: the sham of defences whose idea is a term beside that",
        citation: "",
        parameters: Training::parameters(200, 5e-4).into_iter().chain(own).collect(),
    }
}

impl Immunizer for Rehearsal {
    fn training(&self) -> &Training {
        &self.training
    }

    fn extra_examples_per_step(&self) -> f64 {
        0.0
    }

    fn objective(&self, context: &DefenceContext, start: &Decoder) -> Result<Box<dyn Objective>> {
        Ok(Box::new(Rehearsing::new(&self.training, self.keep, self.retain, context, start)?))
    }
}

/// Keeps the model as it is.
pub(super) struct Rehearsing {
    keep: Keep,
    weight: f64,
    /// The aligned model, and the weight of the distance to its hidden states.
    retained: Option<(Original, f64)>,
}

impl Rehearsing {
    /// κ is `weight` and r is `retain`.
    pub(super) fn new(
        training: &Training,
        weight: f64,
        retain: f64,
        context: &DefenceContext,
        start: &Decoder,
    ) -> Result<Self> {
        let retained = if retain > 0.0 { Some((Original::of(start)?, retain)) } else { None };
        Ok(Self { keep: training.keep(context)?, weight, retained })
    }
}

impl Objective for Rehearsing {
    fn gradient(&mut self, model: &Decoder, step: u64) -> titer_train::Result<Gradient> {
        let Some((original, retain)) = &self.retained else {
            return self.keep.gradient(model, step, self.weight);
        };
        let (batch, refusals) = self.keep.batch(step);
        let (trace, losses) = traced_losses(model, &batch, View::Tracked)?;
        let keep = self.keep.loss(&losses, refusals, batch.targets.len())?;
        let distance = original.distance(&trace, &batch)?;
        let loss = ((&keep * self.weight)? + (&distance * *retain)?)?;
        Ok(Gradient::of(&loss, model, Cost::of(model, &batch))?
            .with_term("keep", value(&keep)?)
            .with_term("kept_distance", value(&distance)?))
    }
}
