//! Hidden states of the model as it was beside those of the model that is trained, and how far apart they are.

use candle_core::{D, Tensor};
use titer_data::Packed;
use titer_model::{Decoder, Trace, View};

use crate::Result;
use crate::loss::{self, constant_losses};

/// Added under square roots: far below what f32 tells apart from one, and it makes the gradient of a
/// distance of zero zero instead of undefined. Training begins at distance zero.
const TINY: f64 = 1e-12;

/// A model as it was when training began; nothing that is computed from it has a gradient.
#[derive(Debug)]
pub struct Original(Decoder);

impl Original {
    /// Keeps a copy of `model`; what the model holds fixed is shared.
    ///
    /// # Errors
    /// When the device has no room.
    pub fn of(model: &Decoder) -> Result<Self> {
        Ok(Self(model.duplicate()?))
    }

    /// The hidden states of `batch`, as [`Trace::states`]: one more than layers, each of shape
    /// `(tokens, hidden_size)`.
    ///
    /// # Errors
    /// When the batch does not fit the model.
    pub fn states(&self, batch: &Packed) -> Result<Vec<Tensor>> {
        Ok(loss::trace(&self.0, batch, View::Detached)?.states().cloned().collect())
    }

    /// Cross-entropy in nats of each supervised token: shape `(targets)`.
    ///
    /// # Errors
    /// When the batch does not fit the model.
    pub fn token_losses(&self, batch: &Packed) -> Result<Tensor> {
        constant_losses(&self.0, batch)
    }

    /// Mean over all states and tokens of the L2 distance of a trace's hidden states to the original's: a
    /// scalar. `tokens` are those of the trace's first tokens that `batch` has.
    ///
    /// # Errors
    /// When the batch does not fit the model or is not what the trace begins with.
    pub fn distance(&self, trace: &Trace, batch: &Packed) -> Result<Tensor> {
        let original = self.states(batch)?;
        let parts = trace
            .states()
            .zip(&original)
            .map(|(state, original)| Ok(l2(&state.narrow(0, 0, batch.tokens.len())?, original)?.mean_all()?));
        mean(parts.collect::<Result<Vec<_>>>()?)
    }
}

/// Which of the hidden states lies at a relative depth: 0 is the embeddings, 1 the last layer's output, and
/// what lies between goes to the nearest of [`Trace::states`]. Layer 10 of 32 is at depth 10/32.
pub fn at_depth(depth: f64, layers: usize) -> usize {
    (depth.clamp(0.0, 1.0) * layers as f64).round() as usize
}

/// The states of some tokens: shape `(rows, features)`.
///
/// # Errors
/// When a row does not exist.
pub fn select(states: &Tensor, rows: &[u32]) -> Result<Tensor> {
    Ok(states.index_select(&Tensor::new(rows, states.device())?, 0)?)
}

/// L2 distance of each token's states: shape `(tokens)`.
///
/// # Errors
/// When the shapes differ.
pub fn l2(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    Ok(((a - b)?.sqr()?.sum(D::Minus1)? + TINY)?.sqrt()?)
}

/// Cosine of each token's states: shape `(tokens)`.
///
/// # Errors
/// When the shapes differ.
pub fn cosine(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let norm = |x: &Tensor| -> Result<Tensor> { Ok((x.sqr()?.sum(D::Minus1)? + TINY)?.sqrt()?) };
    Ok(((a * b)?.sum(D::Minus1)? / (norm(a)? * norm(b)?)?)?)
}

/// The states scaled to root mean square one, as an RMS norm without its weight gives them.
///
/// # Errors
/// When the tensor library fails.
pub fn unit_scale(states: &Tensor) -> Result<Tensor> {
    let scale = (states.sqr()?.mean_keepdim(D::Minus1)? + TINY)?.sqrt()?;
    Ok(states.broadcast_div(&scale)?)
}

/// The mean of scalars, of at least one.
///
/// # Errors
/// When there are none or they are no scalars.
pub fn mean(scalars: Vec<Tensor>) -> Result<Tensor> {
    Ok(Tensor::stack(&scalars, 0)?.mean_all()?)
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;

    #[test]
    fn depths_are_nearest_states() {
        // Layers 10 and 20 of 32, in a model of 3 and in the model itself.
        assert_eq!([10.0 / 32.0, 20.0 / 32.0].map(|depth| at_depth(depth, 3)), [1, 2]);
        assert_eq!([10.0 / 32.0, 20.0 / 32.0].map(|depth| at_depth(depth, 32)), [10, 20]);
        assert_eq!([0.0, 1.0, 7.0].map(|depth| at_depth(depth, 3)), [0, 3, 3]);
    }

    #[test]
    fn distances_are_those_of_the_textbook_and_flat_where_nothing_moved() {
        let a = Var::new(&[[3f32, 4.0], [1.0, 0.0]], &Device::Cpu).unwrap();
        let zero = a.zeros_like().unwrap();
        assert_eq!(l2(&a, &zero).unwrap().to_vec1::<f32>().unwrap(), [5.0, 1.0]);
        let b = Tensor::new(&[[6f32, 8.0], [0.0, 2.0]], &Device::Cpu).unwrap();
        let cosines = cosine(&a, &b).unwrap().to_vec1::<f32>().unwrap();
        assert!((cosines[0] - 1.0).abs() < 1e-6 && cosines[1].abs() < 1e-6);
        let nothing = l2(&a, &a.as_tensor().copy().unwrap().detach()).unwrap().sum_all().unwrap();
        let gradient = nothing.backward().unwrap().get(a.as_tensor()).unwrap().to_vec2::<f32>().unwrap();
        assert_eq!(gradient, [[0.0, 0.0], [0.0, 0.0]]);
        let scaled = unit_scale(&a).unwrap().sqr().unwrap().mean(1).unwrap().to_vec1::<f32>().unwrap();
        assert!(scaled.iter().all(|mean| (mean - 1.0).abs() < 1e-6));
    }
}
