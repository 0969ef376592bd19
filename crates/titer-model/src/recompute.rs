//! Layers whose activations are computed again in the backward pass instead of kept: memory falls to one
//! hidden state per layer, for one more forward pass (arXiv 1604.06174).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{
    CpuStorage, CudaStorage, CustomOp1, Layout, MetalStorage, Result, Shape, Tensor, TensorId, Var,
};
use titer_ops::known::Known;

/// Gradients of parameters inside such layers, which candle's own store does not see.
pub(crate) type Aside = Arc<Mutex<HashMap<TensorId, Tensor>>>;

/// What one layer computes from its input, with or without gradients.
pub(crate) type Rerun = dyn Fn(&Tensor, bool) -> Result<Tensor> + Send + Sync;

struct Layer {
    output: Known,
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
    let output = Known::new(rerun(&x.detach(), false)?);
    x.apply_op1(Layer { output, rerun, parameters, aside: aside.clone() })
}

impl CustomOp1 for Layer {
    fn name(&self) -> &'static str {
        "recomputed-layer"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        self.output.cpu()
    }

    fn cuda_fwd(&self, _: &CudaStorage, _: &Layout) -> Result<(CudaStorage, Shape)> {
        self.output.cuda()
    }

    fn metal_fwd(&self, _: &MetalStorage, _: &Layout) -> Result<(MetalStorage, Shape)> {
        self.output.metal()
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
