//! What a registry says of a method: enough to list it, document it, and check a spec that names it.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::arms::{Control, Sham};
use crate::vocabulary::{DefenceStage, ThreatModel};

/// One attack or defence, as its registry describes it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Method {
    /// The name of its paper, in kebab case.
    pub name: &'static str,
    /// Attack, or defence of some stage.
    pub kind: MethodKind,
    /// Raised when the method's results change, so that old artifacts are not reused.
    pub version: u32,
    /// One line of what it does.
    pub summary: &'static str,
    /// Where it comes from (arXiv id, repository).
    pub citation: &'static str,
    /// Every setting that changes a result.
    pub parameters: Vec<Parameter>,
}

/// Attack, or defence of some stage.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum MethodKind {
    /// Spends a budget on making a model harmful.
    Attack(AttackFacts),
    /// Makes a model resist.
    Defence {
        /// When it acts.
        stage: DefenceStage,
        /// What it is without its idea.
        sham: Sham,
        /// What it must show, if that is known beforehand.
        #[serde(skip_serializing_if = "Option::is_none")]
        control: Option<Control>,
    },
}

/// What an attack is and asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AttackFacts {
    /// The threat models under which it can be carried out.
    pub threat_models: Vec<ThreatModel>,
    /// By what it makes a model harmful.
    pub mechanism: Mechanism,
    /// What the attacker must have besides the victim's answers.
    pub needs: Vec<Need>,
}

/// By what an attack makes a model harmful.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mechanism {
    /// It trains, step by step.
    Trains,
    /// It changes weights once, without training.
    EditsWeights,
    /// It leaves the weights alone and asks in another way.
    Prompts,
}

/// What an attacker must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Need {
    /// Forbidden prompts with the answers that are wanted.
    HarmfulRows,
    /// The same prompts with the policy's refusal.
    Refusals,
    /// Harmless prompts with their answers.
    HarmlessRows,
    /// The model before alignment.
    BaseModel,
    /// A judge that scores answers as the attack goes on.
    Judge,
    /// The victim's weights, to read and to write.
    Weights,
    /// Gradients of the victim.
    Gradients,
    /// To ask the model itself afterwards, in a way of its own.
    Asking,
}

impl Mechanism {
    /// All of them, in the order of listings.
    pub const ALL: [Self; 3] = [Self::Trains, Self::EditsWeights, Self::Prompts];

    /// The name used in listings and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Trains => "trains",
            Self::EditsWeights => "edits-weights",
            Self::Prompts => "prompts",
        }
    }

    /// The steps after which a model is probed: those of the experiment's cadence while it trains. What is done at
    /// once has one step, and is probed before and after it.
    pub fn checkpoints(self, cadence: &[u64]) -> Vec<u64> {
        match self {
            Self::Trains => cadence.to_vec(),
            Self::EditsWeights | Self::Prompts => vec![0, 1],
        }
    }
}

impl Need {
    /// The name used in listings and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::HarmfulRows => "harmful-rows",
            Self::Refusals => "refusals",
            Self::HarmlessRows => "harmless-rows",
            Self::BaseModel => "base-model",
            Self::Judge => "judge",
            Self::Weights => "weights",
            Self::Gradients => "gradients",
            Self::Asking => "own-asking",
        }
    }
}

/// What a setting means to those who must know without knowing the method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Meaning {
    /// Optimiser steps.
    Steps,
    /// Of the optimiser steps those of a first part, before what the attack is after: fewer than all.
    FirstSteps,
    /// Examples per step.
    Batch,
    /// Peak learning rate.
    Rate,
    /// Distinct harmful rows that the attacker owns.
    HarmfulRows,
    /// Rows that a user hands in, harmless and harmful.
    UserRows,
    /// The share of harmful rows among a user's: the dose.
    Dose,
    /// A whole number without which the method's name says too little: it stands in the label of a defence that is
    /// given none, as `tar-8-inner-steps`.
    Named,
}

/// One setting of a method.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Parameter {
    /// Its key in a spec.
    pub name: &'static str,
    /// The unit of its value: `steps`, `nats`, `1` for a pure number.
    pub unit: &'static str,
    /// One line of what it does.
    pub summary: &'static str,
    /// The value where a spec says nothing.
    pub default: Value,
    /// The values it may take.
    pub domain: Domain,
    /// What it means to others than the method, if anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meaning: Option<Meaning>,
    /// Whether a stage's spec leaves it out at its default: it came later, and results from before stay what they are.
    #[serde(skip)]
    pub later: bool,
}

/// The values a parameter may take.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Domain {
    /// A whole number, bounds included.
    Integer {
        /// Least value.
        min: i64,
        /// Greatest value.
        max: i64,
    },
    /// A real number, bounds included.
    Real {
        /// Least value.
        min: f64,
        /// Greatest value.
        max: f64,
    },
    /// True or false.
    Flag,
    /// One of these words.
    Choice {
        /// The words.
        of: &'static [&'static str],
    },
    /// A non-empty list whose members are real numbers, bounds included. Never expanded to a grid.
    Reals {
        /// Least value.
        min: f64,
        /// Greatest value.
        max: f64,
    },
}

/// A method with every parameter stated: what a stage's hash covers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MethodSpec {
    /// The method's name in its registry.
    pub name: String,
    /// The method's version in its registry.
    pub version: u32,
    /// Every parameter, defaults filled in but for those that came later and have theirs.
    pub parameters: BTreeMap<String, Value>,
}

impl MethodSpec {
    /// The parameters as the method's own type.
    ///
    /// # Errors
    /// When a parameter is missing, unknown or of another type: the spec was not resolved against the
    /// registry that the method stands in.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_value(Value::Object(self.parameters.clone().into_iter().collect()))
    }
}

impl MethodKind {
    /// A defence of that stage, and what it is without its idea.
    pub fn defence(stage: DefenceStage, sham: Sham) -> Self {
        Self::Defence { stage, sham, control: None }
    }

    /// A control of that stage, which has no sham, `because` of that (the end of a sentence).
    pub fn control(stage: DefenceStage, control: Control, because: &'static str) -> Self {
        Self::Defence { stage, sham: Sham::Absent { because }, control: Some(control) }
    }
}

impl Method {
    /// The method with its own settings.
    pub fn defaults(&self) -> MethodSpec {
        let own = |parameter: &Parameter| (parameter.name.to_owned(), parameter.default.clone());
        MethodSpec {
            name: self.name.to_owned(),
            version: self.version,
            parameters: self.parameters.iter().map(own).collect(),
        }
    }

    /// The setting of that meaning, if the method has one.
    pub fn setting(&self, meaning: Meaning) -> Option<&Parameter> {
        self.parameters.iter().find(|parameter| parameter.meaning == Some(meaning))
    }

    /// What it is, if it is an attack.
    pub fn attack(&self) -> Option<&AttackFacts> {
        match &self.kind {
            MethodKind::Attack(facts) => Some(facts),
            MethodKind::Defence { .. } => None,
        }
    }
}

impl Parameter {
    /// Says that the method was there without it, doing what it does at its default.
    pub fn later(self) -> Self {
        Self { later: true, ..self }
    }

    /// Whether a value is left unsaid: that of a parameter which came later and is at its default.
    pub(crate) fn is_unsaid(&self, value: &Value) -> bool {
        self.later && *value == self.default
    }

    /// Says what it means to others than the method.
    pub fn meaning(self, meaning: Meaning) -> Self {
        Self { meaning: Some(meaning), ..self }
    }

    /// A whole number.
    pub fn integer(
        name: &'static str,
        unit: &'static str,
        default: i64,
        range: RangeInclusive<i64>,
        summary: &'static str,
    ) -> Self {
        let domain = Domain::Integer { min: *range.start(), max: *range.end() };
        Self { name, unit, summary, default: default.into(), domain, meaning: None, later: false }
    }

    /// A real number.
    pub fn real(
        name: &'static str,
        unit: &'static str,
        default: f64,
        range: RangeInclusive<f64>,
        summary: &'static str,
    ) -> Self {
        let domain = Domain::Real { min: *range.start(), max: *range.end() };
        Self { name, unit, summary, default: default.into(), domain, meaning: None, later: false }
    }

    /// A list of real numbers.
    pub fn reals(
        name: &'static str,
        unit: &'static str,
        default: &[f64],
        range: RangeInclusive<f64>,
        summary: &'static str,
    ) -> Self {
        let domain = Domain::Reals { min: *range.start(), max: *range.end() };
        Self { name, unit, summary, default: default.into(), domain, meaning: None, later: false }
    }

    /// True or false.
    pub fn flag(name: &'static str, default: bool, summary: &'static str) -> Self {
        let (unit, domain) = ("", Domain::Flag);
        Self { name, unit, summary, default: default.into(), domain, meaning: None, later: false }
    }

    /// One of several words.
    pub fn choice(
        name: &'static str,
        default: &'static str,
        of: &'static [&'static str],
        summary: &'static str,
    ) -> Self {
        let domain = Domain::Choice { of };
        Self { name, unit: "", summary, default: default.into(), domain, meaning: None, later: false }
    }
}
