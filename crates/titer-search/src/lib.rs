//! Searching the setting of a defence: as much effort for each, openly counted.
//!
//! A trial is the experiment with other parameters of one defence. Its stages are those that `titer run` would
//! have with that setting, so that every trial is cached and a found setting costs nothing to run. Trials climb
//! three rungs ([`Rung`]); what is hopeless is stopped early and listed with its reason. The winner is measured
//! once more with seeds that nothing was selected by.

mod adversary;
mod budget;
mod climb;
mod design;
mod record;
mod rungs;
mod runner;
mod sampling;
mod score;
mod space;
mod strength;
mod target;
mod tune;

pub use adversary::{AttackTrial, Attempt, Attempts, Origin, Searched, find_attacks};
pub use budget::{Budget, Spent};
pub use design::parameters;
pub use record::{Divergence, End, Record, Trial, Winner};
pub use rungs::Rung;
pub use runner::{TuneOptions, Watch};
pub use score::{Judged, Measured, Outcome};
pub use space::{Axis, Setting, Tunable, Values};
pub use target::{Answer, Forbidden, Run, Stop, Target, Tried};
pub use tune::{TuneSettings, Tuned, tune};
