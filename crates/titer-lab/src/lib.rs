//! Runs a plan against a store, and reads its results back.
//!
//! This is where the parts meet: a stage of the plan becomes data, a model, an objective or an attack, and
//! an artifact; artifacts become frames; frames become verdicts.

mod again;
mod board;
mod bundle;
mod card;
mod catalogue;
mod channel;
mod checkpoints;
pub mod cluster;
mod compute;
mod costs;
pub mod defaults;
mod doctor;
mod error;
mod estimate;
mod executor;
mod files;
mod follow;
mod generation;
mod guards;
mod housekeeping;
mod interrupt;
mod judging;
pub mod live;
mod material;
mod measures;
mod memory;
pub mod models;
mod power;
mod progress;
mod provenance;
mod rescore;
mod results;
mod sources;
mod stages;
pub mod templates;
mod verify;

pub use bundle::bundle;
pub use catalogue::{
    Preset, Source, catalogue, check_rows, completed, plan, presets, source, stored, stored_plan,
};
pub use compute::Compute;
pub use costs::{DefenceCost, StageSpent};
pub use doctor::{Check, doctor};
pub use error::{Error, Result};
pub use estimate::{Estimate, StageEstimate, estimate};
pub use executor::{Part, RunOptions, RunSummary, StageFailure, run, run_part, run_stages};
pub use follow::{Followed, follow, runs_of};
pub use housekeeping::{ExperimentUsage, KindUsage, Policy, Shared, collect, usage};
pub use interrupt::Interrupt;
pub use judging::{Calibrated, calibrate, judge_toml};
pub use memory::jobs;
pub use power::{GivenSpread, Known, KnownSpread, PlannedPower, PowerGroup, planned_power};
pub use progress::{Progress, RunEvent};
pub use provenance::built_from;
pub use rescore::{Rescored, rescore};
pub use results::{Results, StageCost, attack_frame, score_frame, titer_frame, verdict_frame};
pub use sources::{Difference, Stale, changes, fetch, stale};
pub use verify::{Finding, Replayed, Same, Verified, replay, verify};
