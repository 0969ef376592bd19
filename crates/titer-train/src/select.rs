//! Which weights a method touches, by their names: a kind of matrix and a range of layers.

use serde::Deserialize;
use titer_model::PROJECTIONS;
use titer_plan::Parameter;

/// The prefix that PEFT puts before the names of a model's adapters.
const PEFT: &str = "base_model.model.";

/// Kinds of weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Matrices {
    /// Everything: projections, embeddings, output head, norms and biases.
    All,
    /// The projections of attention and MLP.
    Projections,
    /// The projections of attention.
    Attention,
    /// The projections that make queries, keys and values.
    Qkv,
    /// The projections of the MLP.
    Mlp,
}

impl Matrices {
    /// The names as specs spell them.
    pub const NAMES: [&str; 5] = ["all", "projections", "attention", "qkv", "mlp"];

    /// The projections of this kind, by the names that PEFT targets.
    pub fn projections(self) -> &'static [&'static str] {
        match self {
            Self::All | Self::Projections => &PROJECTIONS,
            Self::Attention => &PROJECTIONS[..4],
            Self::Qkv => &PROJECTIONS[..3],
            Self::Mlp => &PROJECTIONS[4..],
        }
    }
}

/// Weights by name. Part of a method's settings by `#[serde(flatten)]`; [`Selection::parameters`] describes
/// it to the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Selection {
    /// The kind of weights.
    pub matrices: Matrices,
    /// The first layer, from 0.
    pub first_layer: usize,
    /// How many layers from there on; 0 for all.
    pub layers: usize,
}

impl Selection {
    /// These weights in every layer.
    pub fn everywhere(matrices: Matrices) -> Self {
        Self { matrices, first_layer: 0, layers: 0 }
    }

    /// What the registry says of these settings, all weights being the default.
    pub fn parameters() -> Vec<Parameter> {
        Self::of_kinds("all", &Matrices::NAMES)
    }

    /// The same for a method that can touch projections only, all of them being the default.
    pub fn of_projections() -> Vec<Parameter> {
        const NAMES: &[&str] = Matrices::NAMES.split_at(1).1;
        Self::of_kinds("projections", NAMES)
    }

    fn of_kinds(default: &'static str, of: &'static [&'static str]) -> Vec<Parameter> {
        vec![
            Parameter::choice("matrices", default, of, "the kind of weights that it touches"),
            Parameter::integer("first_layer", "1", 0, 0..=4096, "the first layer that it touches, from 0"),
            Parameter::integer("layers", "1", 0, 0..=4096, "how many layers from there on; 0 for all"),
        ]
    }

    /// Whether the weight of this name is among them. A projection's weight is known by the name in the
    /// model (`model.layers.0.self_attn.q_proj.weight`), its adapter's factors by PEFT's names. What lies
    /// in no layer is so only where all weights of all layers are.
    pub fn contains(&self, name: &str) -> bool {
        let name = name.strip_prefix(PEFT).unwrap_or(name);
        let in_layer = name.strip_prefix("model.layers.").and_then(|rest| {
            let (layer, weight) = rest.split_once('.')?;
            Some((layer.parse::<usize>().ok()?, weight))
        });
        let Some((layer, weight)) = in_layer else {
            return *self == Self::everywhere(Matrices::All);
        };
        let in_range =
            layer >= self.first_layer && (self.layers == 0 || layer - self.first_layer < self.layers);
        in_range && (self.matrices == Matrices::All || self.is_projection(weight))
    }

    /// Whether a weight of a layer (`self_attn.q_proj.weight`, `mlp.up_proj.lora_A.weight`) is that of a
    /// selected projection.
    fn is_projection(&self, weight: &str) -> bool {
        let mut parts = weight.split('.').skip(1);
        let chosen = parts.next().is_some_and(|part| self.matrices.projections().contains(&part));
        chosen && weight.ends_with(".weight")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(matrices: Matrices, first_layer: usize, layers: usize, inside: &[&str], outside: &[&str]) {
        let selection = Selection { matrices, first_layer, layers };
        for (names, expected) in [(inside, true), (outside, false)] {
            for name in names {
                assert_eq!(selection.contains(name), expected, "{name} in {selection:?}");
            }
        }
    }

    #[test]
    fn names_are_selected_by_kind_and_layer() {
        let (q, q1) = ("model.layers.0.self_attn.q_proj.weight", "model.layers.1.self_attn.q_proj.weight");
        let (o, up) = ("model.layers.0.self_attn.o_proj.weight", "model.layers.0.mlp.up_proj.weight");
        let (bias, norm) = ("model.layers.0.self_attn.q_proj.bias", "model.layers.0.input_layernorm.weight");
        let (a, head) = ("base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight", "lm_head.weight");
        check(Matrices::All, 0, 0, &[q, q1, o, up, bias, norm, a, head], &[]);
        check(Matrices::All, 0, 1, &[q, o, up, bias, norm, a], &[q1, head]);
        check(Matrices::Projections, 0, 0, &[q, q1, o, up, a], &[bias, norm, head]);
        check(Matrices::Attention, 0, 1, &[q, o, a], &[q1, up, bias, norm, head]);
        check(Matrices::Qkv, 0, 0, &[q, q1, a], &[o, up, bias, norm, head]);
        check(Matrices::Mlp, 0, 0, &[up], &[q, o, a, norm, head]);
        check(Matrices::Projections, 1, 0, &[q1], &[q, o, up, a]);
        check(Matrices::Projections, 1, 5, &[q1], &[q, "model.layers.6.mlp.up_proj.weight"]);
    }

    #[test]
    fn every_name_of_a_kind_is_read() {
        for name in Matrices::NAMES {
            assert!(serde_json::from_value::<Matrices>(name.into()).is_ok(), "{name}");
        }
    }
}
