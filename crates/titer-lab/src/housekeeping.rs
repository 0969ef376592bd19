//! What an experiment takes, and what of a store nobody needs: the part of it that only plans tell.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Serialize;
use titer_plan::{Plan, PlannedStage, StageHash, StageSpec};
use titer_store::{Collected, FileKind, Note, Order, Store, Usage};

use crate::Result;
use crate::catalogue::stored_plan;
use crate::executor::answering;
use crate::live;

/// What may go besides what no experiment names. All of it can be made anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Policy {
    /// Checkpoints of stages that were broken off, optimiser states with them.
    Checkpoints,
    /// Weights of models that another model was made from, once everything that needs them is done.
    Intermediate,
    /// Weights of all models, once everything that needs them is done.
    Weights,
}

/// Takes away what nobody needs.
///
/// # Errors
/// When a plan of the store cannot be read, so that nobody knows what it needs, or the store cannot be written.
pub fn collect(
    store: &Store,
    policies: &BTreeSet<Policy>,
    grace: Duration,
    dry_run: bool,
) -> Result<Collected> {
    let mut needs = Needs::default();
    let (mut named, mut wanted) = (BTreeSet::new(), BTreeSet::new());
    for name in store.experiments()? {
        let whole = stored_plan(store, &name)?;
        named.extend(whole.stages.iter().map(|stage| stage.hash.clone()));
        let plan = live::asked(store, whole)?;
        needs.add(&plan, store);
        let unfinished = plan.stages.iter().filter(|stage| !store.artifact(&stage.hash).is_sealed());
        wanted.extend(unfinished.filter_map(|stage| stage.answers.clone()));
    }
    let weights = if policies.contains(&Policy::Weights) {
        needs.made.difference(&needs.models).cloned().collect()
    } else if policies.contains(&Policy::Intermediate) {
        needs.intermediate.difference(&needs.models).cloned().collect()
    } else {
        BTreeSet::new()
    };
    let order = Order {
        grace,
        dry_run,
        checkpoints: policies.contains(&Policy::Checkpoints),
        weights,
        keep: judged_only(store, &named, &wanted)?,
    };
    Ok(store.collect(&order)?)
}

/// Artifacts that no experiment names, whose answers an unfinished stage needs only to have judged.
fn judged_only(
    store: &Store,
    named: &BTreeSet<StageHash>,
    wanted: &BTreeSet<StageHash>,
) -> Result<BTreeSet<StageHash>> {
    if wanted.is_empty() {
        return Ok(BTreeSet::new());
    }
    let answering = answering(store)?.into_iter().filter(|(answers, _)| wanted.contains(answers));
    Ok(answering.flat_map(|(_, hashes)| hashes).filter(|hash| !named.contains(hash)).collect())
}

/// Who needs which model.
#[derive(Default)]
struct Needs {
    /// Models that an unfinished stage is made from.
    models: BTreeSet<StageHash>,
    /// All models.
    made: BTreeSet<StageHash>,
    /// Models that another model was made from.
    intermediate: BTreeSet<StageHash>,
}

impl Needs {
    fn add(&mut self, plan: &Plan, store: &Store) {
        for stage in &plan.stages {
            let inputs = stage.inputs.iter().take(stage.spec.models()).cloned();
            if makes_model(stage) {
                self.made.insert(stage.hash.clone());
                self.intermediate.extend(inputs.clone());
            }
            if !store.artifact(&stage.hash).is_sealed() {
                self.models.extend(inputs);
            }
        }
    }
}

/// Whether the result of a stage is a model.
fn makes_model(stage: &PlannedStage) -> bool {
    match &stage.spec {
        StageSpec::Pretrain(_) | StageSpec::Checkpoint(_) | StageSpec::Align(_) => true,
        StageSpec::Immunize(_) | StageSpec::Repair(_) => true,
        StageSpec::Attack(attack) => attack.keep,
        StageSpec::Tune(tune) => tune.keep,
        StageSpec::Source(_) | StageSpec::Distil(_) | StageSpec::Measure(_) => false,
    }
}

/// What an experiment takes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExperimentUsage {
    /// Its name.
    pub experiment: String,
    /// Bytes on disk, its own folder included; a file that several artifacts share counts once.
    pub bytes: u64,
    /// The same by what files are for.
    pub files: BTreeMap<FileKind, u64>,
    /// By kind of stage.
    pub stages: Vec<KindUsage>,
    /// Processor time of its runs, in seconds, of those that ended by themselves; none where none has said it.
    pub processor_seconds: Option<f64>,
    /// Bytes of artifacts that other experiments of the store name too.
    pub shared_bytes: u64,
    /// Whom it shares artifacts with.
    pub shared: Vec<Shared>,
    /// Experiments of the store whose plan cannot be read: what they share with it is not known.
    pub unread: Vec<String>,
}

/// What the stages of one kind take.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct KindUsage {
    /// The kind: `pretrain`, `attack`, …
    pub kind: String,
    /// Stages of the plan.
    pub stages: usize,
    /// Of these, done.
    pub sealed: usize,
    /// Of these, done and without weights, which were dropped.
    pub dropped: usize,
    /// Bytes on disk.
    pub bytes: u64,
    /// Wall-clock time, in seconds, of the runs that sealed them.
    pub seconds: f64,
    /// Tokens trained on or written, where stages say so.
    pub tokens: u64,
    /// Floating-point operations, where stages say so.
    pub flops: f64,
}

/// What two experiments have in common.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shared {
    /// The other experiment.
    pub experiment: String,
    /// Stages that both name and that are there.
    pub stages: usize,
    /// What they take, in bytes.
    pub bytes: u64,
}

/// What an experiment of the store takes.
///
/// # Errors
/// When there is no such experiment, or an artifact is damaged.
pub fn usage(store: &Store, name: &str) -> Result<ExperimentUsage> {
    let plan = stored_plan(store, name)?;
    let mut usage = Usage::default();
    let mut kinds = Vec::<KindUsage>::new();
    let mut bytes = BTreeMap::new();
    for stage in &plan.stages {
        let kind = stage.spec.kind();
        let at = kinds.iter().position(|known| known.kind == kind).unwrap_or_else(|| {
            kinds.push(KindUsage { kind: kind.to_owned(), ..KindUsage::default() });
            kinds.len() - 1
        });
        let (of_kind, artifact) = (&mut kinds[at], store.artifact(&stage.hash));
        of_kind.stages += 1;
        let taken = usage.add_artifact(&artifact)?;
        of_kind.bytes += taken;
        bytes.insert(stage.hash.clone(), taken);
        if artifact.is_sealed() {
            let manifest = artifact.manifest()?;
            of_kind.sealed += 1;
            of_kind.dropped += usize::from(!artifact.dropped().is_empty());
            of_kind.seconds += manifest.wall_seconds;
            of_kind.tokens += manifest.summary["tokens"].as_u64().unwrap_or(0);
            of_kind.flops += manifest.summary["flops"].as_f64().unwrap_or(0.0);
        }
    }
    let experiment = store.experiment(name)?;
    usage.add_experiment(&experiment)?;
    let ends = experiment.follow().read()?.into_iter().filter_map(|entry| match entry.note {
        Note::Ended { processor_seconds, .. } => processor_seconds,
        _ => None,
    });
    let mut common = BTreeSet::new();
    let (mut shared, mut unread) = (Vec::new(), Vec::new());
    for other in store.experiments()?.into_iter().filter(|other| other != name) {
        // Why it cannot be read it says itself, to whoever asks for it.
        let Ok(named) = store.named(&other) else {
            unread.push(other);
            continue;
        };
        let both: Vec<&StageHash> =
            named.iter().filter(|hash| bytes.get(hash).is_some_and(|bytes| *bytes > 0)).collect();
        if !both.is_empty() {
            let sum = both.iter().map(|hash| bytes[*hash]).sum();
            shared.push(Shared { experiment: other, stages: both.len(), bytes: sum });
            common.extend(both.into_iter().cloned());
        }
    }
    Ok(ExperimentUsage {
        experiment: name.to_owned(),
        bytes: usage.total(),
        files: usage.kinds().collect(),
        stages: kinds,
        processor_seconds: ends.reduce(|a, b| a + b),
        shared_bytes: common.iter().map(|hash| bytes[hash]).sum(),
        shared,
        unread,
    })
}
