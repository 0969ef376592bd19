//! Losses and gradients elsewhere than at the model's own weights or activations.

use std::collections::BTreeMap;

use candle_core::{Tensor, Var};
use titer_data::Packed;
use titer_model::{Decoder, View};
use titer_ops::adamw::squared_norm;
use titer_ops::{Sequences, cross_entropy};

use crate::Result;
use crate::loss::cross_entropy_of;

/// What `evaluate` says of the model at w + scale · direction. The weights are put back from a copy, so
/// that they are the same bits afterwards, whether or not it succeeds; subtracting what was added would
/// round.
///
/// # Errors
/// When `direction` is not of the model's trainable weights, or `evaluate` fails.
pub fn at_weights<T>(
    model: &Decoder,
    direction: &BTreeMap<String, Tensor>,
    scale: f64,
    evaluate: impl FnOnce(&Decoder) -> Result<T>,
) -> Result<T> {
    let weights = model.parameters().snapshot()?;
    let mut moved = BTreeMap::new();
    for (name, along) in direction {
        if let Some(weight) = weights.get(name) {
            moved.insert(name.clone(), (weight + (along * scale)?)?);
        }
    }
    model.parameters().assign(&moved)?;
    let result = evaluate(model);
    model.parameters().assign(&weights)?;
    result
}

/// Gradients of a loss with respect to the outputs of the attention blocks, layer by layer, each of shape
/// `(tokens, hidden_size)`. `loss` makes a scalar of the losses of the batch's targets. The weights take
/// no part, which spares their gradients.
///
/// # Errors
/// When the batch does not fit the model.
pub fn attention_gradients(
    model: &Decoder,
    batch: &Packed,
    loss: impl FnOnce(&Tensor) -> Result<Tensor>,
) -> Result<Vec<Tensor>> {
    let (config, shape) = (model.config(), (batch.tokens.len(), model.config().hidden_size));
    let added = (0..config.num_hidden_layers).map(|_| Var::zeros(shape, model.dtype(), model.device()));
    let added = added.collect::<candle_core::Result<Vec<_>>>()?;
    let tensors: Vec<Tensor> = added.iter().map(|var| var.as_tensor().clone()).collect();
    let trace = model.trace(&batch.tokens, &Sequences::new(&batch.offsets)?, View::Detached, &tensors)?;
    let logits = model.detached_logits(&trace.hidden, &batch.rows)?;
    let mut gradients = loss(&cross_entropy(&logits, &batch.targets)?)?.backward()?;
    Ok(added
        .iter()
        .map(|var| gradients.remove(var).map_or_else(|| var.zeros_like(), Ok))
        .collect::<candle_core::Result<_>>()?)
}

/// Cross-entropy in nats of each supervised token, shape `(targets)`, while `added`, one tensor of shape
/// `(tokens, hidden_size)` per layer, is added to the outputs of the attention blocks. Tracks gradients.
///
/// # Errors
/// When batch or tensors do not fit the model.
pub fn token_losses_at_attention(model: &Decoder, batch: &Packed, added: &[Tensor]) -> Result<Tensor> {
    let trace = model.trace(&batch.tokens, &Sequences::new(&batch.offsets)?, View::Tracked, added)?;
    cross_entropy_of(model, &trace.hidden, batch)
}

/// Euclidean norm over all tensors together.
///
/// # Errors
/// When a tensor cannot be read.
pub fn norm<'a>(tensors: impl IntoIterator<Item = &'a Tensor>) -> Result<f64> {
    Ok(tensors.into_iter().map(squared_norm).sum::<candle_core::Result<f64>>()?.sqrt())
}
