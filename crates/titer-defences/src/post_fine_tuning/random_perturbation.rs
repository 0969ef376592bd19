//! `random-perturbation`: add Gaussian noise to the tuned weights: w + σ·z.
//!
//! Source: Wang et al., *Panacea*, arXiv 2501.18100: the simple remedy that the paper finds strong
//! against harm and costly for the task. Its public code gives σ as a number, the same for all trained
//! matrices (the adapters' factors); here σ may also be relative to each matrix.

use candle_core::{Device, Tensor};
use rand_distr::{Distribution, StandardNormal};
use serde::Deserialize;
use titer_data::Stream;
use titer_model::Decoder;
use titer_plan::{DefenceStage, Method, MethodKind, Parameter, Sham};
use titer_train::Selection;

use super::edit::edit;
use super::{Form, Repair, RepairContext, RepairReport};
use crate::Result;

const NAME: &str = "random-perturbation";

/// The settings.
#[derive(Debug, Clone, Deserialize)]
pub struct RandomPerturbation {
    /// Which weights are perturbed.
    #[serde(flatten)]
    pub selection: Selection,
    /// The noise's standard deviation, in the unit that `relative_to` says.
    pub scale: f64,
    /// The unit of `scale`.
    pub relative_to: NoiseUnit,
    /// The matrices that are perturbed.
    pub form: Form,
}

/// What the noise's standard deviation is measured by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NoiseUnit {
    /// The root mean square of the matrix that it is added to.
    Matrix,
    /// One.
    One,
}

pub(crate) fn method() -> Method {
    let own = [
        Parameter::real("scale", "1", 0.3, 0.0..=1e3, "standard deviation of the noise"),
        Parameter::choice(
            "relative_to",
            "matrix",
            &["matrix", "one"],
            "the unit of scale: the root mean square of each matrix, or one",
        ),
        Form::parameter(),
    ];
    Method {
        name: NAME,
        kind: MethodKind::defence(
            DefenceStage::PostFineTuning,
            Sham::Absent { because: "for it is the edit in random places that others are compared with" },
        ),
        version: 1,
        summary: "adds Gaussian noise to the tuned weights",
        citation: "Wang et al., arXiv 2501.18100",
        parameters: Selection::of_projections().into_iter().chain(own).collect(),
    }
}

impl Repair for RandomPerturbation {
    fn repair(&self, tuned: Decoder, context: &RepairContext) -> Result<(Decoder, RepairReport)> {
        let model = self.form.of(NAME, tuned)?;
        let report = edit(NAME, &model, &self.selection, |name, weight| {
            let deviation = match self.relative_to {
                NoiseUnit::Matrix => {
                    self.scale * f64::from(weight.sqr()?.mean_all()?.sqrt()?.to_scalar::<f32>()?)
                }
                NoiseUnit::One => self.scale,
            };
            let mut rng = Stream::new(context.data.seed, &format!("random-perturbation/{name}")).at(0);
            let noise: Vec<f32> = (0..weight.elem_count())
                .map(|_| {
                    let z: f64 = StandardNormal.sample(&mut rng);
                    (deviation * z) as f32
                })
                .collect();
            let noise = Tensor::from_vec(noise, weight.shape(), &Device::Cpu)?.to_device(weight.device())?;
            Ok((weight + noise)?)
        })?;
        Ok((model.merge()?, report))
    }
}
