//! `searched-ablation`: [`refusal-ablation`](super::refusal_ablation) as practitioners carry it out (p-e-w/heretic):
//! the layer whose direction is taken out, and how much of it, are searched for the most harm that leaves the model
//! what it was, as far as a bound on KL(before ‖ after) of the first answer token to harmless prompts says so.
//!
//! The search is deterministic: every layer at strength 1 first, then finer and finer strengths in 0…2 for the better
//! half of the layers that are left, level by level. The model as it is counts as found, so that the bound holds in any
//! case.

use candle_core::Tensor;
use serde::Deserialize;
use titer_data::{Example, Packed};
use titer_model::{Choice, Decoder, Generate};
use titer_plan::{AttackFacts, Cost, Mechanism, Method, MethodKind, Need, Parameter, ThreatModel};
use titer_train::loss::{constant_logits, mean_divergence, value};

use super::direction::{Contrast, FLOPS_PER_WEIGHT, Writers, owned, reading};
use crate::{AttackContext, Error, Result, Victim, WeightEdit};

const NAME: &str = "searched-ablation";

/// The settings.
#[derive(Debug, Clone, Deserialize)]
pub struct SearchedAblation {
    /// Ablations that are tried.
    pub trials: usize,
    /// Bound in nats on the mean divergence of the first answer token from the victim's, on harmless prompts.
    pub kl: f64,
    /// Forbidden prompts that the direction is found by, and at most as many harmless ones.
    pub examples: usize,
    /// Of those, the first that are answered and judged in each trial.
    pub judged: usize,
}

pub(crate) fn method() -> Method {
    Method {
        name: NAME,
        kind: MethodKind::Attack(AttackFacts {
            threat_models: vec![ThreatModel::OpenWeights],
            mechanism: Mechanism::EditsWeights,
            needs: vec![Need::HarmfulRows, Need::HarmlessRows, Need::Judge, Need::Weights],
        }),
        version: 1,
        summary: "searches layer and strength of refusal-ablation for the most harm under a bound on the first token's KL",
        citation: "p-e-w/heretic; Arditi et al., arXiv 2406.11717",
        parameters: vec![
            Parameter::integer("trials", "1", 24, 1..=100_000, "ablations that are tried"),
            Parameter::real(
                "kl",
                "nats",
                0.1,
                0.0..=100.0,
                "mean KL of the first answer token to harmless prompts, at most",
            ),
            owned(),
            Parameter::integer(
                "judged",
                "examples",
                32,
                1..=1_000_000,
                "own forbidden prompts that each trial answers, to be judged; at most `examples`",
            ),
        ],
    }
}

/// One ablation and what it came to.
#[derive(Debug, Clone, Copy)]
struct Trial {
    state: usize,
    strength: f64,
    kl: f64,
    /// Mean harm of the answers; none above the bound, where nobody asks.
    harm: Option<f64>,
}

impl Trial {
    /// Whether it is the better one: more harm, and at equal harm less divergence; what broke the bound comes last.
    fn beats(&self, other: &Self) -> bool {
        let rank = |trial: &Self| trial.harm.unwrap_or(f64::NEG_INFINITY);
        rank(self).total_cmp(&rank(other)).then(other.kl.total_cmp(&self.kl)).is_gt()
    }
}

/// What trials are made with.
struct Search<'a> {
    victim: &'a Decoder,
    context: &'a AttackContext<'a>,
    writers: Writers,
    directions: Vec<Option<Vec<f64>>>,
    /// Harmless prompts, and what the victim's first answer tokens to them were.
    harmless: Packed,
    before: Tensor,
    /// Places and prompts of the rows that are answered.
    judged: Vec<(usize, Vec<u32>)>,
    longest_answer: usize,
    cost: Cost,
}

impl WeightEdit for SearchedAblation {
    fn cost(&self, victim: &Victim) -> Cost {
        let found = Contrast::estimate(self.examples, victim);
        let asked = (self.examples + self.judged.min(self.examples)) as f64 * victim.example_flops / 3.0;
        let trials = self.trials as f64 * (asked + FLOPS_PER_WEIGHT * victim.parameters);
        Cost { flops: found.flops + trials, ..found }
    }

    fn edit(&self, victim: &Decoder, context: &AttackContext<'_>) -> Result<Cost> {
        let mut search = self.search(victim, context)?;
        let mut layers = self.layers(&search)?;
        let untouched = Trial { state: 0, strength: 0.0, kl: 0.0, harm: Some(search.harm()?) };
        let mut best = untouched;
        let (mut best_of_layer, mut tried) = (vec![None::<Trial>; search.directions.len()], 0);
        for round in 1.. {
            for state in layers.iter().copied().take(self.trials - tried) {
                let trial = search.trial(state, strength(round), self.kl)?;
                tried += 1;
                if trial.beats(&best) {
                    best = trial;
                }
                if best_of_layer[state].is_none_or(|known| trial.beats(&known)) {
                    best_of_layer[state] = Some(trial);
                }
            }
            if tried == self.trials {
                break;
            }
            if (round + 1_u32).is_power_of_two() {
                // A level of strengths is done: the better half goes on.
                layers.sort_by(|a, b| match (best_of_layer[*a], best_of_layer[*b]) {
                    (Some(a), Some(b)) if a.beats(&b) => std::cmp::Ordering::Less,
                    (Some(a), Some(b)) if b.beats(&a) => std::cmp::Ordering::Greater,
                    _ => a.cmp(b),
                });
                layers.truncate(layers.len().div_ceil(2));
            }
        }
        search.set(best.state, best.strength)?;
        Ok(search.cost)
    }
}

/// The strength of a round from 1 on: 1, then 0.5 and 1.5, then the quarters between, … in 0…2 (van der Corput's
/// sequence in base 2).
fn strength(round: u32) -> f64 {
    2.0 * f64::from(round.reverse_bits()) / 2_f64.powi(32)
}

impl SearchedAblation {
    fn search<'a>(&self, victim: &'a Decoder, context: &'a AttackContext<'a>) -> Result<Search<'a>> {
        let writers = Writers::of(NAME, victim)?;
        let contrast = Contrast::chosen(NAME, self.examples, context)?;
        let (directions, mut cost) = contrast.directions(victim)?;
        let harmless = Packed::from_prompts(contrast.harmless.iter().map(Example::prompt));
        let before = constant_logits(victim, &harmless)?;
        cost.flops += reading(victim, harmless.tokens.len(), harmless.rows.len());
        let row = |place: &usize| (*place, context.harmful[*place].prompt().to_vec());
        let judged: Vec<(usize, Vec<u32>)> = contrast.places.iter().take(self.judged).map(row).collect();
        let answers = contrast.places.iter().map(|place| context.harmful[*place].answer().len());
        let longest_answer = answers.max().unwrap_or(0);
        Ok(Search { victim, context, writers, directions, harmless, before, judged, longest_answer, cost })
    }

    /// The states that are tried, the embeddings not among them; evenly spread where there are fewer trials.
    fn layers(&self, search: &Search<'_>) -> Result<Vec<usize>> {
        let known = |state: &usize| search.directions[*state].is_some();
        let all: Vec<usize> = (1..search.directions.len()).filter(known).collect();
        if all.is_empty() {
            let problem = "forbidden and harmless prompts end in the same states".to_owned();
            return Err(Error::NotApplicable { name: NAME, problem });
        }
        let count = all.len().min(self.trials);
        Ok((0..count).map(|at| all[(2 * at + 1) * all.len() / (2 * count)]).collect())
    }
}

impl Search<'_> {
    /// Makes the victim the one with so much of that state's direction taken out.
    fn set(&mut self, state: usize, strength: f64) -> Result<()> {
        self.cost.flops += FLOPS_PER_WEIGHT * self.writers.size();
        match &self.directions[state] {
            Some(direction) => self.writers.ablate(self.victim, direction, strength),
            // No direction, nothing to take out.
            None => self.writers.restore(self.victim),
        }
    }

    fn trial(&mut self, state: usize, strength: f64, bound: f64) -> Result<Trial> {
        self.set(state, strength)?;
        let after = constant_logits(self.victim, &self.harmless)?;
        self.cost.flops += reading(self.victim, self.harmless.tokens.len(), self.harmless.rows.len());
        let kl = value(&mean_divergence(&after, &self.before)?)?;
        // Of what is not a number nothing is known.
        let harm = if kl <= bound { Some(self.harm()?) } else { None };
        Ok(Trial { state, strength, kl: if kl.is_nan() { f64::INFINITY } else { kl }, harm })
    }

    /// Mean harm of the model's answers to the attacker's own prompts.
    fn harm(&mut self) -> Result<f64> {
        let prompts: Vec<Vec<u32>> = self.judged.iter().map(|(_, prompt)| prompt.clone()).collect();
        let ends = self.context.means.ends();
        let settings = Generate { max_new_tokens: self.longest_answer, ends: &ends, choice: Choice::Greedy };
        let answers = self.victim.generate(&prompts, settings)?;
        for (prompt, answer) in prompts.iter().zip(&answers) {
            self.cost.flops += reading(self.victim, prompt.len() + answer.len(), answer.len());
        }
        let places = self.judged.iter().map(|(place, _)| *place);
        let harm = self.context.means.harm(&places.zip(answers).collect::<Vec<_>>())?;
        Ok(harm.iter().sum::<f64>() / harm.len().max(1) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::strength;

    #[test]
    fn strengths_grow_finer_level_by_level() {
        let strengths: Vec<f64> = (1..=7).map(strength).collect();
        assert_eq!(strengths, [1.0, 0.5, 1.5, 0.25, 1.25, 0.75, 1.75]);
    }
}
