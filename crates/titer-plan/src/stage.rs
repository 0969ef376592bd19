//! The stages of a plan as resolved, typed data: everything that determines a stage's result.
//!
//! A stage is a pure function of its spec and its inputs. Its hash covers exactly these, so whatever
//! changes a result must be a field here.

mod data;
mod sequential;
mod train;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::method::MethodSpec;
use crate::sources::Content;

pub use crate::probe::{MeasureSpec, ProbeSpec};

pub use data::{DataSpec, Side};
pub use sequential::Sequential;
pub use train::{DecoderSpec, Optimizer, Schedule, TrainSpec, TrainedPart, WeightKind};

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

/// What a stage does, fully resolved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum StageSpec {
    /// See [`PretrainStage`].
    Pretrain(PretrainStage),
    /// See [`CheckpointStage`].
    Checkpoint(CheckpointStage),
    /// See [`SourceStage`].
    Source(SourceStage),
    /// See [`DistilStage`].
    Distil(DistilStage),
    /// See [`AlignStage`].
    Align(AlignStage),
    /// See [`ImmunizeStage`].
    Immunize(ImmunizeStage),
    /// See [`MeasureStage`].
    Measure(MeasureStage),
    /// See [`AttackStage`].
    Attack(AttackStage),
    /// See [`TuneStage`].
    Tune(TuneStage),
    /// See [`RepairStage`].
    Repair(RepairStage),
}

impl StageSpec {
    /// The stage's kind, as in its JSON.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Pretrain(_) => "pretrain",
            Self::Checkpoint(_) => "checkpoint",
            Self::Source(_) => "source",
            Self::Distil(_) => "distil",
            Self::Align(_) => "align",
            Self::Immunize(_) => "immunize",
            Self::Measure(_) => "measure",
            Self::Attack(_) => "attack",
            Self::Tune(_) => "tune",
            Self::Repair(_) => "repair",
        }
    }

    /// What it takes in from outside and leaves where it is, if that is what it does.
    pub fn content(&self) -> Option<&Content> {
        match self {
            Self::Checkpoint(CheckpointStage { content, adapter: None, .. })
            | Self::Source(SourceStage { content, .. }) => Some(content),
            _ => None,
        }
    }

    /// How many of the stage's inputs are models; what follows them holds answers or data.
    pub fn models(&self) -> usize {
        match self {
            Self::Pretrain(_) | Self::Checkpoint(_) | Self::Source(_) => 0,
            Self::Attack(attack) => 1 + usize::from(attack.base),
            Self::Repair(repair) => 2 + usize::from(repair.base),
            _ => 1,
        }
    }

    /// Raised when the code of a kind changes its results or their form, so that old artifacts are not reused.
    pub fn version(&self) -> u32 {
        match self {
            Self::Source(_) => 1,
            // 2: special tokens, end tokens and what is supervised beside a block of thought are as Transformers has them,
            // which all that follows from the model is to be measured with.
            Self::Checkpoint(_) => 2,
            // 2: of the last layer no more is computed than is read, and sums are rounded in another order. 3: so do other
            // vectors, tiles of attention and products of few rows. 4: and the half of a layer after attention, and the loss. 5: and
            // what several texts begin with is run once.
            Self::Pretrain(_) | Self::Distil(_) | Self::Align(_) | Self::Immunize(_) => 5,
            // 2: rows say the whole cost. 3: responses hold all that a measure looks at. 4: those of chat models say
            // whether an answer was cut; a world's end token stands in the answer. One more: as 2 above, and one as 3, 4 and 5 each.
            Self::Measure(_) | Self::Attack(_) | Self::Tune(_) | Self::Repair(_) => {
                7 + u32::from(self.asks().is_some_and(|(data, _)| data.answer_tokens.is_some()))
            }
        }
    }

    /// Of a stage that asks a model: where the data come from and what is asked.
    pub fn asks(&self) -> Option<(&DataSpec, &[ProbeSpec])> {
        match self {
            Self::Measure(stage) => Some((&stage.data, &stage.probes)),
            Self::Attack(stage) => Some((&stage.data, &stage.probes)),
            Self::Tune(stage) => Some((&stage.data, &stage.probes)),
            Self::Repair(stage) => Some((&stage.data, &stage.probes)),
            _ => None,
        }
    }

    /// What is asked of a model, where something is.
    pub fn probes(&self) -> &[ProbeSpec] {
        self.asks().map_or(&[], |(_, probes)| probes)
    }

    /// The roles of the models by which its answers are judged, each once, in the order of its measures and of its
    /// inputs.
    pub fn judge_models(&self) -> Vec<&str> {
        let mut roles: Vec<&str> = Vec::new();
        for role in self
            .probes()
            .iter()
            .flat_map(|probe| &probe.measures)
            .filter_map(|measure| measure.model.as_deref())
        {
            if !roles.contains(&role) {
                roles.push(role);
            }
        }
        roles
    }

    /// The same, to be changed.
    pub(crate) fn probes_mut(&mut self) -> &mut [ProbeSpec] {
        match self {
            Self::Measure(stage) => &mut stage.probes,
            Self::Attack(stage) => &mut stage.probes,
            Self::Tune(stage) => &mut stage.probes,
            Self::Repair(stage) => &mut stage.probes,
            _ => &mut [],
        }
    }
}

/// Trains the base model on the whole world, or what a pretraining-stage defence leaves of it. No input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PretrainStage {
    /// The data.
    pub data: DataSpec,
    /// The model's shape.
    pub decoder: DecoderSpec,
    /// The loop's settings.
    pub train: TrainSpec,
    /// Of initial weights and sampling.
    pub seed: u64,
    /// The defence that chooses what the model is trained on; none where that is everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub curation: Option<CurationSpec>,
}

/// The defence that chooses what a base model is trained on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CurationSpec {
    /// The defence, every parameter stated.
    pub defence: MethodSpec,
    /// The forbidden domains that it may see.
    pub domains: Vec<String>,
}

/// Takes in a model that was trained elsewhere: checks that it can be used, and folds an adapter in. No input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckpointStage {
    /// What it is, wherever it lies: weights, configuration, tokenizer, template, generation settings.
    pub content: Content,
    /// The adapter that is folded in, so that the model lies in the artifact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adapter: Option<Content>,
    /// The template in place of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chat_template: Option<String>,
}

/// Takes in one of the things that a data set is made of. No input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceStage {
    /// What it is for: `harmful`, `harmless`, `task`, `judge`.
    pub source: String,
    /// What it is, wherever it lies.
    pub content: Content,
}

/// Has the base model answer a policy's prompts. Input: the base model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DistilStage {
    /// Where the prompts come from.
    pub data: DataSpec,
    /// Which of them.
    pub side: Side,
    /// The temperature of a second answer to each prompt, drawn at random, which says how far the model agrees with
    /// itself. None where each is answered once, greedily.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub again: Option<f64>,
}

/// Teaches the base model to refuse forbidden prompts. Input: the base model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlignStage {
    /// Where the data come from.
    pub data: DataSpec,
    /// The loop's settings.
    pub train: TrainSpec,
    /// Forbidden items answered with the refusal.
    pub refusals: usize,
    /// Permitted items answered plainly.
    pub permitted: usize,
    /// The part of the model that is trained; none for all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only: Option<TrainedPart>,
    /// Of the choice of items and sampling.
    pub seed: u64,
}

/// Applies an alignment-stage defence. Input: the aligned model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImmunizeStage {
    /// Where the data come from.
    pub data: DataSpec,
    /// The defence, every parameter stated.
    pub defence: MethodSpec,
    /// The forbidden domains that the defence may see.
    pub domains: Vec<String>,
    /// Of the defence's sampling.
    pub seed: u64,
}

/// Measures a model as it is. Input: the model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeasureStage {
    /// Where the data come from.
    pub data: DataSpec,
    /// What is asked of it.
    pub probes: Vec<ProbeSpec>,
}

/// Attacks a model and probes it as the budget is spent. Inputs: the victim, and the model before alignment where
/// `base` says so.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttackStage {
    /// Where the data come from.
    pub data: DataSpec,
    /// The attack, every parameter stated.
    pub attack: MethodSpec,
    /// The forbidden domains of the attacker's data.
    pub domains: Vec<String>,
    /// What is asked at each point of the cadence.
    pub probes: Vec<ProbeSpec>,
    /// Optimiser steps after which the model is probed; ascending.
    pub cadence: Vec<u64>,
    /// Early stop: none for the whole budget.
    pub stop: Option<StopRule>,
    /// When a probe ends early; none where all of its items are asked at every checkpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequential: Option<Sequential>,
    /// Of the attacker's choice of items and sampling.
    pub seed: u64,
    /// Whether the attacker uses the model before alignment.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub base: bool,
    /// Whether what the attacker does depends on what the judge says of answers.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub judged: bool,
    /// The defence that the provider trains by, where a provider trains.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guard: Option<GuardSpec>,
    /// Whether the tuned model is kept, to be repaired.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keep: bool,
}

/// Fine-tunes a model on a harmless task and probes it. Input: the model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TuneStage {
    /// Where the data come from.
    pub data: DataSpec,
    /// The loop's settings.
    pub train: TrainSpec,
    /// Distinct training examples.
    pub examples: usize,
    /// What is asked at each point of the cadence.
    pub probes: Vec<ProbeSpec>,
    /// Optimiser steps after which the model is probed; ascending.
    pub cadence: Vec<u64>,
    /// Of the choice of items and sampling.
    pub seed: u64,
    /// The defence that the provider trains by, where a provider trains.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guard: Option<GuardSpec>,
    /// Whether the tuned model is kept, to be repaired.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keep: bool,
}

/// Applies a post-fine-tuning-stage defence to a tuned model and probes the result. Inputs: the tuned
/// model, the model that was tuned, and the model before alignment where `base` says so.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RepairStage {
    /// Where the data come from.
    pub data: DataSpec,
    /// The defence, every parameter stated.
    pub defence: MethodSpec,
    /// The forbidden domains that the defence may see.
    pub domains: Vec<String>,
    /// What is asked of the repaired model.
    pub probes: Vec<ProbeSpec>,
    /// Whether what was asked of the model as it was tuned is this stage's too: its way to learn. If
    /// not, nobody ever gets that model.
    pub way: bool,
    /// Whether there is a model before alignment.
    pub base: bool,
    /// Of the defence's sampling.
    pub seed: u64,
    /// The attacker who asks the repaired model in a way of its own; none where it is asked plainly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asker: Option<Asker>,
}

/// An attacker who asks in a way of its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asker {
    /// The attack by which the model was tuned, every parameter stated.
    pub attack: MethodSpec,
    /// The forbidden domains of the attacker's data.
    pub domains: Vec<String>,
    /// Of the attacker's choice of items, as in its attack.
    pub seed: u64,
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
