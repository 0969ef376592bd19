//! Runs the stages of several trials at once, and keeps account: what failed, and what everything took.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use titer_lab::{
    Compute, Estimate, Interrupt, Progress, Result, RunEvent, RunOptions, StageFailure, estimate, run_stages,
};
use titer_plan::{Plan, StageHash};
use titer_store::{Claim, Store};

use super::budget::Spent;
use super::record::Divergence;

/// How the stages of a search are run.
#[derive(Debug, Clone)]
pub struct TuneOptions {
    /// What they compute on.
    pub compute: Compute,
    /// Stages at once; none for as many as cores and memory allow.
    pub jobs: Option<usize>,
    /// Threads that they share.
    pub threads: usize,
}

/// Shows a search.
pub trait Watch {
    /// Says what is done next: what for, and what it will cost. The progress that comes back shows it.
    fn begin(&self, what: &str, estimate: &Estimate) -> Box<dyn Progress>;
    /// Says something.
    fn note(&self, text: &str);
}

/// Runs stages for a search.
pub(super) struct Runner<'a> {
    pub(super) store: &'a Store,
    pub(super) options: &'a TuneOptions,
    pub(super) interrupt: &'a Interrupt,
    pub(super) watch: &'a dyn Watch,
    /// Stages whose training diverged, now or in an earlier run.
    pub(super) diverged: BTreeMap<StageHash, Divergence>,
    failed: BTreeMap<StageHash, String>,
    /// Estimated operations of every stage seen.
    flops: BTreeMap<StageHash, f64>,
    charged: BTreeSet<StageHash>,
    /// Of everything charged that was computed.
    total: Spent,
    /// Stages computed by this run.
    pub(super) computed: usize,
    /// What keeps them in the store.
    claims: Vec<Claim>,
}

/// Why a plan could not be carried out.
pub(super) struct Trouble {
    pub(super) diverged: bool,
    pub(super) reason: String,
}

impl<'a> Runner<'a> {
    pub(super) fn new(
        store: &'a Store,
        options: &'a TuneOptions,
        interrupt: &'a Interrupt,
        watch: &'a dyn Watch,
        diverged: Vec<Divergence>,
    ) -> Self {
        Self {
            store,
            options,
            interrupt,
            watch,
            diverged: diverged.into_iter().map(|stage| (stage.hash.clone(), stage)).collect(),
            failed: BTreeMap::new(),
            flops: BTreeMap::new(),
            charged: BTreeSet::new(),
            total: Spent::default(),
            computed: 0,
            claims: Vec::new(),
        }
    }

    /// Runs what of the plans is not sealed; each has what its stages are called besides their labels.
    /// `Break` where it was interrupted.
    pub(super) fn run(&mut self, what: &str, plans: &[(String, Plan)]) -> Result<ControlFlow<()>> {
        let Some((_, first)) = plans.first() else { return Ok(ControlFlow::Continue(())) };
        if self.interrupt.raised() {
            return Ok(ControlFlow::Break(()));
        }
        let mut all = Plan { stages: Vec::new(), cells: Vec::new(), ..first.clone() };
        let (mut seen, mut hopeless) = (BTreeSet::new(), BTreeSet::new());
        let mut prefixes = BTreeMap::new();
        for (prefix, plan) in plans {
            for stage in &plan.stages {
                let lost = self.diverged.contains_key(&stage.hash)
                    || stage.inputs.iter().any(|input| hopeless.contains(input));
                if lost {
                    hopeless.insert(&stage.hash);
                } else if seen.insert(&stage.hash) {
                    prefixes.insert(stage.hash.clone(), prefix.as_str());
                    all.stages.push(stage.clone());
                }
            }
        }
        let estimate = estimate(&all, Some(self.store));
        if estimate.stages.iter().all(|stage| stage.cached) {
            return Ok(ControlFlow::Continue(()));
        }
        let jobs = titer_lab::jobs(&estimate, self.options.jobs, &self.options.compute)?;
        let compute = self.options.compute.clone();
        let options = RunOptions {
            compute,
            jobs,
            threads: self.options.threads,
            judge_only: false,
            recompute: false,
            budget: None,
            weights: false,
        };
        // What trials have measured is no experiment's: it must stay until the search ends. On a store that cannot be
        // written nothing can be removed either.
        self.claims.extend(self.store.claim(all.stages.iter().map(|stage| &stage.hash)));
        let (summary, times) = {
            let inner = self.watch.begin(what, &estimate);
            let named = Named { inner: inner.as_ref(), prefixes: &prefixes, times: Mutex::default() };
            let summary = run_stages(&all, self.store, &options, self.interrupt, &named)?;
            (summary, named.times.into_inner().unwrap_or_else(PoisonError::into_inner))
        };
        self.computed += summary.computed;
        for StageFailure { hash, label, error, diverged } in summary.failed {
            if diverged {
                let seconds = times.get(&hash).map_or(0.0, |time| time.1);
                self.diverged.insert(hash.clone(), Divergence { hash, label, error, seconds });
            } else {
                self.failed.insert(hash, format!("{label}: {error}"));
            }
        }
        Ok(if summary.interrupted { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }

    /// The first thing that went wrong in a plan.
    pub(super) fn trouble(&self, plan: &Plan) -> Option<Trouble> {
        plan.stages.iter().find_map(|stage| {
            if let Some(Divergence { label, error, .. }) = self.diverged.get(&stage.hash) {
                return Some(Trouble { diverged: true, reason: format!("{label}: {error}") });
            }
            let reason = self.failed.get(&stage.hash)?.clone();
            Some(Trouble { diverged: false, reason })
        })
    }

    /// Estimates the stages of a plan, on which all accounts rest.
    pub(super) fn price(&mut self, plan: &Plan) {
        for stage in estimate(plan, None).stages {
            self.flops.insert(stage.hash, stage.flops);
        }
    }

    /// Estimated operations of the stages of `plan` that are not in `without` and were charged to nobody.
    pub(super) fn flops(&self, plan: &Plan, without: &BTreeSet<StageHash>) -> f64 {
        let own = |hash: &&StageHash| !without.contains(*hash);
        let hashes = plan.stages.iter().map(|stage| &stage.hash).filter(own);
        hashes.filter_map(|hash| self.flops.get(hash)).sum()
    }

    /// Charges what of a plan was done and nobody has paid yet.
    pub(super) fn charge(&mut self, plan: &Plan) -> Result<Spent> {
        let mut spent = Spent::default();
        for stage in plan.stages.iter().filter(|stage| !self.charged.contains(&stage.hash)) {
            let artifact = self.store.artifact(&stage.hash);
            let seconds = match self.diverged.get(&stage.hash) {
                Some(diverged) => diverged.seconds,
                None if artifact.is_sealed() => artifact.manifest()?.wall_seconds,
                None => continue,
            };
            spent += Spent { flops: self.flops.get(&stage.hash).copied().unwrap_or_default(), seconds };
        }
        let done =
            |hash: &StageHash| self.diverged.contains_key(hash) || self.store.artifact(hash).is_sealed();
        let done = plan.stages.iter().map(|stage| &stage.hash).filter(|hash| done(hash));
        self.charged.extend(done.cloned().collect::<Vec<_>>());
        self.total += spent;
        Ok(spent)
    }

    /// Seconds of an operation, as far as they are known.
    pub(super) fn seconds_per_flop(&self) -> f64 {
        if self.total.flops > 0.0 { self.total.seconds / self.total.flops } else { 0.0 }
    }
}

/// Puts the trial before the labels of its stages, and looks at the clock.
struct Named<'a> {
    inner: &'a dyn Progress,
    prefixes: &'a BTreeMap<StageHash, &'a str>,
    /// When each stage began, and how long it took when it failed.
    times: Mutex<BTreeMap<StageHash, (Instant, f64)>>,
}

impl Progress for Named<'_> {
    fn event(&self, event: RunEvent<'_>) {
        let named = |hash: &StageHash, label: &str| {
            format!("{}{label}", self.prefixes.get(hash).copied().unwrap_or_default())
        };
        let times = || self.times.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            RunEvent::Planned { .. } | RunEvent::Heard { .. } | RunEvent::Looked { .. } => {
                self.inner.event(event);
            }
            RunEvent::Distrusted { hash, label, problem } => {
                self.inner.event(RunEvent::Distrusted { hash, label: &named(hash, label), problem });
            }
            RunEvent::Lacking { hash, label, input, first } => {
                self.inner.event(RunEvent::Lacking { hash, label: &named(hash, label), input, first });
            }
            RunEvent::Elsewhere { hash, label, holder } => {
                self.inner.event(RunEvent::Elsewhere { hash, label: &named(hash, label), holder });
            }
            RunEvent::Started { hash, label } => {
                times().insert(hash.clone(), (Instant::now(), 0.0));
                self.inner.event(RunEvent::Started { hash, label: &named(hash, label) });
            }
            RunEvent::Advanced { hash, label, done, of } => {
                self.inner.event(RunEvent::Advanced { hash, label: &named(hash, label), done, of });
            }
            RunEvent::Finished { hash, label, seconds } => {
                self.inner.event(RunEvent::Finished { hash, label: &named(hash, label), seconds });
            }
            RunEvent::Retried { hash, label, error, pause } => {
                self.inner.event(RunEvent::Retried { hash, label: &named(hash, label), error, pause });
            }
            RunEvent::Failed { hash, label, error, again } => {
                if let Some((began, seconds)) = times().get_mut(hash) {
                    *seconds = began.elapsed().as_secs_f64();
                }
                self.inner.event(RunEvent::Failed { hash, label: &named(hash, label), error, again });
            }
            RunEvent::Skipped { hash, label, because } => {
                self.inner.event(RunEvent::Skipped { hash, label: &named(hash, label), because });
            }
        }
    }
}
