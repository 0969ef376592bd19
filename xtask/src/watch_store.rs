//! A large store for `cargo xtask watch-bench`: one small experiment, run for real, and its measuring stages many
//! times over.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use titer_plan::StageHash;
use titer_store::{Description, Note, Provenance, Store};

use crate::command::{root, run, say};
use crate::copied::Copied;

/// Experiments of the store.
const EXPERIMENTS: usize = 20;
/// Stages of each.
const STAGES: usize = 500;

/// Makes the store at `path`, unless it is there.
///
/// # Errors
/// When it cannot be made.
pub(crate) fn make(titer: &Path, path: &Path) -> Result<()> {
    let finished = path.join("whole");
    if finished.exists() {
        return Ok(());
    }
    if path.exists() {
        fs::remove_dir_all(path)?;
    }
    let spec = root().join("tests/data/tiny.toml");
    run(std::process::Command::new(titer).arg("run").arg(spec).arg("--store").arg(path))?;
    let store = Store::open(path)?;
    let tiny = store.experiment("tiny")?;
    let (spec, plan) = (tiny.spec()?, tiny.plan_json()?);
    let plan: Value = serde_json::from_str(&plan)?;
    let template = attack(&plan).context("the small experiment has no attack")?;
    let source = Copied::of(&store.artifact(&hash(&template["hash"])?))?;
    say(&format!("making {EXPERIMENTS} experiments of {STAGES} stages each; this takes minutes"));
    for number in 0..EXPERIMENTS {
        let copy = experiment(&plan, template, number)?;
        let name = copy["experiment"]["name"].as_str().unwrap_or_default().to_owned();
        for stage in copy["stages"].as_array().into_iter().flatten() {
            seal(&store, stage, &source)?;
        }
        let saved = store.experiment(&name)?;
        saved.save(&spec.replace("name = \"tiny\"", &format!("name = \"{name}\"")), &copy.to_string())?;
        let journal = saved.journal()?;
        journal.write(Note::Began { stages: STAGES, cached: 0, jobs: 2, since: 0 })?;
        for stage in copy["stages"].as_array().into_iter().flatten() {
            journal.write(Note::Finished { stage: hash(&stage["hash"])?, seconds: 1.0 })?;
        }
        journal.write(Note::Ended {
            computed: STAGES,
            failed: 0,
            interrupted: false,
            processor_seconds: None,
        })?;
    }
    Ok(fs::write(finished, "")?)
}

/// An attack on a defence: it has probe rows, responses and a curve.
fn attack(plan: &Value) -> Option<&Value> {
    plan["stages"].as_array()?.iter().find(|stage| stage["spec"]["kind"] == "attack")
}

fn hash(value: &Value) -> Result<StageHash> {
    Ok(serde_json::from_value(value.clone())?)
}

/// A plan of attacks only, each with its own hash, spread over the defences.
fn experiment(plan: &Value, template: &Value, number: usize) -> Result<Value> {
    let defences: Vec<_> =
        plan["experiment"]["defence"].as_array().into_iter().flatten().map(|entry| &entry["label"]).collect();
    ensure!(!defences.is_empty(), "the small experiment has no defences");
    let cells = plan["cells"].as_array().context("a plan has cells")?;
    let cell = cells.iter().find(|cell| cell["stage"] == template["hash"]).context("an attack has a cell")?;
    let (mut stages, mut copies) = (Vec::new(), Vec::new());
    for at in 0..STAGES {
        let hash = format!("{:064x}", (number + 1) * 1_000_000 + at);
        let defence = defences[at % defences.len()];
        let seed = at / defences.len();
        let mut stage = template.clone();
        stage["hash"] = json!(hash);
        stage["inputs"] = json!([]);
        stage["label"] =
            json!(format!("attack {}#0 {}#{seed}", text(defence), text(&cell["before"]["method"])));
        let mut cell = cell.clone();
        (cell["stage"], cell["defence"], cell["attack_seed"]) = (json!(hash), defence.clone(), json!(seed));
        stages.push(stage);
        copies.push(cell);
    }
    let mut copy = plan.clone();
    copy["experiment"]["name"] = json!(format!("bench-{number:02}"));
    (copy["stages"], copy["cells"]) = (json!(stages), json!(copies));
    Ok(copy)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Makes an artifact of a stage of such a plan.
fn seal(store: &Store, stage: &Value, source: &Copied) -> Result<()> {
    let description = Description {
        kind: "attack".into(),
        label: text(&stage["label"]).into(),
        spec: stage["spec"].clone(),
        inputs: Vec::new(),
        provenance: Provenance::default(),
    };
    source.seal(store, &hash(&stage["hash"])?, &description)
}

/// Artifacts and probe rows of the store.
///
/// # Errors
/// When the program cannot count them.
pub(crate) fn counted(titer: &Path, path: &Path) -> Result<(usize, usize)> {
    let artifacts = EXPERIMENTS * STAGES;
    let table = path.join("probes.csv");
    run(std::process::Command::new(titer)
        .args(["export", "bench-00", "--what", "probes", "--format", "csv", "--out"])
        .arg(&table)
        .arg("--store")
        .arg(path))?;
    let rows = fs::read_to_string(&table)?.lines().count() - 1;
    fs::remove_file(table)?;
    Ok((artifacts, rows * EXPERIMENTS))
}
