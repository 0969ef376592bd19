//! Rotary position embedding (arXiv 2104.09864), in the half-split form of Hugging Face's Llama: the
//! first half of a head's features is rotated against the second. Of some models a head's first features alone are
//! rotated, and the rest stays.

use std::f64::consts::TAU;
use std::sync::{Arc, OnceLock};

use candle_core::{CpuStorage, CustomOp1, DType, Device, Layout, Result, Shape, Tensor, bail};
use multiversion::multiversion;

use crate::{Sequences, composed, cpu, parallel};

/// Positions whose angles are computed together, when one of them is first asked for.
const BLOCK: usize = 256;

/// How a model stretches its rotary frequencies to texts longer than those it was first trained on.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Scaling {
    /// Not at all.
    #[default]
    None,
    /// All frequencies are divided by `factor` (arXiv 2306.15595).
    Linear {
        /// At least 1.
        factor: f64,
    },
    /// Llama 3.1's: frequencies of long waves are divided by `factor`, those of short waves kept, those
    /// between mixed linearly.
    Llama3 {
        /// Divides the frequencies of long waves.
        factor: f64,
        /// Waves longer than `original_positions / low_frequency_factor` are long.
        low_frequency_factor: f64,
        /// Waves shorter than `original_positions / high_frequency_factor` are short.
        high_frequency_factor: f64,
        /// Positions that the model was first trained on.
        original_positions: usize,
    },
    /// Stretched only for texts longer than the model's positions, of which there are none here.
    Dynamic {
        /// At least 1.
        factor: f64,
    },
    /// YaRN (arXiv 2309.00071): frequencies of long waves are divided by `factor`, those of short waves kept, those
    /// between mixed linearly by their number; cosines and sines are multiplied by `magnitude`.
    Yarn {
        /// Divides the frequencies of long waves.
        factor: f64,
        /// Multiplies cosines and sines; Transformers' `attention_factor`.
        magnitude: f64,
        /// Waves that turn more often in `original_positions` are short.
        beta_fast: f64,
        /// Waves that turn less often in `original_positions` are long.
        beta_slow: f64,
        /// Whether the borders between short, mixed and long fall on whole numbers of frequencies.
        truncate: bool,
        /// Positions that the model was first trained on.
        original_positions: usize,
    },
    /// LongRoPE (arXiv 2402.13753): each frequency is divided by a factor of its own, of which there are others for
    /// sequences of more than `original_positions` tokens; cosines and sines are multiplied by `magnitude`.
    Long {
        /// The divisors in sequences of at most `original_positions`, one for each frequency.
        short: Arc<[f64]>,
        /// The divisors in longer ones.
        long: Arc<[f64]>,
        /// Multiplies cosines and sines; Transformers' `attention_factor`.
        magnitude: f64,
        /// Positions that the model was first trained on.
        original_positions: usize,
    },
}

impl Scaling {
    /// The stretched form of frequency `i` of `half`, theta^(−i / half), in radians per position; where it depends
    /// on the length of a sequence, that of short ones.
    pub fn frequency(&self, i: usize, half: usize, theta: f64) -> f64 {
        let frequency = theta.powf(-(i as f64) / half as f64);
        match *self {
            Self::None | Self::Dynamic { .. } => frequency,
            Self::Long { ref short, .. } => frequency / short.get(i).copied().unwrap_or(1.0),
            Self::Linear { factor } => frequency / factor,
            Self::Llama3 {
                factor,
                low_frequency_factor: low,
                high_frequency_factor: high,
                original_positions,
            } => {
                let waves = original_positions as f64 * frequency / TAU;
                let kept = ((waves - low) / (high - low)).clamp(0.0, 1.0);
                (1.0 - kept) * frequency / factor + kept * frequency
            }
            Self::Yarn { factor, beta_fast, beta_slow, truncate, original_positions, .. } => {
                // The number of the frequency that turns so often in the original positions.
                let border =
                    |turns: f64| half as f64 * (original_positions as f64 / (turns * TAU)).ln() / theta.ln();
                let (mut low, mut high) = (border(beta_fast), border(beta_slow));
                if truncate {
                    (low, high) = (low.floor(), high.ceil());
                }
                (low, high) = (low.max(0.0), high.min((2 * half - 1) as f64));
                let width = if low == high { 0.001 } else { high - low };
                let stretched = ((i as f64 - low) / width).clamp(0.0, 1.0);
                stretched * frequency / factor + (1.0 - stretched) * frequency
            }
        }
    }

    /// The frequencies of sequences longer than so many tokens, where those have others.
    fn of_long(&self, half: usize, theta: f64) -> Option<(usize, Vec<f32>)> {
        let Self::Long { long, original_positions, .. } = self else { return None };
        let plain = |i: usize| theta.powf(-(i as f64) / half as f64);
        let stretched = |i: usize| (plain(i) / long.get(i).copied().unwrap_or(1.0)) as f32;
        Some((*original_positions, (0..half).map(stretched).collect()))
    }

    /// What cosines and sines are multiplied by.
    fn magnitude(&self) -> f32 {
        match *self {
            Self::Yarn { magnitude, .. } | Self::Long { magnitude, .. } => magnitude as f32,
            _ => 1.0,
        }
    }
}

/// The angles of each position: cosines and sines of shape `(positions, head_dim / 2)`, computed block by
/// block as positions are used, so that a context of 128k positions costs nothing until it is filled.
#[derive(Debug, Clone)]
pub struct Rotary {
    head_dim: usize,
    frequencies: Arc<[f32]>,
    /// Those of sequences longer than so many tokens, whose rows follow the others' in the table.
    long: Option<(usize, Arc<[f32]>)>,
    magnitude: f32,
    blocks: Arc<[OnceLock<Block>]>,
    positions: usize,
}

#[derive(Debug)]
struct Block {
    cos: Box<[f32]>,
    sin: Box<[f32]>,
}

impl Rotary {
    /// Angles `position · theta^(−2i / head_dim)` for all positions below `positions`.
    ///
    /// # Errors
    /// When `head_dim` is odd.
    pub fn new(head_dim: usize, positions: usize, theta: f64) -> Result<Self> {
        Self::scaled(head_dim, positions, theta, &Scaling::None)
    }

    /// The same with stretched frequencies.
    ///
    /// # Errors
    /// When `head_dim` is odd.
    pub fn scaled(head_dim: usize, positions: usize, theta: f64, scaling: &Scaling) -> Result<Self> {
        Self::partial(head_dim, head_dim, positions, theta, scaling)
    }

    /// The same where the first `rotated` features of a head are rotated and the rest is not: angles
    /// `position · theta^(−2i / rotated)`.
    ///
    /// # Errors
    /// When `rotated` is odd, zero, or more than a head has.
    pub fn partial(
        head_dim: usize,
        rotated: usize,
        positions: usize,
        theta: f64,
        scaling: &Scaling,
    ) -> Result<Self> {
        if rotated == 0 || !rotated.is_multiple_of(2) || rotated > head_dim {
            bail!("rotary embedding needs an even number of features per head, got {rotated} of {head_dim}");
        }
        let half = rotated / 2;
        let long = scaling.of_long(half, theta);
        let tables = if long.is_some() { 2 } else { 1 };
        Ok(Self {
            head_dim,
            frequencies: (0..half).map(|i| scaling.frequency(i, half, theta) as f32).collect(),
            long: long.map(|(longest, frequencies)| (longest, frequencies.into())),
            magnitude: scaling.magnitude(),
            blocks: (0..tables * positions.div_ceil(BLOCK)).map(|_| OnceLock::new()).collect(),
            positions,
        })
    }

    /// Features of one head.
    pub fn head_dim(&self) -> usize {
        self.head_dim
    }

    /// Those of them that are rotated, the first ones.
    pub fn rotated_dim(&self) -> usize {
        2 * self.frequencies.len()
    }

    /// The row of the table for a position in a sequence of so many tokens: the position itself, unless long
    /// sequences have other angles.
    pub fn row_of(&self, position: u32, length: usize) -> u32 {
        match &self.long {
            Some((longest, _)) if length > *longest => position + self.first_long() as u32,
            _ => position,
        }
    }

    /// The rows of all tokens of a packed batch.
    pub fn rows(&self, sequences: &Sequences) -> Arc<[u32]> {
        let of = |length: usize| (0..length as u32).map(move |position| self.row_of(position, length));
        sequences.ranges().flat_map(|range| of(range.len())).collect()
    }

    /// Whether a sequence of so many tokens has other angles once it has one more.
    pub fn turns_at(&self, length: usize) -> bool {
        self.long.as_ref().is_some_and(|(longest, _)| length == *longest)
    }

    /// The position of a row.
    pub fn position_of(&self, row: u32) -> u32 {
        if self.is_long(row) { row - self.first_long() as u32 } else { row }
    }

    /// The row of position 0 in long sequences.
    fn first_long(&self) -> usize {
        self.positions.div_ceil(BLOCK) * BLOCK
    }

    fn is_long(&self, row: u32) -> bool {
        self.long.is_some() && row as usize >= self.first_long()
    }

    /// Number of positions that have angles.
    pub fn positions(&self) -> usize {
        self.positions
    }

    /// Cosines and sines of some rows, each of shape `(rows, rotated_dim / 2)`.
    pub(crate) fn tables(&self, rows: &[u32], dtype: DType, device: &Device) -> Result<(Tensor, Tensor)> {
        let half = self.frequencies.len();
        let (mut cos, mut sin) = (Vec::new(), Vec::new());
        for row in rows {
            let (c, s) = self.row(*row);
            cos.extend_from_slice(c);
            sin.extend_from_slice(s);
        }
        let tensor = |values| Tensor::from_vec(values, (rows.len(), half), device)?.to_dtype(dtype);
        Ok((tensor(cos)?, tensor(sin)?))
    }

    /// Cosines and sines of one row.
    fn row(&self, row: u32) -> (&[f32], &[f32]) {
        let (position, half) = (row as usize, self.frequencies.len());
        let block = self.blocks[position / BLOCK].get_or_init(|| {
            let first = self.position_of((position / BLOCK * BLOCK) as u32) as usize;
            let frequencies = match &self.long {
                Some((_, frequencies)) if self.is_long(row) => frequencies,
                _ => &self.frequencies,
            };
            let angles =
                || (first..first + BLOCK).flat_map(|p| frequencies.iter().map(move |f| p as f32 * f));
            let table = |of: fn(f32) -> f32| angles().map(|angle| self.magnitude * of(angle)).collect();
            Block { cos: table(f32::cos), sin: table(f32::sin) }
        });
        let at = position % BLOCK * half;
        (&block.cos[at..][..half], &block.sin[at..][..half])
    }
}

/// Rotates each head of x, shape `(tokens, heads · head_dim)`, by the angles of its token's row of the table, which is
/// its position unless [`Rotary::rows`] says otherwise.
///
/// # Errors
/// When the shapes do not match or a position lies beyond the table.
pub fn rotary(x: &Tensor, table: &Rotary, positions: &Arc<[u32]>) -> Result<Tensor> {
    fits(x.dims2()?, table, positions)?;
    if cpu::applies(&[x]) {
        x.contiguous()?.apply_op1(Rotate::new(table, positions))
    } else {
        composed::rotary(x, table, positions)
    }
}

/// Whether a tensor of that shape has a row for each position, and heads of the table's size.
pub(crate) fn fits((tokens, features): (usize, usize), table: &Rotary, positions: &Arc<[u32]>) -> Result<()> {
    if tokens != positions.len() || !features.is_multiple_of(table.head_dim()) {
        bail!(
            "rotary: input of shape ({tokens}, {features}) does not fit {} positions and heads of {}",
            positions.len(),
            table.head_dim()
        );
    }
    let beyond = |row: &&u32| table.position_of(**row) as usize >= table.positions();
    if let Some(position) = positions.iter().find(beyond).map(|row| table.position_of(*row)) {
        bail!("rotary: position {position} is beyond the model's {} positions", table.positions());
    }
    Ok(())
}

/// Rotation by `sign` times the table's angles; the backward pass is the rotation back.
#[derive(Clone)]
pub(crate) struct Rotate {
    table: Rotary,
    positions: Arc<[u32]>,
    sign: f32,
}

impl Rotate {
    pub(crate) fn new(table: &Rotary, positions: &Arc<[u32]>) -> Self {
        Self { table: table.clone(), positions: positions.clone(), sign: 1.0 }
    }

    pub(crate) fn back(&self) -> Self {
        Self { sign: -self.sign, ..self.clone() }
    }

    /// Rotates all rows, of so many features, in place.
    pub(crate) fn apply(&self, x: &mut [f32], features: usize) {
        parallel::rows(x, features, |first, x| {
            for (x, position) in x.chunks_exact_mut(features).zip(&self.positions[first..]) {
                let (cos, sin) = self.table.row(*position);
                rotate_token(x, cos, sin, self.sign, self.table.head_dim);
            }
        });
    }
}

impl CustomOp1 for Rotate {
    fn name(&self) -> &'static str {
        "rotary"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let mut y = cpu::numbers(storage, layout)?.to_vec();
        self.apply(&mut y, layout.shape().dims2()?.1);
        Ok((CpuStorage::F32(y), layout.shape().clone()))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(grad.contiguous()?.apply_op1_no_bwd(&self.back())?))
    }
}

#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2"))]
fn rotate_token(x: &mut [f32], cos: &[f32], sin: &[f32], sign: f32, dim: usize) {
    let half = cos.len();
    for x in x.chunks_exact_mut(dim) {
        let (x1, x2) = x[..2 * half].split_at_mut(half);
        for i in 0..half {
            let s = sign * sin[i];
            (x1[i], x2[i]) = (x1[i] * cos[i] - x2[i] * s, x2[i] * cos[i] + x1[i] * s);
        }
    }
}
