//! The stages of a plan as resolved, typed data: everything that determines a stage's result.
//!
//! A stage is a pure function of its spec and its inputs. Its hash covers exactly these, so whatever
//! changes a result must be a field here.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::method::MethodSpec;
use crate::vocabulary::Probe;

/// The name of an artifact: BLAKE3 over the canonical JSON of kind, version, spec and input hashes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StageHash(pub String);

impl StageHash {
    /// The first twelve hexadecimal digits, for people.
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }
}

impl fmt::Display for StageHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The world that a stage's data come from, with its whole definition, so that the hash covers it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorldSpec {
    /// The parsed world file (words, templates, sizes, splits).
    pub definition: Value,
    /// Makes the knowledge tables and the splits.
    pub seed: u64,
}

/// The policy that a stage's data come from, with its whole definition, so that the hash covers it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicySpec {
    /// The parsed policy file (subjects, templates, refusals, splits) and the task files beside it.
    pub definition: Value,
    /// Makes the splits and chooses the wording of refusals.
    pub seed: u64,
    /// New tokens of an answer at most, whoever gives it.
    pub answer_tokens: usize,
}

/// The data set that a stage's data come from. Its rows are not here: the source stages remember what they
/// were.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatasetSpec {
    /// The parsed definition (references, columns, domains, counts, judge).
    pub definition: Value,
    /// Deals the rows out.
    pub seed: u64,
    /// New tokens of an answer at most.
    pub answer_tokens: usize,
}

/// What a data set is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// Harmful conversations.
    Harmful,
    /// Harmless conversations.
    Harmless,
    /// The harmless task.
    Task,
    /// The classifier that judges.
    Judge,
}

impl Source {
    /// All, in the order of a stage's inputs.
    pub const ALL: [Self; 4] = [Self::Harmful, Self::Harmless, Self::Task, Self::Judge];

    /// The key in the definition, and the name in labels.
    pub fn name(self) -> &'static str {
        match self {
            Self::Harmful => "harmful",
            Self::Harmless => "harmless",
            Self::Task => "task",
            Self::Judge => "judge",
        }
    }
}

/// Where a stage's data come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "from", rename_all = "kebab-case")]
pub enum DataSpec {
    /// An embedded world, which knows every answer.
    World(WorldSpec),
    /// A policy over everyday subjects, answered by the base model itself: stages that need answers have
    /// the two distil stages as their last inputs.
    Policy(PolicySpec),
    /// A data set of real conversations: stages have its [`Source::ALL`] as their last inputs.
    Dataset(DatasetSpec),
}

/// Which of a policy's subjects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// Those that it forbids.
    Forbidden,
    /// Those that it permits.
    Permitted,
}

impl Side {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Forbidden, Self::Permitted];

    /// The name used in labels.
    pub fn name(self) -> &'static str {
        match self {
            Self::Forbidden => "forbidden",
            Self::Permitted => "permitted",
        }
    }
}

/// The shape of a decoder trained from nothing.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecoderSpec {
    /// Width of the residual stream.
    pub hidden: usize,
    /// Number of layers.
    pub layers: usize,
    /// Attention heads.
    pub heads: usize,
    /// Key and value heads; divides `heads`.
    pub kv_heads: usize,
    /// Width of the SwiGLU.
    pub intermediate: usize,
    /// Base of the rotary embedding.
    pub rope_theta: f64,
    /// Added to the mean square in RMSNorm.
    pub norm_epsilon: f64,
    /// Standard deviation of the initial weights.
    pub init_std: f64,
    /// Experts in place of each layer's SwiGLU, each of its width; 0 for none.
    // Absent where there are none, so that stages of dense models keep their hashes.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub experts: usize,
    /// Experts that each token passes through.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub experts_per_token: usize,
    /// Weight of the load-balancing loss in pre-training.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub balance: f64,
}

fn is_zero<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// How the learning rate moves over training.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// Stays.
    Constant,
    /// Falls to zero along half a cosine.
    Cosine,
    /// Falls to zero along a line.
    Linear,
}

/// The settings of one run of the training loop.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainSpec {
    /// Optimiser steps.
    pub steps: u64,
    /// Examples per step.
    pub batch: usize,
    /// Peak learning rate.
    pub rate: f64,
    /// How the rate moves after warm-up.
    pub schedule: Schedule,
    /// Steps over which the rate rises linearly from zero.
    pub warmup_steps: u64,
    /// AdamW's decay of the first moment.
    pub beta1: f64,
    /// AdamW's decay of the second moment.
    pub beta2: f64,
    /// AdamW's decoupled weight decay.
    pub weight_decay: f64,
    /// Largest global gradient norm; none for no clipping.
    pub clip: Option<f64>,
}

/// What a stage does, fully resolved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum StageSpec {
    /// Trains the base model on the whole world. No input.
    Pretrain {
        /// The world.
        world: WorldSpec,
        /// The model's shape.
        decoder: DecoderSpec,
        /// The loop's settings.
        train: TrainSpec,
        /// Of initial weights and sampling.
        seed: u64,
    },
    /// Takes in a model that was trained elsewhere: finds it, checks that it loads, and remembers what it
    /// was, so that no later stage measures another one. No input.
    Checkpoint {
        /// As in `titer model info`: a known name, a directory, a `.gguf` file, or `hf:owner/name@revision`.
        reference: String,
    },
    /// Takes in one of the things that a data set is made of: finds it and remembers what it was. No input.
    Source {
        /// What it is.
        source: Source,
        /// Where it is, as in `titer model info`, or `hf:datasets/owner/name@revision:path`.
        reference: String,
    },
    /// Has the base model answer a policy's prompts. Input: the base model.
    Distil {
        /// Where the prompts come from.
        data: DataSpec,
        /// Which of them.
        side: Side,
    },
    /// Teaches the base model to refuse forbidden prompts. Input: the base model.
    Align {
        /// Where the data come from.
        data: DataSpec,
        /// The loop's settings.
        train: TrainSpec,
        /// Forbidden items answered with the refusal.
        refusals: usize,
        /// Permitted items answered plainly.
        permitted: usize,
        /// Of the choice of items and sampling.
        seed: u64,
    },
    /// Applies an alignment-stage defence. Input: the aligned model.
    Immunize {
        /// Where the data come from.
        data: DataSpec,
        /// The defence, every parameter stated.
        defence: MethodSpec,
        /// The forbidden domains that the defence may see.
        domains: Vec<String>,
        /// Of the defence's sampling.
        seed: u64,
    },
    /// Measures a model as it is. Input: the model.
    Measure {
        /// Where the data come from.
        data: DataSpec,
        /// What is asked of it.
        probes: Vec<ProbeSpec>,
    },
    /// Attacks a model and probes it as the budget is spent. Input: the victim.
    Attack {
        /// Where the data come from.
        data: DataSpec,
        /// The attack, every parameter stated.
        attack: MethodSpec,
        /// The forbidden domains of the attacker's data.
        domains: Vec<String>,
        /// What is asked at each point of the cadence.
        probes: Vec<ProbeSpec>,
        /// Optimiser steps after which the model is probed; ascending.
        cadence: Vec<u64>,
        /// Early stop: none for the whole budget.
        stop: Option<StopRule>,
        /// Of the attacker's choice of items and sampling.
        seed: u64,
        /// The defence that the provider trains by, where a provider trains.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        guard: Option<GuardSpec>,
        /// Whether the tuned model is kept, to be repaired.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        keep: bool,
    },
    /// Fine-tunes a model on a harmless task and probes it. Input: the model.
    Tune {
        /// Where the data come from.
        data: DataSpec,
        /// The loop's settings.
        train: TrainSpec,
        /// Distinct training examples.
        examples: usize,
        /// What is asked at each point of the cadence.
        probes: Vec<ProbeSpec>,
        /// Optimiser steps after which the model is probed; ascending.
        cadence: Vec<u64>,
        /// Of the choice of items and sampling.
        seed: u64,
        /// The defence that the provider trains by, where a provider trains.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        guard: Option<GuardSpec>,
        /// Whether the tuned model is kept, to be repaired.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        keep: bool,
    },
    /// Applies a post-fine-tuning-stage defence to a tuned model and probes the result. Inputs: the tuned
    /// model, the model that was tuned, and the model before alignment where `base` says so.
    Repair {
        /// Where the data come from.
        data: DataSpec,
        /// The defence, every parameter stated.
        defence: MethodSpec,
        /// The forbidden domains that the defence may see.
        domains: Vec<String>,
        /// What is asked of the repaired model.
        probes: Vec<ProbeSpec>,
        /// Whether what was asked of the model as it was tuned is this stage's too: its way to learn. If
        /// not, nobody ever gets that model.
        way: bool,
        /// Whether there is a model before alignment.
        base: bool,
        /// Of the defence's sampling.
        seed: u64,
    },
}

/// The defence that a provider trains a user's data by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GuardSpec {
    /// The defence, every parameter stated.
    pub defence: MethodSpec,
    /// The forbidden domains that it may see.
    pub domains: Vec<String>,
    /// Of its sampling.
    pub seed: u64,
}

impl StageSpec {
    /// The stage's kind, as in its JSON.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Pretrain { .. } => "pretrain",
            Self::Checkpoint { .. } => "checkpoint",
            Self::Source { .. } => "source",
            Self::Distil { .. } => "distil",
            Self::Align { .. } => "align",
            Self::Immunize { .. } => "immunize",
            Self::Measure { .. } => "measure",
            Self::Attack { .. } => "attack",
            Self::Tune { .. } => "tune",
            Self::Repair { .. } => "repair",
        }
    }

    /// How many of the stage's inputs are models; what follows them holds answers or data.
    pub fn models(&self) -> usize {
        match self {
            Self::Pretrain { .. } | Self::Checkpoint { .. } | Self::Source { .. } => 0,
            Self::Repair { base, .. } => 2 + usize::from(*base),
            _ => 1,
        }
    }

    /// Raised when the code of a kind changes its results, so that old artifacts are not reused.
    pub fn version(&self) -> u32 {
        1
    }
}

/// A set of items that a model is asked, drawn from a probe split.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProbeSpec {
    /// Which kind of items.
    pub probe: Probe,
    /// The domains they come from.
    pub domains: Vec<String>,
    /// How many, chosen by the data's seed: the same for every model, so that differences are paired.
    pub items: usize,
}

/// When an attack is broken off early: it has come far on every harmful probe, and each was broken while
/// ability was still there (if ability is asked at all), so that nothing more would be learnt.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StopRule {
    /// Mean harmfulness that each harmful probe must exceed now.
    pub harmfulness_above: f64,
    /// φ: mean harmfulness at which a probe counts as broken.
    pub broken_above: f64,
    /// The share of its first ability that the model must have kept at some checkpoint where the probe was
    /// broken, so that the utility-bounded break is known as well.
    pub ability_at_least: f64,
}
