//! Causal attention within each sequence of a packed batch:
//! softmax(q·kᵀ/√d, keys up to the query's own position)·v, head by head; the keys may be those of a window
//! (arXiv 2004.05150), scores may be capped (arXiv 2408.00118), and a head may have a sink, one more score in the
//! softmax without a value.
//!
//! The backward pass computes the probabilities again instead of keeping them, so that memory grows with
//! the number of tokens and not with its square.

mod kernel;
mod tiles;

use std::ops::Range;

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};

use kernel::{Asking, Gradients, Head, Scratch};
pub(crate) use kernel::{Strided, weighted};

use crate::scoring::Scoring;
use crate::{Sequences, composed, cpu, parallel};

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
/// has q's shape. Where only some tokens have queries ([`Sequences::asking`]), q has a row for each of these. `sinks`, of shape `(queries)`, are one more score for each head, whose probability adds nothing
/// (arXiv 2309.17453, as gpt-oss has them). Differentiable in all four.
///
/// # Errors
/// When the shapes do not fit the heads or the sequences, or the window or cap is 0.
pub fn attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    heads: Heads,
    scoring: Scoring,
    sinks: Option<&Tensor>,
    sequences: &Sequences,
) -> Result<Tensor> {
    scoring.check()?;
    if heads.keys == 0 || !heads.queries.is_multiple_of(heads.keys) {
        bail!("attention: {} query heads are not a multiple of {} key heads", heads.queries, heads.keys);
    }
    let expected = |rows: usize, heads_of: usize| (rows, heads_of * heads.dim);
    if q.dims2()? != expected(sequences.queries(), heads.queries)
        || k.dims2()? != expected(sequences.tokens(), heads.keys)
        || v.shape() != k.shape()
    {
        bail!(
            "attention: q {:?}, k {:?}, v {:?} do not fit {heads:?} over {} tokens, of which {} have queries",
            q.shape(),
            k.shape(),
            v.shape(),
            sequences.tokens(),
            sequences.queries()
        );
    }
    if let Some(sinks) = sinks.filter(|sinks| sinks.dims() != [heads.queries]) {
        bail!(
            "attention: sinks of shape {:?} are not one for each of {} heads",
            sinks.shape(),
            heads.queries
        );
    }
    let op = Attention { heads, scoring, sequences: sequences.clone() };
    match sinks {
        _ if !cpu::applies(&[q, k, v]) => composed::attention(q, k, v, heads, scoring, sinks, sequences),
        None => q.contiguous()?.apply_op3(&k.contiguous()?, &v.contiguous()?, op),
        Some(sinks) => {
            let kv = Tensor::cat(&[k, v], 1)?;
            q.contiguous()?.apply_op3(&kv, &sinks.contiguous()?, Sunk(op))
        }
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
        let width = self.heads.keys * self.heads.dim;
        Ok((CpuStorage::F32(self.forward(q, (k, v, width), None)), l1.shape().clone()))
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
            let width = self.heads.keys * self.heads.dim;
            let [dq, dk, dv, _] = self.backward(qs, (ks, vs, width), gs, None);
            Ok((
                Some(cpu::tensor_like(dq, q)?),
                Some(cpu::tensor_like(dk, k)?),
                Some(cpu::tensor_like(dv, v)?),
            ))
        })
    }
}

impl Attention {
    /// All heads of all sequences; rows of keys and values begin so many numbers after each other.
    fn forward(
        &self,
        q: &[f32],
        (k, v, k_width): (&[f32], &[f32], usize),
        sinks: Option<&[f32]>,
    ) -> Vec<f32> {
        let mut out = vec![0.0; q.len()];
        let q_width = self.heads.queries * self.heads.dim;
        let groups = self.groups();
        let outs = parallel::divided(&mut out, groups.iter().map(|group| group.queries.len() * q_width));
        parallel::each(groups.iter().zip(outs).collect(), |(group, out)| {
            let mut scratch = Scratch::default();
            for (rows, asking) in &group.sequences {
                for head in 0..self.heads.queries {
                    let first = asking.first - group.queries.start;
                    let out = &mut out[first * q_width + head * self.heads.dim..];
                    let of = self.head((q, k, v, k_width), rows, *asking, head, sinks);
                    kernel::forward(of, &mut scratch, out, q_width);
                }
            }
        });
        out
    }

    /// One head of the sequence that has these rows.
    fn head<'a>(
        &self,
        (q, k, v, k_width): (&'a [f32], &'a [f32], &'a [f32], usize),
        rows: &Range<usize>,
        asking: Asking<'a>,
        head: usize,
        sinks: Option<&[f32]>,
    ) -> Head<'a> {
        let Heads { queries, dim, .. } = self.heads;
        let (q_width, k_start) = (queries * dim, rows.start * k_width + self.heads.key_of(head) * dim);
        Head {
            q: Strided::new(q, asking.first * q_width + head * dim, q_width),
            k: Strided::new(k, k_start, k_width),
            v: Strided::new(v, k_start, k_width),
            asking,
            length: rows.len(),
            dim,
            scoring: self.scoring,
            sink: sinks.map(|sinks| sinks[head]),
        }
    }

    /// The rows of each sequence, and its queries.
    fn asking(&self) -> impl Iterator<Item = (Range<usize>, Asking<'_>)> {
        let mut first = 0;
        self.sequences.ranges().filter_map(move |rows| {
            let Some(asked) = self.sequences.asked() else {
                let (first, count) = (rows.start, rows.len());
                return Some((rows, Asking { first, start: first, rows: None, count }));
            };
            let here = &asked[first..];
            let here = &here[..here.partition_point(|row| (*row as usize) < rows.end)];
            let asking = Asking { first, start: rows.start, rows: Some(here), count: here.len() };
            first += here.len();
            (!here.is_empty()).then_some((rows, asking))
        })
    }

    /// The sequences, in as many groups as there are threads to attend beside each other.
    fn groups(&self) -> Vec<Group<'_>> {
        let most = self.sequences.queries().div_ceil(parallel::threads(self.sequences.queries()));
        let mut groups: Vec<Group<'_>> = Vec::new();
        for (rows, asking) in self.asking() {
            let end = asking.first + asking.count;
            match groups.last_mut().filter(|group| group.queries.len() < most) {
                Some(group) => {
                    group.queries.end = end;
                    group.keys.end = rows.end;
                    group.sequences.push((rows, asking));
                }
                None => {
                    // What nobody asks lies between two groups: it is the later one's.
                    let start = groups.last().map_or(0, |group| group.keys.end);
                    let (queries, keys) = (asking.first..end, start..rows.end);
                    groups.push(Group { queries, keys, sequences: vec![(rows, asking)] });
                }
            }
        }
        groups
    }

    /// The gradients of queries, keys, values and sinks.
    fn backward(
        &self,
        qs: &[f32],
        (ks, vs, width): (&[f32], &[f32], usize),
        gs: &[f32],
        sinks: Option<&[f32]>,
    ) -> [Vec<f32>; 4] {
        let dim = self.heads.dim;
        let (q_width, k_width) = (self.heads.queries * dim, self.heads.keys * dim);
        let keys = self.sequences.tokens() * k_width;
        let (mut dq, mut dk, mut dv) = (vec![0.0; qs.len()], vec![0.0; keys], vec![0.0; keys]);
        let groups = self.groups();
        let of_queries = || groups.iter().map(|group| group.queries.len());
        let of_keys = || groups.iter().map(|group| group.keys.len() * k_width);
        // A sink's gradient is a sum over all sequences, and as such not to depend on the groups.
        let mut d_sinks: Vec<Vec<f32>> = groups.iter().map(|_| Vec::new()).collect();
        let parts = parallel::divided(&mut dq, of_queries().map(|queries| queries * q_width)).into_iter();
        let parts =
            parts.zip(parallel::divided(&mut dk, of_keys())).zip(parallel::divided(&mut dv, of_keys()));
        let parts = groups.iter().zip(parts).zip(&mut d_sinks).collect();
        parallel::each(parts, |((group, ((dq, dk), dv)), d_sinks)| {
            let mut scratch = Scratch::default();
            for (rows, asking) in &group.sequences {
                for head in 0..self.heads.queries {
                    let q_start = asking.first * q_width + head * dim;
                    let first_key = (rows.start - group.keys.start) * k_width + self.heads.key_of(head) * dim;
                    let gradients = Gradients {
                        q: &mut dq[q_start - group.queries.start * q_width..],
                        k: &mut dk[first_key..],
                        v: &mut dv[first_key..],
                        q_width,
                        k_width,
                    };
                    let g = Strided::new(gs, q_start, q_width);
                    let of = self.head((qs, ks, vs, width), rows, *asking, head, sinks);
                    d_sinks.push(kernel::backward(of, g, &mut scratch, gradients));
                }
            }
        });
        let mut of_sinks = vec![0.0; sinks.map_or(0, <[f32]>::len)];
        for of_sequence in d_sinks.iter().flat_map(|of| of.chunks(self.heads.queries)) {
            of_sinks.iter_mut().zip(of_sequence).for_each(|(sum, d_sink)| *sum += d_sink);
        }
        [dq, dk, dv, of_sinks]
    }
}

/// Sequences that follow each other, with what is theirs of the queries and of the keys.
struct Group<'a> {
    queries: Range<usize>,
    keys: Range<usize>,
    sequences: Vec<(Range<usize>, Asking<'a>)>,
}

/// The same with sinks: queries, keys beside values, sinks.
struct Sunk(Attention);

impl CustomOp3 for Sunk {
    fn name(&self) -> &'static str {
        "attention-with-sinks"
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
        let (q, kv, sinks) = (cpu::numbers(s1, l1)?, cpu::numbers(s2, l2)?, cpu::numbers(s3, l3)?);
        let width = self.0.heads.keys * self.0.heads.dim;
        let out = self.0.forward(q, (kv, &kv[width..], 2 * width), Some(sinks));
        Ok((CpuStorage::F32(out), l1.shape().clone()))
    }

    fn bwd(
        &self,
        q: &Tensor,
        kv: &Tensor,
        sinks: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let grad = grad.contiguous()?;
        cpu::read([q, kv, sinks, &grad], |[qs, kvs, ss, gs]| {
            let width = self.0.heads.keys * self.0.heads.dim;
            let [dq, dk, dv, d_sinks] = self.0.backward(qs, (kvs, &kvs[width..], 2 * width), gs, Some(ss));
            let mut d_kv = Vec::with_capacity(kvs.len());
            for (dk, dv) in dk.chunks_exact(width).zip(dv.chunks_exact(width)) {
                d_kv.extend_from_slice(dk);
                d_kv.extend_from_slice(dv);
            }
            let d_sinks = sinks.track_op().then(|| cpu::tensor_like(d_sinks, sinks)).transpose()?;
            Ok((Some(cpu::tensor_like(dq, q)?), Some(cpu::tensor_like(d_kv, kv)?), d_sinks))
        })
    }
}
