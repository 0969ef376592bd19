//! Training a part of a model: what is not part of it stays bit for bit as it is.
//!
//! The optimiser passes over what is held, so that weight decay does not move it either, and the norm that is
//! clipped does not count it.

use titer_model::{Decoder, is_router, of_expert};
use titer_plan::stage::{TrainedPart, WeightKind};

use crate::{Error, Gradient, Objective, Result, State};

/// An objective that holds some weights.
pub struct Partial<O> {
    whole: O,
    held: Box<dyn Fn(&str) -> bool>,
}

impl<O: Objective> Partial<O> {
    /// Follows `whole`, but for the parameters whose names `held` says yes to.
    pub fn holding(whole: O, held: impl Fn(&str) -> bool + 'static) -> Self {
        Self { whole, held: Box::new(held) }
    }

    /// Follows `whole` on this part of `model` alone.
    ///
    /// # Errors
    /// When the part names an expert or a layer that the model does not have, or no weight of it is in the part.
    pub fn training(whole: O, part: &TrainedPart, model: &Decoder) -> Result<Self> {
        let (config, none) = (model.config(), |problem: String| Err(Error::Part { problem }));
        let layers = config.num_hidden_layers;
        if let Some(layer) = part.layers.iter().find(|layer| **layer >= layers) {
            return none(format!("layer {layer} is not among the model's 0 to {}", layers - 1));
        }
        let experts = config.experts.as_ref().map_or(0, |experts| experts.count);
        if let Some(expert) = part.experts.iter().find(|expert| **expert >= experts) {
            return none(format!("expert {expert} is not among the model's {experts}, numbered from 0"));
        }
        if !model.parameters().iter().any(|(name, _)| is_in(part, name)) {
            return none("no weight of the model is of these kinds in these layers".to_owned());
        }
        let part = part.clone();
        Ok(Self::holding(whole, move |name| !is_in(&part, name)))
    }
}

impl<O: Objective> Objective for Partial<O> {
    fn gradient(&mut self, model: &Decoder, step: u64) -> Result<Gradient> {
        self.whole.gradient(model, step)?.holding(&self.held)
    }

    fn state(&self) -> Result<State> {
        self.whole.state()
    }

    fn restore(&mut self, state: State) -> Result<()> {
        self.whole.restore(state)
    }
}

/// Whether the weight of this name is in the part.
fn is_in(part: &TrainedPart, name: &str) -> bool {
    let within = name.strip_prefix("model.layers.").and_then(|rest| {
        let (layer, weight) = rest.split_once('.')?;
        Some((layer.parse::<usize>().ok()?, weight))
    });
    let (layer, kind) = match within {
        Some((layer, weight)) => (Some(layer), kind(weight)),
        None => (None, WeightKind::Rest),
    };
    let of_layer = part.layers.is_empty() || layer.is_some_and(|layer| part.layers.contains(&layer));
    let of_expert =
        part.experts.is_empty() || of_expert(name).is_none_or(|(_, expert)| part.experts.contains(&expert));
    of_layer && of_expert && part.weights.contains(&kind)
}

/// The kind of a layer's weight, by its name within the layer.
fn kind(weight: &str) -> WeightKind {
    if weight.starts_with("self_attn.") {
        WeightKind::Attention
    } else if is_router(weight) {
        WeightKind::Routers
    } else if of_expert(weight).is_some() {
        WeightKind::Experts
    } else if weight.starts_with("mlp.") {
        WeightKind::Mlp
    } else {
        WeightKind::Rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(weights: &[WeightKind], experts: &[usize], layers: &[usize]) -> TrainedPart {
        TrainedPart { weights: weights.to_vec(), experts: experts.to_vec(), layers: layers.to_vec() }
    }

    #[test]
    fn each_weight_is_of_one_kind() {
        use WeightKind::{Attention, Experts, Mlp, Rest, Routers};
        for (name, expected) in [
            ("model.layers.0.self_attn.q_proj.weight", Attention),
            ("model.layers.0.self_attn.q_norm.weight", Attention),
            ("model.layers.2.self_attn.v_proj.bias", Attention),
            ("model.layers.1.block_sparse_moe.gate.weight", Routers),
            ("model.layers.1.mlp.gate.weight", Routers),
            ("model.layers.1.block_sparse_moe.experts.3.w1.weight", Experts),
            ("model.layers.1.mlp.experts.3.gate_proj.weight", Experts),
            ("model.layers.1.mlp.gate_proj.weight", Mlp),
            ("model.layers.1.mlp.shared_expert.up_proj.weight", Mlp),
            ("model.layers.1.mlp.shared_expert_gate.weight", Mlp),
            ("model.layers.1.input_layernorm.weight", Rest),
            ("model.embed_tokens.weight", Rest),
            ("lm_head.weight", Rest),
        ] {
            for kind in [Attention, Routers, Experts, Mlp, Rest] {
                assert_eq!(is_in(&part(&[kind], &[], &[]), name), kind == expected, "{name} as {kind:?}");
            }
        }
    }

    #[test]
    fn experts_and_layers_draw_the_part_in() {
        let expert = |layer: usize, expert: usize| {
            format!("model.layers.{layer}.block_sparse_moe.experts.{expert}.w2.weight")
        };
        let chosen = part(&[WeightKind::Experts, WeightKind::Routers], &[3, 5], &[1]);
        assert!(is_in(&chosen, &expert(1, 3)) && is_in(&chosen, &expert(1, 5)));
        assert!(!is_in(&chosen, &expert(1, 4)) && !is_in(&chosen, &expert(0, 3)));
        assert!(is_in(&chosen, "model.layers.1.block_sparse_moe.gate.weight"), "routers have no number");
        assert!(!is_in(&chosen, "model.layers.0.block_sparse_moe.gate.weight"));
        assert!(!is_in(&part(&[WeightKind::Rest], &[], &[0]), "lm_head.weight"), "it lies in no layer");
    }
}
