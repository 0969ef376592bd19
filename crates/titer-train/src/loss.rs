//! Losses over packed batches.

use candle_core::Tensor;
use titer_data::Packed;
use titer_model::{Decoder, Experts, Trace};
use titer_ops::{Routes, Sequences, composed, cross_entropy};

use crate::Result;

/// Logits at the supervised positions of `batch`: shape `(targets, vocabulary)`.
///
/// # Errors
/// When the batch does not fit the model.
pub fn supervised_logits(model: &Decoder, batch: &Packed) -> Result<Tensor> {
    let hidden = model.forward(&batch.tokens, &Sequences::new(&batch.offsets)?)?;
    Ok(model.logits(&hidden, &batch.rows)?)
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
    Ok(f64::from(scalar.to_dtype(candle_core::DType::F32)?.to_scalar::<f32>()?))
}
