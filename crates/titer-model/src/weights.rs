//! The parameters as the forward pass uses them.

use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use titer_ops::{
    Adapted, Mlp as MlpWeights, Rotary, Scoring, linear, linear_added, linear_rotated, lora, mlp, rotary,
};

use crate::config::{EMBEDDING, FINAL_NORM, HEAD, sinks};
use crate::family::Norm;
use crate::lora::factors;
use crate::mlp::{Mlp, Passed};
use crate::norm::{Normed, RowNorm};
use crate::soft::{PROMPT, shift, soft_row};
use crate::{Config, Error, LayerTrace, LoraSpec, Result};

/// One view of all weights.
#[derive(Debug)]
pub(crate) struct Weights {
    embedding: Tensor,
    /// A soft prompt: embeddings that other tokens than the vocabulary's are read as.
    prompt: Option<Tensor>,
    /// Multiplies the embeddings that are read.
    scale: Option<f64>,
    pub(crate) layers: Vec<Arc<Layer>>,
    pub(crate) norm: Normed,
    pub(crate) head: Tensor,
}

/// What all layers of one pass share.
#[derive(Clone)]
pub(crate) struct Pass {
    pub(crate) rotary: Rotary,
    /// Of layers with a window, where they rotate otherwise.
    pub(crate) local: Option<Rotary>,
    /// Of each token, the row of its angles.
    pub(crate) rows: Arc<[u32]>,
    pub(crate) norm: RowNorm,
    /// Where queries, keys and values are cut off.
    pub(crate) clip: Option<f64>,
    /// Multiplies the queries, whose products with keys the attention divides by √head_dim.
    pub(crate) queries: Option<f64>,
    /// Multiplies what a block adds to the residual stream.
    pub(crate) residual: Option<f64>,
    /// Whether the MLP reads the stream before the layer.
    pub(crate) parallel: bool,
}

/// Which rows a layer has of what it reads and of what it gives, where these are not those of all tokens.
#[derive(Clone, Default)]
pub(crate) struct Rows {
    /// What it reads has a row for each distinct token alone: of each token, that row.
    pub(crate) spread: Option<Tensor>,
    /// What is read of its output.
    pub(crate) read: Option<Read>,
}

/// Rows of a layer's output, ascending: queries and MLP are computed for these tokens only.
#[derive(Clone)]
pub(crate) struct Read {
    pub(crate) rows: Tensor,
    /// Of each, the row of its angles.
    pub(crate) angles: Arc<[u32]>,
}

/// Which keys a layer's queries reach and what their scores become, and the sinks beside these, if it has some.
pub(crate) type Scored<'a> = (Scoring, Option<&'a Tensor>);

/// An attention block on its way.
struct Attended {
    /// The stream before it, of the rows that the layer gives.
    input: Tensor,
    normed: Tensor,
    attended: Tensor,
}

/// Gives each token its row.
type Spread<'a> = &'a dyn Fn(Tensor) -> candle_core::Result<Tensor>;

/// Computes a layer's attention from its rotated queries and keys and its values.
pub(crate) type Attend<'a> =
    dyn FnMut(usize, Scored<'_>, &Tensor, &Tensor, &Tensor) -> candle_core::Result<Tensor> + 'a;

#[derive(Debug)]
pub(crate) struct Layer {
    /// Of what each block reads and of what it gives: attention and MLP.
    before: [Option<Normed>; 2],
    after: [Option<Normed>; 2],
    rotated: bool,
    sinks: Option<Tensor>,
    scoring: Scoring,
    q: Projection,
    k: Projection,
    v: Projection,
    o: Projection,
    mlp: Mlp,
    /// Added to the layer's output.
    shift: Option<Tensor>,
}

/// y = x·Wᵀ (+ b) (+ an adapter), and for the queries and keys of some families a norm over each head or
/// all of them.
#[derive(Debug)]
pub(crate) struct Projection {
    weight: Tensor,
    bias: Option<Tensor>,
    norm: Option<Tensor>,
    adapter: Option<Adapter>,
}

#[derive(Debug)]
struct Adapter {
    a: Tensor,
    b: Tensor,
    scale: f64,
}

impl Projection {
    pub(crate) fn apply(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let y = match &self.adapter {
            Some(Adapter { a, b, scale }) => lora(x, &self.weight, a, b, *scale)?,
            None => linear(x, &self.weight)?,
        };
        match &self.bias {
            Some(bias) => y.broadcast_add(bias),
            None => Ok(y),
        }
    }

    /// The weight and its adapter, if that is all there is.
    pub(crate) fn plain(&self) -> Option<Adapted<'_>> {
        let Self { weight, bias: None, norm: None, adapter } = self else { return None };
        let adapter = adapter.as_ref().map(|Adapter { a, b, scale }| (a, b, *scale));
        Some(Adapted { weight, adapter })
    }

    /// The projection as attention takes it, normed and cut off where the family does so; shape
    /// `(tokens, heads · head_dim)`.
    fn heads(&self, x: &Tensor, pass: &Pass) -> candle_core::Result<Tensor> {
        let mut y = self.apply(x)?;
        if let Some(norm) = &self.norm {
            y = pass.norm.apply(&y.reshape(((), norm.dims1()?))?, norm)?.reshape(y.shape())?;
        }
        match pass.clip {
            Some(clip) => y.clamp(-clip, clip),
            None => Ok(y),
        }
    }

    pub(crate) fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        let adapter = self.adapter.iter().flat_map(|adapter| [&adapter.a, &adapter.b]);
        std::iter::once(&self.weight).chain(&self.bias).chain(&self.norm).chain(adapter)
    }
}

/// x after a norm, if there is one.
fn normed(x: &Tensor, norm: &Option<Normed>, pass: &Pass) -> candle_core::Result<Tensor> {
    norm.as_ref().map_or_else(|| Ok(x.clone()), |norm| norm.apply(x, pass.norm))
}

/// x times a factor, if there is one.
fn scaled(x: Tensor, factor: Option<f64>) -> candle_core::Result<Tensor> {
    match factor {
        Some(factor) => x * factor,
        None => Ok(x),
    }
}

impl Layer {
    /// The layer's output for its input x of shape `(tokens, hidden_size)`.
    pub(crate) fn forward(
        &self,
        index: usize,
        x: &Tensor,
        pass: &Pass,
        rows: &Rows,
        attend: &mut Attend<'_>,
    ) -> candle_core::Result<Tensor> {
        let Attended { input, attended, .. } = self.attended(index, x, pass, rows, attend)?;
        let middle = match self.o.plain() {
            Some(Adapted { weight, adapter: None }) if self.after[0].is_none() && pass.residual.is_none() => {
                linear_added(&attended, weight, &input)?
            }
            _ => (&input + self.attention_output(&attended, pass)?)?,
        };
        let output = match self.plain_mlp(pass) {
            Some(weights) => mlp(&middle, weights)?,
            None => {
                let input = self.mlp_input(&input, &middle, pass)?;
                (&middle + self.mlp_output(self.mlp.pass(&input)?.output, pass)?)?
            }
        };
        self.shifted(output)
    }

    /// All that the layer computes on the way. `added` is added to the attention block's output.
    pub(crate) fn trace(
        &self,
        index: usize,
        x: &Tensor,
        pass: &Pass,
        rows: &Rows,
        attend: &mut Attend<'_>,
        added: Option<&Tensor>,
    ) -> candle_core::Result<LayerTrace> {
        let Attended { input, normed: attention_input, attended } =
            self.attended(index, x, pass, rows, attend)?;
        let mut attention = self.attention_output(&attended, pass)?;
        if let Some(added) = added {
            attention = (attention + added)?;
        }
        let middle = (&input + &attention)?;
        let mlp_input = self.mlp_input(&input, &middle, pass)?;
        let Passed { inner: mlp_inner, router, experts, output: mlp } = self.mlp.pass(&mlp_input)?;
        let mlp = self.mlp_output(mlp, pass)?;
        let output = self.shifted((&middle + &mlp)?)?;
        Ok(LayerTrace {
            input,
            attention_input,
            attended,
            attention,
            mlp_input,
            router,
            experts,
            mlp_inner,
            mlp,
            output,
        })
    }

    /// The attention block of the layer's input x.
    fn attended(
        &self,
        index: usize,
        x: &Tensor,
        pass: &Pass,
        rows: &Rows,
        attend: &mut Attend<'_>,
    ) -> candle_core::Result<Attended> {
        let local = pass.local.as_ref().filter(|_| self.scoring.window.is_some());
        let table = self.rotated.then_some(local.unwrap_or(&pass.rotary));
        let spread = |x: Tensor| rows.spread.as_ref().map_or(Ok(x.clone()), |of| x.index_select(of, 0));
        let rotated = |of: &Projection, x: &Tensor, angles: &Arc<[u32]>, spread: Spread<'_>| match table {
            None => spread(of.heads(x, pass)?),
            Some(table) => match of.plain() {
                Some(Adapted { weight, adapter: None }) if pass.clip.is_none() && rows.spread.is_none() => {
                    linear_rotated(x, weight, table, angles)
                }
                _ => rotary(&spread(of.heads(x, pass)?)?, table, angles),
            },
        };
        let normed = normed(x, &self.before[0], pass)?;
        let k = rotated(&self.k, &normed, &pass.rows, &spread)?;
        let v = spread(self.v.heads(&normed, pass)?)?;
        let mut input = spread(x.clone())?;
        let q = match &rows.read {
            Some(Read { rows, angles }) => {
                input = input.index_select(rows, 0)?;
                rotated(&self.q, &normed.index_select(rows, 0)?, angles, &Ok)?
            }
            None => rotated(&self.q, &normed, &pass.rows, &spread)?,
        };
        let q = scaled(q, pass.queries)?;
        let attended = attend(index, (self.scoring, self.sinks.as_ref()), &q, &k, &v)?;
        Ok(Attended { input, normed, attended })
    }

    /// What attention adds to the stream.
    fn attention_output(&self, attended: &Tensor, pass: &Pass) -> candle_core::Result<Tensor> {
        scaled(normed(&self.o.apply(attended)?, &self.after[0], pass)?, pass.residual)
    }

    /// The half after attention, where it is an RMSNorm, a gated MLP without biases and their sum with what they read.
    pub(crate) fn plain_mlp(&self, pass: &Pass) -> Option<MlpWeights<'_>> {
        let ([_, Some(Normed { weight: norm, bias: None })], [_, None]) = (&self.before, &self.after) else {
            return None;
        };
        if pass.parallel || pass.residual.is_some() {
            return None;
        }
        let ([gate, up, down], activation) = self.mlp.plain()?;
        let RowNorm { epsilon, about_one } = pass.norm;
        Some(MlpWeights { norm, epsilon, about_one, gate, up, down, activation })
    }

    /// What the MLP reads: its norm of the stream after attention, or before it.
    fn mlp_input(&self, input: &Tensor, middle: &Tensor, pass: &Pass) -> candle_core::Result<Tensor> {
        normed(if pass.parallel { input } else { middle }, &self.before[1], pass)
    }

    /// What the MLP adds to the stream.
    fn mlp_output(&self, mlp: Tensor, pass: &Pass) -> candle_core::Result<Tensor> {
        scaled(normed(&mlp, &self.after[1], pass)?, pass.residual)
    }

    fn shifted(&self, output: Tensor) -> candle_core::Result<Tensor> {
        self.shift.as_ref().map_or(Ok(output.clone()), |shift| output.broadcast_add(shift))
    }

    /// The tensors that are trained.
    pub(crate) fn variables(&self) -> Vec<Tensor> {
        let projections = [&self.q, &self.k, &self.v, &self.o];
        let tensors = projections.into_iter().flat_map(Projection::tensors).chain(self.mlp.tensors());
        let norms = self.before.iter().chain(&self.after).flatten().flat_map(Normed::tensors);
        let tensors = tensors.chain(norms).chain(&self.sinks).chain(&self.shift);
        tensors.filter(|tensor| tensor.is_variable()).cloned().collect()
    }
}

/// Where weights come from.
pub(crate) struct Source<'a> {
    adapter: Option<&'a LoraSpec>,
    find: &'a dyn Fn(&str) -> Option<Tensor>,
}

impl Source<'_> {
    pub(crate) fn get(&self, name: String) -> Result<Tensor> {
        (self.find)(&name).ok_or(Error::Missing { name, shape: Vec::new() })
    }

    /// A norm, with the bias that is there.
    pub(crate) fn norm(&self, module: &str) -> Result<Normed> {
        let bias = (self.find)(&format!("{module}.bias"));
        Ok(Normed { weight: self.get(format!("{module}.weight"))?, bias })
    }

    /// With the bias, the norm and the adapter that are there.
    pub(crate) fn projection(&self, module: &str, norm: Option<String>) -> Result<Projection> {
        let weight = format!("{module}.weight");
        let adapter = match self.adapter.filter(|spec| spec.adapts(&weight)) {
            Some(spec) => {
                let [a, b] = factors(&weight);
                Some(Adapter { a: self.get(a)?, b: self.get(b)?, scale: spec.scale() })
            }
            None => None,
        };
        Ok(Projection {
            weight: self.get(weight)?,
            bias: (self.find)(&format!("{module}.bias")),
            norm: norm.and_then(|norm| (self.find)(&norm)),
            adapter,
        })
    }
}

impl Weights {
    /// From whatever `find` knows by name.
    pub(crate) fn new(
        config: &Config,
        adapter: Option<&LoraSpec>,
        find: &dyn Fn(&str) -> Option<Tensor>,
    ) -> Result<Self> {
        let source = Source { adapter, find };
        let get = |name: &str| source.get(name.to_owned());
        let layers = (0..config.num_hidden_layers)
            .map(|layer| -> Result<Arc<Layer>> {
                let norm = |norm: Option<Norm>| {
                    norm.map(|norm| source.norm(&format!("model.layers.{layer}.{}", norm.name))).transpose()
                };
                let norms = config.family.norms;
                let projection = |name: &str, norm: Option<&str>| {
                    let norm = norm.map(|norm| format!("model.layers.{layer}.self_attn.{norm}.weight"));
                    source.projection(&format!("model.layers.{layer}.self_attn.{name}"), norm)
                };
                Ok(Arc::new(Layer {
                    before: [norm(norms.before_attention)?, norm(norms.before_mlp)?],
                    after: [norm(norms.after_attention)?, norm(norms.after_mlp)?],
                    rotated: !config.unrotated.contains(&layer),
                    sinks: find(&sinks(layer)),
                    scoring: config.scoring(layer),
                    q: projection("q_proj", Some("q_norm"))?,
                    k: projection("k_proj", Some("k_norm"))?,
                    v: projection("v_proj", None)?,
                    o: projection("o_proj", None)?,
                    mlp: Mlp::new(config, &source, layer)?,
                    shift: find(&shift(layer)),
                }))
            })
            .collect::<Result<_>>()?;
        let embedding = get(EMBEDDING)?;
        let head = if config.tie_word_embeddings { embedding.clone() } else { get(HEAD)? };
        let scale = config.embedding_scale();
        let norm = source.norm(FINAL_NORM.trim_end_matches(".weight"))?;
        Ok(Self { embedding, prompt: find(PROMPT), scale, layers, norm, head })
    }

    /// Of no model.
    pub(crate) fn none(device: &Device) -> Result<Self> {
        let nothing = || Tensor::zeros((0, 0), DType::F32, device);
        let norm = Normed { weight: Tensor::zeros(0, DType::F32, device)?, bias: None };
        let (embedding, head) = (nothing()?, nothing()?);
        Ok(Self { embedding, prompt: None, scale: None, layers: Vec::new(), norm, head })
    }

    /// Rows of the soft prompt.
    pub(crate) fn prompt_rows(&self) -> usize {
        self.prompt.as_ref().and_then(|prompt| prompt.dims().first().copied()).unwrap_or(0)
    }

    /// The residual stream before the first layer: shape `(tokens, hidden_size)`.
    pub(crate) fn embed(&self, tokens: &[u32]) -> candle_core::Result<Tensor> {
        let select = |from: &Tensor, rows: &[u32]| from.index_select(&Tensor::new(rows, from.device())?, 0);
        let embedded = match &self.prompt {
            Some(prompt) if tokens.iter().any(|token| soft_row(*token).is_some()) => {
                let ordinary: Vec<u32> =
                    tokens.iter().copied().filter(|token| soft_row(*token).is_none()).collect();
                // What is selected of the vocabulary, then the prompt's rows: both where they belong.
                let (mut next, first) = (0, ordinary.len() as u32);
                let places: Vec<u32> = tokens
                    .iter()
                    .map(|token| match soft_row(*token) {
                        Some(row) => first + row as u32,
                        None => {
                            next += 1;
                            next - 1
                        }
                    })
                    .collect();
                let rows = match ordinary.is_empty() {
                    true => prompt.clone(),
                    false => Tensor::cat(&[&select(&self.embedding, &ordinary)?, prompt], 0)?,
                };
                select(&rows, &places)?
            }
            _ => select(&self.embedding, tokens)?,
        };
        scaled(embedded.to_dtype(self.norm.weight.dtype())?, self.scale)
    }
}
