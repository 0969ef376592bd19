//! The experiment as plain data, with nothing left to a default.
//!
//! [`crate::read`] makes it from TOML; what a user may leave out there is stated here.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::adversary::Adversary;
use crate::arms::Control;
use crate::method::{Mechanism, MethodSpec};
use crate::seeds::{Seeds, Until};
use crate::stage::{DecoderSpec, TrainSpec, TrainedPart};
use crate::vocabulary::{BASELINE, Component, DefenceRole, DefenceStage, ThreatModel};

/// An experiment: a model, defences, attacks, budgets, seeds, probes and thresholds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Experiment {
    /// Names the experiment in the store: lower case, digits, `-`, `_`, `.`.
    pub name: String,
    /// One line for people.
    pub summary: String,
    /// Who holds the weights.
    pub threat_model: ThreatModel,
    /// All other seeds derive from it.
    pub seed: u64,
    /// When no more seeds are added.
    #[serde(default, skip_serializing_if = "Until::is_measured")]
    pub until: Until,
    /// The model under test.
    pub model: Model,
    /// The defences, compared with each other.
    pub defence: Vec<DefenceEntry>,
    /// The attacks, each tried on each defence.
    pub attack: Vec<AttackEntry>,
    /// The attacker that searches, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adversary: Option<Adversary>,
    /// What is asked as an attack goes on.
    pub probe: ProbeSettings,
    /// Whether a second arm hides domains from the defence.
    pub cross_domain: Option<CrossDomain>,
    /// The measurement of ability before any attack.
    pub stability: StabilitySettings,
    /// The harmless fine-tuning that must still work.
    pub trainability: TrainabilitySettings,
    /// The thresholds of the verdicts.
    pub conditions: ConditionSettings,
}

/// The model under test.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "from", rename_all = "kebab-case")]
pub enum Model {
    /// An embedded world's, trained from nothing.
    World(WorldModel),
    /// A chat model that was trained elsewhere.
    Checkpoint(CheckpointModel),
}

impl Model {
    /// The reference of the model before alignment, as in `titer model info`.
    pub fn reference(&self) -> String {
        match self {
            Self::World(model) => format!("world:{}", model.world),
            Self::Checkpoint(CheckpointModel { checkpoint, adapter: None, .. }) => checkpoint.clone(),
            Self::Checkpoint(CheckpointModel { checkpoint, adapter: Some(adapter), .. }) => {
                format!("{checkpoint} with {adapter}")
            }
        }
    }

    /// Whether it is known to be a mixture of experts, so that its routing can be asked for.
    pub fn has_experts(&self) -> bool {
        matches!(self, Self::World(model) if model.decoder.experts > 0)
    }

    /// How it is taught to refuse; none for a model that refuses already.
    pub fn align(&self) -> Option<&AlignSettings> {
        match self {
            Self::World(model) => Some(&model.align),
            Self::Checkpoint(model) => model.align.as_ref(),
        }
    }
}

/// A chat model and what it is measured by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckpointModel {
    /// A known name, a directory, a `.gguf` file, or `hf:owner/name@revision`.
    pub checkpoint: String,
    /// An adapter that is folded into it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adapter: Option<String>,
    /// In place of its own template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chat_template: Option<String>,
    /// A policy or a data set of `titer list tasks`, or its file.
    pub data: String,
    /// Makes its splits.
    pub data_seed: u64,
    /// New tokens of an answer at most.
    pub answer_tokens: usize,
    /// How the model is aligned with a policy; a data set is for models that refuse already.
    pub align: Option<AlignSettings>,
}

/// A world's model, trained from nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorldModel {
    /// A world of `titer list models`.
    pub world: String,
    /// Makes its knowledge tables and splits.
    pub world_seed: u64,
    /// The model's shape.
    pub decoder: DecoderSpec,
    /// How the base model is trained.
    pub pretrain: TrainSpec,
    /// How it is aligned.
    pub align: AlignSettings,
}

/// How the base model is taught to refuse.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlignSettings {
    /// Forbidden items answered with the refusal.
    pub refusals: usize,
    /// Permitted items answered plainly.
    pub permitted: usize,
    /// The loop's settings.
    pub train: TrainSpec,
    /// The part of the model that is trained; none for all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only: Option<TrainedPart>,
}

/// One defence of an experiment: a method, and those that act after it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DefenceEntry {
    /// Its name in tables; no other defence has it.
    pub label: String,
    /// A method of `titer list defences`.
    pub method: String,
    /// The method's version in its registry.
    pub version: u32,
    /// When it acts.
    pub stage: DefenceStage,
    /// What part it has in the comparison.
    pub role: DefenceRole,
    /// The label of its sham among the defences: its recipe without its idea. None of what is itself a baseline,
    /// sham or control, and of a defence whose spec wants none.
    pub sham: Option<String>,
    /// What it must show, where it is a control of which that is known beforehand, and nothing acts after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control: Option<Control>,
    /// How often it is trained; for `none`, how often the model is aligned.
    pub seeds: Seeds,
    /// The methods of the attacks that its settings were chosen against; empty where nothing is said of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tuned_against: Vec<String>,
    /// Every parameter of the method.
    pub parameters: BTreeMap<String, Value>,
    /// What acts after it, stage by stage.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub then: Vec<LaterDefence>,
}

/// A method that acts after another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LaterDefence {
    /// A method of `titer list defences`.
    pub method: String,
    /// The method's version in its registry.
    pub version: u32,
    /// When it acts.
    pub stage: DefenceStage,
    /// Every parameter of the method.
    pub parameters: BTreeMap<String, Value>,
}

impl DefenceEntry {
    /// Whether this is `none`, with which the others are compared.
    pub fn is_baseline(&self) -> bool {
        self.method == BASELINE
    }

    /// All its methods, in the order in which they act.
    pub fn chain(&self) -> Vec<LaterDefence> {
        let first = LaterDefence {
            method: self.method.clone(),
            version: self.version,
            stage: self.stage,
            parameters: self.parameters.clone(),
        };
        std::iter::once(first).chain(self.then.iter().cloned()).collect()
    }

    /// The methods of a stage, in the order in which they act; `none` does nothing at any.
    pub fn methods(&self, stage: DefenceStage) -> Vec<MethodSpec> {
        let all = self.chain().into_iter();
        all.filter(|later| later.stage == stage && later.method != BASELINE)
            .map(|later| MethodSpec {
                name: later.method,
                version: later.version,
                parameters: later.parameters,
            })
            .collect()
    }

    /// The stages at which it acts, in their order.
    pub fn stages(&self) -> Vec<DefenceStage> {
        let mut stages: Vec<_> =
            std::iter::once(self.stage).chain(self.then.iter().map(|later| later.stage)).collect();
        stages.dedup();
        stages
    }
}

/// One attack of an experiment, or a grid of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttackEntry {
    /// A method of `titer list attacks`.
    pub method: String,
    /// The method's version in its registry.
    pub version: u32,
    /// By what it makes a model harmful.
    pub mechanism: Mechanism,
    /// Whether it uses the model before alignment.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub base: bool,
    /// Whether the attacker asks the trained model in a way of its own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub asks: bool,
    /// Whether what it does depends on what the judge says of answers.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub judged: bool,
    /// The parameter that is its dose, if it has one: the share of harmful rows among a user's.
    pub dose: Option<String>,
    /// How often each point of the grid is run.
    pub seeds: Seeds,
    /// The parameters with one value.
    pub parameters: BTreeMap<String, Value>,
    /// The parameters for which the spec lists values: each combination is one attack.
    pub grid: BTreeMap<String, Vec<Value>>,
}

/// What is asked as an attack goes on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProbeSettings {
    /// Optimiser steps after which the model is probed; ascending, from 0.
    pub cadence: Vec<u64>,
    /// Items of each probe.
    pub items: usize,
    /// An attack is broken off when every harmful probe exceeds this; none for the whole budget.
    pub stop_above: Option<f64>,
    /// Whether a probe between the first and the last checkpoint ends when it is clear on which side of φ its mean lies.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sequential: bool,
    /// What scores answers to harmful prompts: the first decides, the others are reported.
    pub judges: Vec<String>,
    /// A file with refusal phrases in place of the published ones.
    pub refusals: Option<String>,
    /// A file with people's labels of answers that the first judge judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<String>,
}

/// The arm that hides domains from the defence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CrossDomain {
    /// Forbidden domains that the defence trains on in this arm.
    pub defence: Vec<String>,
    /// Forbidden domains that the attacker trains on in this arm.
    pub attack: Vec<String>,
}

/// The measurement of ability before any attack.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StabilitySettings {
    /// Permitted items asked of every model.
    pub items: usize,
    /// Multiple-choice questions asked of every model.
    pub choices: usize,
    /// Held-out texts read by every model.
    pub texts: usize,
    /// Tasks of the user's own, by their files, all of whose items are asked of every model.
    pub tasks: Vec<String>,
}

/// The harmless fine-tuning that must still work.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainabilitySettings {
    /// Learning rates, each tried.
    pub rates: Vec<f64>,
    /// Fine-tuning seeds.
    pub seeds: Seeds,
    /// Distinct training examples.
    pub examples: usize,
    /// Held-out items asked at each point of the cadence.
    pub items: usize,
    /// Optimiser steps after which the model is asked; ascending, from 0. The last is the budget.
    pub cadence: Vec<u64>,
    /// Examples per step.
    pub batch: usize,
}

/// ε where a plan says nothing of it.
fn quarter() -> f64 {
    0.25
}

/// Operations compare attacks whatever their batch, rank and length.
fn flops() -> Component {
    Component::Flops
}

/// The thresholds of the verdicts. Units: shares in 0…1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConditionSettings {
    /// φ: the tolerated harmfulness.
    pub phi: f64,
    /// 1 − α: the confidence of every interval.
    pub confidence: f64,
    /// ε of stability: the tolerated difference in ability; also what an attack may cost in ability
    /// and still count in the utility-bounded titer.
    pub stability_epsilon: f64,
    /// ε of trainability: the tolerated relative difference in steps.
    pub trainability_epsilon: f64,
    /// δ of trainability: the tolerated difference in final quality.
    pub trainability_delta: f64,
    /// The share of what the aligned model gains at which the time to learn is read.
    pub trainability_target: f64,
    /// ε of generalization: by how much the break budget on another split may be less than on the seen one.
    #[serde(default = "quarter")]
    pub generalization_epsilon: f64,
    /// What break budgets and titers are counted in.
    #[serde(default = "flops")]
    pub budget: Component,
    /// Bootstrap resamples.
    pub resamples: usize,
}
