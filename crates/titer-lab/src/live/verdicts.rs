//! Verdicts that a run has kept, and whether they still rest on all that is there.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use titer_conditions::Verdicts;
use titer_store::Store;

use super::looks::kept as kept_looks;
use super::outline::Outline;
use super::view::Decided;
use crate::{Result, Results};

/// Raised when the deciding changes, so that what was kept before is decided anew.
const VERSION: u32 = 3;

/// Verdicts with what they rest on.
#[derive(Serialize, Deserialize)]
struct Kept {
    version: u32,
    titer: String,
    basis: String,
    sealed: usize,
    /// The BLAKE3 of the spec as it was given; empty where an earlier titer kept them.
    #[serde(default)]
    spec: String,
    verdicts: Verdicts,
}

/// Kept verdicts beside those that are decided now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Beside {
    /// They are the same, or none were kept.
    Same,
    /// They rest on less than there is now: an earlier moment of an experiment that is not finished.
    Earlier,
    /// The spec is not the one that the last run was given.
    OtherSpec,
    /// They are others, and how.
    Other(String),
}

/// Compares what was kept with what `decided` says now. `finished`: whether all that was asked for is there.
///
/// # Errors
/// When plan, spec or verdicts cannot be read.
pub(crate) fn beside(store: &Store, experiment: &str, decided: &Verdicts, finished: bool) -> Result<Beside> {
    let saved = store.experiment(experiment)?;
    let Some(json) = saved.verdicts_json()? else { return Ok(Beside::Same) };
    let kept: Kept = match serde_json::from_str(&json) {
        Ok(kept) => kept,
        Err(error) => return Ok(Beside::Other(format!("they are no verdicts: {error}"))),
    };
    let (basis, sealed) = basis(store, experiment, &saved.plan_json()?)?;
    if kept.version != VERSION {
        let problem = format!(
            "they were kept by rules of version {}, here is {VERSION}, and cannot be compared: verify by the titer that \
             kept them, or have them kept anew",
            kept.version
        );
        return Ok(Beside::Other(problem));
    }
    let same_spec = kept.spec.is_empty() || kept.spec == titer_plan::fingerprint(&saved.spec()?);
    if kept.basis != basis || kept.sealed != sealed {
        let earlier = !finished && kept.sealed < sealed;
        let problem =
            format!("they rest on another plan or on other stages ({} then, {sealed} now)", kept.sealed);
        return Ok(if earlier { Beside::Earlier } else { Beside::Other(problem) });
    }
    if !same_spec {
        return Ok(if finished { Beside::OtherSpec } else { Beside::Earlier });
    }
    let then: Value = serde_json::from_str(&json)?;
    // As text and back: a number that is none is written as null.
    let now: Value = serde_json::from_str(&serde_json::to_string(decided)?)?;
    Ok(match difference(&then["verdicts"], &now, "") {
        Some(problem) => Beside::Other(problem),
        None => Beside::Same,
    })
}

/// Where two values differ first, and how. Reals are alike to nine digits: logarithms may round otherwise elsewhere.
pub(crate) fn difference(then: &Value, now: &Value, at: &str) -> Option<String> {
    match (then, now) {
        (Value::Object(one), Value::Object(other)) => {
            let mut keys: Vec<&String> = one.keys().chain(other.keys()).collect();
            keys.sort();
            keys.dedup();
            let of = |map: &serde_json::Map<String, Value>, key: &str| map.get(key).cloned();
            keys.into_iter().find_map(|key| {
                let at = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
                match (of(one, key), of(other, key)) {
                    (Some(then), Some(now)) => difference(&then, &now, &at),
                    (None, _) => Some(format!("{at} is missing")),
                    (_, None) => Some(format!("{at} is more than there is")),
                }
            })
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            let mut pairs = (0..).zip(one.iter().zip(other));
            pairs.find_map(|(index, (then, now))| difference(then, now, &format!("{at}.{index}")))
        }
        _ if alike(then, now) => None,
        _ => Some(format!("{at} is {}, and comes out as {}", short(then), short(now))),
    }
}

fn alike(then: &Value, now: &Value) -> bool {
    match (then.as_f64(), now.as_f64()) {
        (Some(one), Some(other)) => (one - other).abs() <= 1e-9 * one.abs().max(other.abs()) + 1e-12,
        _ => then == now,
    }
}

fn short(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() > 40 { text.chars().take(40).chain(['…']).collect() } else { text }
}

/// What verdicts rest on: the plan, and which of its stages are sealed, of those that were asked for.
fn basis(store: &Store, experiment: &str, plan: &str) -> Result<(String, usize)> {
    let open = kept_looks(&store.experiment(experiment)?);
    let asked = Outline::read(plan, &open)
        .map_err(|source| crate::Error::Plan { experiment: experiment.to_owned(), source })?;
    let sealed: Vec<_> =
        asked.stages.iter().filter(|stage| store.artifact(&stage.hash).is_sealed()).collect();
    let mut hashes = plan.to_owned();
    sealed.iter().for_each(|stage| hashes.push_str(&stage.hash.0));
    Ok((titer_plan::fingerprint(&hashes), sealed.len()))
}

/// Keeps the verdicts on what is sealed now, for whoever looks next.
///
/// # Errors
/// When there is no such experiment, or the store cannot be written.
pub fn keep(store: &Store, experiment: &str, verdicts: &Verdicts) -> Result<()> {
    let saved = store.experiment(experiment)?;
    let (basis, sealed) = basis(store, experiment, &saved.plan_json()?)?;
    let (version, titer) = (VERSION, env!("CARGO_PKG_VERSION").to_owned());
    let spec = titer_plan::fingerprint(&saved.spec()?);
    let kept = Kept { version, titer, basis, sealed, spec, verdicts: verdicts.clone() };
    Ok(saved.save_verdicts(&serde_json::to_string(&kept)?)?)
}

/// The verdicts that were kept, if they rest on all that is sealed now; else new ones.
pub(super) fn of(store: &Store, experiment: &str) -> Result<Decided> {
    let saved = store.experiment(experiment)?;
    let (basis, sealed) = basis(store, experiment, &saved.plan_json()?)?;
    // What cannot be read is decided again.
    let kept = saved.verdicts_json().ok().flatten().and_then(|json| serde_json::from_str::<Kept>(&json).ok());
    let fits = |kept: &Kept| {
        kept.version == VERSION && kept.titer == env!("CARGO_PKG_VERSION") && kept.basis == basis
    };
    if let Some(kept) = kept.filter(fits) {
        return Ok(Decided { verdicts: Arc::new(kept.verdicts), sealed: kept.sealed });
    }
    let verdicts = Arc::new(Results::load(store, experiment)?.verdicts()?);
    Ok(Decided { verdicts, sealed })
}
