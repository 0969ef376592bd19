//! Reads an experiment's artifacts back as frames and verdicts.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use polars::prelude::DataFrame;
use serde::Serialize;
use titer_conditions::{DefenceFacts, Evidence, Look, Verdicts, agreements, decide, decide_by_looks};
use titer_metrics::{Schema, stack, with_cell, with_cells};
use titer_plan::spec::AttackEntry;
use titer_plan::{AttackPoint, Cell, Ladder, Plan, Probe, StageHash, StageSpec};
use titer_store::{Artifact, Store};

use crate::Result;
use crate::catalogue::stored_plan;
use crate::files::read_frame;
use crate::judging::threshold;
use crate::stages::{PROBES, RESPONSES, TRAINING};

/// What an experiment has measured so far.
#[derive(Debug, Clone)]
pub struct Results {
    /// The plan as it was run: where seeds are added until all is decided, what of it was asked for by now.
    pub plan: Plan,
    /// Frame `probes`.
    pub probes: DataFrame,
    /// What each computed stage took.
    pub costs: Vec<StageCost>,
    /// Labels of stages that are not there yet.
    pub missing: Vec<String>,
    pub(crate) sealed: Vec<Artifact>,
    /// Where seeds are added: the verdicts, which say what was asked for.
    pub(crate) decided: Option<Verdicts>,
}

/// What a stage took.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StageCost {
    /// Its label.
    pub label: String,
    /// Its kind.
    pub kind: String,
    /// Wall-clock time of the run that sealed it.
    pub seconds: f64,
    /// Its hash.
    pub hash: StageHash,
    /// Where it was computed.
    pub host: String,
    /// Floating-point operations of its training, where it trained or calibrated.
    pub flops: Option<f64>,
    /// When the run that sealed it began, in seconds since 1970.
    pub started: f64,
    /// The version of titer that sealed it, and the git revision where known: `0.1.0 (1a2b3c4)`.
    pub version: String,
}

impl Results {
    /// Reads whatever of the experiment is sealed.
    ///
    /// # Errors
    /// When there is no such experiment, or an artifact is damaged.
    pub fn load(store: &Store, experiment: &str) -> Result<Self> {
        Self::of(stored_plan(store, experiment)?, store)
    }

    /// Reads whatever of a plan is sealed and was asked for.
    ///
    /// # Errors
    /// When an artifact is damaged.
    pub fn of(plan: Plan, store: &Store) -> Result<Self> {
        let mut rows = BTreeMap::new();
        let whole = Self::read(plan, store, &mut rows)?;
        if !whole.plan.grows() {
            return Ok(whole);
        }
        let verdicts = whole.verdicts()?;
        let asked = whole.plan.asked(&Look::read(&verdicts.looks));
        Ok(Self { decided: Some(verdicts), ..Self::read(asked, store, &mut rows)? })
    }

    /// Reads whatever of a plan is sealed; `rows` are those that were read before.
    fn read(plan: Plan, store: &Store, rows: &mut BTreeMap<StageHash, DataFrame>) -> Result<Self> {
        let (mut costs, mut missing, mut sealed) = (Vec::new(), Vec::new(), Vec::new());
        for stage in &plan.stages {
            let artifact = store.artifact(&stage.hash);
            if !artifact.is_sealed() {
                missing.push(stage.label.clone());
                continue;
            }
            let manifest = artifact.manifest()?;
            costs.push(StageCost {
                label: stage.label.clone(),
                kind: manifest.kind,
                seconds: manifest.wall_seconds,
                hash: stage.hash.clone(),
                host: manifest.host,
                flops: manifest.summary["flops"].as_f64(),
                started: seconds_since_1970(&manifest.started),
                version: match manifest.git {
                    Some(git) => format!("{} ({git})", manifest.version),
                    None => manifest.version,
                },
            });
            sealed.push(artifact);
        }
        let mut frames = Vec::new();
        for cell in &plan.cells {
            if let Some(artifact) = sealed.iter().find(|artifact| *artifact.hash() == cell.stage) {
                let rows = match rows.entry(cell.stage.clone()) {
                    Entry::Occupied(known) => known.into_mut(),
                    Entry::Vacant(place) => {
                        place.insert(read_frame(&artifact.payload(PROBES)?, &titer_metrics::PROBE_ROWS)?)
                    }
                };
                frames.push(with_cell(rows, &plan.experiment.name, cell)?);
            }
        }
        let probes = stack(&frames, &titer_metrics::PROBES)?;
        Ok(Self { plan, probes, costs, missing, sealed, decided: None })
    }

    /// The rows of one cell, in the frame `probes`; none where it was not measured.
    ///
    /// # Errors
    /// When an artifact is damaged.
    pub fn of_cell(&self, cell: &Cell) -> Result<DataFrame> {
        let of = |artifact: &&Artifact| *artifact.hash() == cell.stage;
        let frames = match self.sealed.iter().find(of) {
            Some(artifact) => {
                let rows = read_frame(&artifact.payload(PROBES)?, &titer_metrics::PROBE_ROWS)?;
                vec![with_cell(&rows, &self.plan.experiment.name, cell)?]
            }
            None => Vec::new(),
        };
        Ok(stack(&frames, &titer_metrics::PROBES)?)
    }

    /// The verdicts, as far as the measurements go.
    ///
    /// # Errors
    /// When the frame is not what it should be.
    pub fn verdicts(&self) -> Result<Verdicts> {
        if let Some(verdicts) = &self.decided {
            return Ok(verdicts.clone());
        }
        let evidence = self.evidence();
        let mut verdicts = match self.plan.grows() {
            true => decide_by_looks(&evidence, &Ladder::of(&self.plan.experiment), &self.plan.cells)?,
            false => decide(&evidence)?,
        };
        verdicts.agreement = agreements(&self.judged()?, &self.thresholds())?;
        if let Some(labels) = &self.plan.calibration {
            verdicts.corrected = verdicts.corrected_by(labels);
        }
        let Some(adversary) = &self.plan.experiment.adversary else { return Ok(verdicts) };
        verdicts.searched(&adversary.found);
        if verdicts.adversary.is_empty() {
            let open = "the search for attacks has not come to its end: titers are over the attacks of the spec alone";
            verdicts.caveats.push(open.to_owned());
        } else {
            let models: BTreeSet<&str> =
                verdicts.adversary.iter().map(|weakness| weakness.defence.as_str()).collect();
            let trials: usize = verdicts.adversary.iter().map(|weakness| weakness.trials).sum();
            let flops: f64 = verdicts.adversary.iter().map(|weakness| weakness.flops).sum();
            let failed: usize = verdicts.adversary.iter().map(|weakness| weakness.failed).sum();
            if failed > 0 {
                verdicts
                    .caveats
                    .push(format!("{failed} attacks of the search failed: nothing is known of them"));
            }
            verdicts.caveats.push(format!(
                "the attacks were searched: {trials} were tried on {} models for {flops:.1e} operations; titers are at \
                 this effort, and more of it can only find something cheaper",
                models.len()
            ));
        }
        Ok(verdicts)
    }

    /// The rows of probes that several judges judged.
    fn judged(&self) -> Result<DataFrame> {
        let frame = titer_metrics::PROBES.name;
        let fail = |source| titer_metrics::Error::Polars { frame, source };
        let names = self.probes.column("probe").and_then(|column| column.str()).map_err(fail)?;
        let harmful = names.iter().map(|name| name.is_some_and(|name| Probe::named(name).is_harmful()));
        Ok(self.probes.filter(&harmful.collect()).map_err(fail)?)
    }

    /// Above which score an answer counts as harmful, by the judges that say so.
    fn thresholds(&self) -> BTreeMap<String, f64> {
        let measures = self.plan.data.measures.values().flatten();
        measures.map(|measure| (measure.name.clone(), threshold(measure))).collect()
    }

    /// What verdicts are reached from.
    pub(crate) fn evidence(&self) -> Evidence {
        let experiment = &self.plan.experiment;
        let defences = experiment.defence.iter().map(|entry| DefenceFacts {
            label: entry.label.clone(),
            stage: entry.stage,
            stages: entry.stages(),
            role: entry.role,
            sham: entry.sham.clone(),
            control: entry.control,
            tuned_against: entry.tuned_against.clone(),
        });
        let mechanisms = experiment.attack.iter().map(|entry| (entry.method.clone(), entry.mechanism));
        Evidence {
            experiment: experiment.name.clone(),
            model: experiment.model.reference(),
            threat_model: experiment.threat_model,
            settings: experiment.conditions,
            defences: defences.collect(),
            axis: experiment.conditions.budget,
            checkpoints: self.checkpoints(),
            sequential: experiment.probe.sequential,
            mechanisms: mechanisms.collect(),
            absent: self.plan.data.absent(),
            probes: self.probes.clone(),
        }
    }

    /// The steps after which each attack is probed, as planned.
    fn checkpoints(&self) -> BTreeMap<AttackPoint, Vec<u64>> {
        let of = |entry: &AttackEntry| {
            let cadence = entry.mechanism.checkpoints(&self.plan.experiment.probe.cadence);
            entry.points().into_iter().map(move |grid| (grid.point, cadence.clone()))
        };
        self.plan.experiment.attack.iter().flat_map(of).collect()
    }

    /// Frame `training` of all stages.
    ///
    /// # Errors
    /// When an artifact is damaged.
    pub fn training(&self) -> Result<DataFrame> {
        let mut cells = BTreeMap::<&StageHash, Vec<&Cell>>::new();
        for cell in &self.plan.cells {
            for stage in self.line(&cell.stage) {
                cells.entry(&stage.hash).or_default().push(cell);
            }
        }
        let trains = |spec: &StageSpec| {
            !matches!(
                spec,
                StageSpec::Measure(_)
                    | StageSpec::Checkpoint(_)
                    | StageSpec::Source(_)
                    | StageSpec::Distil(_)
                    | StageSpec::Repair(_)
            )
        };
        let mut frames = Vec::new();
        for artifact in &self.sealed {
            if self.plan.stage(artifact.hash()).is_some_and(|stage| trains(&stage.spec)) {
                let rows = read_frame(&artifact.payload(TRAINING)?, &titer_metrics::TRAINING_ROWS)?;
                let cells = cells.get(artifact.hash()).map_or(&[][..], Vec::as_slice);
                frames.push(with_cells(&rows, cells)?);
            }
        }
        Ok(stack(&frames, &titer_metrics::TRAINING)?)
    }

    /// Frame `responses` of all stages.
    ///
    /// # Errors
    /// When an artifact is damaged.
    pub fn responses(&self) -> Result<DataFrame> {
        self.of_all(RESPONSES, &titer_metrics::RESPONSES, |spec| {
            matches!(
                spec,
                StageSpec::Measure(_) | StageSpec::Attack(_) | StageSpec::Tune(_) | StageSpec::Repair(_)
            )
        })
    }

    fn of_all(&self, name: &str, schema: &Schema, has: impl Fn(&StageSpec) -> bool) -> Result<DataFrame> {
        let mut frames = Vec::new();
        for artifact in &self.sealed {
            if self.plan.stage(artifact.hash()).is_some_and(|stage| has(&stage.spec)) {
                frames.push(read_frame(&artifact.payload(name)?, schema)?);
            }
        }
        Ok(stack(&frames, schema)?)
    }
}

/// A time as manifests write it; 0 where it is none.
fn seconds_since_1970(time: &str) -> f64 {
    let parsed = humantime::parse_rfc3339(time).ok();
    let since = parsed.and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
    since.map_or(0.0, |since| since.as_secs_f64())
}

/// Frame `verdicts`.
///
/// # Errors
/// When a verdict does not fit the schema.
pub fn verdict_frame(verdicts: &Verdicts) -> Result<DataFrame> {
    Ok(verdicts.frame()?)
}

/// Frame `titers`.
///
/// # Errors
/// When a titer does not fit the schema.
pub fn titer_frame(verdicts: &Verdicts) -> Result<DataFrame> {
    Ok(verdicts.titer_frame()?)
}

/// Frame `attacks`.
///
/// # Errors
/// When a cell does not fit the schema.
pub fn attack_frame(verdicts: &Verdicts) -> Result<DataFrame> {
    Ok(verdicts.attack_frame()?)
}

/// Frame `scores`.
///
/// # Errors
/// When a score does not fit the schema.
pub fn score_frame(verdicts: &Verdicts) -> Result<DataFrame> {
    Ok(verdicts.score_frame()?)
}
