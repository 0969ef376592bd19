//! DeBERTa-v2 and v3: a bidirectional encoder whose attention looks at content and relative position apart.
//!
//! P. He et al., "DeBERTa: Decoding-enhanced BERT with Disentangled Attention", arXiv 2006.03654, and
//! "DeBERTaV3", arXiv 2111.09543; computed as Transformers' `DebertaV2ForSequenceClassification` does.
//!
//! The score of query i and key j is `(Qᵢ·Kⱼ + Qᵢ·P_k[δ(i, j)] + Kⱼ·P_q[δ(i, j)]) / √(3d)`, where δ puts the
//! distance i − j into buckets that widen with it and P are projections of learnt position vectors.
//!
//! Texts are packed: their tokens stand one after the other in one matrix, without padding or masks.
//! Inference only, in `f32`.

use std::collections::HashMap;
use std::ops::Range;

use candle_core::{D, Device, IndexOp, Tensor};

use super::ClassifierError;
use super::config::Config;

type Result<T> = std::result::Result<T, ClassifierError>;

/// Tokens of a text at most where positions are relative only: attention takes memory for their square.
const MOST_TOKENS: usize = 2048;

/// A DeBERTa with a head that classifies texts.
#[derive(Debug)]
pub(super) struct Deberta {
    config: Config,
    device: Device,
    words: Tensor,
    positions: Option<Tensor>,
    types: Option<Tensor>,
    embedding_projection: Option<Tensor>,
    embedding_norm: Norm,
    layers: Vec<Layer>,
    pooler: Linear,
    classifier: Linear,
}

#[derive(Debug)]
struct Layer {
    query: Linear,
    key: Linear,
    value: Linear,
    /// Projected position vectors for content-to-position, then position-to-content: `(heads, d, 2 · span)`.
    position_keys: Option<Tensor>,
    position_queries: Option<Tensor>,
    attention_output: Linear,
    attention_norm: Norm,
    intermediate: Linear,
    output: Linear,
    output_norm: Norm,
}

#[derive(Debug)]
struct Linear {
    weight: Tensor,
    bias: Tensor,
}

#[derive(Debug)]
struct Norm {
    weight: Tensor,
    bias: Tensor,
    epsilon: f64,
}

impl Deberta {
    /// From a checked configuration and the tensors of a checkpoint; ones that are not needed are left.
    pub(super) fn new(config: Config, tensors: &HashMap<String, Tensor>, device: &Device) -> Result<Self> {
        let weights = Weights { tensors, epsilon: config.layer_norm_eps };
        let (d, embedding) = (config.hidden_size, config.embedding_size());
        let words =
            weights.get("deberta.embeddings.word_embeddings.weight", &[config.vocab_size, embedding])?;
        let positions = config
            .position_biased_input
            .then(|| {
                let shape = [config.max_position_embeddings, embedding];
                weights.get("deberta.embeddings.position_embeddings.weight", &shape)
            })
            .transpose()?;
        let types = (config.type_vocab_size > 0)
            .then(|| {
                let shape = [config.type_vocab_size, embedding];
                weights.get("deberta.embeddings.token_type_embeddings.weight", &shape)
            })
            .transpose()?;
        let embedding_projection = (embedding != d)
            .then(|| weights.get("deberta.embeddings.embed_proj.weight", &[d, embedding]))
            .transpose()?;
        let embedding_norm = weights.norm("deberta.embeddings.LayerNorm", d)?;
        let mut relative = None;
        if config.relative_attention {
            let mut vectors =
                weights.get("deberta.encoder.rel_embeddings.weight", &[2 * config.span(), d])?;
            if config.norms_positions() {
                vectors = weights.norm("deberta.encoder.LayerNorm", d)?.forward(&vectors)?;
            }
            relative = Some(vectors);
        }
        let layers = (0..config.num_hidden_layers)
            .map(|layer| Layer::new(&config, &weights, layer, relative.as_ref()))
            .collect::<Result<_>>()?;
        let labels = weights.rows("classifier.weight")?;
        Ok(Self {
            pooler: weights.linear("pooler.dense", d, d)?,
            classifier: weights.linear("classifier", labels, d)?,
            device: device.clone(),
            config,
            words,
            positions,
            types,
            embedding_projection,
            embedding_norm,
            layers,
        })
    }

    /// Number of labels.
    pub(super) fn labels(&self) -> usize {
        self.classifier.bias.elem_count()
    }

    /// Tokens of a text at most.
    pub(super) fn longest(&self) -> usize {
        if self.positions.is_some() { self.config.max_position_embeddings } else { MOST_TOKENS }
    }

    /// A logit for each text and label: shape `(texts, labels)`. Texts have at most [`Self::longest`] tokens.
    pub(super) fn logits(&self, texts: &[Vec<u32>]) -> Result<Tensor> {
        let mut ranges = Vec::with_capacity(texts.len());
        let mut end = 0;
        for (index, text) in texts.iter().enumerate() {
            if text.is_empty() {
                return Err(ClassifierError::Empty { index });
            }
            ranges.push(end..end + text.len());
            end += text.len();
        }
        let tokens = texts.concat();
        if let Some(token) = tokens.iter().find(|token| **token as usize >= self.config.vocab_size) {
            return Err(ClassifierError::Token { token: *token, vocabulary: self.config.vocab_size });
        }
        let mut x = self.embed(&tokens, &ranges)?;
        for layer in &self.layers {
            x = layer.forward(&self.config, &x, &ranges)?;
        }
        let first: Vec<u32> = ranges.iter().map(|range| range.start as u32).collect();
        let first = x.index_select(&Tensor::new(first, &self.device)?, 0)?;
        let pooled = self.config.pooler_hidden_act.forward(&self.pooler.forward(&first)?)?;
        Ok(self.classifier.forward(&pooled)?)
    }

    fn embed(&self, tokens: &[u32], ranges: &[Range<usize>]) -> Result<Tensor> {
        let mut x = self.words.index_select(&Tensor::new(tokens, &self.device)?, 0)?;
        if let Some(positions) = &self.positions {
            let at: Vec<u32> = ranges.iter().flat_map(|range| 0..range.len() as u32).collect();
            x = (x + positions.index_select(&Tensor::new(at, &self.device)?, 0)?)?;
        }
        if let Some(types) = &self.types {
            // One segment: question and answer are one text.
            x = x.broadcast_add(&types.i(0)?)?;
        }
        if let Some(projection) = &self.embedding_projection {
            x = x.matmul(&projection.t()?)?;
        }
        Ok(self.embedding_norm.forward(&x)?)
    }
}

impl Layer {
    fn new(config: &Config, weights: &Weights<'_>, layer: usize, relative: Option<&Tensor>) -> Result<Self> {
        let (d, inner, all) = (config.hidden_size, config.intermediate_size, config.heads_size());
        let name = |part: &str| format!("deberta.encoder.layer.{layer}.{part}");
        let attention = |part: &str| weights.linear(&name(&format!("attention.self.{part}")), all, d);
        let (query, key) = (attention("query_proj")?, attention("key_proj")?);
        // The position vectors are the same for every text: projected once.
        let project = |linear: &Linear, vectors: &Tensor| -> Result<Tensor> {
            Ok(config.split(&linear.forward(vectors)?)?.t()?.contiguous()?)
        };
        let (mut position_keys, mut position_queries) = (None, None);
        if let Some(vectors) = relative {
            if config.attends("c2p") {
                let own = (!config.share_att_key).then(|| attention("pos_key_proj")).transpose()?;
                position_keys = Some(project(own.as_ref().unwrap_or(&key), vectors)?);
            }
            if config.attends("p2c") {
                let own = (!config.share_att_key).then(|| attention("pos_query_proj")).transpose()?;
                position_queries = Some(project(own.as_ref().unwrap_or(&query), vectors)?);
            }
        }
        Ok(Self {
            query,
            key,
            value: attention("value_proj")?,
            position_keys,
            position_queries,
            attention_output: weights.linear(&name("attention.output.dense"), d, all)?,
            attention_norm: weights.norm(&name("attention.output.LayerNorm"), d)?,
            intermediate: weights.linear(&name("intermediate.dense"), inner, d)?,
            output: weights.linear(&name("output.dense"), d, inner)?,
            output_norm: weights.norm(&name("output.LayerNorm"), d)?,
        })
    }

    fn forward(&self, config: &Config, x: &Tensor, ranges: &[Range<usize>]) -> Result<Tensor> {
        let (q, k, v) = (self.query.forward(x)?, self.key.forward(x)?, self.value.forward(x)?);
        let attended = ranges
            .iter()
            .map(|range| {
                let part = |all: &Tensor| config.split(&all.narrow(0, range.start, range.len())?);
                self.attend(config, &part(&q)?, &part(&k)?, &part(&v)?)
            })
            .collect::<Result<Vec<_>>>()?;
        let attended = self.attention_output.forward(&Tensor::cat(&attended, 0)?)?;
        let x = self.attention_norm.forward(&(attended + x)?)?;
        let inner = config.hidden_act.forward(&self.intermediate.forward(&x)?)?;
        Ok(self.output_norm.forward(&(self.output.forward(&inner)? + x)?)?)
    }

    /// Attention within one text: queries, keys and values of shape `(heads, n, d)`, result `(n, heads · d)`.
    fn attend(&self, config: &Config, q: &Tensor, k: &Tensor, v: &Tensor) -> Result<Tensor> {
        let (heads, n, d) = q.dims3()?;
        let terms = 1 + usize::from(config.attends("c2p")) + usize::from(config.attends("p2c"));
        let mut scores = q.matmul(&k.t()?.contiguous()?)?;
        if self.position_keys.is_some() || self.position_queries.is_some() {
            let buckets = Tensor::from_vec(config.buckets(n), (1, n, n), q.device())?;
            let buckets = buckets.broadcast_as((heads, n, n))?;
            if let Some(keys) = &self.position_keys {
                scores = (scores + q.matmul(keys)?.gather(&buckets.contiguous()?, D::Minus1)?)?;
            }
            if let Some(queries) = &self.position_queries {
                // Row of the key, column of the query; the bucket is that of query and key all the same.
                let by_key = k.matmul(queries)?.gather(&buckets.t()?.contiguous()?, D::Minus1)?;
                scores = (scores + by_key.t()?)?;
            }
        }
        let scores = (scores / ((d * terms) as f64).sqrt())?;
        let highest = scores.max_keepdim(D::Minus1)?;
        let weights = scores.broadcast_sub(&highest)?.exp()?;
        let weights = weights.broadcast_div(&weights.sum_keepdim(D::Minus1)?)?;
        Ok(weights.matmul(v)?.transpose(0, 1)?.reshape((n, heads * d))?)
    }
}

impl Linear {
    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        x.matmul(&self.weight.t()?)?.broadcast_add(&self.bias)
    }
}

impl Norm {
    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
        let deviation = (centred.sqr()?.mean_keepdim(D::Minus1)? + self.epsilon)?.sqrt()?;
        centred.broadcast_div(&deviation)?.broadcast_mul(&self.weight)?.broadcast_add(&self.bias)
    }
}

/// Named tensors, taken with the shapes that they must have.
struct Weights<'a> {
    tensors: &'a HashMap<String, Tensor>,
    epsilon: f64,
}

impl Weights<'_> {
    fn get(&self, name: &str, shape: &[usize]) -> Result<Tensor> {
        match self.tensors.get(name) {
            None => Err(ClassifierError::Missing { name: name.to_owned(), shape: shape.to_vec() }),
            Some(tensor) if tensor.dims() != shape => Err(ClassifierError::Shape {
                name: name.to_owned(),
                expected: shape.to_vec(),
                got: tensor.dims().to_vec(),
            }),
            Some(tensor) => Ok(tensor.clone()),
        }
    }

    fn rows(&self, name: &str) -> Result<usize> {
        let dims = self.tensors.get(name).map_or(&[][..], Tensor::dims);
        let missing = || ClassifierError::Missing { name: name.to_owned(), shape: Vec::new() };
        dims.first().copied().ok_or_else(missing)
    }

    fn linear(&self, name: &str, rows: usize, columns: usize) -> Result<Linear> {
        Ok(Linear {
            weight: self.get(&format!("{name}.weight"), &[rows, columns])?,
            bias: self.get(&format!("{name}.bias"), &[rows])?,
        })
    }

    fn norm(&self, name: &str, size: usize) -> Result<Norm> {
        Ok(Norm {
            weight: self.get(&format!("{name}.weight"), &[size])?,
            bias: self.get(&format!("{name}.bias"), &[size])?,
            epsilon: self.epsilon,
        })
    }
}
