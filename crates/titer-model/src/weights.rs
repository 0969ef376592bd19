//! The parameters as the forward pass uses them.

use candle_core::Tensor;
use titer_ops::{linear, rms_norm};

use crate::{Config, Error, Parameters, Result};

/// One view of all weights.
#[derive(Debug)]
pub(crate) struct Weights {
    pub(crate) embedding: Tensor,
    pub(crate) layers: Vec<Layer>,
    pub(crate) norm: Tensor,
    pub(crate) head: Tensor,
}

#[derive(Debug)]
pub(crate) struct Layer {
    pub(crate) attention_norm: Tensor,
    pub(crate) q: Projection,
    pub(crate) k: Projection,
    pub(crate) v: Projection,
    pub(crate) o: Projection,
    pub(crate) mlp_norm: Tensor,
    pub(crate) gate: Projection,
    pub(crate) up: Projection,
    pub(crate) down: Projection,
}

/// y = x·Wᵀ (+ b), and for the queries and keys of some families a norm over each head.
#[derive(Debug)]
pub(crate) struct Projection {
    weight: Tensor,
    bias: Option<Tensor>,
    head_norm: Option<Tensor>,
}

impl Projection {
    pub(crate) fn apply(&self, x: &Tensor) -> Result<Tensor> {
        let y = linear(x, &self.weight)?;
        Ok(match &self.bias {
            Some(bias) => y.broadcast_add(bias)?,
            None => y,
        })
    }

    /// The projection divided into heads, each normed where the family norms them; shape
    /// `(tokens, heads · head_dim)`.
    pub(crate) fn heads(&self, x: &Tensor, head_dim: usize, epsilon: f64) -> Result<Tensor> {
        let y = self.apply(x)?;
        let Some(norm) = &self.head_norm else { return Ok(y) };
        Ok(rms_norm(&y.reshape(((), head_dim))?, norm, epsilon)?.reshape(y.shape())?)
    }
}

impl Weights {
    pub(crate) fn new(
        config: &Config,
        parameters: &Parameters,
        view: impl Fn(&Tensor) -> Tensor,
    ) -> Result<Self> {
        let find = |name: &str| parameters.get(name).map(|var| view(var.as_tensor()));
        let get = |name: String| find(&name).ok_or(Error::Missing { name, shape: Vec::new() });
        let layers = (0..config.num_hidden_layers)
            .map(|layer| -> Result<Layer> {
                let norm = |name: &str| get(format!("model.layers.{layer}.{name}.weight"));
                let projection = |name: &str, head_norm: &str| -> Result<Projection> {
                    let name = format!("model.layers.{layer}.{name}");
                    Ok(Projection {
                        weight: get(format!("{name}.weight"))?,
                        bias: find(&format!("{name}.bias")),
                        head_norm: find(&format!("model.layers.{layer}.self_attn.{head_norm}.weight")),
                    })
                };
                Ok(Layer {
                    attention_norm: norm("input_layernorm")?,
                    q: projection("self_attn.q_proj", "q_norm")?,
                    k: projection("self_attn.k_proj", "k_norm")?,
                    v: projection("self_attn.v_proj", "")?,
                    o: projection("self_attn.o_proj", "")?,
                    mlp_norm: norm("post_attention_layernorm")?,
                    gate: projection("mlp.gate_proj", "")?,
                    up: projection("mlp.up_proj", "")?,
                    down: projection("mlp.down_proj", "")?,
                })
            })
            .collect::<Result<_>>()?;
        let embedding = get("model.embed_tokens.weight".to_owned())?;
        let head =
            if config.tie_word_embeddings { embedding.clone() } else { get("lm_head.weight".to_owned())? };
        Ok(Self { embedding, layers, norm: get("model.norm.weight".to_owned())?, head })
    }
}
