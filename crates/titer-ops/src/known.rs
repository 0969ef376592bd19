//! Operators whose value is known when they are applied: what they add is a backward pass, on any device.

use candle_core::{CpuStorage, CudaStorage, MetalStorage, Result, Shape, Storage, Tensor, bail};

use crate::kept::Kept;

/// The value of such an operator, which its forward pass hands over.
#[derive(Debug)]
pub struct Known(Kept<Tensor>);

impl Known {
    /// Of an operator that is applied once.
    pub fn new(value: Tensor) -> Self {
        Self(Kept::new(Some(value)))
    }

    /// For `cpu_fwd`.
    ///
    /// # Errors
    /// When it was handed over before, or is elsewhere.
    pub fn cpu(&self) -> Result<(CpuStorage, Shape)> {
        match self.take()? {
            (Storage::Cpu(value), shape) => Ok((value, shape)),
            _ => bail!("expected a tensor on the cpu"),
        }
    }

    /// For `cuda_fwd`.
    ///
    /// # Errors
    /// As [`Known::cpu`].
    pub fn cuda(&self) -> Result<(CudaStorage, Shape)> {
        match self.take()? {
            (Storage::Cuda(value), shape) => Ok((value, shape)),
            _ => bail!("expected a tensor on an NVIDIA GPU"),
        }
    }

    /// For `metal_fwd`.
    ///
    /// # Errors
    /// As [`Known::cpu`].
    pub fn metal(&self) -> Result<(MetalStorage, Shape)> {
        match self.take()? {
            (Storage::Metal(value), shape) => Ok((value, shape)),
            _ => bail!("expected a tensor on the GPU of a Mac"),
        }
    }

    /// A copy of its memory; the tensor itself is let go, which would be held as long as the graph is.
    fn take(&self) -> Result<(Storage, Shape)> {
        let Some(value) = self.0.take() else {
            bail!("the operator was applied before");
        };
        // Storage is copied whole and without its layout.
        let whole = value.is_contiguous() && value.layout().start_offset() == 0;
        let value = if whole { value } else { value.force_contiguous()? };
        let (storage, layout) = value.storage_and_layout();
        Ok((storage.try_clone(layout)?, layout.shape().clone()))
    }
}
