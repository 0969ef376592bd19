//! The same operators composed of candle's differentiable primitives: slower, for every device and
//! floating type, and the oracle of the fused kernels' tests.

mod attention;
mod held;

use candle_core::{D, DType, Result, Tensor, bail};

pub use attention::attention;

use crate::{Activation, Adapted, Heads, Mlp, Rotary, cpu};

/// Calls `f`; meanwhile all operators that this thread computes are composed, on the processor too: what a GPU would be
/// given, where there is none.
pub fn only<T>(f: impl FnOnce() -> T) -> T {
    cpu::aside(f)
}

/// See [`crate::linear`].
///
/// # Errors
/// When the shapes do not match.
pub fn linear(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    if !weight.track_op() {
        return held::linear(x, weight);
    }
    if x.device().is_cpu() && x.dtype() == DType::BF16 {
        // Candle multiplies no bf16 on the CPU.
        let wide = x.to_dtype(DType::F32)?.matmul(&weight.to_dtype(DType::F32)?.t()?)?;
        return wide.to_dtype(DType::BF16);
    }
    x.matmul(&weight.t()?)
}

/// See [`crate::lora`].
///
/// # Errors
/// When the shapes do not match.
pub fn lora(x: &Tensor, weight: &Tensor, a: &Tensor, b: &Tensor, scale: f64) -> Result<Tensor> {
    linear(x, weight)? + (linear(&linear(x, a)?, b)? * scale)?
}

/// See [`crate::rms_norm`].
///
/// # Errors
/// When the shapes do not match.
pub fn rms_norm(x: &Tensor, weight: &Tensor, epsilon: f64) -> Result<Tensor> {
    normed(x, epsilon)?.to_dtype(x.dtype())?.broadcast_mul(weight)
}

/// See [`crate::rms_norm_about_one`].
///
/// # Errors
/// When the shapes do not match.
pub fn rms_norm_about_one(x: &Tensor, weight: &Tensor, epsilon: f64) -> Result<Tensor> {
    let weight = (weight.to_dtype(DType::F32)? + 1.0)?;
    normed(x, epsilon)?.broadcast_mul(&weight)?.to_dtype(x.dtype())
}

/// x / √(mean(x²) + ε) in `f32`: half types lose the mean of squares.
fn normed(x: &Tensor, epsilon: f64) -> Result<Tensor> {
    let wide = x.to_dtype(DType::F32)?;
    let scale = (wide.sqr()?.mean_keepdim(D::Minus1)? + epsilon)?.sqrt()?.recip()?;
    wide.broadcast_mul(&scale)
}

/// See [`crate::layer_norm`].
///
/// # Errors
/// When the shapes do not match.
pub fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, epsilon: f64) -> Result<Tensor> {
    let wide = x.to_dtype(DType::F32)?;
    let centred = wide.broadcast_sub(&wide.mean_keepdim(D::Minus1)?)?;
    let scale = (centred.sqr()?.mean_keepdim(D::Minus1)? + epsilon)?.sqrt()?.recip()?;
    let normed = centred.broadcast_mul(&scale)?.to_dtype(x.dtype())?;
    normed.broadcast_mul(weight)?.broadcast_add(bias)
}

/// See [`crate::swiglu`].
///
/// # Errors
/// When the shapes do not match.
pub fn swiglu(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    gated(gate, up, Activation::Silu)
}

/// See [`crate::mlp()`].
///
/// # Errors
/// When the shapes do not match.
pub fn mlp(x: &Tensor, weights: Mlp<'_>) -> Result<Tensor> {
    let Mlp { norm, epsilon, about_one, gate, up, down, activation } = weights;
    let n = match about_one {
        true => rms_norm_about_one(x, norm, epsilon)?,
        false => rms_norm(x, norm, epsilon)?,
    };
    let projected = |x: &Tensor, Adapted { weight, adapter }: Adapted<'_>| match adapter {
        Some((a, b, scale)) => lora(x, &weight.detach(), a, b, scale),
        None => linear(x, weight),
    };
    x + projected(&gated(&projected(&n, gate)?, &projected(&n, up)?, activation)?, down)?
}

/// See [`crate::gated`].
///
/// # Errors
/// When the shapes do not match.
pub fn gated(gate: &Tensor, up: &Tensor, activation: Activation) -> Result<Tensor> {
    match activation {
        Activation::Silu => gate.silu()? * up,
        Activation::GeluTanh => {
            let inner = ((gate.powf(3.0)? * 0.044_715)? + gate)? * std::f64::consts::FRAC_2_SQRT_PI;
            let tanh = (inner? * std::f64::consts::FRAC_1_SQRT_2)?.tanh()?;
            ((gate * 0.5)? * (tanh + 1.0)?)? * up
        }
        Activation::Gelu => gate.gelu_erf()? * up,
    }
}

/// The weighted sum of each token's rows among all experts' outputs, for [`crate::mixture`].
pub(crate) fn combine(outputs: &Tensor, weights: &Tensor, rows: &[u32]) -> Result<Tensor> {
    let (tokens, per_token) = weights.dims2()?;
    let rows = Tensor::from_slice(rows, rows.len(), outputs.device())?;
    let outputs = outputs.index_select(&rows, 0)?.reshape((tokens, per_token, ()))?;
    outputs.broadcast_mul(&weights.unsqueeze(2)?)?.sum(1)
}

/// See [`crate::rotary`].
///
/// # Errors
/// When the shapes do not match.
pub fn rotary(x: &Tensor, table: &Rotary, positions: &[u32]) -> Result<Tensor> {
    let (tokens, features) = x.dims2()?;
    let (cos, sin) = table.tables(positions, x.dtype(), x.device())?;
    let (cos, sin) = (cos.unsqueeze(1)?, sin.unsqueeze(1)?);
    let (half, dim) = (table.rotated_dim() / 2, table.head_dim());
    let x = x.reshape((tokens, features / dim, dim))?;
    let (x1, x2) = (x.narrow(2, 0, half)?, x.narrow(2, half, half)?);
    let y1 = (x1.broadcast_mul(&cos)? - x2.broadcast_mul(&sin)?)?;
    let y2 = (x2.broadcast_mul(&cos)? + x1.broadcast_mul(&sin)?)?;
    let y = match dim - 2 * half {
        0 => Tensor::cat(&[y1, y2], 2)?,
        rest => Tensor::cat(&[y1, y2, x.narrow(2, 2 * half, rest)?], 2)?,
    };
    y.reshape((tokens, features))
}

/// cap·tanh(x/cap), where there is a cap.
///
/// # Errors
/// When the device has no room.
pub fn capped(x: &Tensor, cap: Option<f64>) -> Result<Tensor> {
    match cap {
        Some(cap) => (x / cap)?.tanh()? * cap,
        None => Ok(x.clone()),
    }
}

/// Each head of keys or values, shape `(batch, keys, length, dim)`, as often as it serves queries.
pub(crate) fn repeat_heads(x: &Tensor, heads: Heads) -> Result<Tensor> {
    let times = heads.queries / heads.keys;
    if times == 1 {
        return Ok(x.clone());
    }
    let (batch, keys, length, dim) = x.dims4()?;
    x.unsqueeze(2)?.broadcast_as((batch, keys, times, length, dim))?.contiguous()?.reshape((
        batch,
        heads.queries,
        length,
        dim,
    ))
}

/// Softmax of scores of shape `(batch, heads, queries, keys)` along the keys, in which each head's sink is one more.
pub(crate) fn softmax_beside(scores: &Tensor, sinks: Option<&Tensor>) -> Result<Tensor> {
    let Some(sinks) = sinks else { return softmax(scores, D::Minus1) };
    let (batch, heads, queries, keys) = scores.dims4()?;
    let sinks = sinks.reshape((1, heads, 1, 1))?.broadcast_as((batch, heads, queries, 1))?;
    softmax(&Tensor::cat(&[scores, &sinks.contiguous()?], 3)?, D::Minus1)?.narrow(3, 0, keys)?.contiguous()
}

/// Softmax along one dimension.
///
/// # Errors
/// When the dimension does not exist.
pub fn softmax<I: candle_core::shape::Dim>(x: &Tensor, dim: I) -> Result<Tensor> {
    log_softmax(x, dim)?.exp()
}

/// Logarithm of the softmax along one dimension.
///
/// # Errors
/// When the dimension does not exist.
pub fn log_softmax<I: candle_core::shape::Dim>(x: &Tensor, dim: I) -> Result<Tensor> {
    let dim = dim.to_index(x.shape(), "log_softmax")?;
    // The shift changes no value and takes no part in the gradient.
    let shifted = x.broadcast_sub(&x.max_keepdim(dim)?.detach())?;
    shifted.broadcast_sub(&shifted.exp()?.sum_keepdim(dim)?.log()?)
}

/// Entropy in nats of softmax(logits), row by row: shape `(rows, vocabulary)` to `(rows)`.
///
/// # Errors
/// When logits are not a matrix.
pub fn entropy(logits: &Tensor) -> Result<Tensor> {
    let (_, _) = logits.dims2()?;
    let log_p = log_softmax(logits, 1)?;
    (log_p.exp()? * log_p)?.sum(1)?.neg()
}

/// See [`crate::cross_entropy`].
///
/// # Errors
/// When the number of targets differs from that of rows.
pub fn cross_entropy(logits: &Tensor, targets: &[u32]) -> Result<Tensor> {
    let (rows, _) = logits.dims2()?;
    if rows != targets.len() {
        bail!("cross-entropy: {rows} rows of logits against {} targets", targets.len());
    }
    let index = Tensor::new(targets, logits.device())?.unsqueeze(1)?;
    log_softmax(&logits.to_dtype(DType::F32)?, 1)?.gather(&index, 1)?.squeeze(1)?.neg()
}
