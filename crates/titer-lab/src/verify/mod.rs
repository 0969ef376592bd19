//! Holds a claim against what the store has of it, as an auditor would: every name, hash, row and verdict is made anew
//! and compared. Nothing is written, and all that is found is told at once.

mod frames;
mod rerun;
mod rows;
mod stage;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::Serialize;
use serde_json::Value;
use titer_conditions::Look;
use titer_plan::{Plan, PlannedStage, StageHash, stage_hash};
use titer_store::{Bundle, Flaw, Store, Weights};

pub use self::rerun::{Replayed, Same, replay};

use crate::bundle::computed;
use crate::catalogue::{plan, stored_plan};
use crate::live::{Beside, asked, beside, difference, kept_looks};
use crate::{Error, Interrupt, Result, Results, Source, measures};

/// Something that is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The label of the stage that it is of, if it is of one.
    pub stage: Option<String>,
    /// The file or folder.
    pub file: PathBuf,
    /// What is wrong with it.
    pub problem: String,
    /// What to do.
    pub remedy: String,
}

/// What came of an audit.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verified {
    /// The experiment.
    pub experiment: String,
    /// Stages that are finished, and were looked at.
    pub stages: usize,
    /// Files of theirs that were read through.
    pub files: usize,
    /// Bytes of these.
    pub bytes: u64,
    /// Answers that were judged again, each by all measures of its probe.
    pub judged: usize,
    /// Labels of stages that were asked for and are not finished. They are no findings.
    pub unfinished: Vec<String>,
    /// Files that the bundle leaves out by choice, or that were dropped to save room. They are no findings.
    pub left_out: usize,
    /// What computed the stages: each version, revision, features, device, instructions and machine, and how many.
    pub computed: Vec<Value>,
    /// What could not be compared, and what an auditor should know.
    pub notes: Vec<String>,
    /// All that is wrong.
    pub findings: Vec<Finding>,
}

/// Which store is audited: findings in a bundle are mended elsewhere.
#[derive(Clone, Copy)]
struct Audit<'a> {
    store: &'a Store,
    experiment: &'a str,
    /// The weights of the bundle that the store was in, if it was in one.
    bundled: Option<Weights>,
}

/// What mends what was found.
#[derive(Clone, Copy)]
enum Remedy<'a> {
    /// A run sees the damage.
    Run,
    /// A run would not see it: this artifact looks sealed.
    Remove(&'a Path),
    /// The file is nobody's.
    Drop,
    /// The plan is not to be trusted.
    Plan,
    /// The store's own file.
    Header,
}

impl Audit<'_> {
    fn finding(&self, stage: Option<&PlannedStage>, flaw: Flaw, remedy: Remedy<'_>) -> Finding {
        let name = self.experiment;
        let remedy = match remedy {
            _ if self.bundled.is_some() => {
                "ask whoever packed the bundle: it was packed so, or changed afterwards".to_owned()
            }
            Remedy::Run => {
                format!("put a whole copy in its place, or `titer run {name} --resume`, which makes it anew")
            }
            Remedy::Remove(folder) => format!(
                "ask where the store comes from; to have it made anew, remove {} and `titer run {name} --resume`",
                folder.display()
            ),
            Remedy::Drop => "ask where it comes from, and remove it".to_owned(),
            Remedy::Plan => {
                "ask where the store comes from; `titer run` with the experiment's own spec plans it anew"
                    .to_owned()
            }
            Remedy::Header => {
                "ask where the store comes from; the file should be as in any other store of this titer"
                    .to_owned()
            }
        };
        let stage = stage.map(|stage| stage.label.clone());
        // What a bundle was unpacked to is gone when this is read.
        let within = flaw.path.strip_prefix(self.store.root()).ok().filter(|_| self.bundled.is_some());
        let file = within.map_or_else(|| flaw.path.clone(), Path::to_owned);
        Finding { stage, file, problem: flaw.problem, remedy }
    }

    /// Whether a payload may be absent.
    fn may_lack(&self, name: &str) -> bool {
        self.bundled.is_some_and(|weights| weights.leave_out(name))
    }
}

/// Audits an experiment of a store. `bundle`: what the store was in, if it was in one.
///
/// # Errors
/// When there is no such experiment, or on request. What is wrong with it is no error: it is found.
pub fn verify(
    store: &Store,
    experiment: &str,
    bundle: Option<&Bundle>,
    interrupt: &Interrupt,
) -> Result<Verified> {
    let audit = Audit { store, experiment, bundled: bundle.map(Bundle::weights) };
    let saved = store.experiment(experiment)?;
    if !saved.exists() {
        // Says which there are.
        saved.plan_json()?;
    }
    let mut verified = Verified {
        experiment: experiment.to_owned(),
        stages: 0,
        files: 0,
        bytes: 0,
        judged: 0,
        unfinished: Vec::new(),
        left_out: 0,
        computed: Vec::new(),
        notes: Vec::new(),
        findings: Vec::new(),
    };
    let header = store.audit().into_iter().map(|flaw| audit.finding(None, flaw, Remedy::Header));
    verified.findings.extend(header);
    let files = saved.audit().into_iter().map(|flaw| audit.finding(None, flaw, Remedy::Run));
    verified.findings.extend(files);
    let at_plan = |problem: String| audit.finding(None, Flaw::new(saved.plan_path(), problem), Remedy::Plan);
    let plan = match stored_plan(store, experiment) {
        Ok(plan) => plan,
        Err(error) => {
            // Without a plan nobody can say what there should be.
            if verified.findings.iter().all(|finding| finding.file != saved.plan_path()) {
                verified.findings.push(at_plan(error.chain()));
            }
            return Ok(verified);
        }
    };
    verified.findings.extend(of_plan(&plan, experiment).into_iter().map(at_plan));
    stages(&audit, &plan, interrupt, &mut verified)?;
    // Over what is not what was measured the rest would say nothing.
    if verified.findings.is_empty() {
        verified.computed = computed(store, &plan)?;
        let told = bundle.map(|bundle| serde_json::from_str::<Value>(bundle.environment())).transpose()?;
        if told.is_some_and(|told| told["computed"] != Value::from(verified.computed.clone())) {
            let flaw = Flaw::new(PathBuf::from("environment.json"), "it is not what the manifests say");
            verified.findings.push(audit.finding(None, flaw, Remedy::Drop));
        }
        match Results::of(plan.clone(), store) {
            Ok(results) => {
                verified.unfinished.clone_from(&results.missing);
                verdicts(&audit, &results, &mut verified)?;
                spec(&audit, &plan, &mut verified)?;
            }
            Err(error) => {
                let problem = format!("its verdicts cannot be decided: {}", error.chain());
                verified.findings.push(at_plan(problem));
            }
        }
    }
    Ok(verified)
}

/// What is wrong with a plan by itself.
fn of_plan(plan: &Plan, name: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if plan.experiment.name != name {
        wrong.push(format!("it is the plan of {}", plan.experiment.name));
    }
    let mut seen = BTreeSet::new();
    for PlannedStage { hash, spec, inputs, label, .. } in &plan.stages {
        let name = stage_hash(spec, inputs);
        if name != *hash {
            wrong.push(format!("{label}: spec and inputs are named {}, not {}", name.short(), hash.short()));
        }
        if let Some(input) = inputs.iter().find(|input| !seen.contains(input)) {
            wrong.push(format!("{label}: its input {} is not planned before it", input.short()));
        }
        if !seen.insert(hash) {
            wrong.push(format!("{label}: it is planned twice"));
        }
    }
    let expanded = plan.experiment.adversary.is_some() || plan.is_of_its_experiment(&measures::tasks());
    if wrong.is_empty() && !expanded {
        wrong.push("its stages and cells are not those that its experiment gives".to_owned());
    }
    wrong
}

/// Looks at all stages, several at once.
fn stages(audit: &Audit<'_>, plan: &Plan, interrupt: &Interrupt, verified: &mut Verified) -> Result<()> {
    let look = |stage: &PlannedStage| {
        if interrupt.raised() { Err(Error::Interrupted) } else { Ok(stage::look(audit, plan, stage)) }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let all = || -> Result<Vec<stage::Looked>> { plan.stages.par_iter().map(look).collect() };
    let looked = match rayon::ThreadPoolBuilder::new().num_threads(threads).build() {
        Ok(pool) => pool.install(all),
        // A system without threads to spare still has this one.
        Err(_) => plan.stages.iter().map(look).collect(),
    }?;
    // Where seeds are added, what nobody asked for is not open.
    let asked = asked(audit.store, plan.clone())?;
    let asked: BTreeSet<&StageHash> = asked.stages.iter().map(|stage| &stage.hash).collect();
    for (stage, looked) in plan.stages.iter().zip(looked) {
        if !looked.sealed {
            verified.unfinished.extend(asked.contains(&stage.hash).then(|| stage.label.clone()));
            continue;
        }
        verified.stages += 1;
        verified.files += looked.files;
        verified.bytes += looked.bytes;
        verified.judged += looked.judged;
        verified.left_out += looked.left_out;
        verified.notes.extend(looked.notes);
        verified.findings.extend(looked.findings);
    }
    Ok(())
}

/// Compares what was kept with what the frames say now.
fn verdicts(audit: &Audit<'_>, results: &Results, verified: &mut Verified) -> Result<()> {
    let (store, name) = (audit.store, audit.experiment);
    let saved = store.experiment(name)?;
    let decided = results.verdicts()?;
    let finished = results.missing.is_empty();
    let mut tell = |path: PathBuf, problem: String| {
        verified.findings.push(audit.finding(None, Flaw::new(path, problem), Remedy::Run));
    };
    match beside(store, name, &decided, finished) {
        Ok(Beside::Same) => {}
        Ok(Beside::Earlier) => verified.notes.push(
            "the kept verdicts are of an earlier moment of this unfinished experiment, and were not compared"
                .to_owned(),
        ),
        Ok(Beside::OtherSpec) => {
            tell(saved.spec_path(), "it is not the spec that the last run was given".to_owned());
        }
        Ok(Beside::Other(problem)) => tell(saved.verdicts_path(), problem),
        Err(error) => tell(saved.verdicts_path(), error.chain()),
    }
    let open = if results.plan.grows() { Look::read(&decided.looks) } else { Vec::new() };
    let kept = kept_looks(&saved);
    if kept != open && (finished || kept.len() > open.len()) {
        let problem =
            format!("{} looks were kept that leave open something else than comes out now", kept.len());
        tell(saved.looks_path(), problem);
    }
    Ok(())
}

/// Says where the plan is not what the spec alone gives: values may have been set on the command line.
fn spec(audit: &Audit<'_>, stored: &Plan, verified: &mut Verified) -> Result<()> {
    let saved = audit.store.experiment(audit.experiment)?;
    let text = match saved.spec() {
        Ok(text) => text,
        Err(error) => {
            let flaw = Flaw::of(&error, &saved.spec_path());
            verified.findings.push(audit.finding(None, flaw, Remedy::Plan));
            return Ok(());
        }
    };
    let source =
        Source { file: saved.spec_path().display().to_string(), folder: saved.folder().to_owned(), text };
    match plan(&source, &[]) {
        Ok(given) => {
            let (given, stored) =
                (serde_json::to_value(&given.experiment)?, serde_json::to_value(&stored.experiment)?);
            if let Some(problem) = difference(&given, &stored, "") {
                verified.notes.push(format!(
                    "the plan is not what spec.toml alone gives: there {problem}; by --set, or changed in the store"
                ));
            }
        }
        Err(_) => verified.notes.push(
            "spec.toml could not be planned here (it may name files of another machine), and was not compared".to_owned(),
        ),
    }
    Ok(())
}
