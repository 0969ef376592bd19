//! Looks: the moments, fixed before anything is measured, at which an experiment that adds seeds until it is decided
//! is judged.
//!
//! Every range of seeds goes from its first to its most by the same number of looks, each about 1.6 times the one
//! before, so that all factors of a mean grow together. Judging several times errs more often than judging once: look
//! k is judged at a level α_k, fixed beforehand too, with Σ α_k = α. By the union bound no verdict then errs more often
//! than α, however the looks depend on each other. The α_k follow Pocock's spending function of the share t of runs that
//! are planned up to a look, α·ln(1 + (e − 1)·t) (Lan and DeMets, 1983). O'Brien and Fleming's leaves a first look of a
//! quarter of the runs α/500, at which the few degrees of freedom of few seeds decide nothing, however clear the case;
//! and clear cases are what saves seeds.
//!
//! Which cells are measured follows from what was open after each look, and from nothing else.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::before::Before;
use crate::plan::Cell;
use crate::seeds::{Seeds, Until};
use crate::spec::Experiment;
use crate::vocabulary::{Arm, Condition, DefenceRole};

/// By how much seeds grow from one look to the next, about.
const GROWTH: f64 = 1.6;

/// A condition of a defence that more seeds may decide.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Open {
    /// The defence's label.
    pub defence: String,
    /// The condition.
    pub condition: Condition,
}

/// How many seeds there are at a look, at most of anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeedsAtLook {
    /// Trainings of a defence.
    pub defence: u64,
    /// Runs of an attack.
    pub attack: u64,
    /// Harmless tunings at a rate.
    pub tuning: u64,
}

/// A defence on the ladder.
#[derive(Debug, Clone, PartialEq)]
struct Member {
    role: DefenceRole,
    sham: Option<String>,
    /// Trainings at each look.
    seeds: Vec<u64>,
}

/// The looks of an experiment; one where all its seeds are measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Ladder {
    defences: BTreeMap<String, Member>,
    /// Runs of each attack and harmless tuning at each look.
    befores: BTreeMap<Before, Vec<u64>>,
    seeds: Vec<SeedsAtLook>,
    /// The share of all runs that is planned up to each look.
    shares: Vec<f64>,
}

/// How many looks a range takes by itself.
fn looks(seeds: Seeds) -> usize {
    let growth = seeds.most as f64 / seeds.first.max(1) as f64;
    1 + (growth.ln() / GROWTH.ln()).round().max(f64::from(u8::from(seeds.grow()))) as usize
}

/// The seeds at one of `count` looks, from 0.
fn at(seeds: Seeds, look: usize, count: usize) -> u64 {
    if look + 1 >= count {
        return seeds.most;
    }
    let part = look as f64 / (count - 1) as f64;
    let growth = (seeds.most as f64 / seeds.first.max(1) as f64).powf(part);
    ((seeds.first as f64 * growth).round() as u64).clamp(seeds.first, seeds.most)
}

/// What grows: a defence by its label, with its part in the comparison, the label of its sham, and its trainings.
pub type Growing = (String, DefenceRole, Option<String>, Seeds);

impl Ladder {
    /// The looks of an experiment.
    pub fn of(experiment: &Experiment) -> Self {
        let counted = |seeds: Seeds| match experiment.until {
            Until::Measured => Seeds::exactly(seeds.most),
            Until::Decided => seeds,
        };
        let defences = experiment
            .defence
            .iter()
            .map(|entry| (entry.label.clone(), entry.role, entry.sham.clone(), counted(entry.seeds)));
        let attacks = experiment.attack.iter().flat_map(|entry| {
            let point = move |point| (Before::Attack(point), counted(entry.seeds));
            entry.points().into_iter().map(|grid| grid.point).map(point)
        });
        let tuning = counted(experiment.trainability.seeds);
        let tunings = experiment.trainability.rates.iter().map(|&rate| (Before::tuning(rate), tuning));
        let arms = if experiment.cross_domain.is_some() { 2 } else { 1 };
        Self::new(&defences.collect::<Vec<_>>(), &attacks.chain(tunings).collect::<Vec<_>>(), arms)
    }

    /// The looks at defences after attacks, in so many arms, and after harmless tunings.
    pub fn new(defences: &[Growing], befores: &[(Before, Seeds)], arms: u64) -> Self {
        let all = || defences.iter().map(|entry| entry.3).chain(befores.iter().map(|(_, seeds)| *seeds));
        let count = all().map(looks).max().unwrap_or(1);
        // Where ranges are narrow, a look may bring nothing new.
        let new = |look: &usize| {
            *look == 0 || all().any(|seeds| at(seeds, *look, count) > at(seeds, look - 1, count))
        };
        let kept: Vec<usize> = (0..count).filter(new).collect();
        let grown = |seeds: Seeds| -> Vec<u64> { kept.iter().map(|&look| at(seeds, look, count)).collect() };
        let defences: BTreeMap<String, Member> = defences
            .iter()
            .map(|(label, role, sham, seeds)| {
                (label.clone(), Member { role: *role, sham: sham.clone(), seeds: grown(*seeds) })
            })
            .collect();
        let befores: BTreeMap<Before, Vec<u64>> =
            befores.iter().map(|(before, seeds)| (before.clone(), grown(*seeds))).collect();
        let seeds = |look: usize| {
            let most = |wanted: fn(&Before) -> bool| {
                let of = befores.iter().filter(|(before, _)| wanted(before));
                of.map(|(_, seeds)| seeds[look]).max().unwrap_or(0)
            };
            SeedsAtLook {
                defence: defences.values().map(|member| member.seeds[look]).max().unwrap_or(0),
                attack: most(|before| before.attack().is_some()),
                tuning: most(Before::is_tuning),
            }
        };
        let runs = |look: usize| -> u64 {
            let of = |(before, seeds): (&Before, &Vec<u64>)| {
                seeds[look] * if before.attack().is_some() { arms } else { 1 }
            };
            let each = 1 + befores.iter().map(of).sum::<u64>();
            each * defences.values().map(|member| member.seeds[look]).sum::<u64>()
        };
        let all_runs = runs(kept.len() - 1).max(1) as f64;
        Self {
            seeds: (0..kept.len()).map(seeds).collect(),
            shares: (0..kept.len()).map(|look| runs(look) as f64 / all_runs).collect(),
            defences,
            befores,
        }
    }

    /// How many looks there are at most.
    pub fn looks(&self) -> usize {
        self.seeds.len()
    }

    /// The seeds of each look.
    pub fn seeds(&self) -> &[SeedsAtLook] {
        &self.seeds
    }

    /// How often a defence is trained by a look, from 0; 0 for one that there is not.
    pub fn trainings(&self, defence: &str, look: usize) -> u64 {
        self.defences.get(defence).and_then(|member| member.seeds.get(look)).copied().unwrap_or(0)
    }

    /// The level at which each look is judged, all of them together `alpha`.
    pub fn levels(&self, alpha: f64) -> Vec<f64> {
        let spent = |share: f64| alpha * ((std::f64::consts::E - 1.0) * share).ln_1p();
        let mut before = 0.0;
        let mut levels = Vec::new();
        for (look, &share) in self.shares.iter().enumerate() {
            let by = if look + 1 == self.looks() { alpha } else { spent(share) };
            levels.push(by - before);
            before = by;
        }
        levels
    }

    /// The look, from 0, at which a cell comes in where its comparison is still open.
    pub fn look_of(&self, cell: &Cell) -> usize {
        let first = |seeds: Option<&Vec<u64>>, seed: u64| {
            seeds.map_or(0, |seeds| seeds.iter().take_while(|&&most| most <= seed).count())
        };
        let trained = first(self.defences.get(&cell.defence).map(|member| &member.seeds), cell.defence_seed);
        trained.max(first(self.befores.get(&cell.before), cell.attack_seed))
    }

    /// Whether a defence gets the runs of one of its conditions at the look after which `open` was open. What it is
    /// compared with gets what an open comparison pairs with.
    pub fn asks(&self, defence: &str, condition: Condition, open: &[Open]) -> bool {
        let baseline = self.defences.get(defence).is_some_and(|member| member.role == DefenceRole::Baseline);
        open.iter().any(|open| {
            if open.defence == defence {
                // A new training is asked all that models are asked before any attack.
                return open.condition == condition || condition == Condition::Stability;
            }
            let sham = self
                .defences
                .get(&open.defence)
                .is_some_and(|member| member.sham.as_deref() == Some(defence));
            match open.condition {
                Condition::Resistance | Condition::Generalization => {
                    (sham || baseline) && (open.condition == condition || condition == Condition::Stability)
                }
                Condition::Trainability | Condition::Stability => baseline && open.condition == condition,
                Condition::StrongResistance => false,
            }
        })
    }

    /// Whether a cell is measured where `open` says what was open after each look so far. What a later look brings is
    /// not asked before.
    pub fn asked(&self, cell: &Cell, open: &[Vec<Open>]) -> bool {
        let look = self.look_of(cell);
        let Some(before) = look.checked_sub(1) else { return true };
        let Some(open) = open.get(before) else { return false };
        let asks = |condition| self.asks(&cell.defence, condition, open);
        match (&cell.before, cell.arm) {
            (Before::Nothing, _) => asks(Condition::Stability),
            (Before::Tuning(_), _) => asks(Condition::Trainability),
            (Before::Attack(_), Arm::Main) => asks(Condition::Resistance) || asks(Condition::Generalization),
            (Before::Attack(_), Arm::CrossDomain) => asks(Condition::Generalization),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ladder(first: u64, most: u64) -> Vec<u64> {
        let seeds = Seeds { first, most };
        let count = looks(seeds);
        (0..count).map(|look| at(seeds, look, count)).collect()
    }

    #[test]
    fn seeds_grow_evenly_to_their_most() {
        assert_eq!(ladder(3, 12), [3, 5, 8, 12]);
        assert_eq!(ladder(3, 9), [3, 5, 9]);
        assert_eq!(ladder(1, 2), [1, 2]);
        assert_eq!(ladder(9, 10), [9, 10]);
        assert_eq!(ladder(4, 4), [4]);
        for (first, most) in (1..=20).flat_map(|first| (first..=100).map(move |most| (first, most))) {
            let ladder = ladder(first, most);
            assert_eq!((ladder[0], ladder.last()), (first, Some(&most)));
            assert!(ladder.is_sorted(), "{ladder:?}");
        }
    }
}
