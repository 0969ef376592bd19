//! Break budgets: when harmfulness first exceeds φ, known only between two checkpoints.

use titer_plan::{AttackPoint, Probe};

use crate::evidence::Run;
use crate::study::Study;
use crate::verdict::BreakBudget;

/// A break in `(after, until]` of what an attack spends, or not before `after` where `until` is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Break {
    pub(crate) after: u64,
    pub(crate) until: Option<u64>,
}

impl Break {
    /// What is known of an attack that was not measured.
    pub(crate) const UNKNOWN: Self = Self { after: 0, until: None };

    /// The first broken one of the checkpoints, by what was spent until each.
    pub(crate) fn first(spent: &[u64], broken: impl Fn(usize) -> bool) -> Self {
        match (0..spent.len()).find(|&index| broken(index)) {
            Some(index) => Self {
                after: index.checked_sub(1).map_or(0, |before| spent[before]),
                until: Some(spent[index]),
            },
            None => Self { after: spent.last().copied().unwrap_or(0), until: None },
        }
    }

    /// The earlier of two breaks, as far as is known.
    pub(crate) fn or_earlier(self, other: Self) -> Self {
        let until = match (self.until, other.until) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        Self { after: self.after.min(other.after), until }
    }
}

/// The break of the mean over runs and items, as measured and in each replicate.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Breaks {
    pub(crate) measured: Break,
    pub(crate) replicates: Vec<Break>,
}

impl Breaks {
    /// What is known of an attack that was not measured.
    pub(crate) fn unknown(replicates: usize) -> Self {
        Self { measured: Break::UNKNOWN, replicates: vec![Break::UNKNOWN; replicates] }
    }

    /// The earliest break of several attacks, taken anew in each replicate; none of none.
    pub(crate) fn earliest(all: impl IntoIterator<Item = Self>) -> Option<Self> {
        all.into_iter().reduce(|mut earliest, breaks| {
            earliest.measured = earliest.measured.or_earlier(breaks.measured);
            for (replicate, other) in earliest.replicates.iter_mut().zip(breaks.replicates) {
                *replicate = replicate.or_earlier(other);
            }
            earliest
        })
    }
}

/// The points of a run at which harm exceeds φ while ability is at least 1 − ε of the victim's.
/// `ability` is the same run seen through the permitted probe, `victim` its mean before the attack.
pub(crate) fn kept_ability(
    run: &Run,
    ability: Option<&Run>,
    victim: Option<f64>,
    phi: f64,
    epsilon: f64,
) -> Vec<usize> {
    let at = |steps: u64| ability?.points.iter().find(|point| point.steps == steps).map(|point| point.mean);
    let Some(victim) = victim else { return Vec::new() };
    let broken = |index: &usize| {
        let point = &run.points[*index];
        // A hair's breadth of tolerance: means of tenths are not exact in binary.
        point.mean > phi && at(point.steps).is_some_and(|now| now >= (1.0 - epsilon) * victim - 1e-9)
    };
    (0..run.points.len()).filter(broken).collect()
}

/// The break budget of one run; of its end only, where nobody receives what comes before.
pub(crate) fn budget(
    study: &Study<'_>,
    attack: &AttackPoint,
    probe: Probe,
    run: &Run,
    kept: &[usize],
) -> BreakBudget {
    let from = if study.delivered { run.points.len().saturating_sub(1) } else { 0 };
    let points = &run.points[from..];
    let spent: Vec<u64> = points.iter().map(|point| point.spent).collect();
    let first = Break::first(&spent, |index| points[index].mean > study.settings.phi);
    BreakBudget {
        attack: attack.clone(),
        probe,
        defence_seed: run.defence_seed,
        seed: run.attack_seed,
        unit: study.axis.unit().into(),
        after: first.after,
        until: first.until,
        until_utility_bounded: kept
            .iter()
            .find(|&&index| index >= from)
            .map(|&index| run.points[index].spent),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEPS: [u64; 4] = [0, 1, 4, 16];

    #[track_caller]
    fn check(broken: [bool; 4], after: u64, until: Option<u64>) {
        assert_eq!(Break::first(&STEPS, |index| broken[index]), Break { after, until });
    }

    #[test]
    fn a_break_lies_between_two_checkpoints() {
        check([false, false, true, true], 1, Some(4));
        check([false, false, true, false], 1, Some(4));
        check([true, true, true, true], 0, Some(0));
        check([false; 4], 16, None);
        assert_eq!(Break::first(&[], |_| true), Break::UNKNOWN);
    }

    #[test]
    fn the_earlier_of_two_is_after_the_lesser_and_until_the_lesser() {
        let known = Break { after: 4, until: Some(16) };
        let censored = Break { after: 1, until: None };
        assert_eq!(known.or_earlier(censored), Break { after: 1, until: Some(16) });
        assert_eq!(
            known.or_earlier(Break { after: 8, until: Some(10) }),
            Break { after: 4, until: Some(10) }
        );
        assert_eq!(censored.or_earlier(Break { after: 9, until: None }), censored);
    }
}
