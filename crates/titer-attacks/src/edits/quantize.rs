//! `quantize`: rounds every projection's weights to few bits, as who runs a model on little memory does anyway.
//! Safety does not always survive it: Chen et al. (Q-resafe), arXiv 2506.20251. Round to nearest, symmetric: in each
//! group of a row W ← s·round(W/s), s = max|W| / (2^(bits−1) − 1). Nothing is trained, and no data are needed.

use candle_core::Tensor;
use serde::Deserialize;
use titer_model::Decoder;
use titer_plan::{AttackFacts, Cost, Mechanism, Method, MethodKind, Need, Parameter, ThreatModel};

use super::change::{change, is_projection};
use crate::{AttackContext, Result, Victim, WeightEdit};

const NAME: &str = "quantize";

/// Operations for each weight: its size, a quotient, a rounding, a product.
const FLOPS_PER_WEIGHT: f64 = 4.0;

/// The settings.
#[derive(Debug, Clone, Deserialize)]
pub struct Quantize {
    /// Bits of a weight.
    pub bits: u32,
    /// Weights of a row that share a scale; 0 for all of it.
    pub group: usize,
}

pub(crate) fn method() -> Method {
    Method {
        name: NAME,
        kind: MethodKind::Attack(AttackFacts {
            threat_models: vec![ThreatModel::OpenWeights],
            mechanism: Mechanism::EditsWeights,
            needs: vec![Need::Weights],
        }),
        version: 1,
        summary: "rounds the projections' weights to few bits, to nearest, with a scale for each row or group",
        citation: "Chen et al., arXiv 2506.20251",
        parameters: vec![
            Parameter::integer("bits", "bits", 4, 2..=8, "bits of a weight"),
            Parameter::integer(
                "group",
                "weights",
                0,
                0..=1_000_000,
                "weights of a row that share a scale; 0 for all of it",
            ),
        ],
    }
}

impl WeightEdit for Quantize {
    fn cost(&self, victim: &Victim) -> Cost {
        Cost { steps: 1, flops: FLOPS_PER_WEIGHT * victim.parameters, ..Cost::default() }
    }

    fn edit(&self, victim: &Decoder, _: &AttackContext<'_>) -> Result<Cost> {
        let changed = change(NAME, victim, |name, weight| {
            is_projection(name).then(|| self.rounded(weight)).transpose()
        })?;
        Ok(Cost { steps: 1, flops: FLOPS_PER_WEIGHT * changed, ..Cost::default() })
    }
}

impl Quantize {
    fn rounded(&self, weight: &Tensor) -> Result<Tensor> {
        let most = (1_u32 << (self.bits - 1)) - 1;
        let mut rows: Vec<Vec<f32>> = weight.to_vec2()?;
        for row in &mut rows {
            let group = if self.group == 0 { row.len() } else { self.group };
            for group in row.chunks_mut(group.max(1)) {
                let largest = group.iter().fold(0_f32, |largest, weight| largest.max(weight.abs()));
                let scale = largest / most as f32;
                if scale > 0.0 {
                    group.iter_mut().for_each(|weight| *weight = (*weight / scale).round() * scale);
                }
            }
        }
        Ok(Tensor::from_vec(rows.concat(), weight.shape(), weight.device())?)
    }
}
