//! Where a mixture of experts sends its tokens, and how far that has moved.

use candle_core::Tensor;
use titer_data::Packed;
use titer_model::{Decoder, View};

use crate::Result;
use crate::loss::{mean_divergence, trace};

/// The router logits of every mixture layer at the batch's [`Packed::rows`], each of shape
/// `(rows, experts)`; none for a dense model.
///
/// # Errors
/// When the batch does not fit the model.
pub fn router_logits(model: &Decoder, batch: &Packed, view: View) -> Result<Vec<Tensor>> {
    let rows = Tensor::new(batch.rows.as_slice(), model.device())?;
    let trace = trace(model, batch, view)?;
    let routers = trace.layers.iter().filter_map(|layer| layer.router.as_ref());
    routers.map(|logits| Ok(logits.index_select(&rows, 0)?)).collect()
}

/// The experts that each of the batch's [`Packed::rows`] passes through: row by row, layer by layer, best
/// first; empty for a dense model.
///
/// # Errors
/// When the batch does not fit the model.
pub fn chosen_experts(model: &Decoder, batch: &Packed) -> Result<Vec<Vec<Vec<u32>>>> {
    let Some(experts) = &model.config().experts else { return Ok(Vec::new()) };
    let mut rows = vec![Vec::new(); batch.rows.len()];
    for logits in router_logits(model, batch, View::Detached)? {
        let (routes, _) = experts.route(&logits)?;
        for (row, chosen) in rows.iter_mut().zip(routes.chosen().chunks(experts.per_token)) {
            row.push(chosen.to_vec());
        }
    }
    Ok(rows)
}

/// KL(p₀ ‖ p) of the routing from `reference` to `now` at a temperature, in nats: the sum over layers and
/// experts, the mean over rows; a scalar (Kim et al., arXiv 2509.22745, equation 3).
///
/// # Errors
/// When the two are of different shapes or there is no router.
pub fn routing_divergence(reference: &[Tensor], now: &[Tensor], temperature: f64) -> Result<Tensor> {
    let mut layers = Vec::with_capacity(now.len());
    for (before, after) in reference.iter().zip(now) {
        layers.push(mean_divergence(&(after / temperature)?, &(before / temperature)?)?);
    }
    Ok(Tensor::stack(&layers, 0)?.sum_all()?)
}
