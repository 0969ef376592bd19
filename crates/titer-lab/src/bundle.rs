//! Packs an experiment of a store into one file.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};
use titer_plan::{Plan, StageHash};
use titer_store::{Machine, Packed, Packing, Store, Weights};

use crate::Result;
use crate::catalogue::stored_plan;

/// What computed some stages: version, revision, features, device, instructions, machine.
type Environment = (String, Option<String>, Vec<String>, Option<String>, Vec<String>, Option<Machine>);

/// Writes an experiment's bundle: spec, plan, verdicts, what is sealed, and what computed it.
///
/// # Errors
/// When there is no such experiment, a file of it is not what was sealed, or the bundle cannot be written.
pub fn bundle(store: &Store, experiment: &str, weights: Weights, out: &Path) -> Result<Packed> {
    let plan = stored_plan(store, experiment)?;
    let environment = serde_json::to_string_pretty(&json!({ "computed": computed(store, &plan)? }))?;
    let stages: Vec<StageHash> = plan.stages.into_iter().map(|stage| stage.hash).collect();
    Ok(store.pack(&Packing { experiment, stages: &stages, weights, environment: &environment }, out)?)
}

/// Every environment that sealed stages were computed in, and how many were: the same for the same store, whoever packs.
pub(crate) fn computed(store: &Store, plan: &Plan) -> Result<Vec<Value>> {
    let mut computed = BTreeMap::<Environment, usize>::new();
    for stage in &plan.stages {
        let artifact = store.artifact(&stage.hash);
        if artifact.is_sealed() {
            let made = artifact.manifest()?;
            let key = (made.version, made.git, made.features, made.device, made.instructions, made.machine);
            *computed.entry(key).or_default() += 1;
        }
    }
    Ok(computed
        .into_iter()
        .map(|((version, git, features, device, instructions, machine), stages)| {
            json!({
                "version": version,
                "git": git,
                "features": features,
                "device": device,
                "instructions": instructions,
                "machine": machine,
                "stages": stages,
            })
        })
        .collect())
}
