//! Fills a store with an experiment of about 100,000 artifacts, of which a few are missing, for `cargo xtask store-bench`:
//! a real plan, and for each of its stages what a small run left of that kind.
//!
//! `large_store STORE TINY LARGE COUNT MISSING ORPHANS` needs the experiment of `TINY`, `tests/data/tiny.toml`, finished in `STORE`, and
//! writes the large one's spec to `LARGE`. Orphans are artifacts that no experiment needs.
#![allow(clippy::print_stdout)]

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::error::Error;
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde_json::Value;
use titer_lab::{Source, plan, source};
use titer_plan::{Plan, PlannedStage};
use titer_store::{Artifact, Begin, Description, Event, Provenance, Store};

/// Seeds of each defence.
const DEFENCE_SEEDS: usize = 20;
/// Seeds of each attacker.
const ATTACK_SEEDS: usize = 30;
/// Writers at once: most of the time goes into waiting for the disk.
const WRITERS: usize = 24;

const USAGE: &str = "usage: large_store STORE TINY LARGE COUNT MISSING ORPHANS";

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Result<()> {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let [root, tiny, path, counts @ ..] = given.as_slice() else { return Err(USAGE.into()) };
    let [count, missing, orphans] = counts else { return Err(USAGE.into()) };
    let (count, missing, orphans): (usize, usize, usize) =
        (count.parse()?, missing.parse()?, orphans.parse()?);
    let store = Store::open(root)?;
    let tiny = source(tiny)?;
    let kinds = kinds(&store, &plan(&tiny, &[])?)?;
    fs::write(path, enlarged(&tiny.text, count))?;
    let spec = source(path)?;
    let large = plan(&spec, &[])?;
    store.experiment(&large.experiment.name)?.save(&spec.text, &serde_json::to_string_pretty(&large)?)?;
    let made = large.stages.len().saturating_sub(missing);
    seal_all(&store, &large.stages[..made], &kinds)?;
    let other = plan(&Source { text: spec.text.replacen("seed = 0", "seed = 1", 1), ..spec }, &[])?;
    let orphans = &other.stages[..orphans.min(other.stages.len())];
    seal_all(&store, orphans, &kinds)?;
    println!("{} stages, {made} artifacts of them, {} of none", large.stages.len(), orphans.len());
    Ok(())
}

fn seal_all(store: &Store, stages: &[PlannedStage], kinds: &BTreeMap<&'static str, Kind>) -> Result<()> {
    let next = AtomicUsize::new(0);
    let write = || {
        while let Some(stage) = stages.get(next.fetch_add(1, Ordering::Relaxed)) {
            seal(store, stage, kinds)?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS).map(|_| scope.spawn(write)).collect();
        writers.into_iter().try_for_each(|writer| writer.join().map_err(|_| "a writer panicked")?)
    })
}

/// The spec with as many seeds and rates as come to about `count` attacks on all defences together.
fn enlarged(spec: &str, count: usize) -> String {
    let rates = (count / ((2 * DEFENCE_SEEDS + 1) * ATTACK_SEEDS)).max(1);
    let rates: Vec<String> =
        (0..rates).map(|rate| format!("{:e}", 1e-4 * 1.05f64.powi(rate as i32))).collect();
    spec.replacen("name = \"tiny\"", "name = \"large\"", 1)
        .replace("seeds = 1\nsham", &format!("seeds = {DEFENCE_SEEDS}\nsham"))
        .replacen(
            "seeds = 1\nrate = [1e-3, 3e-3]",
            &format!("seeds = {ATTACK_SEEDS}\nrate = [{}]", rates.join(", ")),
            1,
        )
}

/// What an artifact is copied from.
struct Kind {
    files: Vec<(String, Vec<u8>)>,
    events: Vec<Event>,
    summary: Value,
}

/// An artifact of each kind of stage in a plan.
fn kinds(store: &Store, plan: &Plan) -> Result<BTreeMap<&'static str, Kind>> {
    let mut kinds = BTreeMap::new();
    for stage in &plan.stages {
        if let Entry::Vacant(entry) = kinds.entry(stage.spec.kind()) {
            entry.insert(kind(&store.artifact(&stage.hash))?);
        }
    }
    Ok(kinds)
}

fn kind(artifact: &Artifact) -> Result<Kind> {
    let manifest = artifact.manifest()?;
    let file = |name: &str| -> Result<_> { Ok((name.to_owned(), fs::read(artifact.payload(name)?)?)) };
    Ok(Kind {
        files: manifest.files.iter().map(|record| file(&record.name)).collect::<Result<_>>()?,
        events: artifact.events()?.into_iter().map(|record| record.event).collect(),
        summary: manifest.summary,
    })
}

fn seal(store: &Store, stage: &PlannedStage, kinds: &BTreeMap<&'static str, Kind>) -> Result<()> {
    let kind = kinds.get(stage.spec.kind()).ok_or("the small run has no stage of this kind")?;
    let description = Description {
        kind: stage.spec.kind().to_owned(),
        label: stage.label.clone(),
        spec: serde_json::to_value(&stage.spec)?,
        inputs: stage.inputs.clone(),
        provenance: Provenance::default(),
    };
    let Begin::Writer(writer) = store.begin(&stage.hash, &description)? else { return Ok(()) };
    for (name, bytes) in &kind.files {
        writer.write_bytes(name, bytes)?;
    }
    for event in &kind.events {
        writer.log(event)?;
    }
    writer.seal(kind.summary.clone())?;
    Ok(())
}
