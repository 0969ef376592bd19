//! The matrices that an edit takes a tuned model to be made of.

use serde::Deserialize;
use titer_model::Decoder;
use titer_plan::Parameter;

use crate::{Error, Result};

/// The matrices that an edit takes a tuned model to be made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// The weights, adapters folded in.
    Merged,
    /// The factors A and B of the adapters, each a matrix of its own; they are folded in afterwards.
    Factors,
}

impl Form {
    /// What the registry says of the setting `form`.
    pub(super) fn parameter() -> Parameter {
        let summary = "edit the merged weights, or each factor of the adapters that the user trained";
        Parameter::choice("form", "merged", &["merged", "factors"], summary)
    }

    /// The model whose parameters are these matrices.
    ///
    /// # Errors
    /// When there are no adapters whose factors could be edited.
    pub(super) fn of(self, method: &'static str, tuned: Decoder) -> Result<Decoder> {
        match self {
            Self::Merged => Ok(tuned.merge()?),
            Self::Factors if tuned.adapter().is_some() => Ok(tuned),
            Self::Factors => {
                let problem =
                    "form \"factors\" edits adapters, and this model was tuned without; use \"merged\"";
                Err(Error::NotApplicable { name: method, problem: problem.to_owned() })
            }
        }
    }
}
