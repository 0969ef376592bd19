//! A plan: the stages of an experiment, and what each one's rows are called.

use serde::{Deserialize, Serialize};

use crate::before::Before;
use crate::catalogue::DataFacts;
use crate::spec::Experiment;
use crate::stage::{StageHash, StageSpec};
use crate::vocabulary::{Arm, DefenceStage};

/// An experiment expanded to stages.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The experiment, every default stated.
    pub experiment: Experiment,
    /// The world or policy that its data come from.
    pub data: DataFacts,
    /// Each stage once, after the stages that it needs.
    pub stages: Vec<PlannedStage>,
    /// What is measured: the coordinates of each measuring stage's rows.
    pub cells: Vec<Cell>,
}

/// One stage of a plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedStage {
    /// Names its artifact.
    pub hash: StageHash,
    /// Its kind and everything that determines its result.
    pub spec: StageSpec,
    /// The stages whose results it needs.
    pub inputs: Vec<StageHash>,
    /// What it is called on screens: `attack tar#0 full-finetune/rate=1e-4#2`.
    pub label: String,
    /// Names what a model answered in it, whoever judges that: the same for stages that differ in measures
    /// only. None where no model is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answers: Option<StageHash>,
}

/// The coordinates of the rows of one measure, attack or tune stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cell {
    /// The stage that measures.
    pub stage: StageHash,
    /// The defence's label.
    pub defence: String,
    /// Which training of the defence, from 0.
    pub defence_seed: u64,
    /// What the defence may have seen.
    pub arm: Arm,
    /// What was done to the model before.
    pub before: Before,
    /// Which repetition of that, from 0.
    pub attack_seed: u64,
}

impl Plan {
    /// The stage of this hash.
    pub fn stage(&self, hash: &StageHash) -> Option<&PlannedStage> {
        self.stages.iter().find(|stage| stage.hash == *hash)
    }

    /// When the defence of this label acts.
    pub fn defence_stage(&self, label: &str) -> Option<DefenceStage> {
        let entry = self.experiment.defence.iter().find(|entry| entry.label == label)?;
        Some(entry.stage)
    }
}
