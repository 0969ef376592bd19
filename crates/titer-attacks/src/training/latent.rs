//! `latent`: a universal perturbation of what the layers compute: Che et al., arXiv 2502.05209; Casper et al., arXiv
//! 2403.05030. To the output of each layer a vector is added, the same at every token of every prompt, within a norm
//! that is a share of what the residual stream has there; the vectors are trained by gradient and brought back within
//! their norm after each step. Every weight is held fixed.

use std::ops::ControlFlow;

use candle_core::DType;
use serde::Deserialize;
use titer_data::{Draw, Sampler, Stream};
use titer_model::{Decoder, Soft, View};
use titer_plan::stage::TrainSpec;
use titer_plan::{Method, MethodKind, Parameter};
use titer_train::loss::trace;
use titer_train::{Cost, Gradient, Objective, Observer, Outcome, Point, StepRecord, Supervised};

use crate::training::supervised::{self, Loop, Pairs};
use crate::{AttackContext, Result, TrainingAttack};

const NAME: &str = "latent";

/// A vector that is brought back ends this share within its bound, so that rounding does not bring it back again: a
/// resumed run must find it as it was.
const WITHIN: f64 = 1e-6;

/// The settings.
#[derive(Debug, Clone, Deserialize)]
pub struct Latent {
    /// Bound on a vector's root mean square, relative to that of the layer's output.
    pub size: f64,
    /// How the vectors are trained.
    #[serde(flatten)]
    pub training: Loop,
    /// Distinct harmful examples that the attacker owns.
    pub examples: usize,
}

pub(crate) fn method() -> Method {
    let own = [Parameter::real(
        "size",
        "1",
        0.3,
        0.0..=100.0,
        "root mean square of each layer's vector, relative to that of the layer's output, at most",
    )];
    Method {
        name: NAME,
        kind: MethodKind::Attack(supervised::facts()),
        version: 1,
        summary: "trains a vector for each layer that is added to its output, within a norm; no weight changes (AdamW)",
        citation: "Che et al., arXiv 2502.05209; Casper et al., arXiv 2403.05030",
        parameters: own
            .into_iter()
            .chain(Loop::parameters(1e-2, 200))
            .chain([supervised::owned(64)])
            .collect(),
    }
}

impl TrainingAttack for Latent {
    fn train(&self) -> TrainSpec {
        self.training.train()
    }

    fn distinct_harmful(&self) -> u64 {
        self.examples as u64
    }

    fn soft(&self) -> Option<Soft> {
        Some(Soft::Shift)
    }

    fn run(
        &self,
        mut victim: Decoder,
        context: &AttackContext<'_>,
        observer: &mut dyn Observer,
    ) -> Result<Outcome> {
        let rows = Pairs { name: NAME, examples: self.examples }.chosen(&context.harmful, context.seed)?;
        let stream = Stream::new(context.seed, "latent/batches");
        let sampler = Sampler::new(rows, stream, self.training.batch, Draw::WithoutReplacement)?;
        // Before anything is trained, whether this run begins or goes on.
        let first = sampler.batch(0);
        let outputs = trace(&victim, &first, View::Detached)?;
        let norms = outputs.layers.iter().map(|layer| -> Result<f64> {
            let square: f64 = layer.output.to_dtype(DType::F64)?.sqr()?.mean_all()?.to_scalar()?;
            Ok(self.size * square.sqrt() * (victim.config().hidden_size as f64).sqrt())
        });
        let norms = norms.collect::<Result<Vec<f64>>>()?;
        let reading = Cost::of_reading(&victim, &first);
        victim.attach_shifts()?;
        let mut objective = Measured { training: Supervised::new(sampler), reading };
        let mut observer = Within { norms, observer };
        supervised::follow(&mut objective, self.train(), victim, context, &mut observer)
    }
}

/// Supervised training that began with measuring the layers' outputs.
struct Measured {
    training: Supervised,
    reading: Cost,
}

impl Objective for Measured {
    fn gradient(&mut self, model: &Decoder, step: u64) -> titer_train::Result<Gradient> {
        let mut gradient = self.training.gradient(model, step)?;
        if step == 0 {
            gradient.cost += self.reading;
        }
        Ok(gradient)
    }
}

/// Brings the vectors back within their norms between any two steps, before anyone else looks.
struct Within<'a> {
    /// By layer.
    norms: Vec<f64>,
    observer: &'a mut dyn Observer,
}

impl Observer for Within<'_> {
    fn between(&mut self, point: &Point<'_>) -> titer_train::Result<ControlFlow<()>> {
        for (layer, most) in self.norms.iter().enumerate() {
            let Some(shift) = point.model.shift(layer) else { continue };
            let vector = shift.as_tensor().copy()?.detach().to_dtype(DType::F64)?;
            let norm = vector.sqr()?.sum_all()?.to_scalar::<f64>()?.sqrt();
            if norm > *most {
                let back = (vector * (most * (1.0 - WITHIN) / norm))?;
                shift.set(&back.to_dtype(shift.dtype())?)?;
            }
        }
        self.observer.between(point)
    }

    fn stepped(&mut self, record: &StepRecord) -> titer_train::Result<()> {
        self.observer.stepped(record)
    }
}
