//! Sparse mixtures of experts: each token passes through the experts that its router chose, and no others
//! (arXiv 1701.06538).

use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{CpuStorage, CustomOp1, CustomOp2, DType, Layout, Result, Shape, Tensor, bail};
use multiversion::multiversion;

use crate::{composed, cpu};

/// Which tokens go to which experts.
#[derive(Debug, Clone)]
pub struct Routes {
    per_token: usize,
    chosen: Vec<u32>,
    tokens: Vec<Arc<[u32]>>,
    /// Of each choice, its row when the tokens of the first expert come first, then those of the second …
    rows: Arc<[u32]>,
}

impl Routes {
    /// To the `per_token` experts of highest score in each row of `scores`, shape `(tokens, experts)`; the
    /// lowest index among equals. A choice has no gradient.
    ///
    /// # Errors
    /// When there are not that many experts, or none is to be chosen.
    pub fn best(scores: &Tensor, per_token: usize) -> Result<Self> {
        let (_, experts) = scores.dims2()?;
        if per_token == 0 || per_token > experts {
            bail!("routes: {per_token} of {experts} experts cannot be chosen for each token");
        }
        let scores = scores.to_dtype(DType::F32)?.to_vec2::<f32>()?;
        let mut chosen = Vec::with_capacity(scores.len() * per_token);
        for row in &scores {
            let first = chosen.len();
            for _ in 0..per_token {
                let left = (0..experts as u32).filter(|expert| !chosen[first..].contains(expert));
                let best = left.reduce(
                    |best, expert| {
                        if row[expert as usize] > row[best as usize] { expert } else { best }
                    },
                );
                chosen.extend(best);
            }
        }
        let mut tokens = vec![Vec::new(); experts];
        let mut rows = vec![0; chosen.len()];
        for (choice, expert) in chosen.iter().enumerate() {
            let tokens = &mut tokens[*expert as usize];
            rows[choice] = tokens.len() as u32;
            tokens.push((choice / per_token) as u32);
        }
        let first = tokens.iter().scan(0, |end, tokens| Some(std::mem::replace(end, *end + tokens.len())));
        let first: Vec<usize> = first.collect();
        for (row, expert) in rows.iter_mut().zip(&chosen) {
            *row += first[*expert as usize] as u32;
        }
        let tokens = tokens.into_iter().map(Into::into).collect();
        Ok(Self { per_token, chosen, tokens, rows: rows.into() })
    }

    /// The experts of each token, best first, one token after the other.
    pub fn chosen(&self) -> &[u32] {
        &self.chosen
    }

    /// The same as a tensor of shape `(tokens, per_token)`, to gather with.
    ///
    /// # Errors
    /// When the device has no room.
    pub fn index(&self, device: &candle_core::Device) -> Result<Tensor> {
        Tensor::from_slice(&self.chosen, (self.chosen.len() / self.per_token, self.per_token), device)
    }

    /// The tokens of each expert, in their order.
    pub fn tokens(&self) -> &[Arc<[u32]>] {
        &self.tokens
    }
}

/// y_t = Σ over the experts e chosen for token t of weight · f_e(x_t), for x of shape `(tokens, features)`
/// and `weights` of shape `(tokens, per_token)` in the order of [`Routes::chosen`]. `expert(e, x_e)` computes
/// f_e for the rows of its own tokens, and is called, in order, for experts that have some.
///
/// Differentiable in x, `weights`, and whatever `expert` uses. What only experts without tokens use gets no
/// gradient.
///
/// # Errors
/// When the shapes do not match or an expert fails.
pub fn mixture(
    x: &Tensor,
    weights: &Tensor,
    routes: &Routes,
    expert: &mut dyn FnMut(usize, &Tensor) -> Result<Tensor>,
) -> Result<Tensor> {
    let choices = (x.dim(0)?, routes.per_token);
    if weights.dims() != [choices.0, choices.1] || routes.chosen.len() != choices.0 * choices.1 {
        bail!(
            "mixture: weights of shape {:?} and {} choices do not fit {} tokens of {} experts each",
            weights.shape(),
            routes.chosen.len(),
            choices.0,
            choices.1
        );
    }
    let fused = cpu::applies(&[x, weights]);
    let shares = if fused { Some(Shares::of(x)?) } else { None };
    let mut outputs = Vec::new();
    for (index, tokens) in routes.tokens.iter().enumerate().filter(|(_, tokens)| !tokens.is_empty()) {
        let share = match &shares {
            Some(shares) => shares.take(tokens)?,
            None => x.index_select(&Tensor::from_slice(tokens, tokens.len(), x.device())?, 0)?,
        };
        outputs.push(expert(index, &share)?);
    }
    let outputs = Tensor::cat(&outputs, 0)?;
    if fused {
        outputs.contiguous()?.apply_op2(&weights.contiguous()?, Combine { rows: routes.rows.clone() })
    } else {
        composed::combine(&outputs, weights, &routes.rows)
    }
}

/// Rows of one matrix, taken many times. Candle would make a gradient of the whole matrix's size for each
/// taking and add them up, which for many experts costs more than the experts do; here all of them add to
/// one. It reaches the matrix by way of `root`, a number that all takings depend on and so is
/// differentiated after them.
struct Shares {
    x: Tensor,
    root: Tensor,
    gradient: Arc<Mutex<Vec<f32>>>,
}

impl Shares {
    fn of(x: &Tensor) -> Result<Self> {
        let (x, gradient) = (x.contiguous()?, Arc::default());
        let root = x.apply_op1(Root { gradient: Arc::clone(&gradient) })?;
        Ok(Self { x: x.detach(), root, gradient })
    }

    fn take(&self, rows: &Arc<[u32]>) -> Result<Tensor> {
        let (x, rows, gradient) = (self.x.clone(), rows.clone(), self.gradient.clone());
        self.root.apply_op1(Take { x, rows, gradient })
    }
}

struct Root {
    gradient: Arc<Mutex<Vec<f32>>>,
}

impl CustomOp1 for Root {
    fn name(&self) -> &'static str {
        "shares-root"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok((CpuStorage::F32(vec![0.0]), Shape::from(1)))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, _: &Tensor) -> Result<Option<Tensor>> {
        let gradient = std::mem::take(&mut *self.gradient.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(Some(cpu::tensor_like(gradient, x)?))
    }
}

struct Take {
    x: Tensor,
    rows: Arc<[u32]>,
    gradient: Arc<Mutex<Vec<f32>>>,
}

impl CustomOp1 for Take {
    fn name(&self) -> &'static str {
        "shares-take"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        let width = self.x.dim(1)?;
        cpu::read([&self.x], |[xs]| {
            let mut taken = Vec::with_capacity(self.rows.len() * width);
            for row in &*self.rows {
                taken.extend_from_slice(&xs[*row as usize * width..][..width]);
            }
            Ok((CpuStorage::F32(taken), Shape::from((self.rows.len(), width))))
        })
    }

    fn bwd(&self, root: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let width = self.x.dim(1)?;
        let mut gradient = self.gradient.lock().unwrap_or_else(PoisonError::into_inner);
        gradient.resize(self.x.elem_count(), 0.0);
        let grad = grad.contiguous()?;
        cpu::read([&grad], |[gs]| {
            for (row, g) in self.rows.iter().zip(gs.chunks_exact(width)) {
                cpu::add_scaled(&mut gradient[*row as usize * width..][..width], 1.0, g);
            }
            Ok(())
        })?;
        Ok(Some(root.zeros_like()?))
    }
}

/// The weighted sum of each token's rows among all experts' outputs.
struct Combine {
    rows: Arc<[u32]>,
}

impl CustomOp2 for Combine {
    fn name(&self) -> &'static str {
        "combine"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let ((rows, width), (tokens, _)) = (l1.shape().dims2()?, l2.shape().dims2()?);
        if rows != self.rows.len() {
            bail!("mixture: experts gave {rows} rows for {} choices", self.rows.len());
        }
        let mut y = vec![0.0; tokens * width];
        combine(&self.rows, cpu::numbers(s1, l1)?, cpu::numbers(s2, l2)?, width, &mut y);
        Ok((CpuStorage::F32(y), Shape::from((tokens, width))))
    }

    fn bwd(
        &self,
        outputs: &Tensor,
        weights: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (width, grad) = (outputs.dim(1)?, grad.contiguous()?);
        cpu::read([outputs, weights, &grad], |[ys, ws, gs]| {
            let d_outputs = outputs.track_op().then(|| {
                let mut d = vec![0.0; ys.len()];
                spread(&self.rows, ws, gs, width, &mut d);
                cpu::tensor_like(d, outputs)
            });
            let d_weights = weights.track_op().then(|| {
                let mut d = vec![0.0; ws.len()];
                products(&self.rows, ys, gs, width, &mut d);
                cpu::tensor_like(d, weights)
            });
            Ok((d_outputs.transpose()?, d_weights.transpose()?))
        })
    }
}

/// y_t = Σ w·outputs.
#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2"))]
fn combine(rows: &[u32], outputs: &[f32], weights: &[f32], width: usize, y: &mut [f32]) {
    let per_token = rows.len() * width / y.len().max(1);
    for (choice, (row, weight)) in rows.iter().zip(weights).enumerate() {
        let y = &mut y[choice / per_token * width..][..width];
        cpu::add_scaled(y, *weight, &outputs[*row as usize * width..][..width]);
    }
}

/// d outputs = w·g_t.
#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2"))]
fn spread(rows: &[u32], weights: &[f32], g: &[f32], width: usize, d: &mut [f32]) {
    let per_token = rows.len() * width / g.len().max(1);
    for (choice, (row, weight)) in rows.iter().zip(weights).enumerate() {
        let g = &g[choice / per_token * width..][..width];
        cpu::add_scaled(&mut d[*row as usize * width..][..width], *weight, g);
    }
}

/// dw = outputs·g_t.
#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2"))]
fn products(rows: &[u32], outputs: &[f32], g: &[f32], width: usize, d: &mut [f32]) {
    let per_token = rows.len() * width / g.len().max(1);
    for (choice, (row, d)) in rows.iter().zip(d).enumerate() {
        let g = &g[choice / per_token * width..][..width];
        *d = cpu::dot(&outputs[*row as usize * width..][..width], g);
    }
}
