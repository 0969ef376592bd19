//! The attacker that searches: what it may try, and what it found.

use serde::{Deserialize, Serialize};

use crate::before::AttackPoint;
use crate::declared::ADVERSARY;
use crate::limits::Limits;
use crate::method::Mechanism;
use crate::mistake::advice;
use crate::table::Table;
use crate::vocabulary::ThreatModel;

/// What an adversary may try, as the spec says it, and what it found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Adversary {
    /// Attacks tried on each defence.
    pub trials: usize,
    /// The methods that it chooses from; none for all that can be carried out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub methods: Option<Vec<String>>,
    /// The least and the greatest learning rate.
    pub rates: [f64; 2],
    /// The batches.
    pub batches: Vec<u64>,
    /// Distinct harmful examples that it owns.
    pub examples: usize,
    /// Attacks of each defence and mechanism that are tried on all.
    pub keep: usize,
    /// How often each of them is run.
    pub seeds: u64,
    /// Items of each probe of the search; none for as many as a probe has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub items: Option<usize>,
    /// What it found, once it has searched. No spec says it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub found: Vec<Weakness>,
}

/// What an adversary found against one defence in one way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Weakness {
    /// The defence's label.
    pub defence: String,
    /// How these attacks act: each way is searched apart.
    pub mechanism: Mechanism,
    /// The attacks that are tried on all defences because of it, the cheapest first.
    pub attacks: Vec<AttackPoint>,
    /// Attacks tried.
    pub trials: usize,
    /// Attacks that failed when they were tried, so that nothing is known of them.
    #[serde(default)]
    pub failed: usize,
    /// Floating-point operations of the trials, their probes included, as estimated.
    pub flops: f64,
}

/// Reads `[adversary]`.
pub(crate) fn adversary(
    table: &mut Table<'_>,
    limits: &Limits<'_>,
    threat_model: Option<ThreatModel>,
) -> Option<Adversary> {
    let mut values = table.read(ADVERSARY.keys.iter().copied(), limits);
    values.insert_default("keep", 1.into());
    let rates = values
        .get("rates")
        .and_then(|rates| rates.as_array())
        .map(|rates| rates.iter().filter_map(serde_json::Value::as_f64).collect::<Vec<f64>>());
    if let Some(rates) = rates
        && !matches!(rates[..], [least, greatest] if least < greatest)
    {
        let remedy = "write the least and the greatest, like [1e-4, 3e-2]";
        return table.reject("rates", format!("expected two rates that ascend, got {rates:?}"), remedy);
    }
    let read: Adversary = values.typed(table)?;
    if threat_model? == ThreatModel::FineTuningApi {
        let problem = "a user of a fine-tuning API gets one model, and has nothing to search by";
        return table.reject("trials", problem, "leave [adversary] out and list the attacks");
    }
    for name in read.methods.iter().flatten() {
        let known = &limits.catalogue.attacks;
        let Some(method) = known.iter().find(|method| method.name == name) else {
            let remedy = advice(name, known.iter().map(|method| method.name));
            return table.reject("methods", format!("there is no attack {name:?}"), remedy);
        };
        let under = method.attack().map(|facts| facts.threat_models.as_slice()).unwrap_or_default();
        if !under.contains(&ThreatModel::OpenWeights) {
            let problem = format!("`{name}` cannot be carried out under {}", ThreatModel::OpenWeights);
            return table.reject("methods", problem, "leave it out");
        }
    }
    if let Some((available, reason)) = limits.attack_examples()
        && read.examples > available
    {
        let problem = format!("there are only {available} examples, not {}", read.examples);
        return table.reject("examples", problem, reason);
    }
    if let Some(batch) = read.batches.iter().find(|batch| **batch > read.examples as u64) {
        let problem = format!("a batch of {batch} is more than the {} examples that it owns", read.examples);
        return table.reject("batches", problem, "leave it out, or raise `examples`");
    }
    Some(read)
}
