//! Causal attention within each sequence of a packed batch:
//! softmax(q·kᵀ/√d, keys up to the query's own position)·v, head by head.
//!
//! The backward pass computes the probabilities again instead of keeping them, so that memory grows with
//! the number of tokens and not with its square.

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};
use multiversion::multiversion;

use crate::{Sequences, composed, cpu};

/// How the features of queries, keys and values divide into heads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heads {
    /// Heads of the queries.
    pub queries: usize,
    /// Heads of keys and values; each serves `queries / keys` heads of queries.
    pub keys: usize,
    /// Features of one head.
    pub dim: usize,
}

impl Heads {
    /// The head of keys that serves a head of queries.
    pub(crate) fn key_of(self, query: usize) -> usize {
        query / (self.queries / self.keys)
    }
}

/// Attention for q of shape `(tokens, queries · dim)` and k, v of shape `(tokens, keys · dim)`; the result
/// has q's shape. Differentiable in all three.
///
/// # Errors
/// When the shapes do not fit the heads or the sequences.
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, heads: Heads, sequences: &Sequences) -> Result<Tensor> {
    if heads.keys == 0 || !heads.queries.is_multiple_of(heads.keys) {
        bail!("attention: {} query heads are not a multiple of {} key heads", heads.queries, heads.keys);
    }
    let expected = |heads_of: usize| (sequences.tokens(), heads_of * heads.dim);
    if q.dims2()? != expected(heads.queries) || k.dims2()? != expected(heads.keys) || v.shape() != k.shape() {
        bail!(
            "attention: q {:?}, k {:?}, v {:?} do not fit {heads:?} over {} tokens",
            q.shape(),
            k.shape(),
            v.shape(),
            sequences.tokens()
        );
    }
    if cpu::applies(&[q, k, v]) {
        let op = Attention { heads, sequences: sequences.clone() };
        q.contiguous()?.apply_op3(&k.contiguous()?, &v.contiguous()?, op)
    } else {
        composed::attention(q, k, v, heads, sequences)
    }
}

struct Attention {
    heads: Heads,
    sequences: Sequences,
}

impl CustomOp3 for Attention {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
        s3: &CpuStorage,
        l3: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (q, k, v) = (cpu::numbers(s1, l1)?, cpu::numbers(s2, l2)?, cpu::numbers(s3, l3)?);
        let mut out = vec![0.0; q.len()];
        let mut scratch = Scratch::new(self.heads.dim, self.sequences.longest());
        let (q_width, k_width) = (self.heads.queries * self.heads.dim, self.heads.keys * self.heads.dim);
        for rows in self.sequences.ranges() {
            for head in 0..self.heads.queries {
                let q = Strided::new(&q[rows.start * q_width..], head * self.heads.dim, q_width);
                let key_column = self.heads.key_of(head) * self.heads.dim;
                let k = Strided::new(&k[rows.start * k_width..], key_column, k_width);
                let v = Strided::new(&v[rows.start * k_width..], key_column, k_width);
                let out = &mut out[rows.start * q_width + head * self.heads.dim..];
                forward(q, k, v, rows.len(), self.heads.dim, &mut scratch, out, q_width);
            }
        }
        Ok((CpuStorage::F32(out), l1.shape().clone()))
    }

    fn bwd(
        &self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let grad = grad.contiguous()?;
        cpu::read([q, k, v, &grad], |[qs, ks, vs, gs]| {
            let (mut dq, mut dk, mut dv) = (vec![0.0; qs.len()], vec![0.0; ks.len()], vec![0.0; vs.len()]);
            let dim = self.heads.dim;
            let (q_width, k_width) = (self.heads.queries * dim, self.heads.keys * dim);
            let mut scratch = Scratch::new(dim, self.sequences.longest());
            for rows in self.sequences.ranges() {
                for head in 0..self.heads.queries {
                    let q_start = rows.start * q_width + head * dim;
                    let k_start = rows.start * k_width + self.heads.key_of(head) * dim;
                    let operands = Operands {
                        q: Strided::new(qs, q_start, q_width),
                        k: Strided::new(ks, k_start, k_width),
                        v: Strided::new(vs, k_start, k_width),
                        g: Strided::new(gs, q_start, q_width),
                    };
                    let gradients = Gradients {
                        q: &mut dq[q_start..],
                        k: &mut dk[k_start..],
                        v: &mut dv[k_start..],
                        q_width,
                        k_width,
                    };
                    backward(operands, rows.len(), dim, &mut scratch, gradients);
                }
            }
            let tensor = |values, like: &Tensor| Tensor::from_vec(values, like.shape(), like.device());
            Ok((Some(tensor(dq, q)?), Some(tensor(dk, k)?), Some(tensor(dv, v)?)))
        })
    }
}

/// The rows of one head inside a wider matrix.
#[derive(Clone, Copy)]
pub(crate) struct Strided<'a> {
    values: &'a [f32],
    width: usize,
}

impl<'a> Strided<'a> {
    pub(crate) fn new(values: &'a [f32], start: usize, width: usize) -> Self {
        Self { values: &values[start..], width }
    }

    #[inline(always)]
    pub(crate) fn row(&self, index: usize, dim: usize) -> &'a [f32] {
        &self.values[index * self.width..][..dim]
    }
}

struct Operands<'a> {
    q: Strided<'a>,
    k: Strided<'a>,
    v: Strided<'a>,
    g: Strided<'a>,
}

struct Gradients<'a> {
    q: &'a mut [f32],
    k: &'a mut [f32],
    v: &'a mut [f32],
    q_width: usize,
    k_width: usize,
}

/// Memory for one head of one sequence, used again for each.
pub(crate) struct Scratch {
    k_transposed: Vec<f32>,
    v_transposed: Vec<f32>,
    row: Vec<f32>,
    d_row: Vec<f32>,
}

impl Scratch {
    pub(crate) fn new(dim: usize, longest: usize) -> Self {
        Self {
            k_transposed: vec![0.0; dim * longest],
            v_transposed: vec![0.0; dim * longest],
            row: vec![0.0; longest],
            d_row: vec![0.0; longest],
        }
    }
}

#[inline(always)]
fn transpose(from: Strided<'_>, length: usize, dim: usize, to: &mut [f32]) {
    for j in 0..length {
        for (d, value) in from.row(j, dim).iter().enumerate() {
            to[d * length + j] = *value;
        }
    }
}

/// row[j] = Σ_d x[d] · transposed[d][j] for j ≤ last.
#[inline(always)]
fn scores(x: &[f32], transposed: &[f32], length: usize, row: &mut [f32]) {
    row.fill(0.0);
    let n = row.len();
    for (d, x) in x.iter().enumerate() {
        cpu::add_scaled(row, *x, &transposed[d * length..][..n]);
    }
}

/// In place: row := softmax(scale · row).
#[inline(always)]
pub(crate) fn softmax(row: &mut [f32], scale: f32) {
    let highest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    for value in row.iter_mut() {
        *value = cpu::exp((*value - highest) * scale);
    }
    let inverse = 1.0 / row.iter().sum::<f32>();
    for value in row.iter_mut() {
        *value *= inverse;
    }
}

#[multiversion(targets("x86_64+avx2", "x86_64+avx512f+avx512vl"))]
#[allow(clippy::too_many_arguments)] // a kernel: operands, shape, memory, result
fn forward(
    q: Strided<'_>,
    k: Strided<'_>,
    v: Strided<'_>,
    length: usize,
    dim: usize,
    scratch: &mut Scratch,
    out: &mut [f32],
    width: usize,
) {
    let scale = 1.0 / (dim as f32).sqrt();
    transpose(k, length, dim, &mut scratch.k_transposed);
    for i in 0..length {
        let row = &mut scratch.row[..=i];
        scores(q.row(i, dim), &scratch.k_transposed, length, row);
        softmax(row, scale);
        let out = &mut out[i * width..][..dim];
        for (j, p) in row.iter().enumerate() {
            cpu::add_scaled(out, *p, v.row(j, dim));
        }
    }
}

#[multiversion(targets("x86_64+avx2", "x86_64+avx512f+avx512vl"))]
fn backward(x: Operands<'_>, length: usize, dim: usize, scratch: &mut Scratch, d: Gradients<'_>) {
    let scale = 1.0 / (dim as f32).sqrt();
    transpose(x.k, length, dim, &mut scratch.k_transposed);
    transpose(x.v, length, dim, &mut scratch.v_transposed);
    for i in 0..length {
        let (p, dp) = (&mut scratch.row[..=i], &mut scratch.d_row[..=i]);
        scores(x.q.row(i, dim), &scratch.k_transposed, length, p);
        softmax(p, scale);
        scores(x.g.row(i, dim), &scratch.v_transposed, length, dp);
        let mean: f32 = p.iter().zip(dp.iter()).map(|(p, dp)| p * dp).sum();
        let dq = &mut d.q[i * d.q_width..][..dim];
        for j in 0..=i {
            let ds = p[j] * (dp[j] - mean) * scale;
            cpu::add_scaled(dq, ds, x.k.row(j, dim));
            cpu::add_scaled(&mut d.k[j * d.k_width..][..dim], ds, x.q.row(i, dim));
            cpu::add_scaled(&mut d.v[j * d.k_width..][..dim], p[j], x.g.row(i, dim));
        }
    }
}
