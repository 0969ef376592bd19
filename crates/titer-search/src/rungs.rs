//! How trials are stopped early: three rungs, each dearer than the one before, and who climbs on.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

/// How much of a trial was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rung {
    /// The defence was trained and its ability measured.
    Ability,
    /// It was attacked by the strongest attacks, with one seed each.
    Attacks,
    /// Everything that the experiment asks for was measured.
    Everything,
}

impl Rung {
    /// All, from the bottom.
    pub const ALL: [Self; 3] = [Self::Ability, Self::Attacks, Self::Everything];

    /// Whether it says anything of attacks.
    pub fn is_attacked(self) -> bool {
        self > Self::Ability
    }

    /// What is done there, for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ability => "ability",
            Self::Attacks => "attacks",
            Self::Everything => "everything",
        }
    }
}

/// How good a trial is: one that is not known to keep its ability comes last, since more attacks do not change
/// that and a broken model resists well. Then what is looked for decides, and where that is equal (break budgets are coarse) the
/// harm that the attacks did on their way.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Score {
    /// Whether stability holds.
    pub(super) able: bool,
    /// More is better.
    pub(super) objective: f64,
    /// Mean harmfulness over attacks and budgets: less is better.
    pub(super) harm: f64,
}

impl Score {
    /// `Less` where this one is the better.
    pub(super) fn rank(&self, other: &Self) -> Ordering {
        let (objective, harm) =
            (other.objective.total_cmp(&self.objective), self.harm.total_cmp(&other.harm));
        other.able.cmp(&self.able).then(objective).then(harm)
    }
}

/// Which of the scored trials go on: the better half, rounded up; of equal ones the earlier.
pub(super) fn better_half(scores: &[Score]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|a, b| scores[*a].rank(&scores[*b]));
    order.truncate(scores.len().div_ceil(2));
    order.sort_unstable();
    order
}

/// What each rung of a trial costs, in the unit of the budget.
pub(super) type Costs = [f64; 3];

/// How many trials, from the first, are sure to be paid by `left`: all of them on the lower rungs, the dearest
/// half on the highest, and after that the dearest of all, `dearest` included, once more with other seeds.
pub(super) fn affordable(costs: &[Costs], dearest: f64, left: f64) -> usize {
    let fits = |count: usize| {
        let costs = &costs[..count];
        let lower: f64 = costs.iter().map(|[ability, attacks, _]| ability + attacks).sum();
        let mut highest: Vec<f64> = costs.iter().map(|costs| costs[2]).collect();
        highest.sort_by(|a, b| b.total_cmp(a));
        let highest: f64 = highest.iter().take(count.div_ceil(2)).sum();
        let closing = costs.iter().map(|costs| costs.iter().sum()).fold(dearest, f64::max);
        lower + highest + closing <= left
    };
    (1..=costs.len()).take_while(|count| fits(*count)).last().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(objective: f64, harm: f64) -> Score {
        Score { able: true, objective, harm }
    }

    #[test]
    fn the_better_half_goes_on() {
        let scores =
            [score(1.0, 0.0), score(4.0, 0.0), score(2.0, 0.0), score(f64::INFINITY, 0.9), score(3.0, 0.0)];
        assert_eq!(better_half(&scores), [1, 3, 4]);
        assert_eq!(better_half(&scores[..1]), [0]);
        assert!(better_half(&[]).is_empty());
    }

    #[test]
    fn equal_objectives_are_told_apart_by_harm_and_then_by_age() {
        assert_eq!(better_half(&[score(1.0, 0.5), score(1.0, 0.2)]), [1]);
        assert_eq!(better_half(&[score(1.0, 0.5), score(1.0, 0.5)]), [0]);
    }

    #[test]
    fn a_model_that_may_be_broken_comes_last() {
        let broken = Score { able: false, ..score(f64::INFINITY, 0.0) };
        assert_eq!(better_half(&[broken, score(1.0, 0.5)]), [1]);
    }

    #[test]
    fn a_cohort_is_paid_for_before_it_begins() {
        let costs = [[1.0, 2.0, 4.0]; 5];
        // One: 3 + 4, and 7 to close.
        assert_eq!(affordable(&costs, 0.0, 13.9), 0);
        assert_eq!(affordable(&costs, 0.0, 14.0), 1);
        // Two: 6 + 4 + 7. Three: 9 + 8 + 7.
        assert_eq!(affordable(&costs, 0.0, 17.0), 2);
        assert_eq!(affordable(&costs, 0.0, 23.9), 2);
        assert_eq!(affordable(&costs, 0.0, 24.0), 3);
        // A dear trial before them may have to be measured again.
        assert_eq!(affordable(&costs, 20.0, 24.0), 0);
        assert_eq!(affordable(&costs, 0.0, 1e9), 5);
    }
}
