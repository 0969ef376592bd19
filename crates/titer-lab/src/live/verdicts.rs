//! Verdicts that a run has kept, and whether they still rest on all that is there.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
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
    verdicts: Verdicts,
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
    let kept = Kept { version, titer, basis, sealed, verdicts: verdicts.clone() };
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
