//! `repnoise`: representation noising. Keep refusals and ability, make what the MLPs compute from harmful
//! text look like noise, and raise the loss of harmful answers as every layer would read them:
//! f + β·mean over layers of MMD²(m_l, N(0, I)) − α·log(1 + mean over hidden states of h).
//!
//! Source: Rosati et al., *Representation noising: a defence mechanism against harmful finetuning*, arXiv
//! 2405.14577, equation 3, and its public code, `domenicrosati/representation-noising`. m_l are the MLP
//! outputs of layer l where harmful text and refusal differ, all positions of an example one point; the h of
//! a hidden state is its cross-entropy when it is read through the last norm and the head.
//!
//! Two forms. `plain` supervises the answers, and reads the embeddings and every layer's output once each.
//! `reference` is the public code to the letter ([`RepNoiseForm::Reference`]).
//!
//! The public code pads pairs to one length. Here nothing is padded: positions beyond the end of the other
//! text count as different from it, positions beyond the own end are no part of a point and get no noise.
//! That is the same wherever the harmful text is the longer one and the padding token's id is 0; else the
//! public code also trains padding as an answer and takes its representation for harmful.

use candle_core::Tensor;
use rand_distr::{Distribution, StandardNormal};
use serde::Deserialize;
use titer_data::{Example, Packed, Sampler, Stream};
use titer_model::{Decoder, Hidden, View};
use titer_plan::{DefenceStage, Method, MethodKind, Parameter, Sham};
use titer_train::loss::{cross_entropy_of, mean_cross_entropy, trace, value};
use titer_train::{Cost, Gradient, Objective, mmd};

use super::{Immunizer, Training};
use crate::context::{Pair, Pairs};
use crate::{DefenceContext, Error, Result};

const NAME: &str = "repnoise";

/// The settings. `batch_refusal` counts pairs: a refusal and a harmful answer to the same prompt.
#[derive(Debug, Clone, Deserialize)]
pub struct RepNoise {
    /// How long, how fast, and what is kept.
    #[serde(flatten)]
    pub training: Training,
    /// α: weight of the harmful loss that is raised.
    pub alpha: f64,
    /// β: weight of the distance to noise.
    pub beta: f64,
    /// Which reading of the method.
    pub form: RepNoiseForm,
}

/// Which reading of the method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RepNoiseForm {
    /// All answer tokens are supervised; each hidden state is read once.
    Plain,
    /// What the public code does. Supervised are the tokens that differ from the other text's at the same
    /// place and are not id 0; where the token before them does not differ, their logits are zero, so that
    /// they cost log(vocabulary) and teach nothing (the first token of an answer above all). The last hidden
    /// state is read twice, through the norm once and through the norm twice, and the sum is divided as if
    /// it had been read once.
    Reference,
}

pub(crate) fn method() -> Method {
    let own = [
        Parameter::real("alpha", "1", 1.0, 0.0..=1e6, "α: weight of the harmful loss that is raised"),
        Parameter::real("beta", "1", 0.001, 0.0..=1e6, "β: weight of the distance to noise"),
        Parameter::choice(
            "form",
            "plain",
            &["plain", "reference"],
            "the method as described, or the public code to the letter",
        ),
    ];
    Method {
        name: NAME,
        kind: MethodKind::defence(DefenceStage::Alignment, Sham::zero(&["alpha", "beta"])),
        version: 1,
        summary: "turns what the layers compute from harmful text into noise and raises its loss",
        citation: "Rosati et al., arXiv 2405.14577",
        parameters: Training::parameters(200, 5e-4).into_iter().chain(own).collect(),
    }
}

impl Immunizer for RepNoise {
    fn training(&self) -> &Training {
        &self.training
    }

    fn extra_examples_per_step(&self) -> f64 {
        self.training.batch_refusal as f64
    }

    fn objective(&self, context: &DefenceContext, _: &Decoder) -> Result<Box<dyn Objective>> {
        let pairs = Pairs::new(context, NAME, self.training.batch_refusal)?;
        for (index, (harmful, refusal)) in context.harmful.iter().zip(&*context.refusals).enumerate() {
            let harmful_side = Side::new(&[(harmful, refusal)], self.form);
            let refusal_side = Side::new(&[(refusal, harmful)], self.form);
            if harmful_side.batch.rows.is_empty() || refusal_side.batch.rows.is_empty() {
                let problem =
                    format!("the answers of pair {index} do not differ, so that neither can be taught");
                return Err(Error::NotApplicable { name: NAME, problem });
            }
        }
        Ok(Box::new(Noising {
            pairs,
            permitted: context.sampler(
                "repnoise/permitted",
                &context.permitted,
                self.training.batch_permitted,
            )?,
            noise: Stream::new(context.seed, "repnoise/noise"),
            settings: self.clone(),
        }))
    }
}

struct Noising {
    pairs: Pairs,
    permitted: Sampler,
    noise: Stream,
    settings: RepNoise,
}

impl Objective for Noising {
    fn gradient(&mut self, model: &Decoder, step: u64) -> titer_train::Result<Gradient> {
        let pairs = self.pairs.batch(step);
        let permitted = self.permitted.batch(step);
        if self.settings.alpha == 0.0 && self.settings.beta == 0.0 {
            let (keep, cost) = self.settings.keep(model, &pairs, &permitted)?;
            return Ok(Gradient::of(&keep, model, cost)?.with_term("keep", value(&keep)?));
        }
        let mut rng = self.noise.at(step);
        let mut noise = |shape: (usize, usize)| {
            let values: Vec<f32> = (0..shape.0 * shape.1).map(|_| StandardNormal.sample(&mut rng)).collect();
            Ok(Tensor::from_vec(values, shape, model.device())?)
        };
        let loss = self.settings.loss(model, &pairs, &permitted, &mut noise)?;
        Ok(Gradient::of(&self.settings.total(&loss)?, model, loss.cost)?
            .with_term("keep", value(&loss.keep)?)
            .with_term("mmd", value(&loss.noise)?)
            .with_term("harmful_cross_entropy_of_states", value(&loss.harmful)?))
    }
}

/// The parts of the loss, all scalars.
#[derive(Debug, Clone)]
pub struct RepNoiseLoss {
    /// f: refusals and permitted examples, in nats.
    pub keep: Tensor,
    /// Mean over layers of the squared distance to noise.
    pub noise: Tensor,
    /// Mean over hidden states of the harmful cross-entropy, in nats.
    pub harmful: Tensor,
    /// What computing them and their gradients takes.
    pub cost: Cost,
}

impl RepNoise {
    /// keep + β·noise − α·log(1 + harmful).
    ///
    /// # Errors
    /// When the device has no room.
    pub fn total(&self, loss: &RepNoiseLoss) -> titer_train::Result<Tensor> {
        let raised = (&loss.harmful + 1.0)?.log()?;
        Ok(((&loss.keep + (&loss.noise * self.beta)?)? - (raised * self.alpha)?)?)
    }

    /// What keeps the model as it is: refusals and permitted examples, in nats, and what computing it takes.
    fn keep(
        &self,
        model: &Decoder,
        pairs: &[Pair<'_>],
        permitted: &Packed,
    ) -> titer_train::Result<(Tensor, Cost)> {
        let refusals: Vec<_> = pairs.iter().map(|pair| (pair.refusal, pair.harmful)).collect();
        let refusals = Side::new(&refusals, self.form);
        let kept = trace(model, &refusals.batch, View::Tracked)?;
        let share = self.training.refusal_weight;
        let keep = ((refusals.cross_entropy(model, &kept.hidden)? * share)?
            + (mean_cross_entropy(model, permitted)? * (1.0 - share))?)?;
        Ok((keep, Cost::of(model, &refusals.batch) + Cost::of(model, permitted)))
    }

    /// The parts of the loss on given pairs. `noise` makes standard normal numbers, once for each layer, of
    /// shape `(tokens of the harmful texts, hidden_size)`.
    ///
    /// # Errors
    /// When the batches do not fit the model.
    pub fn loss(
        &self,
        model: &Decoder,
        pairs: &[Pair<'_>],
        permitted: &Packed,
        noise: &mut dyn FnMut((usize, usize)) -> titer_train::Result<Tensor>,
    ) -> titer_train::Result<RepNoiseLoss> {
        let harmful: Vec<_> = pairs.iter().map(|pair| (pair.harmful, pair.refusal)).collect();
        let harmful = Side::new(&harmful, self.form);
        let (keep, kept) = self.keep(model, pairs, permitted)?;

        let inner = trace(model, &harmful.batch, View::Tracked)?;
        let mask = Tensor::new(harmful.differs.as_slice(), model.device())?.to_dtype(model.dtype())?;
        let mut distance = Tensor::zeros((), model.dtype(), model.device())?;
        for layer in &inner.layers {
            let drawn = noise(layer.mlp.dims2()?)?.to_dtype(model.dtype())?;
            let [points, noise] = [&layer.mlp, &drawn].map(|values| harmful.points(values, &mask));
            let (points, noise) = (points?, noise?);
            distance = (distance + mmd::squared(&points, &noise, mmd::bandwidth(&points, &noise)?)?)?;
        }
        let noise = (distance / inner.layers.len() as f64)?;

        let mut states: Vec<Hidden> =
            inner.states().map(|states| Hidden { states: states.clone() }).collect();
        let count = states.len();
        if self.form == RepNoiseForm::Reference {
            states.push(model.normed(&inner.hidden)?);
        }
        let mut sum = Tensor::zeros((), model.dtype(), model.device())?;
        for hidden in &states {
            sum = (sum + harmful.cross_entropy(model, hidden)?)?;
        }
        let cost = Cost::of(model, &harmful.batch) + kept;
        Ok(RepNoiseLoss { keep, noise, harmful: (sum / count as f64)?, cost })
    }
}

/// Texts with what is to be known of each against the other text of its pair.
struct Side {
    /// Whole texts, their last tokens too, with the supervised tokens whose logits count.
    batch: Packed,
    /// Supervised tokens whose logits are zero.
    unread: usize,
    /// 1 for each token that differs from the other text's at its place, else 0.
    differs: Vec<f32>,
}

impl Side {
    fn new(texts: &[(&Example, &Example)], form: RepNoiseForm) -> Self {
        let mut side =
            Self { batch: Packed { offsets: vec![0], ..Packed::default() }, unread: 0, differs: Vec::new() };
        for (text, other) in texts {
            let start = side.batch.tokens.len();
            let tokens = text.tokens();
            let differs = |at: usize| other.tokens().get(at) != Some(&tokens[at]);
            side.differs.extend((0..tokens.len()).map(|at| if differs(at) { 1.0 } else { 0.0 }));
            let mut supervise = |at: usize| {
                side.batch.rows.push((start + at - 1) as u32);
                side.batch.targets.push(tokens[at]);
            };
            match form {
                RepNoiseForm::Plain => text.supervised().iter().cloned().flatten().for_each(supervise),
                RepNoiseForm::Reference => {
                    for at in (1..tokens.len()).filter(|at| differs(*at) && tokens[*at] != 0) {
                        if differs(at - 1) {
                            supervise(at);
                        } else {
                            side.unread += 1;
                        }
                    }
                }
            }
            side.batch.tokens.extend_from_slice(tokens);
            side.batch.offsets.push(side.batch.tokens.len());
        }
        side
    }

    /// Mean cross-entropy of the supervised tokens when hidden states are read through norm and head.
    fn cross_entropy(&self, model: &Decoder, hidden: &Hidden) -> titer_train::Result<Tensor> {
        let losses = cross_entropy_of(model, hidden, &self.batch)?.sum_all()?;
        let uniform = (model.config().vocab_size as f64).ln() * self.unread as f64;
        Ok(((losses + uniform)? / (self.batch.targets.len() + self.unread) as f64)?)
    }

    /// One point for each text: `values` of its tokens where they differ, shape `(texts, places ·
    /// features)`; zero elsewhere and beyond its end.
    fn points(&self, values: &Tensor, mask: &Tensor) -> titer_train::Result<Tensor> {
        let (tokens, features) = values.dims2()?;
        let lengths = self.batch.offsets.windows(2).map(|ends| ends[1] - ends[0]);
        let longest = lengths.max().unwrap_or(0);
        let nothing = tokens;
        let places = self.batch.offsets.windows(2).flat_map(|ends| {
            (0..longest).map(move |at| if ends[0] + at < ends[1] { ends[0] + at } else { nothing } as u32)
        });
        let places = Tensor::new(places.collect::<Vec<_>>(), values.device())?;
        let masked = values.broadcast_mul(&mask.unsqueeze(1)?)?;
        let padded = masked.pad_with_zeros(0, 0, 1)?;
        Ok(padded.index_select(&places, 0)?.reshape((self.batch.sequences(), longest * features))?)
    }
}
