//! Losses over packed batches.

use candle_core::{DType, Tensor};
use titer_data::Packed;
use titer_model::{Decoder, Experts, Hidden, Trace, View};
use titer_ops::{Routes, Sequences, composed, cross_entropy};

use crate::Result;

/// Logits at the supervised positions of `batch`: shape `(targets, vocabulary)`.
///
/// # Errors
/// When the batch does not fit the model.
pub fn supervised_logits(model: &Decoder, batch: &Packed) -> Result<Tensor> {
    logits_of(model, batch, View::Tracked)
}

/// The same as numbers without gradients: what a fixed reference says.
///
/// # Errors
/// When the batch does not fit the model.
pub fn constant_logits(model: &Decoder, batch: &Packed) -> Result<Tensor> {
    logits_of(model, batch, View::Detached)
}

fn logits_of(model: &Decoder, batch: &Packed, view: View) -> Result<Tensor> {
    Ok(model.logits_at(view, &batch.tokens, &Sequences::new(&batch.offsets)?, &batch.rows)?)
}

/// Runs `batch` and keeps what the layers computed; its hidden states go to [`Decoder::logits`].
///
/// # Errors
/// When the batch does not fit the model.
pub fn trace(model: &Decoder, batch: &Packed, view: View) -> Result<Trace> {
    Ok(model.trace(&batch.tokens, &Sequences::new(&batch.offsets)?, view, &[])?)
}

/// One pass of `batch`: what the layers computed, and the cross-entropy in nats of each supervised token, of
/// shape `(targets)`.
///
/// # Errors
/// When the batch does not fit the model.
pub fn traced_losses(model: &Decoder, batch: &Packed, view: View) -> Result<(Trace, Tensor)> {
    let trace = trace(model, batch, view)?;
    let logits = match view {
        View::Tracked => model.logits(&trace.hidden, &batch.rows)?,
        View::Detached => model.detached_logits(&trace.hidden, &batch.rows)?,
    };
    let losses = cross_entropy(&logits, &batch.targets)?;
    Ok((trace, losses))
}

/// Sums over the targets of each sequence: shape `(sequences)` from one value per target.
///
/// # Errors
/// When there is not one value per target.
pub fn per_sequence(values: &Tensor, batch: &Packed) -> Result<Tensor> {
    let (targets, sequences) = (batch.rows.len(), batch.sequences());
    let mut belongs = vec![0f32; sequences * targets];
    let mut sequence = 0;
    for (target, row) in batch.rows.iter().enumerate() {
        while *row as usize >= batch.offsets[sequence + 1] {
            sequence += 1;
        }
        belongs[sequence * targets + target] = 1.0;
    }
    let belongs =
        Tensor::from_vec(belongs, (sequences, targets), values.device())?.to_dtype(values.dtype())?;
    Ok(belongs.matmul(&values.unsqueeze(1)?)?.squeeze(1)?)
}

/// log(1 + eˣ) of each element, without overflow; −log σ(−x).
///
/// # Errors
/// When the tensor library fails.
pub fn softplus(x: &Tensor) -> Result<Tensor> {
    Ok((x.relu()? + (x.abs()?.neg()?.exp()? + 1.0)?.log()?)?)
}

/// Cross-entropy in nats of each supervised token: shape `(targets)`.
///
/// # Errors
/// When the batch does not fit the model.
pub fn token_losses(model: &Decoder, batch: &Packed) -> Result<Tensor> {
    losses_of(model, batch, View::Tracked)
}

/// The same as numbers without gradients: what a fixed reference says.
///
/// # Errors
/// When the batch does not fit the model.
pub fn constant_losses(model: &Decoder, batch: &Packed) -> Result<Tensor> {
    losses_of(model, batch, View::Detached)
}

fn losses_of(model: &Decoder, batch: &Packed, view: View) -> Result<Tensor> {
    let sequences = Sequences::new(&batch.offsets)?;
    Ok(model.losses_at(view, &batch.tokens, &sequences, &batch.rows, &batch.targets)?)
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

/// How unevenly the routers of a mixture load its experts: `count` · Σ over experts e of f_e·P_e, f_e the
/// experts' shares of the tokens and P_e the mean of their probabilities, both over all tokens of all layers
/// with experts; a scalar, `per_token` where all are loaded alike. The gradient passes through P alone
/// (Switch Transformers, arXiv 2101.03961, equations 4 to 6, as Transformers computes it for `per_token`
/// experts).
///
/// # Errors
/// When no layer of the trace has a router.
pub fn load_balance(trace: &Trace, experts: &Experts) -> Result<Tensor> {
    let routers: Vec<&Tensor> = trace.layers.iter().filter_map(|layer| layer.router.as_ref()).collect();
    let probabilities = Experts::probabilities(&Tensor::cat(&routers, 0)?)?;
    let routes = Routes::best(&probabilities, experts.per_token)?;
    let rows = probabilities.dim(0)? as f64;
    let shares: Vec<f32> = routes.tokens().iter().map(|tokens| (tokens.len() as f64 / rows) as f32).collect();
    let shares = Tensor::new(shares, probabilities.device())?;
    Ok(((probabilities.mean(0)? * shares)?.sum_all()? * experts.count as f64)?)
}

/// The value of a scalar tensor.
///
/// # Errors
/// When the tensor is no scalar.
pub fn value(scalar: &Tensor) -> Result<f64> {
    Ok(f64::from(scalar.to_dtype(DType::F32)?.to_scalar::<f32>()?))
}
