//! Frames in, verdicts out: the four immunization conditions and the titer.
//!
//! [`decide`] is pure: no models, no files, no clock, and randomness from a constant seed only. A verdict is
//! reached by comparing a confidence interval with a threshold; what was not measured makes a verdict
//! inconclusive, never good.

mod agreement;
mod bootstrap;
mod breaks;
mod by_attack;
mod calibration;
mod caveats;
mod cells;
mod columns;
mod controls;
mod course;
mod curve;
mod decide;
mod equivalence;
mod error;
mod evidence;
mod factor;
mod frame;
mod generalization;
mod interval;
mod paired;
mod panel;
mod power;
mod quantile;
mod reach;
mod replay;
mod resistance;
mod restarts;
mod sample;
mod score;
mod sides;
mod spreads;
mod stability;
mod standing;
mod study;
mod subsets;
mod titer;
mod titers;
mod trainability;
mod verdict;

pub use agreement::{Agreement, agreements};
pub use breaks::able_from;
pub use calibration::{Accuracy, Corrected, Rate, accuracy, corrected};
pub use decide::{decide, spreads};
pub use equivalence::{Both, Equivalence, equivalence};
pub use error::Error;
pub use evidence::{DefenceFacts, Evidence};
pub use power::{Chance, Design, ENOUGH, MOST_SEEDS, PARTS, Power, Quantity, Spread, power};
pub use reach::{Reach, Waypoint, reach, waypoints};
pub use replay::decide_by_looks;
pub use restarts::Restarts;
pub use sides::{Side, SideTest};
pub use spreads::Measured;
pub use standing::{FinalScores, final_harm, mean_harm};
pub use verdict::{
    AttackCell, AttackRatio, AttackScore, Bounds, BreakBudget, BreakSpan, Change, DefenceVerdict, Effort,
    Look, Score, SearchEffort, Subset, SubsetTiter, Titer, TiterPair, Verdict, VerdictPart, Verdicts,
};

#[cfg(test)]
mod tests {
    pub(crate) mod coverage;
}
