//! `safe-lora`: keep of each update what lies along the direction of alignment. Per matrix,
//! V = w_aligned − w_base, C = V·Vᵀ / ‖V‖_F, ΔW = w_tuned − w_aligned; where cos(C·ΔW, ΔW) is at most the
//! threshold, ΔW becomes C·ΔW.
//!
//! Source: Hsu et al., *Safe LoRA: the silver lining of reducing safety risks when fine-tuning large language
//! models*, arXiv 2405.16833, and its public code (IBM/SafeLoRA). There ΔW = B·A is a LoRA product and C
//! multiplies B; the product is the same, and any other update can be taken for ΔW. C is no projection, for it
//! grows with ‖V‖_F: the scale-free V·Vᵀ / ‖V‖_F² is offered beside it.

use std::collections::BTreeMap;

use candle_core::{DType, Tensor};
use serde::Deserialize;
use titer_model::Decoder;
use titer_plan::{DefenceStage, Method, MethodKind, Parameter};
use titer_train::Selection;

use super::edit::{counterpart, edit};
use super::{Place, Repair, RepairContext, RepairReport};
use crate::Result;

const NAME: &str = "safe-lora";

/// The settings.
#[derive(Debug, Clone, Deserialize)]
pub struct SafeLora {
    /// Which matrices may be projected.
    #[serde(flatten)]
    pub selection: Selection,
    /// Cosine between an update and its projection up to which the projection takes its place, −1…1.
    pub threshold: f64,
    /// How many matrices are projected, those of the lowest cosine; 0 for those that `threshold` says.
    pub count: usize,
    /// What V·Vᵀ is divided by.
    pub normalization: Normalization,
    /// Where the edit is made.
    pub place: Place,
}

/// What V·Vᵀ is divided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Normalization {
    /// ‖V‖_F, as in the paper: the projected update grows with the size of the alignment direction.
    Norm,
    /// ‖V‖_F²: eigenvalues lie in 0…1 and sum to 1.
    SquaredNorm,
}

pub(crate) fn method() -> Method {
    let own = [
        Parameter::real(
            "threshold",
            "1",
            0.6,
            -1.0..=1.0,
            "cosine of an update and its projection up to which it is projected",
        ),
        Parameter::integer(
            "count",
            "matrices",
            0,
            0..=1_000_000,
            "project so many matrices of the lowest cosine instead; 0 for the threshold",
        ),
        Parameter::choice(
            "normalization",
            "norm",
            &["norm", "squared-norm"],
            "what V·Vᵀ is divided by: the norm of V, or its square",
        ),
        Place::parameter(),
    ];
    Method {
        name: NAME,
        kind: MethodKind::defence(DefenceStage::PostFineTuning, Place::sham()),
        version: 1,
        summary: "projects updates that leave the direction of alignment back onto it",
        citation: "Hsu et al., arXiv 2405.16833",
        parameters: Selection::of_projections().into_iter().chain(own).collect(),
    }
}

impl Repair for SafeLora {
    fn repair(&self, tuned: Decoder, context: &RepairContext) -> Result<(Decoder, RepairReport)> {
        let base = context.base(NAME)?;
        let model = tuned.merge()?;
        let parts = |name: &str, weight: &Tensor| -> Result<[Tensor; 3]> {
            let aligned = counterpart(NAME, &context.aligned, name, weight)?;
            let direction = (&aligned - counterpart(NAME, base, name, weight)?)?;
            let update = (weight - &aligned)?;
            let projected = self.project(&direction, &update)?;
            Ok([aligned, update, projected])
        };
        let mut cosines = BTreeMap::new();
        for (name, var) in model.parameters().iter().filter(|(name, _)| self.selection.contains(name)) {
            let [_, update, projected] = parts(name, &var.as_tensor().detach().to_dtype(DType::F32)?)?;
            // Where alignment or the user changed nothing there is no angle, and nothing to project.
            if let Some(cosine) = cosine(&update, &projected)? {
                cosines.insert(name.to_owned(), cosine);
            }
        }
        let mut ascending: Vec<f64> = cosines.values().copied().collect();
        ascending.sort_by(f64::total_cmp);
        let threshold = match self.count {
            0 => self.threshold,
            count => ascending.get(count - 1).or(ascending.last()).copied().unwrap_or(self.threshold),
        };
        let report = edit(NAME, &model, &self.selection, |name, weight| {
            if cosines.get(name).is_none_or(|cosine| *cosine > threshold) {
                return Ok(weight.clone());
            }
            let [aligned, _, projected] = parts(name, weight)?;
            self.place.edited(context.data.seed, name, weight, (aligned + projected)?)
        })?;
        Ok((model, report))
    }
}

impl SafeLora {
    /// C·ΔW.
    fn project(&self, direction: &Tensor, update: &Tensor) -> Result<Tensor> {
        let norm = norm(direction)?;
        if norm == 0.0 {
            return Ok(update.zeros_like()?);
        }
        let divisor = match self.normalization {
            Normalization::Norm => norm,
            Normalization::SquaredNorm => norm * norm,
        };
        Ok((direction.matmul(&direction.t()?)?.matmul(update)? / divisor)?)
    }
}

fn norm(tensor: &Tensor) -> Result<f64> {
    Ok(inner(tensor, tensor)?.sqrt())
}

fn inner(a: &Tensor, b: &Tensor) -> Result<f64> {
    Ok((a.to_dtype(DType::F64)? * b.to_dtype(DType::F64)?)?.sum_all()?.to_scalar()?)
}

/// None where one of the two is zero.
fn cosine(a: &Tensor, b: &Tensor) -> Result<Option<f64>> {
    let norms = norm(a)? * norm(b)?;
    Ok(if norms > 0.0 { Some(inner(a, b)? / norms) } else { None })
}
