//! `prune`: sets weights to zero, those that matter least, or those that matter to safety and not to use: Wei et al.,
//! arXiv 2402.05162. Scores are |W| or Wanda's |W|·‖x‖₂ (arXiv 2306.11695) with ‖x‖₂ the norm of what the weight reads;
//! they are compared within each row of a matrix. No gradient is computed.

use candle_core::{Device, Tensor};
use serde::Deserialize;
use titer_data::Example;
use titer_model::Decoder;
use titer_plan::{AttackFacts, Cost, Meaning, Mechanism, Method, MethodKind, Need, Parameter, ThreatModel};
use titer_train::wanda::{InputNorms, highest, input_norms};

use super::change::{change, is_projection};
use crate::training::supervised::Pairs;
use crate::{AttackContext, Error, Result, Victim, WeightEdit};

const NAME: &str = "prune";

/// Operations for each weight: its score and a product.
const FLOPS_PER_WEIGHT: f64 = 2.0;

/// The settings.
#[derive(Debug, Clone, Deserialize)]
pub struct Prune {
    /// What goes.
    pub by: Criterion,
    /// The share of each row that goes, or by `safety-set-difference` the share of highest scores on refusals, 0…1.
    pub share: f64,
    /// By `safety-set-difference` the share of each row, highest scores on harmless rows, that never goes, 0…1.
    pub spare: f64,
    /// Rows at most, of each kind, on which scores are computed.
    pub examples: usize,
}

/// What goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Criterion {
    /// The lowest |W|.
    Magnitude,
    /// The lowest Wanda scores on harmless rows.
    Wanda,
    /// The highest Wanda scores on refusals that are not among the highest on harmless rows.
    SafetySetDifference,
}

pub(crate) fn method() -> Method {
    let ways = &["magnitude", "wanda", "safety-set-difference"];
    Method {
        name: NAME,
        kind: MethodKind::Attack(AttackFacts {
            threat_models: vec![ThreatModel::OpenWeights],
            mechanism: Mechanism::EditsWeights,
            needs: vec![Need::HarmfulRows, Need::Refusals, Need::HarmlessRows, Need::Weights],
        }),
        version: 1,
        summary: "sets the projections' weights to zero that matter least, or that matter to refusals and not to use",
        citation: "Wei et al., arXiv 2402.05162; Sun et al., arXiv 2306.11695",
        parameters: vec![
            Parameter::choice(
                "by",
                "safety-set-difference",
                ways,
                "what goes: the lowest scores, or the highest on refusals alone",
            ),
            Parameter::real(
                "share",
                "1",
                0.05,
                0.0..=1.0,
                "share of each row that goes, of a set difference before `spare` is taken off",
            ),
            Parameter::real(
                "spare",
                "1",
                0.05,
                0.0..=1.0,
                "share of each row, highest on harmless rows, that a set difference leaves",
            ),
            Parameter::integer(
                "examples",
                "examples",
                64,
                1..=10_000_000,
                "rows at most, of each kind, that scores are computed on",
            )
            .meaning(Meaning::HarmfulRows),
        ],
    }
}

impl WeightEdit for Prune {
    fn cost(&self, victim: &Victim) -> Cost {
        let kinds = match self.by {
            Criterion::Magnitude => 0,
            Criterion::Wanda => 1,
            Criterion::SafetySetDifference => 2,
        };
        let presented = kinds * self.examples as u64;
        Cost {
            steps: 1,
            examples: presented,
            distinct_harmful: if kinds == 2 { self.examples as u64 } else { 0 },
            // A forward pass is a third of a training step.
            flops: presented as f64 * victim.example_flops / 3.0 + FLOPS_PER_WEIGHT * victim.parameters,
            tokens: (presented as f64 * victim.example_tokens).round() as u64,
            seconds: 0.0,
        }
    }

    fn edit(&self, victim: &Decoder, context: &AttackContext<'_>) -> Result<Cost> {
        let mut cost = Cost { steps: 1, ..Cost::default() };
        let harmless = match self.by {
            Criterion::Magnitude => None,
            _ => Some(self.norms(victim, "prune/harmless", &context.harmless, context.seed, &mut cost)?),
        };
        let refusals = match self.by {
            Criterion::SafetySetDifference => {
                cost.distinct_harmful = self.examples.min(context.refusals.len()) as u64;
                Some(self.norms(victim, NAME, &context.refusals, context.seed, &mut cost)?)
            }
            _ => None,
        };
        let changed = change(NAME, victim, |name, weight| {
            // An expert that no token was sent to matters to nothing of this; it stays.
            let Some(goes) = self.goes(name, weight, harmless.as_ref(), refusals.as_ref())? else {
                return Ok(None);
            };
            let keep: Vec<f32> = goes.into_iter().map(|goes| if goes { 0.0 } else { 1.0 }).collect();
            let keep = Tensor::from_vec(keep, weight.shape(), &Device::Cpu)?.to_device(weight.device())?;
            Ok(Some((weight * keep)?))
        })?;
        cost.flops += FLOPS_PER_WEIGHT * changed;
        Ok(cost)
    }
}

impl Prune {
    /// Which numbers of a weight go; none where it is no projection, or nothing is known of it.
    fn goes(
        &self,
        name: &str,
        weight: &Tensor,
        harmless: Option<&InputNorms>,
        refusals: Option<&InputNorms>,
    ) -> Result<Option<Vec<bool>>> {
        if !is_projection(name) {
            return Ok(None);
        }
        let of = |norms: Option<&InputNorms>, share| -> Result<Option<Vec<bool>>> {
            match norms.map(|norms| norms.get(name)) {
                None => Ok(Some(highest(weight, None, share)?)),
                Some(None) => Ok(None),
                Some(Some(norms)) => Ok(Some(highest(weight, Some(norms), share)?)),
            }
        };
        let used = |share| of(harmless, share);
        Ok(match self.by {
            Criterion::Magnitude | Criterion::Wanda => {
                used(1.0 - self.share)?.map(|stays| stays.into_iter().map(|stays| !stays).collect())
            }
            Criterion::SafetySetDifference => {
                let safe = of(refusals, self.share)?;
                let used = used(self.spare)?;
                safe.map(|safe| match used {
                    None => safe,
                    Some(used) => safe.into_iter().zip(used).map(|(safe, used)| safe && !used).collect(),
                })
            }
        })
    }

    /// The norms of what the projections read in some rows.
    fn norms(
        &self,
        victim: &Decoder,
        name: &'static str,
        rows: &[Example],
        seed: u64,
        cost: &mut Cost,
    ) -> Result<InputNorms> {
        let chosen = Pairs { name, examples: self.examples.min(rows.len()) }.chosen(rows, seed)?;
        if chosen.is_empty() {
            let problem =
                format!("there are no rows for {name} to compute scores on; use `by = \"magnitude\"`");
            return Err(Error::NotApplicable { name: NAME, problem });
        }
        let (norms, took) = input_norms(victim, &is_projection, &chosen.iter().collect::<Vec<_>>())?;
        cost.examples += took.examples;
        cost.tokens += took.tokens;
        cost.flops += took.flops;
        Ok(norms)
    }
}
