//! From an experiment spec to a plan of hashed stages.
//!
//! This crate is the vocabulary of the house: plain data, no files, no tensors, no frames.
//! [`read`] turns the TOML of a spec into a [`Draft`], or reports all of its [`Mistakes`] at once. Whoever can
//! look at files says what the draft's sources are, which makes it a [`Plan`].

mod adversary;
mod answers;
mod arms;
mod asked;
mod before;
mod calibration;
mod catalogue;
mod check;
pub mod declared;
mod document;
mod expand;
mod field;
mod grid;
mod hash;
mod limits;
mod looks;
mod marks;
pub mod method;
mod methods;
mod mistake;
mod plan;
mod probe;
mod read;
mod seeds;
mod sources;
pub mod spec;
pub mod stage;
mod table;
mod values;
mod vocabulary;

pub use adversary::{Adversary, Weakness};
pub use arms::{Control, Sham};
pub use before::{AttackPoint, Before, TuningPoint};
pub use calibration::Calibration;
pub use catalogue::{Catalogue, DataFacts, JudgeFacts, TaskFacts, UnderTest};
pub use document::{Override, filled, line_of_key};
pub use grid::GridPoint;
pub use hash::{canonical, derive_seed, fingerprint, stage_hash};
pub use looks::{Growing, Ladder, Open, SeedsAtLook};
pub use marks::{Mark, Marks};
pub use method::{AttackFacts, Domain, Meaning, Mechanism, Method, MethodKind, MethodSpec, Need, Parameter};
pub use mistake::{Mistake, Mistakes};
pub use plan::{Cell, Plan, PlanError, PlanVersion, PlannedStage, needed, parse_plan};
pub use read::{Draft, read, read_filled};
pub use seeds::{Seeds, Until};
pub use sources::{
    ADAPTER_SOURCE, Content, Found, JUDGE_SOURCE, MODEL_SOURCE, PlannedSource, judge_role, judges,
};
pub use stage::{StageHash, StageSpec};
pub use vocabulary::{
    Arm, BASELINE, Component, Condition, Cost, Decision, DefenceRole, DefenceStage, Probe, TaskName,
    ThreatModel,
};
