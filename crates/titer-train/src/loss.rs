//! Losses over packed batches.

use candle_core::Tensor;
use titer_data::Packed;
use titer_model::{Decoder, Hidden, Trace, View};
use titer_ops::{Sequences, composed, cross_entropy};

use crate::Result;

/// Logits at the supervised positions of `batch`: shape `(targets, vocabulary)`.
///
/// # Errors
/// When the batch does not fit the model.
pub fn supervised_logits(model: &Decoder, batch: &Packed) -> Result<Tensor> {
    let hidden = model.forward(&batch.tokens, &Sequences::new(&batch.offsets)?)?;
    Ok(model.logits(&hidden, &batch.rows)?)
}

/// Runs `batch` and keeps what the layers computed; its hidden states go to [`Decoder::logits`].
///
/// # Errors
/// When the batch does not fit the model.
pub fn trace(model: &Decoder, batch: &Packed, view: View) -> Result<Trace> {
    Ok(model.trace(&batch.tokens, &Sequences::new(&batch.offsets)?, view, &[])?)
}

/// Cross-entropy in nats of each supervised token: shape `(targets)`.
///
/// # Errors
/// When the batch does not fit the model.
pub fn token_losses(model: &Decoder, batch: &Packed) -> Result<Tensor> {
    Ok(cross_entropy(&supervised_logits(model, batch)?, &batch.targets)?)
}

/// Cross-entropy in nats of each supervised token of `batch` when `hidden`, states of any layer for its
/// tokens, are read through the last norm and the head: shape `(targets)`.
///
/// # Errors
/// When the states are not those of the batch.
pub fn cross_entropy_of(model: &Decoder, hidden: &Hidden, batch: &Packed) -> Result<Tensor> {
    Ok(cross_entropy(&model.logits(hidden, &batch.rows)?, &batch.targets)?)
}

/// Mean cross-entropy in nats over the supervised tokens: a scalar.
///
/// # Errors
/// When the batch does not fit the model.
pub fn mean_cross_entropy(model: &Decoder, batch: &Packed) -> Result<Tensor> {
    Ok(token_losses(model, batch)?.mean_all()?)
}

/// Mean entropy in nats of the model's next-token distribution at the supervised positions: a scalar.
///
/// # Errors
/// When the batch does not fit the model.
pub fn mean_entropy(model: &Decoder, batch: &Packed) -> Result<Tensor> {
    Ok(composed::entropy(&supervised_logits(model, batch)?)?.mean_all()?)
}

/// The value of a scalar tensor.
///
/// # Errors
/// When the tensor is no scalar.
pub fn value(scalar: &Tensor) -> Result<f64> {
    Ok(f64::from(scalar.to_dtype(candle_core::DType::F32)?.to_scalar::<f32>()?))
}
