//! Changing chosen weights of a model, and counting what was changed.

use candle_core::{DType, Tensor};
use titer_model::Decoder;
use titer_train::Selection;

use super::{RepairContext, RepairReport};
use crate::{Error, Result};

/// Replaces each selected parameter of `model` by what `change` makes of its name and its value, given as
/// f32, in the order of names; the numbers take the weights' own type again.
///
/// # Errors
/// When nothing is selected, or `change` fails.
pub(super) fn edit(
    method: &'static str,
    model: &Decoder,
    selection: &Selection,
    mut change: impl FnMut(&str, &Tensor) -> Result<Tensor>,
) -> Result<RepairReport> {
    let mut report = RepairReport::default();
    for (name, var) in model.parameters().iter().filter(|(name, _)| selection.contains(name)) {
        // A copy: setting the variable must not change what was before.
        let before = var.as_tensor().copy()?.detach();
        let after = change(name, &before.to_dtype(DType::F32)?)?.to_dtype(var.dtype())?;
        report.changed += differences(&before, &after)?;
        report.considered += var.elem_count() as u64;
        var.set(&after)?;
    }
    if report.considered == 0 {
        let problem = "its settings select no weight of this model; widen matrices, first_layer or layers";
        return Err(Error::NotApplicable { name: method, problem: problem.to_owned() });
    }
    Ok(report)
}

/// How many entries of two tensors of one shape differ.
pub(super) fn differences(before: &Tensor, after: &Tensor) -> Result<u64> {
    Ok(before.ne(after)?.to_dtype(DType::F64)?.sum_all()?.to_scalar::<f64>()? as u64)
}

/// The weight of this name in the model that fine-tuning began with, or in the one before it was aligned;
/// f32, adapters folded in.
///
/// # Errors
/// When that model has no weight of the name and shape.
pub(super) fn counterpart(
    method: &'static str,
    model: &Decoder,
    name: &str,
    weight: &Tensor,
) -> Result<Tensor> {
    match model.merged(name)?.filter(|found| found.shape() == weight.shape()) {
        Some(found) => Ok(found.to_dtype(DType::F32)?),
        None => {
            let problem = format!("the tuned model's {name} has no counterpart of its shape: other models");
            Err(Error::NotApplicable { name: method, problem })
        }
    }
}

impl RepairContext {
    /// The model before alignment.
    ///
    /// # Errors
    /// When there is none.
    pub(super) fn base(&self, method: &'static str) -> Result<&Decoder> {
        let problem = "it needs the model before alignment, and this model came aligned".to_owned();
        self.base.as_ref().ok_or(Error::NotApplicable { name: method, problem })
    }
}
