//! Rotary position embedding (arXiv 2104.09864), in the half-split form of Hugging Face's Llama: the
//! first half of a head's features is rotated against the second.

use std::f64::consts::TAU;
use std::sync::{Arc, OnceLock};

use candle_core::{CpuStorage, CustomOp1, DType, Device, Layout, Result, Shape, Tensor, bail};
use multiversion::multiversion;

use crate::{composed, cpu};

/// Positions whose angles are computed together, when one of them is first asked for.
const BLOCK: usize = 256;

/// How a model stretches its rotary frequencies to texts longer than those it was first trained on.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
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
}

impl Scaling {
    /// The stretched form of frequency `i` of `half`, theta^(−i / half), in radians per position.
    pub fn frequency(self, i: usize, half: usize, theta: f64) -> f64 {
        let frequency = theta.powf(-(i as f64) / half as f64);
        match self {
            Self::None | Self::Dynamic { .. } => frequency,
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

    /// What cosines and sines are multiplied by.
    fn magnitude(self) -> f32 {
        match self {
            Self::Yarn { magnitude, .. } => magnitude as f32,
            _ => 1.0,
        }
    }
}

/// The angles of each position: cosines and sines of shape `(positions, head_dim / 2)`, computed block by
/// block as positions are used, so that a context of 128k positions costs nothing until it is filled.
#[derive(Debug, Clone)]
pub struct Rotary {
    frequencies: Arc<[f32]>,
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
        Self::scaled(head_dim, positions, theta, Scaling::None)
    }

    /// The same with stretched frequencies.
    ///
    /// # Errors
    /// When `head_dim` is odd.
    pub fn scaled(head_dim: usize, positions: usize, theta: f64, scaling: Scaling) -> Result<Self> {
        if head_dim == 0 || !head_dim.is_multiple_of(2) {
            bail!("rotary embedding needs an even number of features per head, got {head_dim}");
        }
        let half = head_dim / 2;
        Ok(Self {
            frequencies: (0..half).map(|i| scaling.frequency(i, half, theta) as f32).collect(),
            magnitude: scaling.magnitude(),
            blocks: (0..positions.div_ceil(BLOCK)).map(|_| OnceLock::new()).collect(),
            positions,
        })
    }

    /// Features of one head.
    pub fn head_dim(&self) -> usize {
        2 * self.frequencies.len()
    }

    /// Number of positions that have angles.
    pub fn positions(&self) -> usize {
        self.positions
    }

    /// Cosines and sines of `positions`, each of shape `(positions, head_dim / 2)`.
    pub(crate) fn tables(
        &self,
        positions: &[u32],
        dtype: DType,
        device: &Device,
    ) -> Result<(Tensor, Tensor)> {
        let half = self.frequencies.len();
        let (mut cos, mut sin) = (Vec::new(), Vec::new());
        for position in positions {
            let (c, s) = self.row(*position);
            cos.extend_from_slice(c);
            sin.extend_from_slice(s);
        }
        let tensor = |values| Tensor::from_vec(values, (positions.len(), half), device)?.to_dtype(dtype);
        Ok((tensor(cos)?, tensor(sin)?))
    }

    /// Cosines and sines of one position.
    fn row(&self, position: u32) -> (&[f32], &[f32]) {
        let (position, half) = (position as usize, self.frequencies.len());
        let block = self.blocks[position / BLOCK].get_or_init(|| {
            let first = position / BLOCK * BLOCK;
            let angles =
                || (first..first + BLOCK).flat_map(|p| self.frequencies.iter().map(move |f| p as f32 * f));
            let table = |of: fn(f32) -> f32| angles().map(|angle| self.magnitude * of(angle)).collect();
            Block { cos: table(f32::cos), sin: table(f32::sin) }
        });
        let at = position % BLOCK * half;
        (&block.cos[at..][..half], &block.sin[at..][..half])
    }
}

/// Rotates each head of x, shape `(tokens, heads · head_dim)`, by the angles of its token's position.
///
/// # Errors
/// When the shapes do not match or a position lies beyond the table.
pub fn rotary(x: &Tensor, table: &Rotary, positions: &Arc<[u32]>) -> Result<Tensor> {
    let (tokens, features) = x.dims2()?;
    if tokens != positions.len() || !features.is_multiple_of(table.head_dim()) {
        bail!(
            "rotary: input of shape ({tokens}, {features}) does not fit {} positions and heads of {}",
            positions.len(),
            table.head_dim()
        );
    }
    if let Some(position) = positions.iter().find(|p| **p as usize >= table.positions()) {
        bail!("rotary: position {position} is beyond the model's {} positions", table.positions());
    }
    if cpu::applies(&[x]) {
        x.contiguous()?.apply_op1(Rotate { table: table.clone(), positions: positions.clone(), sign: 1.0 })
    } else {
        composed::rotary(x, table, positions)
    }
}

/// Rotation by `sign` times the table's angles; the backward pass is the rotation back.
struct Rotate {
    table: Rotary,
    positions: Arc<[u32]>,
    sign: f32,
}

impl CustomOp1 for Rotate {
    fn name(&self) -> &'static str {
        "rotary"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = cpu::numbers(storage, layout)?;
        let (_, features) = layout.shape().dims2()?;
        let mut y = vec![0.0; x.len()];
        for ((x, y), position) in
            x.chunks_exact(features).zip(y.chunks_exact_mut(features)).zip(self.positions.iter())
        {
            let (cos, sin) = self.table.row(*position);
            rotate_token(x, cos, sin, self.sign, y);
        }
        Ok((CpuStorage::F32(y), layout.shape().clone()))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let back = Self { table: self.table.clone(), positions: self.positions.clone(), sign: -self.sign };
        Ok(Some(grad.contiguous()?.apply_op1_no_bwd(&back)?))
    }
}

#[multiversion(targets("x86_64+avx2", "x86_64+avx512f+avx512vl"))]
fn rotate_token(x: &[f32], cos: &[f32], sin: &[f32], sign: f32, y: &mut [f32]) {
    let half = cos.len();
    for (x, y) in x.chunks_exact(2 * half).zip(y.chunks_exact_mut(2 * half)) {
        let (x1, x2) = x.split_at(half);
        let (y1, y2) = y.split_at_mut(half);
        for i in 0..half {
            let s = sign * sin[i];
            y1[i] = x1[i] * cos[i] - x2[i] * s;
            y2[i] = x2[i] * cos[i] + x1[i] * s;
        }
    }
}
