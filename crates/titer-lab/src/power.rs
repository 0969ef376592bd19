//! What a plan's seeds can decide, from what was measured before or from what is assumed.

use std::collections::BTreeMap;

use serde::Serialize;
use titer_conditions::{Design, PARTS, Power, Quantity, Spread, power, spreads};
use titer_plan::spec::{AttackEntry, ConditionSettings, DefenceEntry, Experiment};
use titer_plan::stage::Sequential;
use titer_plan::{Ladder, ThreatModel};

use crate::Result;
use crate::results::Results;

/// Probes over which resistance is decided: seen and unseen.
const PROBES_DECIDED: usize = 2;

/// What the seeds of an experiment can decide.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlannedPower {
    /// Defences that are measured alike, together.
    pub groups: Vec<PowerGroup>,
    /// What the chances rest on, part by part.
    pub spreads: Vec<KnownSpread>,
}

/// Defences that are measured alike.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PowerGroup {
    /// Their labels.
    pub defences: Vec<String>,
    /// What they are measured by.
    pub design: Design,
    /// What that can decide.
    #[serde(flatten)]
    pub power: Power,
}

/// One standard deviation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct KnownSpread {
    /// Of what.
    pub quantity: Quantity,
    /// Between what: one of [`PARTS`].
    pub part: &'static str,
    /// In the quantity's unit.
    pub value: f64,
    /// How it is known.
    pub known: Known,
}

/// How a standard deviation is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Known {
    /// By earlier runs.
    Measured,
    /// It was said on the command line.
    Given,
    /// Nothing is known: what the preset `apothecary` measured.
    Assumed,
}

/// One standard deviation that is given: `titer.attack=0.3`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GivenSpread {
    /// Of what.
    pub quantity: Quantity,
    /// Between what.
    pub part: &'static str,
    /// In the quantity's unit.
    pub value: f64,
}

impl std::str::FromStr for GivenSpread {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let form = || format!("`{text}` is not of the form QUANTITY.PART=NUMBER, as titer.attack=0.3");
        let (name, value) = text.split_once('=').ok_or_else(form)?;
        let (quantity, part) = name.split_once('.').ok_or_else(form)?;
        let names = Quantity::ALL.map(Quantity::name);
        let quantity = Quantity::ALL.into_iter().find(|known| known.name() == quantity.trim());
        let quantity =
            quantity.ok_or_else(|| format!("no quantity of that name: there are {}", names.join(", ")))?;
        let part = PARTS.into_iter().find(|known| *known == part.trim());
        let part = part.ok_or_else(|| format!("no part of that name: there are {}", PARTS.join(", ")))?;
        let value: f64 = value.trim().parse().map_err(|_| form())?;
        match value >= 0.0 && value.is_finite() {
            true => Ok(Self { quantity, part, value }),
            false => Err("a standard deviation is a number of at least 0".to_owned()),
        }
    }
}

/// What each defence of an experiment is to be measured by; none of the undefended model.
fn designs(experiment: &Experiment) -> Vec<(&DefenceEntry, Design)> {
    let size = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
    let delivered = experiment.threat_model == ThreatModel::FineTuningApi;
    let checkpoints = |entry: &AttackEntry| match delivered {
        true => 1,
        false => entry.mechanism.checkpoints(&experiment.probe.cadence).len(),
    };
    let places =
        experiment.attack.iter().map(|entry| entry.points().len() * checkpoints(entry)).sum::<usize>();
    let lenders = experiment.defence.iter().filter(|entry| entry.role.lends()).count();
    let design = |entry: &DefenceEntry| Design {
        defence_seeds: size(entry.seeds.most),
        // The attacker has the choice, so that the attack with the fewest seeds may be the one.
        attack_seeds: size(experiment.attack.iter().map(|entry| entry.seeds.most).min().unwrap_or(0)),
        tuning_seeds: match experiment.trainability.rates.is_empty() {
            true => 0,
            false => size(experiment.trainability.seeds.most),
        },
        probe_items: experiment.probe.items,
        ability_items: experiment.stability.items,
        tuning_items: experiment.trainability.items,
        others: lenders - usize::from(entry.role.lends()),
        places: PROBES_DECIDED * places,
        cross_domain: experiment.cross_domain.is_some(),
    };
    let defended = experiment.defence.iter().filter(|entry| !entry.is_baseline());
    defended.map(|entry| (entry, design(entry))).collect()
}

/// What the seeds of `experiment` can decide, with the spreads of `earlier` runs where they tell, and those that are
/// given in any case. Of seeds that are added until all is decided: what the most of them decide at the last look, at its
/// level; looks before may decide it as well.
///
/// # Errors
/// When the frame of the earlier runs is not what it should be.
pub fn planned_power(
    experiment: &Experiment,
    earlier: Option<&Results>,
    given: &[GivenSpread],
) -> Result<PlannedPower> {
    let measured = match earlier {
        Some(results) if results.probes.height() > 0 => spreads(&results.evidence())?,
        _ => BTreeMap::new(),
    };
    let mut known = Vec::new();
    let mut used = BTreeMap::<Quantity, Spread>::new();
    for quantity in Quantity::ALL {
        let found = measured.get(&quantity).copied().unwrap_or_default();
        let mut spread = found.or(Spread::assumed(quantity));
        for part in PARTS {
            let stated = given.iter().rev().find(|given| given.quantity == quantity && given.part == part);
            let Some(value) = spread.part(part) else { continue };
            let how = match (stated, found.has(part)) {
                (Some(stated), _) => {
                    *value = stated.value;
                    Known::Given
                }
                (None, true) => Known::Measured,
                (None, false) => Known::Assumed,
            };
            known.push(KnownSpread { quantity, part, value: *value, known: how });
        }
        used.insert(quantity, spread);
    }
    let settings = experiment.conditions;
    let levels = Ladder::of(experiment).levels(1.0 - settings.confidence);
    let last = levels.last().map_or(settings.confidence, |level| 1.0 - level);
    // What probes that end early may err by is taken from what intervals may. Stability and trainability keep all of α, and
    // a little more chance than is said here.
    let spent = if experiment.probe.sequential { Sequential::SHARE } else { 0.0 };
    let settings = ConditionSettings { confidence: last + spent * (1.0 - last), ..settings };
    let mut groups: Vec<PowerGroup> = Vec::new();
    for (entry, design) in designs(experiment) {
        match groups.iter_mut().find(|group| group.design == design) {
            Some(group) => group.defences.push(entry.label.clone()),
            None => groups.push(PowerGroup {
                defences: vec![entry.label.clone()],
                design,
                power: power(&design, &used, &settings),
            }),
        }
    }
    Ok(PlannedPower { groups, spreads: known })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spreads_are_given_by_name() {
        let given: GivenSpread = "titer.attack = 0.3".parse().unwrap();
        assert_eq!(given, GivenSpread { quantity: Quantity::Titer, part: "attack", value: 0.3 });
        let fails = |text: &str, says: &str| {
            let error = text.parse::<GivenSpread>().unwrap_err();
            assert!(error.contains(says), "{error}");
        };
        fails("titer", "QUANTITY.PART=NUMBER");
        fails("titre.attack=1", "there are titer, carried");
        fails("titer.seeds=1", "there are defence, attack, item, gap");
        fails("titer.attack=-1", "at least 0");
        fails("titer.attack=much", "QUANTITY.PART=NUMBER");
    }
}
