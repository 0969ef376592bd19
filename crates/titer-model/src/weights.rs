//! The parameters as the forward pass uses them.

use std::sync::Arc;

use candle_core::Tensor;
use titer_ops::{Rotary, linear, lora, rms_norm, rotary, swiglu};

use crate::lora::{PROJECTIONS, factors};
use crate::{Config, Error, LayerTrace, LoraSpec, Result};

/// One view of all weights.
#[derive(Debug)]
pub(crate) struct Weights {
    embedding: Tensor,
    pub(crate) layers: Vec<Arc<Layer>>,
    pub(crate) norm: Tensor,
    pub(crate) head: Tensor,
}

/// What all layers of one pass share.
#[derive(Clone)]
pub(crate) struct Pass {
    pub(crate) rotary: Rotary,
    pub(crate) positions: Arc<[u32]>,
    pub(crate) epsilon: f64,
    pub(crate) head_dim: usize,
}

/// Computes a layer's attention from its rotated queries and keys and its values.
pub(crate) type Attend<'a> = dyn FnMut(usize, &Tensor, &Tensor, &Tensor) -> candle_core::Result<Tensor> + 'a;

#[derive(Debug)]
pub(crate) struct Layer {
    attention_norm: Tensor,
    q: Projection,
    k: Projection,
    v: Projection,
    o: Projection,
    mlp_norm: Tensor,
    gate: Projection,
    up: Projection,
    down: Projection,
}

/// y = x·Wᵀ (+ b) (+ an adapter), and for the queries and keys of some families a norm over each head.
#[derive(Debug)]
struct Projection {
    weight: Tensor,
    bias: Option<Tensor>,
    head_norm: Option<Tensor>,
    adapter: Option<Adapter>,
}

#[derive(Debug)]
struct Adapter {
    a: Tensor,
    b: Tensor,
    scale: f64,
}

/// Whether the weight of this name is a projection's.
pub(crate) fn is_projection(name: &str) -> bool {
    let mut parts = name.rsplit('.');
    parts.next() == Some("weight") && parts.next().is_some_and(|part| PROJECTIONS.contains(&part))
}

impl Projection {
    fn apply(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let y = match &self.adapter {
            Some(Adapter { a, b, scale }) => lora(x, &self.weight, a, b, *scale)?,
            None => linear(x, &self.weight)?,
        };
        match &self.bias {
            Some(bias) => y.broadcast_add(bias),
            None => Ok(y),
        }
    }

    /// The projection divided into heads, each normed where the family norms them; shape
    /// `(tokens, heads · head_dim)`.
    fn heads(&self, x: &Tensor, pass: &Pass) -> candle_core::Result<Tensor> {
        let y = self.apply(x)?;
        let Some(norm) = &self.head_norm else { return Ok(y) };
        rms_norm(&y.reshape(((), pass.head_dim))?, norm, pass.epsilon)?.reshape(y.shape())
    }

    fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        let adapter = self.adapter.iter().flat_map(|adapter| [&adapter.a, &adapter.b]);
        std::iter::once(&self.weight).chain(&self.bias).chain(&self.head_norm).chain(adapter)
    }
}

impl Layer {
    /// The layer's output for its input x of shape `(tokens, hidden_size)`.
    pub(crate) fn forward(
        &self,
        index: usize,
        x: &Tensor,
        pass: &Pass,
        attend: &mut Attend<'_>,
    ) -> candle_core::Result<Tensor> {
        Ok(self.trace(index, x, pass, attend, None)?.output)
    }

    /// All that the layer computes on the way. `added` is added to the attention block's output.
    pub(crate) fn trace(
        &self,
        index: usize,
        x: &Tensor,
        pass: &Pass,
        attend: &mut Attend<'_>,
        added: Option<&Tensor>,
    ) -> candle_core::Result<LayerTrace> {
        let attention_input = rms_norm(x, &self.attention_norm, pass.epsilon)?;
        let q = rotary(&self.q.heads(&attention_input, pass)?, &pass.rotary, &pass.positions)?;
        let k = rotary(&self.k.heads(&attention_input, pass)?, &pass.rotary, &pass.positions)?;
        let attended = attend(index, &q, &k, &self.v.apply(&attention_input)?)?;
        let mut attention = self.o.apply(&attended)?;
        if let Some(added) = added {
            attention = (attention + added)?;
        }
        let middle = (x + &attention)?;
        let mlp_input = rms_norm(&middle, &self.mlp_norm, pass.epsilon)?;
        let mlp_inner = swiglu(&self.gate.apply(&mlp_input)?, &self.up.apply(&mlp_input)?)?;
        let mlp = self.down.apply(&mlp_inner)?;
        let output = (&middle + &mlp)?;
        let input = x.clone();
        Ok(LayerTrace { input, attention_input, attended, attention, mlp_input, mlp_inner, mlp, output })
    }

    /// The tensors that are trained.
    pub(crate) fn variables(&self) -> Vec<Tensor> {
        let projections = [&self.q, &self.k, &self.v, &self.o, &self.gate, &self.up, &self.down];
        let tensors = projections.into_iter().flat_map(Projection::tensors);
        let tensors = tensors.chain([&self.attention_norm, &self.mlp_norm]);
        tensors.filter(|tensor| tensor.is_variable()).cloned().collect()
    }
}

impl Weights {
    /// From whatever `find` knows by name.
    pub(crate) fn new(
        config: &Config,
        adapter: Option<&LoraSpec>,
        find: &dyn Fn(&str) -> Option<Tensor>,
    ) -> Result<Self> {
        let get = |name: String| find(&name).ok_or(Error::Missing { name, shape: Vec::new() });
        let layers = (0..config.num_hidden_layers)
            .map(|layer| -> Result<Arc<Layer>> {
                let norm = |name: &str| get(format!("model.layers.{layer}.{name}.weight"));
                let projection = |name: &str, head_norm: &str| -> Result<Projection> {
                    let name = format!("model.layers.{layer}.{name}");
                    let weight = format!("{name}.weight");
                    let adapter = match adapter.filter(|spec| spec.adapts(&weight)) {
                        Some(spec) => {
                            let [a, b] = factors(&weight);
                            Some(Adapter { a: get(a)?, b: get(b)?, scale: spec.scale() })
                        }
                        None => None,
                    };
                    Ok(Projection {
                        weight: get(weight)?,
                        bias: find(&format!("{name}.bias")),
                        head_norm: find(&format!("model.layers.{layer}.self_attn.{head_norm}.weight")),
                        adapter,
                    })
                };
                Ok(Arc::new(Layer {
                    attention_norm: norm("input_layernorm")?,
                    q: projection("self_attn.q_proj", "q_norm")?,
                    k: projection("self_attn.k_proj", "k_norm")?,
                    v: projection("self_attn.v_proj", "")?,
                    o: projection("self_attn.o_proj", "")?,
                    mlp_norm: norm("post_attention_layernorm")?,
                    gate: projection("mlp.gate_proj", "")?,
                    up: projection("mlp.up_proj", "")?,
                    down: projection("mlp.down_proj", "")?,
                }))
            })
            .collect::<Result<_>>()?;
        let embedding = get("model.embed_tokens.weight".to_owned())?;
        let head =
            if config.tie_word_embeddings { embedding.clone() } else { get("lm_head.weight".to_owned())? };
        Ok(Self { embedding, layers, norm: get("model.norm.weight".to_owned())?, head })
    }

    /// The embeddings of tokens: shape `(tokens, hidden_size)`.
    pub(crate) fn embed(&self, tokens: &[u32]) -> candle_core::Result<Tensor> {
        self.embedding.index_select(&Tensor::new(tokens, self.embedding.device())?, 0)
    }
}
