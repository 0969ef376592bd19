//! Layers whose activations are computed again in the backward pass instead of kept: memory falls to one
//! hidden state per layer, for one more forward pass (arXiv 1604.06174).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Storage, Tensor, TensorId, Var, bail};

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
    x.contiguous()?.apply_op1(Layer { rerun, parameters, aside: aside.clone() })
}

impl CustomOp1 for Layer {
    fn name(&self) -> &'static str {
        "recomputed-layer"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let shape = layout.shape().clone();
        let Some((start, end)) = layout.contiguous_offsets() else {
            bail!("expected a contiguous tensor, got strides {:?}", layout.stride());
        };
        let device = candle_core::Device::Cpu;
        let x = match storage {
            CpuStorage::F32(values) => Tensor::from_slice(&values[start..end], shape, &device)?,
            CpuStorage::F16(values) => Tensor::from_slice(&values[start..end], shape, &device)?,
            CpuStorage::BF16(values) => Tensor::from_slice(&values[start..end], shape, &device)?,
            _ => bail!("expected hidden states in f32, f16 or bf16"),
        };
        let y = (self.rerun)(&x, false)?;
        let (storage, layout) = y.storage_and_layout();
        match &*storage {
            Storage::Cpu(values) => Ok((values.clone(), layout.shape().clone())),
            _ => bail!("expected a tensor on the cpu"),
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
