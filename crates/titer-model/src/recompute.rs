//! Layers whose activations are computed again in the backward pass instead of kept: memory falls to one
//! hidden state per layer, for one more forward pass (arXiv 1604.06174).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::backend::BackendStorage;
use candle_core::op::BackpropOp;
use candle_core::{
    CpuStorage, CudaStorage, CustomOp1, Layout, MetalStorage, Result, Shape, Storage, Tensor, TensorId, Var,
    bail,
};

/// Gradients of parameters inside such layers, which candle's own store does not see.
pub(crate) type Aside = Arc<Mutex<HashMap<TensorId, Tensor>>>;

/// What one layer computes from its input, with or without gradients.
pub(crate) type Rerun = dyn Fn(&Tensor, bool) -> Result<Tensor> + Send + Sync;

struct Layer {
    rerun: Box<Rerun>,
    parameters: Vec<Tensor>,
    aside: Aside,
}

/// The layer's output for x, remembering x alone; its gradients for `parameters` are added up in `aside`.
pub(crate) fn recomputed(
    x: &Tensor,
    rerun: Box<Rerun>,
    parameters: Vec<Tensor>,
    aside: &Aside,
) -> Result<Tensor> {
    // A frozen embedding tracks nothing; without a variable below it the layer would have no backward.
    let x = if x.track_op() { x.clone() } else { Var::from_tensor(x)?.as_tensor().clone() };
    plain(&x)?.apply_op1(Layer { rerun, parameters, aside: aside.clone() })
}

/// The same numbers one after the other from the beginning of their memory, which can be handed on without a layout.
fn plain(x: &Tensor) -> Result<Tensor> {
    match x.is_contiguous() && x.layout().start_offset() == 0 {
        true => Ok(x.clone()),
        false => x.force_contiguous(),
    }
}

impl Layer {
    /// Without gradients.
    fn forward(&self, x: Storage, layout: &Layout) -> Result<(Storage, Shape)> {
        let x = Tensor::from_storage(x, layout.shape().clone(), BackpropOp::none(), false);
        let y = plain(&(self.rerun)(&x, false)?)?;
        let (storage, layout) = y.storage_and_layout();
        Ok((storage.try_clone(layout)?, layout.shape().clone()))
    }
}

impl CustomOp1 for Layer {
    fn name(&self) -> &'static str {
        "recomputed-layer"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        match self.forward(Storage::Cpu(storage.try_clone(layout)?), layout)? {
            (Storage::Cpu(y), shape) => Ok((y, shape)),
            _ => bail!("expected a tensor on the cpu"),
        }
    }

    fn cuda_fwd(&self, storage: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        match self.forward(Storage::Cuda(storage.try_clone(layout)?), layout)? {
            (Storage::Cuda(y), shape) => Ok((y, shape)),
            _ => bail!("expected a tensor on the GPU"),
        }
    }

    fn metal_fwd(&self, storage: &MetalStorage, layout: &Layout) -> Result<(MetalStorage, Shape)> {
        match self.forward(Storage::Metal(storage.try_clone(layout)?), layout)? {
            (Storage::Metal(y), shape) => Ok((y, shape)),
            _ => bail!("expected a tensor on the GPU"),
        }
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let x = Var::from_tensor(&x.detach())?;
        let y = (self.rerun)(&x, true)?;
        let mut store = (y * grad)?.sum_all()?.backward()?;
        let mut aside = self.aside.lock().unwrap_or_else(PoisonError::into_inner);
        for parameter in &self.parameters {
            if let Some(gradient) = store.remove(parameter) {
                let sum = match aside.remove(&parameter.id()) {
                    Some(sum) => (sum + gradient)?,
                    None => gradient,
                };
                aside.insert(parameter.id(), sum);
            }
        }
        Ok(store.remove(&x))
    }
}
