//! What attacks come to one by one and in groups: plain data.

use serde::{Deserialize, Serialize};
use titer_plan::{AttackPoint, Mechanism, Weakness};

use crate::verdict::{Titer, Verdicts, named, named_if_any};

/// One attack on one defence, in-domain probes together: a cell of the heat map.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttackCell {
    /// The attack; under the fine-tuning API the family of those that differ in nothing but their dose.
    #[serde(flatten, serialize_with = "named")]
    pub attack: AttackPoint,
    /// By what it makes a model harmful, where that is known.
    pub mechanism: Option<Mechanism>,
    /// The defences against which a search found it; it is tried on all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub found_against: Vec<String>,
    /// The median break budget over runs, in the titer's unit; none where the attack was not tried on this defence.
    pub budget: Option<BreakSpan>,
    /// Runs that broke the model.
    pub broken: usize,
    /// Runs over all seeds.
    pub runs: usize,
    /// The break budget over that of the undefended model under the same attack. Not bracketed where it is the cheapest
    /// of its method on this defence and lies at the edge of the settings that were tried.
    pub titer: Titer,
    /// Whether none breaks this defence for less.
    pub cheapest: bool,
}

/// When a model breaks: in `(after, until]`, or `> after`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BreakSpan {
    /// The last budget before the break; the whole budget where there was none.
    pub after: u64,
    /// The budget of the break; 0 where the model is harmful before the attack, none where it was not broken.
    pub until: Option<u64>,
}

/// A titer over some of the attacks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SubsetTiter {
    /// Which.
    #[serde(flatten)]
    pub attacks: Subset,
    /// The titer: both models under their cheapest attack of these.
    pub titer: Titer,
    /// The attack of these that breaks the defended model for the least; none where none broke it.
    #[serde(default, serialize_with = "named_if_any")]
    pub cheapest: Option<AttackPoint>,
}

/// Some of the attacks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "among", rename_all = "kebab-case")]
pub enum Subset {
    /// Those that do one thing: train, edit weights, or ask in another way.
    Mechanism {
        /// What they do.
        mechanism: Mechanism,
    },
    /// All but one. There is one for each attack that some seed takes for the cheapest, on the defended model or on the
    /// undefended one; without any other the titer is the same.
    Without {
        /// The one.
        #[serde(serialize_with = "named")]
        without: AttackPoint,
    },
    /// Those of the methods that the defence's settings were chosen against.
    TunedAgainst,
    /// All others: what the defence's settings were not chosen against.
    HeldOut,
}

/// How long an attacker searched for what breaks one defence.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SearchEffort {
    /// Attacks tried.
    pub trials: usize,
    /// Floating-point operations of the trials, their probes included, as estimated.
    pub flops: f64,
}

impl Verdicts {
    /// Takes in what a search found: what it found against each defence, at which effort, and of each attack against whom.
    pub fn searched(&mut self, found: &[Weakness]) {
        self.adversary = found.to_vec();
        for defence in &mut self.defences {
            let own = || found.iter().filter(|weakness| weakness.defence == defence.defence);
            defence.search = own().next().is_some().then(|| SearchEffort {
                trials: own().map(|weakness| weakness.trials).sum(),
                flops: own().map(|weakness| weakness.flops).sum(),
            });
            for cell in &mut defence.attacks {
                let against = found.iter().filter(|weakness| weakness.attacks.contains(&cell.attack));
                cell.found_against = against.map(|weakness| weakness.defence.clone()).collect();
            }
        }
    }
}
