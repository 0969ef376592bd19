//! Causal attention within each sequence of a packed batch:
//! softmax(q·kᵀ/√d, keys up to the query's own position)·v, head by head; the keys may be those of a window
//! (arXiv 2004.05150), and scores may be capped (arXiv 2408.00118).
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

/// Which keys a query reaches, and what its scores become before they are probabilities.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Scoring {
    /// A query sees so many keys back, its own included; all of them where none.
    pub window: Option<usize>,
    /// A score s becomes cap·tanh(s/cap).
    pub cap: Option<f64>,
}

impl Scoring {
    /// The first key that the query of this position sees.
    #[inline(always)]
    pub(crate) fn first(self, position: usize) -> usize {
        self.window.map_or(0, |window| (position + 1).saturating_sub(window))
    }

    /// In place: row := softmax of scale · row, capped.
    #[inline(always)]
    pub(crate) fn probabilities(self, row: &mut [f32], scale: f32) {
        match self.cap {
            None => softmax(row, scale),
            Some(cap) => {
                let cap = cap as f32;
                for value in row.iter_mut() {
                    *value = cap * cpu::tanh(*value * scale / cap);
                }
                softmax(row, 1.0);
            }
        }
    }

    pub(crate) fn check(self) -> Result<()> {
        if self.window == Some(0) {
            bail!("attention: in a window of 0 a query sees nothing");
        }
        match self.cap {
            Some(cap) if !(cap > 0.0 && cap.is_finite()) => {
                bail!("attention: scores cannot be capped at {cap}")
            }
            _ => Ok(()),
        }
    }
}

/// Attention for q of shape `(tokens, queries · dim)` and k, v of shape `(tokens, keys · dim)`; the result
/// has q's shape. Differentiable in all three.
///
/// # Errors
/// When the shapes do not fit the heads or the sequences, or the window or cap is 0.
pub fn attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    heads: Heads,
    scoring: Scoring,
    sequences: &Sequences,
) -> Result<Tensor> {
    scoring.check()?;
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
        let op = Attention { heads, scoring, sequences: sequences.clone() };
        q.contiguous()?.apply_op3(&k.contiguous()?, &v.contiguous()?, op)
    } else {
        composed::attention(q, k, v, heads, scoring, sequences)
    }
}

struct Attention {
    heads: Heads,
    scoring: Scoring,
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
                let shape = (rows.len(), self.heads.dim);
                forward(q, k, v, shape, self.scoring, &mut scratch, out, q_width);
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
                    backward(operands, (rows.len(), dim), self.scoring, &mut scratch, gradients);
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
    /// What a capped score changes by where the score does.
    slopes: Vec<f32>,
}

impl Scratch {
    pub(crate) fn new(dim: usize, longest: usize) -> Self {
        Self {
            k_transposed: vec![0.0; dim * longest],
            v_transposed: vec![0.0; dim * longest],
            row: vec![0.0; longest],
            d_row: vec![0.0; longest],
            slopes: vec![0.0; longest],
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

/// row[j] = Σ_d x[d] · transposed[d][j] for as many j as the row has.
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
    (length, dim): (usize, usize),
    scoring: Scoring,
    scratch: &mut Scratch,
    out: &mut [f32],
    width: usize,
) {
    let scale = 1.0 / (dim as f32).sqrt();
    transpose(k, length, dim, &mut scratch.k_transposed);
    for i in 0..length {
        let first = scoring.first(i);
        let row = &mut scratch.row[..=i - first];
        scores(q.row(i, dim), &scratch.k_transposed[first..], length, row);
        scoring.probabilities(row, scale);
        let out = &mut out[i * width..][..dim];
        for (j, p) in row.iter().enumerate() {
            cpu::add_scaled(out, *p, v.row(first + j, dim));
        }
    }
}

#[multiversion(targets("x86_64+avx2", "x86_64+avx512f+avx512vl"))]
fn backward(
    x: Operands<'_>,
    (length, dim): (usize, usize),
    scoring: Scoring,
    scratch: &mut Scratch,
    d: Gradients<'_>,
) {
    let scale = 1.0 / (dim as f32).sqrt();
    transpose(x.k, length, dim, &mut scratch.k_transposed);
    transpose(x.v, length, dim, &mut scratch.v_transposed);
    for i in 0..length {
        let first = scoring.first(i);
        let (p, dp) = (&mut scratch.row[..=i - first], &mut scratch.d_row[..=i - first]);
        scores(x.q.row(i, dim), &scratch.k_transposed[first..], length, p);
        if let Some(cap) = scoring.cap {
            for (slope, score) in scratch.slopes.iter_mut().zip(p.iter()) {
                let tanh = cpu::tanh(score * scale / cap as f32);
                *slope = 1.0 - tanh * tanh;
            }
        }
        scoring.probabilities(p, scale);
        scores(x.g.row(i, dim), &scratch.v_transposed[first..], length, dp);
        let mean: f32 = p.iter().zip(dp.iter()).map(|(p, dp)| p * dp).sum();
        let dq = &mut d.q[i * d.q_width..][..dim];
        for at in 0..p.len() {
            let j = first + at;
            let mut ds = p[at] * (dp[at] - mean) * scale;
            if scoring.cap.is_some() {
                ds *= scratch.slopes[at];
            }
            cpu::add_scaled(dq, ds, x.k.row(j, dim));
            cpu::add_scaled(&mut d.k[j * d.k_width..][..dim], ds, x.q.row(i, dim));
            cpu::add_scaled(&mut d.v[j * d.k_width..][..dim], p[at], x.g.row(i, dim));
        }
    }
}
