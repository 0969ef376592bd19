//! `freeze`: train only a part: some layers, or their attention or MLP blocks, stay bit for bit as they
//! were aligned.
//!
//! Source: Li et al., *Safety layers in aligned large language models*, arXiv 2408.17003 (SPPFT): a run of
//! layers in the middle, where the model tells harmful prompts from others, gets no gradient.

use serde::Deserialize;
use titer_model::Decoder;
use titer_plan::{DefenceStage, Method, MethodKind, Parameter};
use titer_train::{Objective, Partial};

use super::{Guard, UserTraining, training_alone};
use crate::{DefenceContext, Error, Result};

/// The settings.
#[derive(Debug, Clone, Deserialize)]
pub struct Freeze {
    /// What of these layers is held.
    pub part: Part,
    /// The first layer, from 0.
    pub first_layer: usize,
    /// The last layer.
    pub last_layer: usize,
}

/// What of a layer is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// All of it, norms included.
    Layers,
    /// The attention's projections.
    Attention,
    /// The MLP's projections.
    Mlp,
}

pub(crate) fn method() -> Method {
    Method {
        name: "freeze",
        kind: MethodKind::defence(DefenceStage::FineTuning, training_alone()),
        version: 1,
        summary: "holds a run of layers, or their attention or MLP, while the rest is trained",
        citation: "Li et al., arXiv 2408.17003",
        parameters: vec![
            Parameter::choice(
                "part",
                "layers",
                &["layers", "attention", "mlp"],
                "what of the layers is held: all of it with its norms, or the projections of a block",
            ),
            Parameter::integer("first_layer", "layers", 1, 0..=10_000, "the first of them, from 0"),
            Parameter::integer("last_layer", "layers", 1, 0..=10_000, "the last of them"),
        ],
    }
}

impl Guard for Freeze {
    fn extra_examples_per_step(&self) -> f64 {
        0.0
    }

    fn objective(
        &self,
        user: UserTraining,
        _: &DefenceContext,
        start: &Decoder,
    ) -> Result<Box<dyn Objective>> {
        let refuse = |problem: String| Err(Error::NotApplicable { name: "freeze", problem });
        let layers = start.config().num_hidden_layers;
        let Self { first_layer, last_layer, .. } = *self;
        if first_layer > last_layer || last_layer >= layers {
            return refuse(format!(
                "layers {first_layer} to {last_layer} are no run within the model's 0 to {}",
                layers - 1
            ));
        }
        let held = start.parameters().iter().filter(|(name, _)| self.holds(name)).count();
        if held == 0 {
            return refuse("no trained weight lies in the part that is to be held".to_owned());
        }
        if held == start.parameters().len() {
            return refuse("every trained weight lies in the part that is to be held".to_owned());
        }
        let settings = self.clone();
        Ok(Box::new(Partial::holding(user.objective(), move |name| settings.holds(name))))
    }
}

impl Freeze {
    /// Whether the weight of this name, or the adapter's factor, is held.
    fn holds(&self, name: &str) -> bool {
        let Some((_, within)) = name.split_once("model.layers.") else { return false };
        let Some((layer, rest)) = within.split_once('.') else { return false };
        let of_part = match self.part {
            Part::Layers => true,
            Part::Attention => rest.starts_with("self_attn."),
            Part::Mlp => rest.starts_with("mlp."),
        };
        of_part && layer.parse().is_ok_and(|layer| (self.first_layer..=self.last_layer).contains(&layer))
    }
}
