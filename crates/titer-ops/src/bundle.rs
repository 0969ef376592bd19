//! Operators of any number of inputs, of which candle's have at most three.

use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{CpuStorage, CustomOp3, DType, Device, Layout, Result, Shape, Tensor};

/// The gradients that an operator leaves for the tensors of its bundle, in their order.
#[derive(Clone, Default)]
pub(crate) struct Gradients(Arc<Mutex<Vec<Option<Tensor>>>>);

impl Gradients {
    /// To be called in a backward pass, with a gradient for each tensor that wants one.
    pub(crate) fn leave(&self, gradients: Vec<Option<Tensor>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = gradients;
    }

    fn take(&self, at: usize) -> Option<Tensor> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_mut(at).and_then(Option::take)
    }
}

/// One input of an operator that stands for many, on the CPU: its value says nothing, and in the backward pass it hands on
/// what the operator has left in the gradients. Then it is to be given a gradient of its own, whatever that is.
///
/// # Errors
/// When the tensor library fails.
pub(crate) fn bundle(tensors: &[&Tensor]) -> Result<(Tensor, Gradients)> {
    let gradients = Gradients::default();
    let nothing = Tensor::zeros(1, DType::F32, &Device::Cpu)?;
    let mut bundle = nothing.clone();
    for (at, pair) in tensors.chunks(2).enumerate() {
        let link = Link { first: 2 * at, gradients: gradients.clone() };
        bundle = bundle.apply_op3(pair[0], pair.get(1).copied().unwrap_or(&nothing), link)?;
    }
    Ok((bundle, gradients))
}

/// Two more tensors for a bundle.
struct Link {
    first: usize,
    gradients: Gradients,
}

impl CustomOp3 for Link {
    fn name(&self) -> &'static str {
        "bundle"
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        Ok((CpuStorage::F32(vec![0.0]), Shape::from(1)))
    }

    fn bwd(
        &self,
        before: &Tensor,
        _: &Tensor,
        _: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let before = before.track_op().then(|| grad.clone());
        Ok((before, self.gradients.take(self.first), self.gradients.take(self.first + 1)))
    }
}
