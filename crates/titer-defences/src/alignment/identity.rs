//! `identity`: a defence that changes nothing. It is trained no step and stored as any other, then attacked with the
//! seeds of all others: whatever an experiment says of it besides a titer of 1 is the instrument's own error.

use serde::Deserialize;
use titer_model::{Base, Decoder};
use titer_plan::{Control, DefenceStage, Method, MethodKind};
use titer_train::Objective;

use super::{Immunizer, Training, rehearsal};
use crate::{DefenceContext, Result};

/// It has no settings.
#[derive(Debug, Clone, Deserialize)]
pub struct Identity {
    #[serde(skip, default = "no_step")]
    training: Training,
}

fn no_step() -> Training {
    Training {
        steps: 0,
        rate: 1e-9,
        batch_refusal: 1,
        batch_permitted: 1,
        refusal_weight: 0.5,
        clip: 1.0,
        lora_rank: 0,
        lora_alpha: 1.0,
        lora_base: Base::F32,
    }
}

pub(crate) fn method() -> Method {
    Method {
        name: "identity",
        kind: MethodKind::control(DefenceStage::Alignment, Control::Negative, "for it has no idea"),
        version: 1,
        summary: "changes nothing: the negative control, whose titer must be 1",
        citation: "",
        parameters: Vec::new(),
    }
}

impl Immunizer for Identity {
    fn training(&self) -> &Training {
        &self.training
    }

    fn extra_examples_per_step(&self) -> f64 {
        0.0
    }

    /// No step follows it.
    fn objective(&self, context: &DefenceContext, _: &Decoder) -> Result<Box<dyn Objective>> {
        rehearsal::plain(&self.training, context)
    }
}
