//! Attention of new tokens over keys and values kept from earlier ones: what makes generation fast.
//! No gradient.

use candle_core::{CpuStorage, CustomOp3, DType, Device, InplaceOp2, Layout, Result, Shape, Tensor, bail};
use multiversion::multiversion;

use crate::attention::{Heads, Strided, weighted};
use crate::scoring::Scoring;
use crate::{composed, cpu, parallel};

/// The keys and values of one layer for a batch of rows that advance together, each at its own length.
#[derive(Debug, Clone)]
pub struct LayerCache {
    keys: Tensor,
    values: Tensor,
    heads: Heads,
    capacity: usize,
}

impl LayerCache {
    /// Room for `rows` sequences of at most `capacity` tokens.
    ///
    /// # Errors
    /// When the device has no room.
    pub fn new(rows: usize, capacity: usize, heads: Heads, dtype: DType, device: &Device) -> Result<Self> {
        let shape = (rows * capacity, heads.keys * heads.dim);
        Ok(Self {
            keys: Tensor::zeros(shape, dtype, device)?,
            values: Tensor::zeros(shape, dtype, device)?,
            heads,
            capacity,
        })
    }

    /// Keeps k and v, shape `(tokens, keys · dim)`: token i goes to position `places[i].1` of row
    /// `places[i].0`.
    ///
    /// # Errors
    /// When a place lies outside the cache.
    pub fn keep(&self, k: &Tensor, v: &Tensor, places: &[(usize, usize)]) -> Result<()> {
        let width = self.heads.keys * self.heads.dim;
        if let Some((row, position)) = places.iter().find(|(_, position)| *position >= self.capacity) {
            bail!("cache: position {position} of row {row} is beyond the capacity of {}", self.capacity);
        }
        let slots: Vec<u32> =
            places.iter().map(|(row, position)| (row * self.capacity + position) as u32).collect();
        if cpu::applies(&[k, v, &self.keys]) {
            let keep = Keep { slots, width };
            self.keys.inplace_op2(&k.detach().contiguous()?, &keep)?;
            return self.values.inplace_op2(&v.detach().contiguous()?, &keep);
        }
        let index = Tensor::from_vec(slots, (places.len(), 1), k.device())?
            .broadcast_as((places.len(), width))?
            .contiguous()?;
        self.keys.scatter_set(&index, &k.detach().contiguous()?, 0)?;
        self.values.scatter_set(&index, &v.detach().contiguous()?, 0)
    }

    /// Only these rows, in this order: finished sequences are dropped.
    ///
    /// # Errors
    /// When the device has no room for the copy.
    pub fn select(&self, rows: &[usize]) -> Result<Self> {
        let slots: Vec<u32> = rows
            .iter()
            .flat_map(|row| row * self.capacity..(row + 1) * self.capacity)
            .map(|slot| slot as u32)
            .collect();
        let index = Tensor::from_vec(slots, rows.len() * self.capacity, self.keys.device())?;
        Ok(Self {
            keys: self.keys.index_select(&index, 0)?,
            values: self.values.index_select(&index, 0)?,
            ..*self
        })
    }

    /// Attention of one new query per row, shape `(rows, queries · dim)`, over the first `lengths[row]`
    /// kept tokens of its row, the last of which is its own, with the sinks that [`crate::attention`] has.
    ///
    /// # Errors
    /// When the shapes do not match, or the window or cap is 0.
    pub fn attend(
        &self,
        q: &Tensor,
        scoring: Scoring,
        sinks: Option<&Tensor>,
        lengths: &[usize],
    ) -> Result<Tensor> {
        scoring.check()?;
        let (rows, width) = q.dims2()?;
        if rows != lengths.len() || width != self.heads.queries * self.heads.dim {
            bail!(
                "cache: queries of shape ({rows}, {width}) do not fit {} rows of {:?}",
                lengths.len(),
                self.heads
            );
        }
        if cpu::applies(&[q, &self.keys]) {
            let sinks = sinks.map(|sinks| sinks.to_vec1()).transpose()?;
            let (heads, capacity, lengths) = (self.heads, self.capacity, lengths.to_vec());
            let op = Attend { heads, scoring, sinks, capacity, lengths };
            q.detach().contiguous()?.apply_op3_no_bwd(&self.keys, &self.values, &op)
        } else {
            let split = |x: &Tensor, heads| {
                x.reshape(((), self.capacity, heads, self.heads.dim))?.transpose(1, 2)?.contiguous()
            };
            let (k, v) = (split(&self.keys, self.heads.keys)?, split(&self.values, self.heads.keys)?);
            let k = composed::repeat_heads(&k, self.heads)?;
            let v = composed::repeat_heads(&v, self.heads)?;
            let q = q.reshape((rows, self.heads.queries, 1, self.heads.dim))?;
            let scores = (q.matmul(&k.transpose(2, 3)?.contiguous()?)? / (self.heads.dim as f64).sqrt())?;
            let scores = composed::capped(&scores, scoring.cap)?;
            let hidden: Vec<f32> = lengths
                .iter()
                .flat_map(|length| {
                    let seen = scoring.first(length.saturating_sub(1))..*length;
                    (0..self.capacity).map(move |j| if seen.contains(&j) { 0.0 } else { f32::MIN })
                })
                .collect();
            let hidden = Tensor::from_vec(hidden, (rows, 1, 1, self.capacity), q.device())?;
            let scores = scores.broadcast_add(&hidden.to_dtype(scores.dtype())?)?;
            let p = composed::softmax_beside(&scores, sinks)?;
            p.matmul(&v)?.reshape((rows, width))
        }
    }
}

/// Rows to their slots.
struct Keep {
    slots: Vec<u32>,
    width: usize,
}

impl InplaceOp2 for Keep {
    fn name(&self) -> &'static str {
        "keep"
    }

    fn cpu_fwd(&self, s1: &mut CpuStorage, l1: &Layout, s2: &CpuStorage, l2: &Layout) -> Result<()> {
        let (kept, new) = (cpu::numbers_mut(s1, l1)?, cpu::numbers(s2, l2)?);
        if new.len() != self.slots.len() * self.width {
            bail!("cache: {} numbers for {} rows of {}", new.len(), self.slots.len(), self.width);
        }
        let mut kept: Vec<&mut [f32]> = kept.chunks_exact_mut(self.width).collect();
        for (slot, row) in self.slots.iter().zip(new.chunks_exact(self.width)) {
            let Some(kept) = kept.get_mut(*slot as usize) else { bail!("cache: there is no slot {slot}") };
            kept.copy_from_slice(row);
        }
        Ok(())
    }
}

struct Attend {
    heads: Heads,
    scoring: Scoring,
    sinks: Option<Vec<f32>>,
    capacity: usize,
    lengths: Vec<usize>,
}

impl CustomOp3 for Attend {
    fn name(&self) -> &'static str {
        "attend"
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
        let dim = self.heads.dim;
        let width = self.heads.keys * dim;
        let of_row = self.heads.queries * dim;
        parallel::rows_of(&mut out, of_row, self.capacity * width, |first_row, out| {
            let mut scores = vec![0.0; self.capacity];
            for (at, out) in out.chunks_exact_mut(of_row).enumerate() {
                let row = first_row + at;
                let length = self.lengths[row];
                let first = self.scoring.first(length.saturating_sub(1));
                for (head, out) in out.chunks_exact_mut(dim).enumerate() {
                    let start = (row * self.capacity + first) * width + self.heads.key_of(head) * dim;
                    let (k, v) = (Strided::new(k, start, width), Strided::new(v, start, width));
                    let sink = self.sinks.as_ref().and_then(|sinks| sinks.get(head).copied());
                    let q = &q[row * of_row + head * dim..][..dim];
                    attend(q, k, v, (self.scoring, sink), &mut scores[..length - first], out);
                }
            }
        });
        Ok((CpuStorage::F32(out), l1.shape().clone()))
    }
}

#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2"))]
fn attend(
    q: &[f32],
    k: Strided<'_>,
    v: Strided<'_>,
    (scoring, sink): (Scoring, Option<f32>),
    scores: &mut [f32],
    out: &mut [f32],
) {
    let dim = q.len();
    for (j, score) in scores.iter_mut().enumerate() {
        *score = cpu::dot(q, k.row(j, dim));
    }
    scoring.probabilities(scores, 1.0 / (dim as f32).sqrt(), sink);
    weighted(scores, v, out);
}
