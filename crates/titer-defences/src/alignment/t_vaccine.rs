//! `t-vaccine`: Vaccine on a few layers at a time, drawn in proportion to how much the harmful loss depends
//! on them: p_l ∝ ‖∂h/∂(attention output of layer l)‖. Layers that are not drawn are neither shifted nor
//! trained.
//!
//! Source: Liu et al., *Targeted Vaccine: safety alignment for large language models against harmful
//! fine-tuning via layer-wise perturbation*, arXiv 2410.09760, algorithm 1. The norms are measured again every
//! `refresh` steps and kept between them; the draw depends on them, the seed and the step.

use candle_core::{DType, Device, Tensor};
use rand::{Rng, RngExt};
use serde::Deserialize;
use titer_data::{Sampler, Stream};
use titer_model::Decoder;
use titer_plan::{DefenceStage, Method, MethodKind, Parameter, Sham};
use titer_train::perturbed::{attention_gradients, norm};
use titer_train::{Cost, Error, Gradient, Objective, State};

use super::{Immunizer, Training, vaccine};
use crate::{DefenceContext, Keep, Result};

const IMPORTANCE: &str = "importance";

/// The settings.
#[derive(Debug, Clone, Deserialize)]
pub struct TVaccine {
    /// How long, how fast, and what is kept.
    #[serde(flatten)]
    pub training: Training,
    /// ρ: length of the shift, over all drawn layers and positions.
    pub rho: f64,
    /// Layers drawn at a time; all of them where there are fewer.
    pub layers: usize,
    /// Steps between two draws of layers.
    pub interval: u64,
    /// Steps between two measurements of the layers' importance.
    pub refresh: u64,
    /// Harmful examples per measurement.
    pub batch_harmful: usize,
}

pub(crate) fn method() -> Method {
    let own = [
        vaccine::rho(),
        Parameter::integer(
            "layers",
            "layers",
            2,
            1..=10_000,
            "layers shifted and trained at a time; all where there are fewer",
        ),
        Parameter::integer("interval", "steps", 5, 1..=10_000_000, "steps between two draws of layers"),
        Parameter::integer(
            "refresh",
            "steps",
            20,
            1..=10_000_000,
            "steps between two measurements of the layers' importance",
        ),
        Parameter::integer("batch_harmful", "examples", 24, 1..=65_536, "harmful examples per measurement"),
    ];
    Method {
        name: "t-vaccine",
        kind: MethodKind::defence(DefenceStage::Alignment, Sham::zero(&["rho"])),
        version: 1,
        summary: "Vaccine on a few layers at a time, those that the harmful loss depends on most often",
        citation: "Liu et al., arXiv 2410.09760",
        parameters: Training::parameters(200, 5e-4).into_iter().chain(own).collect(),
    }
}

impl Immunizer for TVaccine {
    fn training(&self) -> &Training {
        &self.training
    }

    fn extra_examples_per_step(&self) -> f64 {
        let kept = (self.training.batch_refusal + self.training.batch_permitted) as f64;
        kept + self.batch_harmful as f64 / self.refresh as f64
    }

    fn objective(&self, context: &DefenceContext, _: &Decoder) -> Result<Box<dyn Objective>> {
        Ok(Box::new(Targeted {
            keep: self.training.keep(context)?,
            harmful: context.sampler("t-vaccine/harmful", &context.harmful, self.batch_harmful)?,
            layers: Stream::new(context.seed, "t-vaccine/layers"),
            importance: Vec::new(),
            settings: self.clone(),
        }))
    }
}

struct Targeted {
    keep: Keep,
    harmful: Sampler,
    layers: Stream,
    /// Norm of the harmful gradient, layer by layer; empty before the first measurement.
    importance: Vec<f64>,
    settings: TVaccine,
}

impl Objective for Targeted {
    fn gradient(&mut self, model: &Decoder, step: u64) -> titer_train::Result<Gradient> {
        let mut measured = Cost::default();
        if self.importance.is_empty() || step.is_multiple_of(self.settings.refresh) {
            let batch = self.harmful.batch(step);
            let gradients = attention_gradients(model, &batch, |losses| Ok(losses.mean_all()?))?;
            self.importance =
                gradients.iter().map(|gradient| norm([gradient])).collect::<titer_train::Result<_>>()?;
            measured = Cost::of(model, &batch);
        }
        let mut rng = self.layers.at(step - step % self.settings.interval);
        let drawn = draw(&self.importance, self.settings.layers, &mut rng);
        let mut gradient =
            vaccine::perturbed(&self.keep, model, step, self.settings.rho, |layer| drawn.contains(&layer))?;
        gradient.cost += measured;
        for (name, along) in &mut gradient.by_parameter {
            if layer_of(name).is_some_and(|layer| !drawn.contains(&layer)) {
                *along = along.zeros_like()?;
            }
        }
        Ok(gradient)
    }

    fn state(&self) -> titer_train::Result<State> {
        if self.importance.is_empty() {
            return Ok(State::new());
        }
        Ok(State::from([(IMPORTANCE.to_owned(), Tensor::new(self.importance.as_slice(), &Device::Cpu)?)]))
    }

    fn restore(&mut self, mut state: State) -> titer_train::Result<()> {
        if let Some(importance) = state.remove(IMPORTANCE) {
            self.importance = importance.to_dtype(DType::F64)?.to_vec1()?;
        }
        match state.keys().next() {
            None => Ok(()),
            Some(name) => Err(Error::ObjectiveState { problem: format!("{name} is not known to it") }),
        }
    }
}

/// The layer that a parameter belongs to, if it is a layer's.
fn layer_of(name: &str) -> Option<usize> {
    name.strip_prefix("model.layers.")?.split('.').next()?.parse().ok()
}

/// `count` different places, one after the other, each in proportion to its weight among those that are
/// left; where no weight is left, evenly.
fn draw(weights: &[f64], count: usize, rng: &mut impl Rng) -> Vec<usize> {
    let mut left: Vec<usize> = (0..weights.len()).collect();
    let mut drawn = Vec::new();
    while drawn.len() < count && !left.is_empty() {
        let total: f64 = left.iter().map(|at| weights[*at]).sum();
        let weight = |at: &usize| if total > 0.0 { weights[*at] / total } else { 1.0 / left.len() as f64 };
        let mut until = rng.random::<f64>();
        let chosen = left.iter().position(|at| {
            until -= weight(at);
            until < 0.0
        });
        // Rounding may leave a rest: then it is the last.
        drawn.push(left.remove(chosen.unwrap_or(left.len() - 1)));
    }
    drawn
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_drawn_in_proportion_and_only_once() {
        let stream = Stream::new(1, "test");
        let mut first = [0_u32; 3];
        for step in 0..4000 {
            let drawn = draw(&[1.0, 2.0, 5.0], 2, &mut stream.at(step));
            assert_eq!(drawn.len(), 2);
            assert_ne!(drawn[0], drawn[1]);
            first[drawn[0]] += 1;
        }
        // 500, 1000 and 2500 are expected, with deviations of 21, 27 and 31.
        assert!(first[0].abs_diff(500) < 90 && first[1].abs_diff(1000) < 110, "{first:?}");
        assert_eq!(draw(&[0.0, 0.0], 5, &mut stream.at(0)).len(), 2);
    }

    #[test]
    fn parameters_know_their_layer() {
        assert_eq!(layer_of("model.layers.12.mlp.up_proj.weight"), Some(12));
        assert_eq!(layer_of("model.embed_tokens.weight"), None);
    }
}
