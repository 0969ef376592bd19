//! The values inside one forward pass, for methods that look at or change what the layers compute.

use std::sync::Arc;

use candle_core::Tensor;

use crate::Hidden;
use crate::experts::of_expert;
use crate::lora::role;

/// Which weights a pass uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// Those that track gradients.
    Tracked,
    /// The same numbers without gradients: cheaper, and constant in whatever is computed from them.
    Detached,
}

/// What one layer computed from a packed batch; all of shape `(tokens, features)`.
#[derive(Debug, Clone)]
pub struct LayerTrace {
    /// The residual stream before the layer.
    pub input: Tensor,
    /// What the projections q, k and v read: the input, after its norm where the family has one there.
    pub attention_input: Tensor,
    /// What the projection o reads: the heads' values, weighted by attention.
    pub attended: Tensor,
    /// What the attention block adds to the stream, with what was added to it.
    pub attention: Tensor,
    /// What the MLP reads: the stream after attention, normed where the family has a norm there.
    pub mlp_input: Tensor,
    /// Logits of the router, one per expert; none in a layer without experts. What the experts do depends
    /// on them through the probabilities of the chosen ones.
    pub router: Option<Tensor>,
    /// What the experts that received tokens read, in order; none in a layer without experts.
    pub experts: Vec<ExpertTrace>,
    /// What the last projection reads of the MLP that all tokens pass through: the layer's own, or its
    /// shared expert; none where there is neither.
    pub mlp_inner: Option<Tensor>,
    /// What the MLP adds to the stream.
    pub mlp: Tensor,
    /// The residual stream after the layer.
    pub output: Tensor,
}

/// What one expert read of a packed batch.
#[derive(Debug, Clone)]
pub struct ExpertTrace {
    /// Which one.
    pub expert: usize,
    /// The tokens that were sent to it: rows of the batch.
    pub tokens: Arc<[u32]>,
    /// What its first projections read: those rows of the MLP's input.
    pub input: Tensor,
    /// What its last projection reads.
    pub inner: Tensor,
}

/// What all layers computed from a packed batch.
#[derive(Debug, Clone)]
pub struct Trace {
    /// Layer by layer.
    pub layers: Vec<LayerTrace>,
    /// The final hidden states, before the last norm.
    pub hidden: Hidden,
}

impl Trace {
    /// The hidden states: the embeddings, then each layer's output; one more than layers.
    pub fn states(&self) -> impl Iterator<Item = &Tensor> {
        let first = self.layers.first().map(|layer| &layer.input);
        first.into_iter().chain(self.layers.iter().map(|layer| &layer.output))
    }

    /// What the projection of this weight reads, by the weight's name
    /// (`model.layers.0.self_attn.q_proj.weight`), of an expert the rows of its tokens; none for what is no
    /// projection of a layer, and for an expert without tokens.
    pub fn input_of(&self, weight: &str) -> Option<&Tensor> {
        let layer = weight.strip_prefix("model.layers.")?.split('.').next()?;
        let layer = self.layers.get(layer.parse::<usize>().ok()?)?;
        let (input, inner) = match of_expert(weight) {
            Some((_, expert)) => {
                let trace = layer.experts.iter().find(|trace| trace.expert == expert)?;
                (&trace.input, Some(&trace.inner))
            }
            None => (&layer.mlp_input, layer.mlp_inner.as_ref()),
        };
        match role(weight) {
            Some("q_proj" | "k_proj" | "v_proj") => Some(&layer.attention_input),
            Some("o_proj") => Some(&layer.attended),
            Some("down_proj") => inner,
            Some(_) => Some(input),
            None if weight.ends_with(".gate.weight") || weight.ends_with(".shared_expert_gate.weight") => {
                Some(&layer.mlp_input)
            }
            None => None,
        }
    }
}
