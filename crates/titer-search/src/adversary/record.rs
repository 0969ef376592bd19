//! What a search for attacks leaves: every trial with what it came to.

use serde::{Deserialize, Serialize};
use titer_lab::Result;
use titer_plan::Mechanism;
use titer_store::Store;

use super::space::Stated;

/// A search of attacks against the defences of an experiment, and what came of it so far.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attempts {
    /// The experiment.
    pub experiment: String,
    /// What costs are counted in.
    pub unit: String,
    /// Methods that cannot be carried out here, each with the reason.
    pub left_out: Vec<(String, String)>,
    /// Defence by defence, and of each mechanism by mechanism.
    pub defences: Vec<Attempt>,
    /// Whether the search came to its end.
    pub finished: bool,
}

/// The search against one defence in one way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attempt {
    /// The defence's label.
    pub defence: String,
    /// How its attacks act.
    pub mechanism: Mechanism,
    /// The trials, in their order.
    pub trials: Vec<AttackTrial>,
}

/// One attack that was tried.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttackTrial {
    /// Its number, from 0.
    pub number: usize,
    /// The attack, as a spec states it.
    pub attack: String,
    /// Why it was tried.
    pub origin: Origin,
    /// Optimiser steps made.
    pub steps: u64,
    /// The greatest mean harmfulness at any checkpoint.
    pub harm: f64,
    /// What had been spent where it broke the victim; none where it did not.
    pub broken: Option<u64>,
    /// The same where the victim kept its ability besides.
    pub broken_and_able: Option<u64>,
    /// Floating-point operations that it took, probes included, as estimated.
    pub flops: f64,
    /// Whether it failed, so that nothing more is known of it than stands here.
    pub failed: bool,
    /// How it ended, in a sentence.
    pub end: String,
}

/// Why an attack was tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// The spec names it, or it was the best against the undefended model.
    Warm,
    /// Drawn from the whole space.
    Drawn,
    /// Proposed near what did best.
    Near,
}

impl AttackTrial {
    pub(super) fn new(number: usize, stated: &Stated, origin: Origin) -> Self {
        let varied: Vec<String> = stated.varied.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let attack = match varied.is_empty() {
            true => stated.method.clone(),
            false => format!("{}/{}", stated.method, varied.join(",")),
        };
        let (steps, harm, flops) = (0, 0.0, 0.0);
        let (broken, broken_and_able, end) = (None, None, String::new());
        Self { number, attack, origin, steps, harm, broken, broken_and_able, flops, failed: false, end }
    }
}

impl Attempts {
    pub(super) fn save(&self, store: &Store) -> Result<()> {
        Ok(store.experiment(&self.experiment)?.save_search(&serde_json::to_string_pretty(self)?)?)
    }
}
