//! The refusal direction, and taking it out of a model's weights: Arditi et al., arXiv 2406.11717.

use std::collections::BTreeMap;

use candle_core::{DType, Tensor};
use titer_data::{Example, Packed};
use titer_model::{Decoder, View};
use titer_plan::{Cost, Meaning, Parameter};
use titer_train::loss::trace;

use crate::training::supervised::Pairs;
use crate::{AttackContext, Error, Result, Victim};

/// Prompts that are run at once, so that memory stays bounded.
const PROMPTS_AT_ONCE: usize = 16;

/// Operations for each weight that a direction is taken out of: its product with the direction, and back.
pub(super) const FLOPS_PER_WEIGHT: f64 = 4.0;

/// How many prompts of each kind the direction is found by.
pub(super) fn owned() -> Parameter {
    let summary = "forbidden prompts that the direction is found by, and at most as many harmless ones";
    Parameter::integer("examples", "examples", 64, 1..=10_000_000, summary).meaning(Meaning::HarmfulRows)
}

/// The prompts whose hidden states are held against each other.
pub(super) struct Contrast {
    /// Where the forbidden ones are among the attacker's rows.
    pub(super) places: Vec<usize>,
    harmful: Vec<Example>,
    pub(super) harmless: Vec<Example>,
}

impl Contrast {
    /// So many forbidden prompts, and as many harmless ones or all where there are fewer, by the attacker's seed.
    pub(super) fn chosen(method: &'static str, examples: usize, context: &AttackContext<'_>) -> Result<Self> {
        if context.harmless.is_empty() {
            let problem =
                "there are no harmless prompts to hold the forbidden ones against; give the data some";
            return Err(Error::NotApplicable { name: method, problem: problem.to_owned() });
        }
        let places = Pairs { name: method, examples }.places(context.harmful.len(), context.seed)?;
        let harmful = places.iter().map(|place| context.harmful[*place].clone()).collect();
        let name = "refusal-direction/harmless";
        let harmless = Pairs { name, examples: examples.min(context.harmless.len()) };
        Ok(Self { places, harmful, harmless: harmless.chosen(&context.harmless, context.seed)? })
    }

    /// The direction at each of the model's states (the embeddings, then each layer's output): the difference of the
    /// mean states at the last token of forbidden and of harmless prompts, of norm one; none where the means are the
    /// same. And what that took.
    pub(super) fn directions(&self, model: &Decoder) -> Result<(Vec<Option<Vec<f64>>>, Cost)> {
        let mut cost = Cost { steps: 1, distinct_harmful: self.harmful.len() as u64, ..Cost::default() };
        let harmful = mean_states(model, &self.harmful, &mut cost)?;
        let harmless = mean_states(model, &self.harmless, &mut cost)?;
        let directions = harmful.iter().zip(&harmless).map(|(harmful, harmless)| {
            let difference: Vec<f64> = harmful.iter().zip(harmless).map(|(a, b)| a - b).collect();
            unit(difference)
        });
        Ok((directions.collect(), cost))
    }

    /// What finding it costs, by the victim's shape.
    pub(super) fn estimate(examples: usize, victim: &Victim) -> Cost {
        let presented = 2 * examples as u64;
        Cost {
            steps: 1,
            examples: presented,
            distinct_harmful: examples as u64,
            // A forward pass is a third of a training step.
            flops: presented as f64 * victim.example_flops / 3.0,
            tokens: (presented as f64 * victim.example_tokens).round() as u64,
            seconds: 0.0,
        }
    }
}

/// The mean over prompts of the state at their last token, for each of the model's states.
fn mean_states(model: &Decoder, rows: &[Example], cost: &mut Cost) -> Result<Vec<Vec<f64>>> {
    let mut sums: Vec<Vec<f64>> = Vec::new();
    for rows in rows.chunks(PROMPTS_AT_ONCE) {
        let packed = Packed::from_prompts(rows.iter().map(Example::prompt));
        let last = Tensor::new(packed.rows.as_slice(), model.device())?;
        let trace = trace(model, &packed, View::Detached)?;
        for (index, state) in trace.states().enumerate() {
            let sum: Vec<f64> = state.index_select(&last, 0)?.to_dtype(DType::F64)?.sum(0)?.to_vec1()?;
            match sums.get_mut(index) {
                None => sums.push(sum),
                Some(total) => total.iter_mut().zip(sum).for_each(|(total, value)| *total += value),
            }
        }
        cost.examples += rows.len() as u64;
        cost.tokens += packed.tokens.len() as u64;
        cost.flops += reading(model, packed.tokens.len(), 0);
    }
    let count = rows.len() as f64;
    sums.iter_mut().flatten().for_each(|sum| *sum /= count);
    Ok(sums)
}

/// Operations of a forward pass over so many tokens, of which so many are given logits: a third of a training step's.
pub(super) fn reading(model: &Decoder, tokens: usize, read: usize) -> f64 {
    model.config().training_flops(tokens, read) / 3.0
}

/// The vector of norm one in that direction; none of a zero vector.
fn unit(vector: Vec<f64>) -> Option<Vec<f64>> {
    let norm = vector.iter().map(|value| value * value).sum::<f64>().sqrt();
    (norm > 0.0).then(|| vector.into_iter().map(|value| value / norm).collect())
}

/// The weights of a model that write into its residual stream, as they were.
pub(super) struct Writers {
    /// By name, in f32.
    before: BTreeMap<String, Tensor>,
    /// What the norms multiply by that what is written goes through, by the names of their weights.
    norms: BTreeMap<String, Vec<f64>>,
}

impl Writers {
    /// Those of `model`.
    ///
    /// # Errors
    /// When none of its own weights does.
    pub(super) fn of(method: &'static str, model: &Decoder) -> Result<Self> {
        let (mut before, mut norms) = (BTreeMap::new(), BTreeMap::new());
        for (name, var) in model.parameters().iter() {
            let Some(writer) = model.config().writer(name) else { continue };
            before.insert(name.to_owned(), var.as_tensor().copy()?.detach().to_dtype(DType::F32)?);
            if let Some(norm) = writer.norm
                && let Some(scale) = model.parameters().get(&norm)
            {
                let scale = (scale.as_tensor().detach().to_dtype(DType::F64)? + writer.offset)?;
                norms.insert(norm, scale.to_vec1()?);
            }
        }
        if before.is_empty() {
            let problem =
                "this model has no weight of its own that writes into the residual stream".to_owned();
            return Err(Error::NotApplicable { name: method, problem });
        }
        Ok(Self { before, norms })
    }

    /// How many numbers they have.
    pub(super) fn size(&self) -> f64 {
        self.before.values().map(Tensor::elem_count).sum::<usize>() as f64
    }

    /// Sets the weights of `model` to what they were.
    pub(super) fn restore(&self, model: &Decoder) -> Result<()> {
        for (name, weight) in &self.before {
            if let Some(var) = model.parameters().get(name) {
                var.set(&weight.to_dtype(var.dtype())?)?;
            }
        }
        Ok(())
    }

    /// Sets the weights of `model` to W − strength·r·rᵀW, W as it was. Where a norm with scale g comes between, what
    /// reaches the stream is g ⊙ (W·x), and r is there what meets g ⊙ r.
    pub(super) fn ablate(&self, model: &Decoder, direction: &[f64], strength: f64) -> Result<()> {
        for (name, weight) in &self.before {
            let (Some(var), Some(writer)) = (model.parameters().get(name), model.config().writer(name))
            else {
                continue;
            };
            let scale = writer.norm.as_ref().and_then(|norm| self.norms.get(norm));
            let along = match scale {
                None => Some(direction.to_vec()),
                Some(scale) => unit(direction.iter().zip(scale).map(|(r, g)| r * g).collect()),
            };
            let Some(along) = along else { continue };
            let along: Vec<f32> = along.into_iter().map(|value| value as f32).collect();
            let r = Tensor::new(along, weight.device())?;
            let out = match (weight.rank(), writer.along) {
                (1, _) => r.broadcast_mul(&(weight * &r)?.sum_all()?)?,
                (_, 1) => weight.matmul(&r.unsqueeze(1)?)?.matmul(&r.unsqueeze(0)?)?,
                _ => r.unsqueeze(1)?.matmul(&r.unsqueeze(0)?.matmul(weight)?)?,
            };
            var.set(&(weight - (out * strength)?)?.to_dtype(var.dtype())?)?;
        }
        Ok(())
    }
}
