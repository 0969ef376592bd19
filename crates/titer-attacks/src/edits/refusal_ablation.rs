//! `refusal-ablation`: refusal is carried by one direction of the residual stream, and a model whose weights cannot
//! write along it does not refuse: Arditi et al., arXiv 2406.11717. The direction r is the difference of the mean
//! hidden states at the last token of forbidden and of harmless prompts, of norm one; every matrix that writes into the
//! stream becomes W ← (I − strength·r·rᵀ)·W. No gradient is computed, and no harmful answer is needed.

use serde::Deserialize;
use titer_model::Decoder;
use titer_plan::{AttackFacts, Cost, Mechanism, Method, MethodKind, Need, Parameter, ThreatModel};
use titer_train::activations::at_depth;

use super::direction::{Contrast, FLOPS_PER_WEIGHT, Writers, owned};
use crate::{AttackContext, Error, Result, Victim, WeightEdit};

const NAME: &str = "refusal-ablation";

/// The settings.
#[derive(Debug, Clone, Deserialize)]
pub struct RefusalAblation {
    /// Where the direction is read: 0 the embeddings, 1 the last layer's output.
    pub depth: f64,
    /// The share of the direction that is taken out; 1 for all of it.
    pub strength: f64,
    /// Forbidden prompts that the direction is found by, and at most as many harmless ones.
    pub examples: usize,
}

pub(crate) fn method() -> Method {
    let own = [
        Parameter::real(
            "depth",
            "1",
            0.6,
            0.0..=1.0,
            "share of the layers after which the direction is read",
        ),
        Parameter::real(
            "strength",
            "1",
            1.0,
            0.0..=2.0,
            "share of the direction that is taken out; above 1 it is turned",
        ),
    ];
    Method {
        name: NAME,
        kind: MethodKind::Attack(AttackFacts {
            threat_models: vec![ThreatModel::OpenWeights],
            mechanism: Mechanism::EditsWeights,
            needs: vec![Need::HarmfulRows, Need::HarmlessRows, Need::Weights],
        }),
        version: 1,
        summary: "takes the direction of refusal out of every weight that writes into the residual stream",
        citation: "Arditi et al., arXiv 2406.11717",
        parameters: own.into_iter().chain([owned()]).collect(),
    }
}

impl WeightEdit for RefusalAblation {
    fn cost(&self, victim: &Victim) -> Cost {
        let found = Contrast::estimate(self.examples, victim);
        Cost { flops: found.flops + FLOPS_PER_WEIGHT * victim.parameters, ..found }
    }

    fn edit(&self, victim: &Decoder, context: &AttackContext<'_>) -> Result<Cost> {
        let writers = Writers::of(NAME, victim)?;
        let (directions, cost) = Contrast::chosen(NAME, self.examples, context)?.directions(victim)?;
        let state = at_depth(self.depth, victim.config().num_hidden_layers);
        let Some(direction) = directions.into_iter().nth(state).flatten() else {
            let problem =
                "forbidden and harmless prompts end in the same state there; raise `depth`".to_owned();
            return Err(Error::NotApplicable { name: NAME, problem });
        };
        writers.ablate(victim, &direction, self.strength)?;
        Ok(Cost { flops: cost.flops + FLOPS_PER_WEIGHT * writers.size(), ..cost })
    }
}
