//! One stage of a plan: its artifact against the plan, file by file.

use std::path::PathBuf;

use serde_json::Value;
use titer_plan::{Plan, PlannedStage, canonical};
use titer_store::{Flaw, Manifest};

use super::{Audit, Finding, Remedy, frames};
use crate::stages::ANSWERS_KEY;

/// What was found of a stage.
#[derive(Default)]
pub(super) struct Looked {
    /// Whether it is finished.
    pub(super) sealed: bool,
    pub(super) files: usize,
    pub(super) bytes: u64,
    /// Answers that were judged again.
    pub(super) judged: usize,
    pub(super) left_out: usize,
    pub(super) notes: Vec<String>,
    pub(super) findings: Vec<Finding>,
}

pub(super) fn look(audit: &Audit<'_>, plan: &Plan, stage: &PlannedStage) -> Looked {
    let artifact = audit.store.artifact(&stage.hash);
    let mut looked = Looked { sealed: artifact.is_sealed(), ..Looked::default() };
    if !looked.sealed {
        return looked;
    }
    let audited = artifact.audit(&|name| audit.may_lack(name));
    let whole = audited.flaws.is_empty();
    for flaw in audited.flaws {
        let remedy = if flaw.foreign { Remedy::Drop } else { Remedy::Run };
        looked.findings.push(audit.finding(Some(stage), flaw, remedy));
    }
    let Some(manifest) = audited.manifest else { return looked };
    looked.left_out = audited.absent.len();
    looked.files = manifest.files.len() + 1 - looked.left_out;
    looked.bytes = audited.bytes;
    let mut tell = |path: PathBuf, problem: String| {
        let remedy = Remedy::Remove(artifact.folder());
        looked.findings.push(audit.finding(Some(stage), Flaw::new(path, problem), remedy));
    };
    for problem in of_manifest(stage, &manifest) {
        tell(artifact.manifest_path(), problem);
    }
    // Of files that are not what was sealed nothing more is to be said.
    if whole {
        let told = frames::check(audit.store, plan, stage, &artifact, &manifest);
        told.wrong.into_iter().for_each(|(path, problem)| tell(path, problem));
        looked.judged = told.judged;
        looked.notes = told.notes;
    }
    looked
}

/// Where a manifest says something else than the plan.
fn of_manifest(stage: &PlannedStage, manifest: &Manifest) -> Vec<String> {
    let mut wrong = Vec::new();
    if manifest.kind != stage.spec.kind() {
        wrong.push(format!("it says that it is {}, the plan says {}", manifest.kind, stage.spec.kind()));
    }
    let planned = serde_json::to_value(&stage.spec).unwrap_or(Value::Null);
    if canonical(&manifest.spec) != canonical(&planned) {
        wrong.push("its spec is not the plan's".to_owned());
    }
    if manifest.inputs != stage.inputs {
        wrong.push("its inputs are not the plan's".to_owned());
    }
    let answers = manifest.summary[ANSWERS_KEY].as_str();
    if answers != stage.answers.as_ref().map(|hash| hash.0.as_str()) {
        wrong.push("the name of its answers is not the plan's".to_owned());
    }
    wrong
}
