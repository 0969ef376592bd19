//! Losses over packed batches.

use candle_core::{DType, Tensor};
use titer_data::Packed;
use titer_model::{Decoder, Trace, View};
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

/// The same as numbers without gradients: what a fixed reference says.
///
/// # Errors
/// When the batch does not fit the model.
pub fn constant_logits(model: &Decoder, batch: &Packed) -> Result<Tensor> {
    let hidden = trace(model, batch, View::Detached)?.hidden;
    Ok(model.detached_logits(&hidden, &batch.rows)?)
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

/// Mean over rows of KL(softmax(reference) ‖ softmax(logits)) in nats, both of shape `(rows, vocabulary)`: a
/// scalar. The reference is a constant.
///
/// # Errors
/// When the shapes differ.
pub fn mean_divergence(logits: &Tensor, reference: &Tensor) -> Result<Tensor> {
    let log_p = composed::log_softmax(&reference.detach().to_dtype(DType::F32)?, 1)?;
    let log_q = composed::log_softmax(&logits.to_dtype(DType::F32)?, 1)?;
    Ok((log_p.exp()? * (log_p - log_q)?)?.sum(1)?.mean_all()?)
}

/// The value of a scalar tensor.
///
/// # Errors
/// When the tensor is no scalar.
pub fn value(scalar: &Tensor) -> Result<f64> {
    Ok(f64::from(scalar.to_dtype(DType::F32)?.to_scalar::<f32>()?))
}
