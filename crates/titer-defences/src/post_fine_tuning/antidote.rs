//! `antidote`: find the weights that matter most to harmful text and set them to zero. Score
//! S = |W|·‖X‖₂ with ‖X‖₂² the mean over harmful texts of the sum over tokens of the squared input (Wanda);
//! in each row of each matrix the highest share goes.
//!
//! Source: Huang et al., *Antidote: Post-fine-tuning safety alignment for large language models against
//! harmful fine-tuning*, arXiv 2408.09600, and its public code (git-disl/Antidote), from which come the
//! rounding and the form in which each factor of an adapter is a matrix of its own. Sparing what matters to
//! refusals is a mask that the code of the same group subtracts in places, there made on the aligned model.

use candle_core::{Device, Tensor};
use rand::seq::index;
use serde::Deserialize;
use titer_data::{Example, Stream};
use titer_model::Decoder;
use titer_plan::{DefenceStage, Method, MethodKind, Parameter};
use titer_train::wanda::{InputNorms, highest, input_norms};
use titer_train::{Cost, Selection};

use super::edit::edit;
use super::{Form, Place, Repair, RepairContext, RepairReport};
use crate::{DefenceContext, Error, Result};

const NAME: &str = "antidote";

/// The settings.
#[derive(Debug, Clone, Deserialize)]
pub struct Antidote {
    /// Which matrices are pruned.
    #[serde(flatten)]
    pub selection: Selection,
    /// The share of each row that is set to zero, 0…1.
    pub share: f64,
    /// Texts at most on which scores are computed; 0 for scores |W| alone.
    pub samples: usize,
    /// The matrices that are scored and pruned.
    pub form: Form,
    /// The share of each row, highest scores on `spared_by`, that is never set to zero, 0…1.
    pub spare: f64,
    /// The texts by which weights are spared.
    pub spared_by: SparedBy,
    /// Where the edit is made.
    pub place: Place,
}

/// The texts by which weights are spared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SparedBy {
    /// Refusals.
    Refusals,
    /// Permitted prompts with their answers.
    Permitted,
    /// Both, so many texts of each.
    Both,
}

pub(crate) fn method() -> Method {
    let own = [
        Parameter::real("share", "1", 0.02, 0.0..=1.0, "share of each row that is set to zero"),
        Parameter::integer(
            "samples",
            "texts",
            256,
            0..=1_000_000,
            "texts of a kind at most that scores are computed on; 0 scores by magnitude alone",
        ),
        Form::parameter(),
        Parameter::real(
            "spare",
            "1",
            0.0,
            0.0..=1.0,
            "share of each row, highest scores on spared_by, that is never set to zero",
        ),
        Parameter::choice(
            "spared_by",
            "both",
            &["refusals", "permitted", "both"],
            "the texts by which weights are spared",
        ),
        Place::parameter(),
    ];
    Method {
        name: NAME,
        kind: MethodKind::defence(DefenceStage::PostFineTuning, Place::sham()),
        version: 1,
        summary: "sets the weights to zero that matter most to harmful text",
        citation: "Huang et al., arXiv 2408.09600",
        parameters: Selection::of_projections().into_iter().chain(own).collect(),
    }
}

impl Repair for Antidote {
    fn repair(&self, tuned: Decoder, context: &RepairContext) -> Result<(Decoder, RepairReport)> {
        let model = self.form.of(NAME, tuned)?;
        let mut cost = Cost::default();
        let harmful = match self.samples {
            0 => None,
            _ => Some(self.norms(&model, &self.texts(&context.data, &[Kind::Harmful]), &mut cost)?),
        };
        let spared_by: &[Kind] = match self.spared_by {
            SparedBy::Refusals => &[Kind::Refusals],
            SparedBy::Permitted => &[Kind::Permitted],
            SparedBy::Both => &[Kind::Refusals, Kind::Permitted],
        };
        let spared = match self.spare > 0.0 {
            false => None,
            true => Some(self.norms(&model, &self.texts(&context.data, spared_by), &mut cost)?),
        };
        let report = edit(NAME, &model, &self.selection, |name, weight| {
            let mut goes = marks(harmful.as_ref(), name, weight, self.share)?;
            if let Some(spared) = &spared {
                let stays = marks(Some(spared), name, weight, self.spare)?;
                goes.iter_mut().zip(stays).for_each(|(goes, stays)| *goes &= !stays);
            }
            let goes = self.place.put(context.data.seed, name, goes);
            let keep: Vec<f32> = goes.into_iter().map(|goes| if goes { 0.0 } else { 1.0 }).collect();
            let keep = Tensor::from_vec(keep, weight.shape(), &Device::Cpu)?.to_device(weight.device())?;
            Ok((weight * keep)?)
        })?;
        Ok((model.merge()?, RepairReport { cost, ..report }))
    }
}

/// The defender's texts.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Harmful,
    Refusals,
    Permitted,
}

impl Antidote {
    /// At most `samples` texts of each kind, drawn without replacement.
    fn texts<'a>(&self, data: &'a DefenceContext, kinds: &[Kind]) -> Vec<&'a Example> {
        let mut texts = Vec::new();
        for kind in kinds {
            let (all, stream) = match kind {
                Kind::Harmful => (&data.harmful, "antidote/harmful"),
                Kind::Refusals => (&data.refusals, "antidote/refusals"),
                Kind::Permitted => (&data.permitted, "antidote/permitted"),
            };
            let mut rng = Stream::new(data.seed, stream).at(0);
            let chosen = index::sample(&mut rng, all.len(), self.samples.min(all.len()));
            texts.extend(chosen.into_iter().map(|at| &all[at]));
        }
        texts
    }

    fn norms(&self, model: &Decoder, texts: &[&Example], cost: &mut Cost) -> Result<InputNorms> {
        if texts.is_empty() {
            return inapplicable("there are no texts to score weights on".to_owned());
        }
        let (norms, took) = input_norms(model, &|name| self.selection.contains(name), texts)?;
        *cost += took;
        Ok(norms)
    }
}

/// The highest scores of each row of the parameter of this name; by magnitude where there are no norms.
fn marks(norms: Option<&InputNorms>, name: &str, weight: &Tensor, share: f64) -> Result<Vec<bool>> {
    match norms.map(|norms| norms.get(name)) {
        None => Ok(highest(weight, None, share)?),
        Some(Some(norms)) => Ok(highest(weight, Some(norms), share)?),
        Some(None) => inapplicable(format!("{name} is no projection's: choose other matrices")),
    }
}

fn inapplicable<T>(problem: String) -> Result<T> {
    Err(Error::NotApplicable { name: NAME, problem })
}
