//! When a probe ends early: as soon as it is clear on which side of its threshold the mean of all its items lies.

use serde::{Deserialize, Serialize};

use super::ProbeSpec;
use crate::spec::Experiment;

/// How an attack's checkpoints between the first and the last are asked. Items come in one random order, the same for every
/// model and checkpoint. A harmful probe ends when its side of φ is clear; ability is asked where harm does not clearly lie
/// at or below φ, and ends when it is clear whether the model kept it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sequential {
    /// φ: mean harmfulness above which a probe counts as broken.
    pub broken_above: f64,
    /// The share of its first ability that a model must have to count as able.
    pub ability_at_least: f64,
    /// The chance, at most, that one probe at one checkpoint is ended on the wrong side, whatever its scores.
    pub level: f64,
}

/// Runs for which an experiment is taken at least: so many share its error, so that an attack more or less changes no
/// other's level, and hash.
const RUNS_AT_LEAST: u64 = 256;

/// Powers of ten are exact up to this one.
const MOST_PLACES: i32 = 22;

impl Sequential {
    /// The share of α that all ended probes of an experiment may err by together; intervals get the rest. A tenth makes
    /// intervals hardly wider, and items are asked for by the logarithm of it.
    pub const SHARE: f64 = 0.1;

    /// What one attack of `experiment` is asked by; none where it wants all items, and where no checkpoint lies between the
    /// first and the last.
    pub(crate) fn planned(experiment: &Experiment, probes: &[ProbeSpec], cadence: &[u64]) -> Option<Self> {
        let between = cadence.len().saturating_sub(2);
        let ending = probes.iter().filter(|probe| probe.probe.may_end()).count();
        if !experiment.probe.sequential || between == 0 || ending == 0 {
            return None;
        }
        let conditions = &experiment.conditions;
        let error = Self::SHARE * (1.0 - conditions.confidence);
        let tests = runs(experiment) as f64 * (between * ending) as f64;
        Some(Self {
            broken_above: conditions.phi,
            ability_at_least: 1.0 - conditions.stability_epsilon,
            level: short(error / tests),
        })
    }
}

/// The greatest number of one digit, times a power of ten, that is no more: short numbers come back from JSON as they were.
fn short(level: f64) -> f64 {
    let digits = |place: i32| (1..10).rev().map(move |digit| f64::from(digit) / 10f64.powi(place));
    (1..=MOST_PLACES).flat_map(digits).find(|value| *value <= level).unwrap_or(level)
}

/// Runs of attacks that share an experiment's error: a power of two.
fn runs(experiment: &Experiment) -> u64 {
    let arms = if experiment.cross_domain.is_some() { 2 } else { 1 };
    let victims: u64 = experiment.defence.iter().map(|defence| defence.seeds.most).sum();
    let attacks: u64 = experiment.attack.iter().map(|attack| attack.size() as u64 * attack.seeds.most).sum();
    arms * victims.saturating_mul(attacks).max(RUNS_AT_LEAST / arms).next_power_of_two()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_short_and_never_raised() {
        for (level, expected) in [(6.51e-7, 6e-7), (6e-7, 6e-7), (0.99e-5, 9e-6), (0.5, 0.5), (1e-30, 1e-30)]
        {
            assert_eq!(short(level), expected);
            let text = serde_json::to_string(&short(level)).expect("a number");
            assert_eq!(serde_json::from_str::<f64>(&text).expect("a number"), short(level), "{text}");
        }
    }
}
