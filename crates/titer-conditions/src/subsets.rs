//! Titers over some of the attacks, each by the code of the titer over all: by what they do, all but one, those that
//! a defence's settings were chosen against and those held out.
//!
//! What edits weights or asks in another way costs one of whatever is counted, so that over all attacks it hides what
//! training costs.

use std::collections::{BTreeMap, BTreeSet};

use titer_plan::{AttackPoint, Mechanism};

use crate::course::{Among, unbounded};
use crate::evidence::DefenceFacts;
use crate::panel::Panel;
use crate::study::{IN_DOMAIN, arm_of};
use crate::titers::{Titers, undefended};
use crate::verdict::{Subset, SubsetTiter};

/// Those of an experiment, over the undefended model on in-domain probes.
pub(crate) struct Subsets<'a> {
    by_mechanism: Vec<(Mechanism, Titers<'a>)>,
    /// The titers without an attack that carries some.
    without: BTreeMap<AttackPoint, Titers<'a>>,
    /// By label, the attacks that carry the titer of a defence.
    carriers: BTreeMap<String, BTreeSet<AttackPoint>>,
    /// By the methods that settings were chosen against: the titers over them and over all others.
    chosen: BTreeMap<Vec<String>, [Titers<'a>; 2]>,
}

impl<'a> Subsets<'a> {
    /// `overall` are the titers over all attacks.
    pub(crate) fn new(panel: &'a Panel<'a>, overall: &Titers<'_>) -> Self {
        let study = panel.study;
        let attacks = study.attacks(arm_of(IN_DOMAIN[0]));
        let among = |among: Among<'_>| Titers::new(panel, undefended, &IN_DOMAIN, unbounded, among);
        let mechanism = |attack: &AttackPoint| study.mechanisms.get(&attack.method).copied();
        let met = Mechanism::ALL.into_iter();
        let met = met.filter(|own| attacks.iter().any(|attack| mechanism(attack) == Some(*own)));
        let carriers: BTreeMap<String, BTreeSet<AttackPoint>> = panel
            .defences()
            .map(|facts| (facts.label.clone(), overall.carriers(&facts.label).cloned().collect()))
            .collect();
        // Without the only attack there is nothing.
        let all: BTreeSet<&AttackPoint> = carriers.values().flatten().filter(|_| attacks.len() > 1).collect();
        let without = all.into_iter().map(|one| (one.clone(), among(&|attack| attack != one))).collect();
        let lists: BTreeSet<&Vec<String>> =
            panel.defences().map(|facts| &facts.tuned_against).filter(|list| !list.is_empty()).collect();
        let chosen = lists.into_iter().map(|list| {
            let of = |inside: bool| among(&|attack| list.contains(&attack.method) == inside);
            (list.clone(), [of(true), of(false)])
        });
        Self {
            by_mechanism: met.map(|own| (own, among(&|attack| mechanism(attack) == Some(own)))).collect(),
            without,
            carriers,
            chosen: chosen.collect(),
        }
    }

    /// Those of one defence.
    pub(crate) fn of(&self, facts: &DefenceFacts) -> Vec<SubsetTiter> {
        let label = facts.label.as_str();
        let titer = |attacks: Subset, titers: &Titers<'_>| {
            let cheapest = titers.cheapest(label).cloned();
            titers.of(label).map(|titer| SubsetTiter { attacks, titer, cheapest })
        };
        let by_mechanism = self
            .by_mechanism
            .iter()
            .filter_map(|(mechanism, titers)| titer(Subset::Mechanism { mechanism: *mechanism }, titers));
        let without = self.carriers.get(label).into_iter().flatten().filter_map(|attack| {
            titer(Subset::Without { without: attack.clone() }, self.without.get(attack)?)
        });
        let chosen = self.chosen.get(&facts.tuned_against).into_iter().flat_map(|[inside, outside]| {
            [titer(Subset::TunedAgainst, inside), titer(Subset::HeldOut, outside)].into_iter().flatten()
        });
        by_mechanism.chain(without).chain(chosen).collect()
    }
}
