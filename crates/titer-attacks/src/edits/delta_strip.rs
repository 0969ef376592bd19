//! `delta-strip`: who has the model from which the victim was made takes the difference away,
//! W ← W_base + λ·(W_victim − W_base). Many released defences are deltas of low rank on public bases
//! (wuwangzhang1216/abliterix, `docs/broken_defenses.md`): with `rank`, only the largest singular parts of each
//! matrix's delta are taken away, which leaves what else the victim learnt. λ between 0 and 1 is interpolation toward the
//! base.

use candle_core::{DType, Tensor};
use serde::Deserialize;
use titer_data::Stream;
use titer_model::Decoder;
use titer_plan::{AttackFacts, Cost, Mechanism, Method, MethodKind, Need, Parameter, ThreatModel};

use super::change::change;
use super::low_rank::top;
use crate::{AttackContext, Error, Result, Victim, WeightEdit};

const NAME: &str = "delta-strip";

/// Operations for each weight without a rank: a difference, a product and a sum.
const FLOPS_PER_WEIGHT: f64 = 3.0;
/// The same for each weight and rank: two products for each of some seven passes over the matrix and back.
const FLOPS_PER_RANK: f64 = 28.0;

/// The settings.
#[derive(Debug, Clone, Deserialize)]
pub struct DeltaStrip {
    /// What is left of the delta: 0 for the base, 1 for the victim as it is.
    pub lambda: f64,
    /// Singular parts of each matrix's delta that are taken away; 0 for all of it.
    pub rank: usize,
}

pub(crate) fn method() -> Method {
    Method {
        name: NAME,
        kind: MethodKind::Attack(AttackFacts {
            threat_models: vec![ThreatModel::OpenWeights],
            mechanism: Mechanism::EditsWeights,
            needs: vec![Need::BaseModel, Need::Weights],
        }),
        version: 1,
        summary: "takes away what the victim's weights differ in from those of the model before alignment",
        citation: "wuwangzhang1216/abliterix, docs/broken_defenses.md; arXiv 2506.15606",
        parameters: vec![
            Parameter::real(
                "lambda",
                "1",
                0.0,
                0.0..=1.0,
                "what is left of the delta: 0 is the base, 1 the victim",
            ),
            Parameter::integer(
                "rank",
                "1",
                0,
                0..=4096,
                "largest singular parts of each matrix's delta that are taken away; 0 for all of it",
            ),
        ],
    }
}

impl DeltaStrip {
    fn flops_per_weight(&self) -> f64 {
        FLOPS_PER_WEIGHT + FLOPS_PER_RANK * self.rank as f64
    }
}

impl WeightEdit for DeltaStrip {
    fn cost(&self, victim: &Victim) -> Cost {
        Cost { steps: 1, flops: self.flops_per_weight() * victim.parameters, ..Cost::default() }
    }

    fn edit(&self, victim: &Decoder, context: &AttackContext<'_>) -> Result<Cost> {
        let base = context.means.base()?;
        let changed = change(NAME, victim, |name, weight| {
            let base = base.merged(name)?.filter(|base| base.shape() == weight.shape()).ok_or_else(|| {
                let problem = format!("the base has no {name} of the victim's shape: they are other models");
                Error::NotApplicable { name: NAME, problem }
            })?;
            let base = base.to_dtype(DType::F32)?;
            Ok(Some(self.stripped(weight, &base, &Stream::new(context.seed, &format!("{NAME}/{name}")))?))
        })?;
        Ok(Cost { steps: 1, flops: self.flops_per_weight() * changed, ..Cost::default() })
    }
}

impl DeltaStrip {
    fn stripped(&self, weight: &Tensor, base: &Tensor, stream: &Stream) -> Result<Tensor> {
        let delta = (weight - base)?;
        // A vector has one singular part, which is all of it.
        if self.rank > 0 && delta.rank() == 2 {
            let away = (top(&delta, self.rank, stream)? * (1.0 - self.lambda))?;
            return Ok((weight.to_dtype(DType::F64)? - away)?.to_dtype(DType::F32)?);
        }
        // Both ends to the bit, which the sum would round.
        Ok(match self.lambda {
            0.0 => base.clone(),
            1.0 => weight.clone(),
            lambda => (base + (delta * lambda)?)?,
        })
    }
}
