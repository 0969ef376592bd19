//! A plan: the stages of an experiment, and what each one's rows are called.

use std::collections::BTreeSet;

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::before::Before;
use crate::calibration::Calibration;
use crate::catalogue::DataFacts;
use crate::looks::{Ladder, Open};
use crate::seeds::{Seeds, Until};
use crate::sources::{Content, PlannedSource};
use crate::spec::Experiment;
use crate::stage::{StageHash, StageSpec};
use crate::vocabulary::{Arm, DefenceStage};

/// An experiment expanded to stages.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The form of the plan: one of another version is refused.
    pub version: PlanVersion,
    /// The experiment, every default stated.
    pub experiment: Experiment,
    /// What its data are.
    pub data: DataFacts,
    /// What it takes in from outside, as it was when the plan was made.
    pub sources: Vec<PlannedSource>,
    /// Each stage once, after the stages that it needs.
    pub stages: Vec<PlannedStage>,
    /// What is measured: the coordinates of each measuring stage's rows.
    pub cells: Vec<Cell>,
    /// How often the judge that decides is right by people's labels, where the spec names that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<Calibration>,
}

/// The version of plans that this code writes, and the only one that it reads. As text it is that number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlanVersion;

impl PlanVersion {
    /// Raised whenever a plan's form changes, so that none is misread: 2 knows sources by their
    /// content, 3 data of any kind, 4 the part that each defence has and what budgets are counted in, 5 seeds that
    /// are added until all is decided.
    pub const NUMBER: u32 = 5;
    /// Of plans that state none.
    const FIRST: u32 = 1;
}

impl Serialize for PlanVersion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(Self::NUMBER)
    }
}

impl<'de> Deserialize<'de> for PlanVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u32::deserialize(deserializer)? {
            Self::NUMBER => Ok(Self),
            other => Err(D::Error::custom(format!("a plan of version {other}"))),
        }
    }
}

/// A stored plan that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// It was made by another titer.
    #[error(
        "it has version {found} and this titer reads version {}; what was measured stays in the store, and          `titer run` with the experiment's own spec plans it anew",
        PlanVersion::NUMBER
    )]
    Version {
        /// The plan's.
        found: u32,
    },
    /// It is damaged.
    #[error("it is damaged")]
    Json(#[from] serde_json::Error),
}

/// Reads a stored plan, or what of it `T` has; `T` must have its `version`.
///
/// # Errors
/// When it is damaged or of another version.
pub fn parse_plan<T: DeserializeOwned>(json: &str) -> Result<T, PlanError> {
    #[derive(Deserialize)]
    struct Header {
        version: Option<u32>,
    }
    serde_json::from_str(json).map_err(|error| match serde_json::from_str::<Header>(json) {
        Ok(header) if header.version != Some(PlanVersion::NUMBER) => {
            PlanError::Version { found: header.version.unwrap_or(PlanVersion::FIRST) }
        }
        _ => PlanError::Json(error),
    })
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

    /// The cells that `keep` keeps, and the stages that they need.
    #[must_use]
    pub fn part(&self, keep: impl Fn(&Cell) -> bool) -> Self {
        let cells: Vec<Cell> = self.cells.iter().filter(|cell| keep(cell)).cloned().collect();
        let stages = self.stages.iter().map(|stage| (&stage.hash, stage.inputs.as_slice()));
        let needed = needed(&cells, stages);
        let stages = self.stages.iter().filter(|stage| needed.contains(&stage.hash)).cloned().collect();
        Self { stages, cells, ..self.clone() }
    }

    /// These stages, and all that they need.
    #[must_use]
    pub fn needed_for(&self, stages: &BTreeSet<StageHash>) -> Self {
        let mut needed: BTreeSet<&StageHash> = stages.iter().collect();
        for stage in self.stages.iter().rev() {
            if needed.contains(&stage.hash) {
                needed.extend(&stage.inputs);
            }
        }
        let keep = |hash: &StageHash| needed.contains(hash);
        let stages = self.stages.iter().filter(|stage| keep(&stage.hash)).cloned().collect();
        let cells = self.cells.iter().filter(|cell| keep(&cell.stage)).cloned().collect();
        Self { stages, cells, ..self.clone() }
    }

    /// Whether seeds are added until all is decided, so that not all of its cells need be measured.
    pub fn grows(&self) -> bool {
        self.experiment.until == Until::Decided
    }

    /// The same with all seeds measured, whatever they decide.
    #[must_use]
    pub fn with_all_seeds(mut self) -> Self {
        self.experiment.until = Until::Measured;
        let defences = self.experiment.defence.iter_mut().map(|entry| &mut entry.seeds);
        let attacks = self.experiment.attack.iter_mut().map(|entry| &mut entry.seeds);
        let all = defences.chain(attacks).chain([&mut self.experiment.trainability.seeds]);
        all.for_each(|seeds| *seeds = Seeds::exactly(seeds.most));
        self
    }

    /// What is measured where `open` was open after each look so far: all of it where all seeds are.
    #[must_use]
    pub fn asked(&self, open: &[Vec<Open>]) -> Self {
        let ladder = Ladder::of(&self.experiment);
        self.part(|cell| ladder.asked(cell, open))
    }

    /// The source that has this content.
    pub fn source(&self, content: &Content) -> Option<&PlannedSource> {
        self.sources.iter().find(|source| source.content() == *content)
    }

    /// What is not on this machine: nothing can be run before it is, and stages may be called otherwise then.
    pub fn not_here(&self) -> impl Iterator<Item = &PlannedSource> {
        self.sources.iter().filter(|source| source.found.is_none())
    }

    /// When the defence of this label acts.
    pub fn defence_stage(&self, label: &str) -> Option<DefenceStage> {
        let entry = self.experiment.defence.iter().find(|entry| entry.label == label)?;
        Some(entry.stage)
    }
}

/// The stages that some cells need, of stages that each stand after those that they need.
pub fn needed<'a>(
    cells: &'a [Cell],
    stages: impl DoubleEndedIterator<Item = (&'a StageHash, &'a [StageHash])>,
) -> BTreeSet<&'a StageHash> {
    let mut needed: BTreeSet<&StageHash> = cells.iter().map(|cell| &cell.stage).collect();
    for (hash, inputs) in stages.rev() {
        if needed.contains(hash) {
            needed.extend(inputs);
        }
    }
    needed
}
