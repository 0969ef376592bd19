//! Products with a weight that is held fixed, perhaps in half precision.
//!
//! Candle gives both factors of a product their gradients, a weight's too that nobody trains: half as much arithmetic again
//! for a step of adapters, and memory as if all weights were trained.

use candle_core::backend::BackendStorage;
use candle_core::{
    CpuStorage, CudaStorage, CustomOp1, DType, Layout, MetalStorage, Result, Shape, Storage, Tensor, bail,
};

/// x·Wᵀ of a weight without gradient, in x's type. Where the weight is of another type, the product is computed in that
/// one: x and the result are rounded to it.
pub(super) fn linear(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    if x.dim(1)? != weight.dim(1)? {
        bail!("linear: x of shape {:?} does not fit a weight of shape {:?}", x.shape(), weight.shape());
    }
    x.contiguous()?.apply_op1(Held { weight: weight.clone() })
}

struct Held {
    weight: Tensor,
}

impl Held {
    /// The product on whatever device both lie.
    fn product<S: BackendStorage>(
        x: &S,
        x_layout: &Layout,
        weight: &S,
        weight_layout: &Layout,
    ) -> Result<(S, Shape)> {
        let ((rows, inputs), outputs) = (x_layout.shape().dims2()?, weight_layout.shape().dims2()?.0);
        let (sizes, transposed) = ((1, rows, outputs, inputs), weight_layout.transpose(0, 1)?);
        let shape = Shape::from((rows, outputs));
        if x.dtype() == weight.dtype() {
            return Ok((x.matmul(weight, sizes, x_layout, &transposed)?, shape));
        }
        let narrow = x.to_dtype(x_layout, weight.dtype())?;
        let product = narrow.matmul(weight, sizes, &Layout::contiguous(x_layout.shape()), &transposed)?;
        Ok((product.to_dtype(&Layout::contiguous(&shape), x.dtype())?, shape))
    }
}

impl CustomOp1 for Held {
    fn name(&self) -> &'static str {
        "linear-held"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (storage, weight_layout) = self.weight.storage_and_layout();
        let Storage::Cpu(weight) = &*storage else { bail!("expected a weight on the cpu") };
        if weight.dtype() != DType::BF16 {
            return Self::product(x, layout, weight, weight_layout);
        }
        // Candle multiplies no bf16 on the CPU: the same roundings around a product in 32 bits.
        let whole = |layout: &Layout| Layout::contiguous(layout.shape());
        let rounded = x.to_dtype(layout, DType::BF16)?.to_dtype(&whole(layout), DType::F32)?;
        let weight = weight.to_dtype(weight_layout, DType::F32)?;
        let (product, shape) = Self::product(&rounded, &whole(layout), &weight, &whole(weight_layout))?;
        let of_product = Layout::contiguous(&shape);
        Ok((product.to_dtype(&of_product, DType::BF16)?.to_dtype(&of_product, x.dtype())?, shape))
    }

    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        let (storage, weight_layout) = self.weight.storage_and_layout();
        let Storage::Cuda(weight) = &*storage else { bail!("expected a weight on an NVIDIA GPU") };
        Self::product(x, layout, weight, weight_layout)
    }

    fn metal_fwd(&self, x: &MetalStorage, layout: &Layout) -> Result<(MetalStorage, Shape)> {
        let (storage, weight_layout) = self.weight.storage_and_layout();
        let Storage::Metal(weight) = &*storage else { bail!("expected a weight on the GPU of a Mac") };
        Self::product(x, layout, weight, weight_layout)
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(linear(grad, &self.weight.t()?)?))
    }
}
