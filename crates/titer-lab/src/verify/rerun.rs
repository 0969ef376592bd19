//! Computes some stages of a store again, in a store beside it, and compares: what nobody who rewrote all of a store can
//! have kept up.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use polars::prelude::DataFrame;
use serde::Serialize;
use serde_json::{Value, json};
use titer_data::Stream;
use titer_data::world::pick;
use titer_metrics::Schema;
use titer_plan::{Plan, PlannedStage, StageHash, StageSpec};
use titer_store::{Artifact, Manifest, Store, instructions, is_weights};

use crate::catalogue::stored_plan;
use crate::executor::{RunOptions, run_stages};
use crate::files::{read, read_frame};
use crate::live::difference;
use crate::progress::Progress;
use crate::provenance::{features, provenance};
use crate::stages::{PROBES, REJUDGED, RESPONSES, TRAINING};
use crate::{Interrupt, Result};

/// On another kind of machine, by how much a probe's mean score may differ at a checkpoint.
const SCORE: f64 = 0.05;
/// The same for a term of the loss: this share of it, and this many nats.
const LOSS: (f64, f64) = (0.05, 0.01);
/// The same for weights: root mean square of the differences over that of the weights.
const WEIGHTS: f64 = 0.01;

/// How a stage that was computed again is compared with what is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Same {
    /// Bit for bit: instructions, version, features and device were those of this machine and program.
    Bits,
    /// Within a tolerance: they were others, which round differently.
    Tolerance,
}

impl fmt::Display for Same {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bits => f.write_str("bit for bit"),
            Self::Tolerance => write!(
                f,
                "within a tolerance, as another kind of machine or program computed it: mean scores to {SCORE}, losses to {} %, \
                 weights to {} % of their root mean square",
                LOSS.0 * 100.0,
                WEIGHTS * 100.0
            ),
        }
    }
}

/// A stage that was computed again.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Replayed {
    /// Its label.
    pub stage: String,
    /// Its name.
    pub hash: StageHash,
    /// How it was compared.
    pub compared: Same,
    /// What came out otherwise; empty where it is the same.
    pub differences: Vec<String>,
    /// Why it could not be computed here, where it could not.
    pub failed: Option<String>,
}

/// Computes `count` finished stages of an experiment again, drawn at random from those whose inputs are there and whole,
/// and compares. The store itself is not written to.
///
/// # Errors
/// When there is no such experiment, or there is no room for a store beside it.
pub fn replay(
    store: &Store,
    experiment: &str,
    (count, seed): (usize, u64),
    options: &RunOptions,
    interrupt: &Interrupt,
    progress: &dyn Progress,
) -> Result<Vec<Replayed>> {
    let plan = stored_plan(store, experiment)?;
    let places: Vec<usize> = (0..plan.stages.len()).collect();
    let drawn = pick(&places, places.len(), &Stream::new(seed, "verify/replay"))?;
    let whole = |hash: &StageHash| {
        let artifact = store.artifact(hash);
        artifact.dropped().is_empty() && artifact.verify().is_ok()
    };
    // Lazily: to look at inputs is to read them through.
    let alone = |stage: &&PlannedStage| {
        stage.spec.content().is_none()
            && !matches!(stage.spec, StageSpec::Source(_))
            && store.artifact(&stage.hash).is_sealed()
            && stage.inputs.iter().all(whole)
    };
    let mut replayed = Vec::new();
    for stage in drawn.into_iter().filter_map(|place| plan.stages.get(place)).filter(alone).take(count) {
        if interrupt.raised() {
            return Err(crate::Error::Interrupted);
        }
        replayed.push(again(store, &plan, stage, options, interrupt, progress)?);
    }
    Ok(replayed)
}

/// Computes one stage again.
fn again(
    store: &Store,
    plan: &Plan,
    stage: &PlannedStage,
    options: &RunOptions,
    interrupt: &Interrupt,
    progress: &dyn Progress,
) -> Result<Replayed> {
    let scratch = store.scratch()?;
    // Whatever a stage is given beside its inputs stands in stages that take in models.
    let needed = |other: &&PlannedStage| {
        stage.inputs.contains(&other.hash) || matches!(other.spec, StageSpec::Checkpoint(_))
    };
    let mut stages = Vec::new();
    for other in plan.stages.iter().filter(needed) {
        let artifact = store.artifact(&other.hash);
        if artifact.is_sealed() {
            scratch.lend(&artifact)?;
            stages.push(PlannedStage { inputs: Vec::new(), ..other.clone() });
        }
    }
    stages.push(stage.clone());
    let part = Plan { stages, cells: Vec::new(), ..plan.clone() }.with_all_seeds();
    let artifact = store.artifact(&stage.hash);
    let manifest = artifact.manifest()?;
    let options = RunOptions { jobs: 1, judge_only: false, budget: None, ..options.clone() };
    let device = options.compute.open()?.into_iter().next().unwrap_or(Device::Cpu);
    let compared = if is_of_this_kind(&manifest, &device) { Same::Bits } else { Same::Tolerance };
    let mut replayed = Replayed {
        stage: stage.label.clone(),
        hash: stage.hash.clone(),
        compared,
        differences: Vec::new(),
        failed: None,
    };
    match run_stages(&part, scratch.store(), &options, interrupt, progress) {
        Ok(_) if interrupt.raised() => return Err(crate::Error::Interrupted),
        Ok(summary) => replayed.failed = summary.failed.into_iter().next().map(|failure| failure.error),
        Err(error) => replayed.failed = Some(error.chain()),
    }
    if replayed.failed.is_none() {
        let now = scratch.store().artifact(&stage.hash);
        replayed.differences = match compared {
            Same::Bits => bits(&artifact, &manifest, &now)?,
            Same::Tolerance => about(&artifact, &manifest, &now)?,
        };
    }
    Ok(replayed)
}

/// Whether this program on this machine must come to the same bits.
fn is_of_this_kind(manifest: &Manifest, device: &Device) -> bool {
    manifest.version == env!("CARGO_PKG_VERSION")
        && manifest.instructions == instructions()
        && manifest.features == features()
        && (manifest.device.is_none() || manifest.device == provenance(device).device)
}

/// The payloads that both have; what a bundle leaves out cannot be compared.
fn both(then: &Artifact, manifest: &Manifest) -> Vec<String> {
    let there = |name: &&String| then.folder().join(name.as_str()).symlink_metadata().is_ok();
    manifest.files.iter().map(|file| &file.name).filter(there).cloned().collect()
}

/// What differs at all, apart from times.
fn bits(then: &Artifact, manifest: &Manifest, now: &Artifact) -> Result<Vec<String>> {
    let mut differences = Vec::new();
    let made = now.manifest()?;
    let names = |manifest: &Manifest| -> BTreeSet<String> {
        manifest.files.iter().map(|file| file.name.clone()).collect()
    };
    for name in names(manifest).symmetric_difference(&names(&made)) {
        differences.push(format!("{name} is in one of them only"));
    }
    for name in both(then, manifest).iter().filter(|name| names(&made).contains(*name)) {
        let (one, other) = (then.payload(name)?, now.payload(name)?);
        if read(&one)? == read(&other)? {
            continue;
        }
        match schema(name) {
            Some(schema) => {
                let timeless = |path: &Path| -> Result<DataFrame> {
                    let frame = read_frame(path, schema)?;
                    Ok(if name == TRAINING { frame.drop("seconds").unwrap_or(frame) } else { frame })
                };
                let (one, other) = (timeless(&one)?, timeless(&other)?);
                if !one.equals_missing(&other) {
                    differences.push(format!("{name}: {}", first(&one, &other)));
                }
            }
            None => differences.push(format!("{name} has other bytes")),
        }
    }
    let log = |artifact: &Artifact| -> Result<Vec<Value>> {
        let told = artifact.events()?.into_iter().map(|record| {
            let mut data = record.event.data;
            if let Some(map) = data.as_object_mut() {
                map.remove("seconds");
            }
            json!([record.event.kind, record.event.step, data])
        });
        Ok(told.collect())
    };
    if log(then)? != log(now)? {
        differences.push("the log says something else".to_owned());
    }
    let said = |manifest: Manifest| {
        let mut summary = manifest.summary;
        if let Some(map) = summary.as_object_mut() {
            map.remove(REJUDGED);
        }
        summary
    };
    if let Some(problem) = difference(&said(manifest.clone()), &said(made), "") {
        differences.push(format!("the summary: {problem}"));
    }
    Ok(differences)
}

/// Where two frames differ first.
fn first(one: &DataFrame, other: &DataFrame) -> String {
    if one.height() != other.height() {
        return format!("{} rows, computed again {}", one.height(), other.height());
    }
    let differs = |row: &usize| !one.slice(*row as i64, 1).equals_missing(&other.slice(*row as i64, 1));
    match (0..one.height()).find(differs) {
        Some(row) => format!("row {row} of {} is the first that comes out otherwise", one.height()),
        None => "it comes out otherwise".to_owned(),
    }
}

fn schema(name: &str) -> Option<&'static Schema> {
    match name {
        PROBES => Some(&titer_metrics::PROBE_ROWS),
        RESPONSES => Some(&titer_metrics::RESPONSES),
        TRAINING => Some(&titer_metrics::TRAINING_ROWS),
        _ => None,
    }
}

/// What differs by more than another machine's rounding explains.
fn about(then: &Artifact, manifest: &Manifest, now: &Artifact) -> Result<Vec<String>> {
    let mut differences = Vec::new();
    let made = now.manifest()?;
    for name in both(then, manifest) {
        if !made.files.iter().any(|file| file.name == name) {
            differences.push(format!("{name} is in one of them only"));
            continue;
        }
        let (one, other) = (then.payload(&name)?, now.payload(&name)?);
        let problem = if name == PROBES {
            apart(&scores(&one)?, &scores(&other)?, |_| SCORE)
        } else if name == TRAINING {
            apart(&losses(&one)?, &losses(&other)?, |loss| LOSS.0 * loss.abs() + LOSS.1)
        } else if is_weights(&name) {
            let distance = distance(&one, &other)?;
            // Not a number is no small distance.
            (distance.is_nan() || distance > WEIGHTS)
                .then(|| format!("weights differ by {:.2} %", distance * 100.0))
        } else {
            None
        };
        differences.extend(problem.map(|problem| format!("{name}: {problem}")));
    }
    Ok(differences)
}

/// The first value that both have and that lies further apart than it may.
fn apart(
    then: &BTreeMap<String, f64>,
    now: &BTreeMap<String, f64>,
    may: impl Fn(f64) -> f64,
) -> Option<String> {
    let mut shared = then.iter().filter_map(|(key, one)| Some((key, *one, *now.get(key)?))).peekable();
    if shared.peek().is_none() && !then.is_empty() {
        return Some("nothing of it comes out again".to_owned());
    }
    // What is a number in one of them only is no small difference.
    let far = |(_, one, other): &(&String, f64, f64)| {
        (one - other).abs() > may(*one) || one.is_nan() != other.is_nan()
    };
    shared.find(far).map(|(key, one, other)| format!("{key} is {one:.3}, computed again {other:.3}"))
}

/// Mean score of each probe at each checkpoint.
fn scores(path: &Path) -> Result<BTreeMap<String, f64>> {
    let frame = titer_metrics::deciding(&read_frame(path, &titer_metrics::PROBE_ROWS)?)?;
    let read = || -> polars::prelude::PolarsResult<BTreeMap<String, (f64, usize)>> {
        let (steps, score) = (frame.column("budget_steps")?.u64()?, frame.column("score")?.f64()?);
        let mut sums = BTreeMap::<String, (f64, usize)>::new();
        for (row, probe) in frame.column("probe")?.str()?.iter().enumerate() {
            let key =
                format!("{} after {} steps", probe.unwrap_or_default(), steps.get(row).unwrap_or_default());
            let sum = sums.entry(key).or_default();
            *sum = (sum.0 + score.get(row).unwrap_or_default(), sum.1 + 1);
        }
        Ok(sums)
    };
    let sums = read().map_err(|source| titer_metrics::Error::Polars { frame: PROBES, source })?;
    Ok(sums.into_iter().map(|(key, (sum, count))| (key, sum / count as f64)).collect())
}

/// Each term of the loss at each logged step.
fn losses(path: &Path) -> Result<BTreeMap<String, f64>> {
    let frame = read_frame(path, &titer_metrics::TRAINING_ROWS)?;
    let read = || -> polars::prelude::PolarsResult<BTreeMap<String, f64>> {
        let (steps, value) = (frame.column("step")?.u64()?, frame.column("value")?.f64()?);
        let terms = frame.column("term")?.str()?;
        let key = |row: usize| {
            format!("{} at step {}", terms.get(row).unwrap_or_default(), steps.get(row).unwrap_or_default())
        };
        Ok((0..frame.height()).map(|row| (key(row), value.get(row).unwrap_or(f64::NAN))).collect())
    };
    Ok(read().map_err(|source| titer_metrics::Error::Polars { frame: TRAINING, source })?)
}

/// The root mean square of the differences of two files of weights, as a share of that of the first; infinite where
/// they have other tensors.
fn distance(then: &Path, now: &Path) -> Result<f64> {
    let load = |path: &Path| -> Result<BTreeMap<String, Tensor>> {
        Ok(candle_core::safetensors::load(path, &Device::Cpu)?.into_iter().collect())
    };
    let (then, now) = (load(then)?, load(now)?);
    let (mut apart, mut size) = (0.0, 0.0);
    for (name, one) in &then {
        let Some(other) = now.get(name).filter(|other| other.dims() == one.dims()) else {
            return Ok(f64::INFINITY);
        };
        let one = one.to_dtype(DType::F64)?;
        let sum = |tensor: &Tensor| tensor.sqr()?.sum_all()?.to_scalar::<f64>();
        apart += sum(&(&one - other.to_dtype(DType::F64)?)?)?;
        size += sum(&one)?;
    }
    if now.len() != then.len() {
        return Ok(f64::INFINITY);
    }
    Ok(if apart == 0.0 { 0.0 } else { (apart / size).sqrt() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn not_a_number_is_no_small_difference() {
        let of = |value: f64| BTreeMap::from([("loss at step 1".to_owned(), value)]);
        let told = |then: f64, now: f64| apart(&of(then), &of(now), |_| 0.1);
        assert_eq!((told(1.0, 1.05), told(f64::NAN, f64::NAN)), (None, None));
        for (then, now) in [(1.0, 1.2), (1.0, f64::NAN), (f64::NAN, 1.0)] {
            assert!(told(then, now).is_some_and(|problem| problem.starts_with("loss at step 1 is")));
        }
    }
}
