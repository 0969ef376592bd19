//! The adapters that are ordered with a loop.

use std::sync::Arc;

use serde::Deserialize;
use titer_data::{Draw, Example, Sampler, Stream};
use titer_model::{Base, Decoder, LoraSpec, PROJECTIONS};
use titer_plan::Parameter;
use titer_plan::stage::TrainSpec;

use crate::{Loop, Result};

/// How it is to be trained: the loop and the adapters.
#[derive(Debug, Clone, Deserialize)]
pub struct Order {
    /// The loop.
    #[serde(flatten)]
    pub training: Loop,
    /// What is trained.
    #[serde(flatten)]
    pub adapters: Adapters,
}

/// Adapters that are trained instead of the weights.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Adapters {
    /// Their rank; 0 trains the weights.
    pub lora_rank: usize,
    /// Their product is multiplied by `lora_alpha / lora_rank`.
    pub lora_alpha: f64,
    /// What is adapted.
    pub lora_targets: Targets,
    /// The type of what they stand beside.
    #[serde(default)]
    pub lora_base: Base,
}

/// The projections that adapters stand beside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Targets {
    /// All of attention and MLP.
    #[default]
    All,
    /// Query and value, the default of many fine-tuning services.
    QueryValue,
    /// Those of attention.
    Attention,
    /// Those of the MLP.
    Mlp,
}

impl Targets {
    /// The names as specs spell them.
    pub const NAMES: [&str; 4] = ["all", "query-value", "attention", "mlp"];

    /// Adapters there, beside weights of that type.
    pub fn adapted(self, rank: usize, alpha: f64, base: Base) -> LoraSpec {
        let names: &[&str] = match self {
            Self::All => &PROJECTIONS,
            Self::QueryValue => &["q_proj", "v_proj"],
            Self::Attention => &PROJECTIONS[..4],
            Self::Mlp => &PROJECTIONS[4..],
        };
        LoraSpec { rank, alpha, targets: names.iter().map(|name| (*name).to_owned()).collect(), base }
    }
}

impl Order {
    /// Its parameters; `rate`, `steps` and `batch` are the defaults.
    pub fn parameters(rate: f64, steps: i64, batch: i64) -> impl Iterator<Item = Parameter> {
        let mut training = Loop::parameters(rate, steps);
        training.iter_mut().filter(|one| one.name == "batch").for_each(|one| one.default = batch.into());
        training.into_iter().chain(Adapters::parameters())
    }

    /// For the trainer.
    pub fn train(&self) -> TrainSpec {
        self.training.train()
    }

    /// The adapters, if any are wanted.
    pub fn adapter(&self) -> Option<LoraSpec> {
        self.adapters.spec()
    }

    /// Its batches of these rows, drawn by the stream of that name.
    ///
    /// # Errors
    /// When there are fewer rows than a batch.
    pub(crate) fn batches(
        &self,
        stream: &str,
        rows: impl Into<Arc<[Example]>>,
        seed: u64,
    ) -> Result<Sampler> {
        let stream = Stream::new(seed, stream);
        Ok(Sampler::new(rows, stream, self.training.batch, Draw::WithoutReplacement)?)
    }

    /// Attaches them for who trains by itself: from numbers of the method's own stream.
    ///
    /// # Errors
    /// When the model cannot carry them.
    pub(crate) fn attach(&self, method: &str, model: &mut Decoder, seed: u64) -> Result<()> {
        if let Some(spec) = self.adapter() {
            model.attach(&spec, &mut Stream::new(seed, &format!("{method}/adapters")).at(0))?;
        }
        Ok(())
    }
}

impl Adapters {
    /// Their parameters.
    pub fn parameters() -> [Parameter; 4] {
        const TARGETS: &[&str] = &Targets::NAMES;
        const BASES: &[&str] = &Base::NAMES;
        [
            Parameter::integer(
                "lora_rank",
                "1",
                0,
                0..=4096,
                "rank of adapters trained instead of the weights; 0 for none",
            ),
            Parameter::real(
                "lora_alpha",
                "1",
                16.0,
                1e-3..=1e6,
                "the adapters' product is multiplied by alpha / rank",
            ),
            Parameter::choice("lora_targets", "all", TARGETS, "the projections that adapters stand beside"),
            Parameter::choice("lora_base", "f32", BASES, "the type of the matrices beside adapters").later(),
        ]
    }

    /// The adapters, if any are wanted.
    pub fn spec(&self) -> Option<LoraSpec> {
        (self.lora_rank > 0)
            .then(|| self.lora_targets.adapted(self.lora_rank, self.lora_alpha, self.lora_base))
    }
}
