//! The values inside one forward pass, for methods that look at or change what the layers compute.

use candle_core::Tensor;

use crate::Hidden;

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
    /// What the projections q, k and v read: the input after its norm.
    pub attention_input: Tensor,
    /// What the projection o reads: the heads' values, weighted by attention.
    pub attended: Tensor,
    /// The attention block's output, with what was added to it.
    pub attention: Tensor,
    /// What the MLP reads: the stream after attention, normed.
    pub mlp_input: Tensor,
    /// What the MLP's last projection reads.
    pub mlp_inner: Tensor,
    /// The MLP's output.
    pub mlp: Tensor,
    /// The residual stream after the layer.
    pub output: Tensor,
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
    /// (`model.layers.0.self_attn.q_proj.weight`); none for what is no projection of a layer.
    pub fn input_of(&self, weight: &str) -> Option<&Tensor> {
        let mut parts = weight.strip_prefix("model.layers.")?.split('.');
        let layer = self.layers.get(parts.next()?.parse::<usize>().ok()?)?;
        match parts.nth(1)? {
            "q_proj" | "k_proj" | "v_proj" => Some(&layer.attention_input),
            "o_proj" => Some(&layer.attended),
            "gate_proj" | "up_proj" => Some(&layer.mlp_input),
            "down_proj" => Some(&layer.mlp_inner),
            _ => None,
        }
    }
}
