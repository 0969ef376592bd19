//! y = x + f(n·Gᵀ)·(n·Uᵀ)·Dᵀ with n the norm of x: the half of a layer after attention, as one operator.
//!
//! As operators of their own its parts leave a tensor each, held as long as the graph is, and their gradients are added up
//! one tensor at a time. Here what the gate and what it multiplies are alone is kept, until the backward pass is through
//! with them.

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};

use crate::bundle::{Gradients, bundle};
use crate::gated::Gated;
use crate::kept::Kept;
use crate::linear::{Adapter, Matrix, Projection, product};
use crate::rms_norm::RmsNorm;
use crate::{Activation, composed, cpu, parallel};

/// A weight of shape `(out, in)`, and what adapts it, which holds it fixed: see [`crate::linear()`] and [`crate::lora`].
#[derive(Debug, Clone, Copy)]
pub struct Adapted<'a> {
    /// W.
    pub weight: &'a Tensor,
    /// A of shape `(rank, in)`, B of shape `(out, rank)` and their scale.
    pub adapter: Option<(&'a Tensor, &'a Tensor, f64)>,
}

/// The weights of such a half.
#[derive(Debug, Clone, Copy)]
pub struct Mlp<'a> {
    /// Of the norm, shape `(features)`.
    pub norm: &'a Tensor,
    /// Added to the mean of squares.
    pub epsilon: f64,
    /// Whether the norm multiplies by 1 + w in place of w.
    pub about_one: bool,
    /// G, shape `(inner, features)`.
    pub gate: Adapted<'a>,
    /// U, of the same shape.
    pub up: Adapted<'a>,
    /// D, shape `(features, inner)`.
    pub down: Adapted<'a>,
    /// f.
    pub activation: Activation,
}

/// The half for x of shape `(rows, features)`, whose shape it has. Differentiable in x and all weights that are not
/// adapted.
///
/// # Errors
/// When the shapes do not match.
pub fn mlp(x: &Tensor, weights: Mlp<'_>) -> Result<Tensor> {
    let Mlp { norm, gate, up, down, .. } = weights;
    let projections = [gate, up, down];
    let tensors = projections.iter().flat_map(Adapted::tensors);
    let all: Vec<&Tensor> = tensors.chain([x, norm]).collect();
    let Some(gated) = Gated::by(weights.activation).filter(|_| cpu::applies(&all)) else {
        return composed::mlp(x, weights);
    };
    let (_, features) = x.dims2()?;
    let inner = gate.weight.dim(0)?;
    gate.check((inner, features))?;
    up.check((inner, features))?;
    down.check((features, inner))?;
    if norm.dims() != [features] {
        bail!("mlp: a norm of shape {:?} does not fit {features} features", norm.shape());
    }
    let held = [gate.held()?, up.held()?, down.held()?];
    let (bundle, gradients) = bundle(&held.iter().flat_map(Held::tensors).collect::<Vec<_>>())?;
    let op = Half {
        norm: RmsNorm::new(weights.epsilon, weights.about_one),
        gated,
        keeps: [x, norm, &bundle].into_iter().any(Tensor::track_op),
        tracked: held.each_ref().map(|held| held.weight.track_op()),
        projections: held.map(Held::detached),
        kept: Kept::new(None),
        gradients,
    };
    x.contiguous()?.apply_op3(&norm.contiguous()?, &bundle, op)
}

impl Adapted<'_> {
    fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        std::iter::once(self.weight).chain(self.adapter.iter().flat_map(|(a, b, _)| [*a, *b]))
    }

    fn check(&self, (outputs, inputs): (usize, usize)) -> Result<()> {
        let weight = self.weight.dims() == [outputs, inputs];
        let fits = |(a, b, _): (&Tensor, &Tensor, f64)| {
            let rank = a.dims().first().copied().unwrap_or(0);
            a.dims() == [rank, inputs] && b.dims() == [outputs, rank]
        };
        if !weight || !self.adapter.is_none_or(fits) {
            bail!(
                "mlp: {:?} does not fit {inputs} features to {outputs}",
                self.tensors().map(Tensor::dims).collect::<Vec<_>>()
            );
        }
        Ok(())
    }

    fn held(&self) -> Result<Held> {
        Ok(match self.adapter {
            None => Held { weight: self.weight.contiguous()?, adapter: None },
            Some((a, b, scale)) => {
                let adapter = Some((a.contiguous()?, b.contiguous()?, scale as f32));
                Held { weight: self.weight.detach().contiguous()?, adapter }
            }
        })
    }
}

/// The same, contiguous and without the graph.
struct Held {
    weight: Tensor,
    adapter: Option<(Tensor, Tensor, f32)>,
}

impl Held {
    fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        std::iter::once(&self.weight).chain(self.adapter.iter().flat_map(|(a, b, _)| [a, b]))
    }

    fn detached(self) -> Self {
        let adapter = self.adapter.map(|(a, b, scale)| (a.detach(), b.detach(), scale));
        Self { weight: self.weight.detach(), adapter }
    }

    /// Calls `f` with its numbers.
    fn read<T>(&self, f: impl FnOnce(Projection<'_>) -> Result<T>) -> Result<T> {
        let (outputs, inputs) = self.weight.dims2()?;
        let Some((a, b, scale)) = &self.adapter else {
            return cpu::read([&self.weight], |[weight]| {
                f(Projection { weight: Matrix::row_major(weight, outputs, inputs), adapter: None })
            });
        };
        let rank = a.dim(0)?;
        cpu::read([&self.weight, a, b], |[weight, a, b]| {
            let (a, b) = (Matrix::row_major(a, rank, inputs), Matrix::row_major(b, outputs, rank));
            let adapter = Some(Adapter { a, b, scale: *scale });
            f(Projection { weight: Matrix::row_major(weight, outputs, inputs), adapter })
        })
    }
}

struct Half {
    norm: RmsNorm,
    gated: Gated,
    /// G, U and D, and which of them want gradients.
    projections: [Held; 3],
    tracked: [bool; 3],
    /// Whether there will be a backward pass.
    keeps: bool,
    /// n·Gᵀ and n·Uᵀ, for the first backward pass; a second one computes them again.
    kept: Kept<[Vec<f32>; 2]>,
    gradients: Gradients,
}

impl Half {
    /// Calls `f` with the numbers of the projections.
    fn read<T>(&self, f: impl FnOnce([Projection<'_>; 3]) -> Result<T>) -> Result<T> {
        let [gate, up, down] = &self.projections;
        gate.read(|gate| up.read(|up| down.read(|down| f([gate, up, down]))))
    }

    /// For the gradient of a projection's result, `g`: that of its input x, added to `dx` if there is one, and those of its
    /// tensors, in their order, which alone need x.
    fn backward(
        &self,
        (at, projection): (usize, Projection<'_>),
        x: Option<Matrix<'_>>,
        g: Matrix<'_>,
        dx: Option<Vec<f32>>,
    ) -> Result<(Vec<f32>, Vec<Option<Tensor>>)> {
        let Held { weight, adapter } = &self.projections[at];
        let adapted = projection.adapter.map(|adapter| (adapter, adapter.through_b(g)));
        let adapted =
            adapted.as_ref().map(|(adapter, dz)| (adapter, Matrix::row_major(dz, g.rows, adapter.a.rows)));
        let mut gradients = vec![None];
        if let Some(x) = x {
            if self.tracked[at] {
                gradients[0] = Some(cpu::tensor_like(product(g.transposed(), x), weight)?);
            }
            if let (Some((a, b, _)), Some((adapter, dz))) = (adapter, adapted) {
                let [da, db] = adapter.gradients(x, g, dz);
                gradients.extend([Some(cpu::tensor_like(da, a)?), Some(cpu::tensor_like(db, b)?)]);
            }
        }
        Ok((projection.input_gradient(g, adapted.map(|(_, dz)| dz), dx), gradients))
    }
}

impl CustomOp3 for Half {
    fn name(&self) -> &'static str {
        "mlp"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (rows, features) = l1.shape().dims2()?;
        let x = cpu::numbers(s1, l1)?;
        let normed = self.norm.forward(x, cpu::numbers(s2, l2)?);
        self.read(|[of_gate, of_up, of_down]| {
            let n = Matrix::row_major(&normed, rows, features);
            let (gate, up) = (of_gate.forward(n), of_up.forward(n));
            let (mut between, kept) = match self.keeps {
                true => (gate.clone(), Some(gate)),
                false => (gate, None),
            };
            self.gated.forward(&mut between, &up);
            self.kept.keep(kept.map(|gate| [gate, up]));
            let mut y = of_down.forward(Matrix::row_major(&between, rows, of_down.weight.columns));
            parallel::add(&mut y, x);
            Ok((CpuStorage::F32(y), l1.shape().clone()))
        })
    }

    fn bwd(
        &self,
        x: &Tensor,
        norm: &Tensor,
        bundle: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let grad = grad.contiguous()?;
        let (rows, features) = x.dims2()?;
        let kept = self.kept.take();
        cpu::read([x, norm, &grad], |[xs, ws, gs]| {
            self.read(|[of_gate, of_up, of_down]| {
                let normed = self.norm.forward(xs, ws);
                let n = Matrix::row_major(&normed, rows, features);
                let g = Matrix::row_major(gs, rows, features);
                let inner = of_down.weight.columns;
                let [mut gate, mut up] = kept.unwrap_or_else(|| [of_gate.forward(n), of_up.forward(n)]);
                let between = (self.tracked[2] || of_down.adapter.is_some()).then(|| {
                    let mut between = gate.clone();
                    self.gated.forward(&mut between, &up);
                    between
                });
                let between = between.as_ref().map(|between| Matrix::row_major(between, rows, inner));
                let (d_between, d_down) = self.backward((2, of_down), between, g, None)?;
                self.gated.backward(&mut gate, &mut up, &d_between);
                let [d_gate, d_up] = [&gate, &up].map(|d| Matrix::row_major(d, rows, inner));
                let (dn, mut gradients) = self.backward((0, of_gate), Some(n), d_gate, None)?;
                let (dn, d_up) = self.backward((1, of_up), Some(n), d_up, Some(dn))?;
                gradients.extend(d_up.into_iter().chain(d_down));
                self.gradients.leave(gradients);
                let (mut dx, dw) = self.norm.backward(xs, ws, &dn);
                parallel::add(&mut dx, gs);
                let dw = norm.track_op().then(|| cpu::tensor_like(dw, norm)).transpose()?;
                let d_bundle = bundle.track_op().then(|| bundle.zeros_like()).transpose()?;
                Ok((Some(cpu::tensor_like(dx, x)?), dw, d_bundle))
            })
        })
    }
}
