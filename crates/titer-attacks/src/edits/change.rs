//! Changing chosen weights of a model at once, and counting them.

use candle_core::{DType, Tensor};
use titer_model::{Decoder, of_expert};
use titer_train::{Matrices, Selection};

use crate::{Error, Result};

/// Replaces weights of `model` by what `change` makes of name and value, given as a copy in f32, in the order of names;
/// those that it makes nothing of stay as they are, bit for bit. The numbers take the weights' own type again. Says how
/// many numbers were replaced.
///
/// # Errors
/// When no weight is replaced, or `change` fails.
pub(super) fn change(
    method: &'static str,
    model: &Decoder,
    mut change: impl FnMut(&str, &Tensor) -> Result<Option<Tensor>>,
) -> Result<f64> {
    let mut changed = 0;
    for (name, var) in model.parameters().iter() {
        // A copy: setting the variable must not change what was before.
        let before = var.as_tensor().copy()?.detach().to_dtype(DType::F32)?;
        if let Some(after) = change(name, &before)? {
            var.set(&after.to_dtype(var.dtype())?)?;
            changed += var.elem_count();
        }
    }
    if changed == 0 {
        let problem = "this model has no weight of its own of the kind that it changes".to_owned();
        return Err(Error::NotApplicable { name: method, problem });
    }
    Ok(changed as f64)
}

/// Whether the weight of this name is a matrix of attention or MLP, an expert's among them.
pub(super) fn is_projection(name: &str) -> bool {
    let weight = name.ends_with(".weight");
    Selection::everywhere(Matrices::Projections).contains(name) || (weight && of_expert(name).is_some())
}
