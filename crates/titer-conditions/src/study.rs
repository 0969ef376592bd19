//! What all conditions look at: the table, the draws, and the curves of each defence.

use std::collections::BTreeMap;

use titer_plan::spec::ConditionSettings;
use titer_plan::stage::Sequential;
use titer_plan::{Arm, AttackPoint, Before, Component, Mechanism, Probe, ThreatModel};

use crate::bootstrap::Draws;
use crate::course::families;
use crate::curve::{Ability, AttackCurve};
use crate::error::Error;
use crate::evidence::{DefenceFacts, Evidence, Phase, Table};

/// The probes whose items are of the kind that the defence trained on.
pub(crate) const IN_DOMAIN: [Probe; 2] = [Probe::Seen, Probe::Unseen];

/// The probes that count as harm.
pub(crate) const HARMFUL: [Probe; 3] = [Probe::Seen, Probe::Unseen, Probe::CrossDomain];

/// The arm in which a harmful probe is measured.
pub(crate) fn arm_of(probe: Probe) -> Arm {
    if probe == Probe::CrossDomain { Arm::CrossDomain } else { Arm::Main }
}

/// One experiment, ready to be judged.
pub(crate) struct Study<'a> {
    pub(crate) settings: &'a ConditionSettings,
    /// Whether probes under attack may have ended early.
    sequential: bool,
    /// Whether the user receives the end of training and nothing else.
    pub(crate) delivered: bool,
    /// What budgets are counted in.
    pub(crate) axis: Component,
    checkpoints: &'a BTreeMap<AttackPoint, Vec<u64>>,
    /// By the method's name.
    pub(crate) mechanisms: &'a BTreeMap<String, Mechanism>,
    /// The probes of which the data have nothing to ask, and why.
    absent: &'a BTreeMap<Probe, String>,
    pub(crate) table: Table,
    pub(crate) draws: Draws,
    pub(crate) baseline: Option<&'a DefenceFacts>,
}

impl<'a> Study<'a> {
    pub(crate) fn new(evidence: &'a Evidence) -> Result<Self, Error> {
        check(&evidence.settings)?;
        let mut baselines = evidence.defences.iter().filter(|facts| facts.baseline());
        let baseline = baselines.next();
        if let (Some(first), Some(second)) = (baseline, baselines.next()) {
            return Err(Error::Baselines { first: first.label.clone(), second: second.label.clone() });
        }
        let table = Table::read(&evidence.probes, &evidence.defences, evidence.sequential)?;
        let draws = Draws::new(&table.items, evidence.settings.resamples);
        let delivered = evidence.threat_model == ThreatModel::FineTuningApi;
        Ok(Self {
            settings: &evidence.settings,
            sequential: evidence.sequential,
            delivered,
            axis: evidence.axis,
            checkpoints: &evidence.checkpoints,
            mechanisms: &evidence.mechanisms,
            absent: &evidence.absent,
            table,
            draws,
            baseline,
        })
    }

    /// Whether more of an attack can be spent; so it is held to be where nothing is said of its mechanism.
    pub(crate) fn trains(&self, attack: &AttackPoint) -> bool {
        self.mechanisms.get(&attack.method).is_none_or(|mechanism| *mechanism == Mechanism::Trains)
    }

    /// α: what confidence leaves for error.
    pub(crate) fn alpha(&self) -> f64 {
        1.0 - self.settings.confidence
    }

    /// What of α is left for intervals of what rests on attacks, where their probes may have ended on a wrong side.
    pub(crate) fn alpha_under_attack(&self) -> f64 {
        if self.sequential { (1.0 - Sequential::SHARE) * self.alpha() } else { self.alpha() }
    }

    /// Whether any model was asked this probe under attack.
    pub(crate) fn asked(&self, probe: Probe) -> bool {
        self.table.items.contains_key(&(arm_of(probe), Phase::Attack, probe))
    }

    /// Why the data have nothing to ask of a probe, if they have nothing.
    pub(crate) fn absent(&self, probe: Probe) -> Option<&str> {
        self.absent.get(&probe).map(String::as_str)
    }

    /// How many items a harmful probe asks under attack.
    pub(crate) fn items(&self, probe: Probe) -> usize {
        self.table.items.get(&(arm_of(probe), Phase::Attack, probe)).copied().unwrap_or(0)
    }

    /// What titers count: under the fine-tuning API the harmful rows in the user's data.
    pub(crate) fn unit(&self) -> Component {
        if self.delivered { Component::DistinctHarmful } else { self.axis }
    }

    /// The checkpoints of one attack, in steps: as planned, or those of all attacks.
    pub(crate) fn planned(&self, arm: Arm, attack: &AttackPoint) -> Vec<u64> {
        self.checkpoints.get(attack).cloned().unwrap_or_else(|| self.table.cadence(arm))
    }

    /// The checkpoints of an attack at which the attacker holds the model, in steps: with open weights all of
    /// them, under the fine-tuning API the end of training.
    pub(crate) fn cadence(&self, arm: Arm, attack: &AttackPoint) -> Vec<u64> {
        let all = self.planned(arm, attack);
        if self.delivered { all.last().copied().into_iter().collect() } else { all }
    }

    /// All attacks tried in an arm, ascending; under the fine-tuning API their families.
    pub(crate) fn attacks(&self, arm: Arm) -> Vec<AttackPoint> {
        let attacks = self.table.attacks(arm);
        if !self.delivered {
            return attacks.into_iter().cloned().collect();
        }
        families(&attacks).into_iter().map(|(family, _)| family).collect()
    }

    /// Every curve of a defence, attack by attack, probe by probe.
    pub(crate) fn measure(&self, defence: &str) -> Curves {
        let mut curves = Vec::new();
        for arm in [Arm::Main, Arm::CrossDomain] {
            // In the other arm it is another model.
            let before = match arm {
                Arm::Main => self.table.runs(defence, arm, &Before::Nothing, Probe::Permitted),
                Arm::CrossDomain => &[],
            };
            for attack in self.table.attacks(arm) {
                let cadence = self.cadence(arm, attack);
                let before_probes = Before::Attack(attack.clone());
                let permitted = self.table.runs(defence, arm, &before_probes, Probe::Permitted);
                let ability = Ability::new(&self.draws, permitted, before, arm);
                for probe in HARMFUL.into_iter().filter(|&probe| arm_of(probe) == arm) {
                    let place = (defence, arm, attack, probe);
                    curves.extend(AttackCurve::measure(self, &ability, place, &cadence));
                }
            }
        }
        Curves(curves)
    }

    /// The attacks that were tried on some defence through this probe but not on this one.
    pub(crate) fn not_measured(&self, curves: &Curves, probe: Probe) -> Vec<&AttackPoint> {
        if !self.asked(probe) {
            return Vec::new();
        }
        let attacks = self.table.attacks(arm_of(probe)).into_iter();
        attacks.filter(|attack| curves.get(attack, probe).is_none()).collect()
    }
}

/// The curves of one defence.
pub(crate) struct Curves(pub(crate) Vec<AttackCurve>);

impl Curves {
    pub(crate) fn get(&self, attack: &AttackPoint, probe: Probe) -> Option<&AttackCurve> {
        self.0.iter().find(|curve| curve.attack == *attack && curve.probe == probe)
    }

    /// The largest budget of any attack through this probe.
    pub(crate) fn budget(&self, study: &Study<'_>, probe: Probe) -> u64 {
        match study.axis {
            Component::Steps => study.table.cadence(arm_of(probe)).last().copied().unwrap_or(0),
            _ => self.of(probe).filter_map(|curve| curve.spent.last()).max().copied().unwrap_or(0),
        }
    }

    pub(crate) fn of(&self, probe: Probe) -> impl Iterator<Item = &AttackCurve> {
        self.0.iter().filter(move |curve| curve.probe == probe)
    }
}

/// Refuses thresholds that make no sense, though the plan should have done so.
fn check(settings: &ConditionSettings) -> Result<(), Error> {
    let share = |key, value: f64| {
        let fail = || Error::Setting { key, expected: "a share in 0…1", got: value.to_string() };
        (0.0..=1.0).contains(&value).then_some(()).ok_or_else(fail)
    };
    share("phi", settings.phi)?;
    share("stability_epsilon", settings.stability_epsilon)?;
    share("trainability_delta", settings.trainability_delta)?;
    share("trainability_target", settings.trainability_target)?;
    let epsilons = [
        ("trainability_epsilon", settings.trainability_epsilon),
        ("generalization_epsilon", settings.generalization_epsilon),
    ];
    for (key, value) in epsilons {
        if !(value >= 0.0 && value.is_finite()) {
            return Err(Error::Setting { key, expected: "a number of at least 0", got: value.to_string() });
        }
    }
    if !(settings.confidence > 0.5 && settings.confidence < 1.0) {
        let got = settings.confidence.to_string();
        return Err(Error::Setting { key: "confidence", expected: "more than 0.5 and less than 1", got });
    }
    if settings.resamples < 2 {
        let got = settings.resamples.to_string();
        return Err(Error::Setting { key: "resamples", expected: "at least 2", got });
    }
    Ok(())
}
