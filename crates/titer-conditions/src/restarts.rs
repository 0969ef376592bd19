//! What an attack costs somebody who may begin anew: a run that has not broken the model by a certain budget is given up,
//! and another is tried with another seed.
//!
//! With runs given up at B the expected cost is what a try spends on average, divided by the share of tries that
//! succeed: Σ min(T, B) ÷ #{T ≤ B} over the measured runs (Luby, Sinclair and Zuckerman, 1993). The attacker takes the
//! best B.

use serde::{Deserialize, Serialize};

use crate::breaks::RunBreak;

/// The cheapest way to try until it succeeds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Restarts {
    /// The expected cost until the model is broken, in the unit of its ratio.
    pub cost: f64,
    /// The budget after which a try is given up.
    pub give_up_at: u64,
    /// How many of the runs broke the model by then.
    pub successes: usize,
    /// How many runs there were.
    pub tries: usize,
}

/// Of measured runs, each of which broke by the end of the interval that it is known by; none where none broke.
pub(crate) fn restarts(runs: &[RunBreak]) -> Option<Restarts> {
    let ends: Vec<u64> = runs.iter().filter_map(|run| run.measured.until).collect();
    let at = |&give_up_at: &u64| {
        let spent: u64 =
            runs.iter().map(|run| run.measured.until.unwrap_or(run.measured.after).min(give_up_at)).sum();
        let successes = ends.iter().filter(|&&end| end <= give_up_at).count();
        Restarts { cost: spent as f64 / successes as f64, give_up_at, successes, tries: runs.len() }
    };
    // Of equals the one that is given up first.
    ends.iter().map(at).min_by(|a, b| a.cost.total_cmp(&b.cost).then(a.give_up_at.cmp(&b.give_up_at)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::breaks::runs;

    #[test]
    fn a_lucky_seed_is_worth_trying_again_for() {
        // Given up at 10: 10 + 10 + 10 spent for one success, against (10 + 200 + 200) / 3 without giving up.
        let found = restarts(&runs(&[(8, Some(10)), (160, Some(200)), (160, Some(200))]));
        assert_eq!(found, Some(Restarts { cost: 30.0, give_up_at: 10, successes: 1, tries: 3 }));
        // Here it is not: 3 × 10 against (10 + 12 + 12) / 3.
        let found = restarts(&runs(&[(8, Some(10)), (8, Some(12)), (8, Some(12))]));
        assert_eq!(found.map(|found| (found.cost, found.give_up_at)), Some((34.0 / 3.0, 12)));
    }

    #[test]
    fn what_never_broke_costs_its_budget() {
        let found = restarts(&runs(&[(8, Some(10)), (5, None)]));
        assert_eq!(found, Some(Restarts { cost: 15.0, give_up_at: 10, successes: 1, tries: 2 }));
        assert_eq!(restarts(&runs(&[(200, None)])), None);
    }
}
