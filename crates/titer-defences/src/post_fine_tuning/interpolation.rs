//! `interpolation`: go part of the way back to the aligned model: w = (1 − α)·w_tuned + α·w_aligned.
//!
//! Source: Wortsman et al., *Robust fine-tuning of zero-shot models* (WiSE-FT), arXiv 2109.01903, there
//! against loss of robustness. The plain baseline of this stage: a method that edits weights with more
//! thought should beat it.

use serde::Deserialize;
use titer_model::Decoder;
use titer_plan::{DefenceStage, Method, MethodKind, Parameter};
use titer_train::Selection;

use super::edit::{counterpart, edit};
use super::{Place, Repair, RepairContext, RepairReport};
use crate::Result;

const NAME: &str = "interpolation";

/// The settings.
#[derive(Debug, Clone, Deserialize)]
pub struct Interpolation {
    /// Which weights go back.
    #[serde(flatten)]
    pub selection: Selection,
    /// α: the aligned model's part, 0…1.
    pub alpha: f64,
    /// Where the edit is made.
    pub place: Place,
}

pub(crate) fn method() -> Method {
    let alpha = Parameter::real("alpha", "1", 0.5, 0.0..=1.0, "the aligned model's part of the weights");
    let own = [alpha, Place::parameter()];
    Method {
        name: NAME,
        kind: MethodKind::defence(DefenceStage::PostFineTuning, Place::sham()),
        version: 1,
        summary: "averages the tuned weights with the aligned ones: the plain baseline of its stage",
        citation: "Wortsman et al., arXiv 2109.01903",
        parameters: Selection::parameters().into_iter().chain(own).collect(),
    }
}

impl Repair for Interpolation {
    fn repair(&self, tuned: Decoder, context: &RepairContext) -> Result<(Decoder, RepairReport)> {
        let model = tuned.merge()?;
        let report = edit(NAME, &model, &self.selection, |name, weight| {
            let aligned = counterpart(NAME, &context.aligned, name, weight)?;
            let between = ((weight * (1.0 - self.alpha))? + (aligned * self.alpha)?)?;
            self.place.edited(context.data.seed, name, weight, between)
        })?;
        Ok((model, report))
    }
}
