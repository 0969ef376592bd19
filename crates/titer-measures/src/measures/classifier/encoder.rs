//! Encoders that classify texts: candle-transformers' DeBERTa v2 and v3 (arXiv 2006.03654, 2111.09543), BERT
//! (1810.04805), RoBERTa and XLM-RoBERTa (1907.11692, 1911.02116) and ModernBERT (2412.13663), with the heads of
//! Transformers' `…ForSequenceClassification`. Inference only, in `f32`.
//!
//! Texts of one length are a batch. Nothing is padded: what a text gets does not depend on the others but by rounding.

use std::collections::HashMap;

use candle_core::{D, DType, Device, IndexOp, Module, Tensor};
use candle_nn::{LayerNorm, Linear, VarBuilder, layer_norm_no_bias, linear, linear_no_bias};
use candle_transformers::models::bert::BertModel;
use candle_transformers::models::debertav2::DebertaV2Model;
use candle_transformers::models::modernbert::ModernBert;
use candle_transformers::models::xlm_roberta::XLMRobertaModel;

use super::ClassifierError;
use super::config::{Activation, Config, Shape};

type Result<T> = std::result::Result<T, ClassifierError>;

/// Tokens that are run at once, so that memory stays bounded.
const TOKENS_AT_ONCE: usize = 1 << 12;

/// An encoder with a head that classifies texts.
pub(super) struct Encoder {
    body: Body,
    head: Head,
    vocabulary: usize,
    longest: usize,
    labels: usize,
    /// Texts at once at most.
    most_texts: usize,
    device: Device,
}

enum Body {
    Deberta(Box<DebertaV2Model>),
    Bert(BertModel),
    Roberta(XLMRobertaModel),
    ModernBert(ModernBert),
}

/// A layer, a non-linearity, a norm in some, and a row for each label.
struct Head {
    /// Whether it reads the mean of all tokens, not the first.
    mean: bool,
    dense: Linear,
    activation: Activation,
    norm: Option<LayerNorm>,
    out: Linear,
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Encoder").field("labels", &self.labels).finish_non_exhaustive()
    }
}

impl Encoder {
    /// From a configuration and the tensors of a checkpoint; ones that are not needed are left.
    pub(super) fn new(config: &Config, tensors: HashMap<String, Tensor>, device: &Device) -> Result<Self> {
        let (shape, longest) = config.shape()?;
        let out = if matches!(shape, Shape::Roberta(_)) { "classifier.out_proj" } else { "classifier" };
        let name = format!("{out}.weight");
        let labels = tensors.get(&name).and_then(|weight| weight.dims().first().copied());
        let labels = labels.ok_or(ClassifierError::Missing { name })?;
        if let Shape::ModernBert(..) = &shape {
            whole_norms(&tensors, config.hidden_size)?;
        }
        let most_texts = match &shape {
            // candle adds the vectors of absolute positions to one text only.
            Shape::Deberta(config, _) if config.position_biased_input => 1,
            _ => TOKENS_AT_ONCE,
        };
        let weights = VarBuilder::from_tensors(tensors, DType::F32, device);
        let d = config.hidden_size;
        let body = match &shape {
            Shape::Deberta(config, _) => {
                Body::Deberta(Box::new(DebertaV2Model::load(weights.pp("deberta"), config)?))
            }
            Shape::Bert(config) => Body::Bert(BertModel::load(weights.pp("bert"), config)?),
            Shape::Roberta(config) => Body::Roberta(XLMRobertaModel::new(config, weights.pp("roberta"))?),
            Shape::ModernBert(config, _) => Body::ModernBert(ModernBert::load(weights.clone(), config)?),
        };
        let out = linear(d, labels, weights.pp(out))?;
        let plain =
            |dense: Linear, activation| Head { mean: false, dense, activation, norm: None, out: out.clone() };
        let head = match shape {
            Shape::Deberta(_, activation) => plain(linear(d, d, weights.pp("pooler.dense"))?, activation),
            Shape::Bert(_) => plain(linear(d, d, weights.pp("bert.pooler.dense"))?, Activation::Tanh),
            Shape::Roberta(_) => plain(linear(d, d, weights.pp("classifier.dense"))?, Activation::Tanh),
            Shape::ModernBert(config, mean) => Head {
                mean,
                norm: Some(layer_norm_no_bias(d, config.layer_norm_eps, weights.pp("head.norm"))?),
                ..plain(linear_no_bias(d, d, weights.pp("head.dense"))?, Activation::Gelu)
            },
        };
        let (vocabulary, device) = (config.vocab_size, device.clone());
        Ok(Self { body, head, vocabulary, longest, labels, most_texts, device })
    }

    /// Number of labels.
    pub(super) fn labels(&self) -> usize {
        self.labels
    }

    /// Tokens of a text at most.
    pub(super) fn longest(&self) -> usize {
        self.longest
    }

    /// A logit of each label for each text, in order. Texts have at most [`Self::longest`] tokens.
    pub(super) fn logits(&self, texts: &[Vec<u32>]) -> Result<Vec<Vec<f32>>> {
        if let Some(index) = texts.iter().position(Vec::is_empty) {
            return Err(ClassifierError::Empty { index });
        }
        let beyond = texts.iter().flatten().find(|token| **token as usize >= self.vocabulary);
        if let Some(token) = beyond {
            return Err(ClassifierError::Token { token: *token, vocabulary: self.vocabulary });
        }
        let mut order: Vec<usize> = (0..texts.len()).collect();
        order.sort_by_key(|place| texts[*place].len());
        let mut logits = vec![Vec::new(); texts.len()];
        for same in order.chunk_by(|a, b| texts[*a].len() == texts[*b].len()) {
            let length = texts[same[0]].len();
            for places in same.chunks((TOKENS_AT_ONCE / length).clamp(1, self.most_texts)) {
                let tokens: Vec<u32> = places.iter().flat_map(|place| &texts[*place]).copied().collect();
                let tokens = Tensor::from_vec(tokens, (places.len(), length), &self.device)?;
                for (place, row) in places.iter().zip(self.run(&tokens)?.to_vec2()?) {
                    logits[*place] = row;
                }
            }
        }
        Ok(logits)
    }

    /// Logits of texts of one length.
    fn run(&self, tokens: &Tensor) -> candle_core::Result<Tensor> {
        // One segment: question and answer are one text. All of it is attended.
        let segments = tokens.zeros_like()?;
        let attended = tokens.ones_like()?;
        let states = match &self.body {
            Body::Deberta(model) => model.forward(tokens, Some(segments), None)?,
            Body::Bert(model) => model.forward(tokens, &segments, None)?,
            Body::Roberta(model) => model.forward(tokens, &attended, &segments, None, None, None)?,
            Body::ModernBert(model) => model.forward(tokens, &attended)?,
        };
        let Head { mean, dense, activation, norm, out } = &self.head;
        let read = if *mean { states.mean(1)? } else { states.i((.., 0))?.contiguous()? };
        let mut x = activation.forward(&dense.forward(&read)?)?;
        if let Some(norm) = norm {
            x = norm.forward(&x)?;
        }
        let logits = out.forward(&x)?;
        debug_assert_eq!(logits.dim(D::Minus1).ok(), Some(self.labels));
        Ok(logits)
    }
}

/// candle leaves a norm of ModernBERT's attention out where the file has none, or one of another size. The first layer has
/// none, all others do.
fn whole_norms(tensors: &HashMap<String, Tensor>, hidden: usize) -> Result<()> {
    for layer in 0.. {
        let name = |part: &str| format!("model.layers.{layer}.{part}.weight");
        if !tensors.contains_key(&name("attn.Wqkv")) {
            return Ok(());
        }
        let norm = name("attn_norm");
        match tensors.get(&norm).map(Tensor::dims) {
            Some(dims) if dims != [hidden] => {
                let (expected, got) = (vec![hidden], dims.to_vec());
                return Err(ClassifierError::Shape { problem: norm, expected, got });
            }
            None if layer > 0 => return Err(ClassifierError::Missing { name: norm }),
            _ => {}
        }
    }
    Ok(())
}
