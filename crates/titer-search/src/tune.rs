//! The search itself: draw, climb the rungs, close with fresh seeds.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::ControlFlow;

use titer_lab::{Error, Interrupt, Result, Results, Source};
use titer_plan::{AttackPoint, Override, Plan, StageHash, ThreatModel};
use titer_store::Store;

use super::budget::{Budget, Spent};
use super::design::Design;
use super::record::{End, Record, Trial, Winner, block};
use super::rungs::{Costs, Rung, affordable};
use super::runner::{Runner, TuneOptions, Watch};
use super::sampling::Sampler;
use super::score::Outcome;
use super::space::Setting;
use super::strength::strongest;

/// Trials that are compared with each other on the way up.
const COHORT: usize = 16;
/// Trials where nothing else is said.
const TRIALS: usize = 16;
/// More trials than any budget is for.
const MOST_TRIALS: usize = 10_000;

/// What is searched for.
#[derive(Debug, Clone, PartialEq)]
pub struct TuneSettings {
    /// The defence's label in the spec.
    pub defence: String,
    /// The parameters, each as `KEY=LOW..HIGH`, `KEY=LOW..HIGH:log` or `KEY=[a, b]`.
    pub over: Vec<String>,
    /// What the trials may spend.
    pub budget: Option<Budget>,
    /// Trials at most; without a budget 16 where none.
    pub trials: Option<usize>,
    /// Of the order of trials.
    pub seed: u64,
}

/// How a search went.
#[derive(Debug, Clone, PartialEq)]
pub struct Tuned {
    /// What came of it so far.
    pub record: Record,
    /// Stages computed by this call.
    pub computed: usize,
    /// Whether it was stopped on request; the same call goes on.
    pub interrupted: bool,
}

/// Searches the setting of a defence with the best titer (open weights) or the lowest harmful score
/// (fine-tuning API) under which the conditions hold. The record is kept in the store as the experiment
/// `NAME-tune-LABEL`, whose measurements are those of the winner with fresh seeds.
///
/// # Errors
/// When the search makes no sense, the budget does not pay one trial, the undefended model cannot be measured
/// or is not broken, or the store fails. Trials that fail are no errors.
pub fn tune(
    source: &Source,
    overrides: &[Override],
    settings: &TuneSettings,
    store: &Store,
    options: &TuneOptions,
    interrupt: &Interrupt,
    watch: &dyn Watch,
) -> Result<Tuned> {
    let design = Design::new(source, overrides, &settings.defence, &settings.over)?;
    if let (Some(_), Some(problem)) = (settings.budget, titer_lab::estimate(&design.plan, None).unknown) {
        return Err(Error::Search { problem: format!("a budget cannot be kept: {problem}") });
    }
    let diverged = Record::load(store, &design.name())?.map_or_else(Vec::new, |earlier| earlier.diverged);
    let mut search = Search {
        settings,
        source,
        runner: Runner::new(store, options, interrupt, watch, diverged),
        draws: Sampler::new(&design.axes, settings.seed, design.own()),
        drawn: 0,
        waiting: VecDeque::new(),
        record: empty(&design, settings),
        trials: BTreeMap::new(),
        strongest: BTreeSet::new(),
        shared: BTreeSet::new(),
        dearest: 0.0,
        design: &design,
    };
    let flow = search.whole();
    // Whatever happened, what is known by now is kept.
    search.save()?;
    let interrupted = flow?.is_break();
    Ok(Tuned { record: search.record, computed: search.runner.computed, interrupted })
}

fn empty(design: &Design<'_>, settings: &TuneSettings) -> Record {
    let experiment = &design.plan.experiment;
    Record {
        name: design.name(),
        experiment: experiment.name.clone(),
        model: experiment.model.reference(),
        threat_model: experiment.threat_model,
        defence: settings.defence.clone(),
        space: design.axes.clone(),
        seed: settings.seed,
        budget: settings.budget,
        most_trials: settings.trials.or_else(|| settings.budget.is_none().then_some(TRIALS)),
        strongest: Vec::new(),
        undefended: Spent::default(),
        spent: Spent::default(),
        trials: Vec::new(),
        winner: None,
        finished: false,
        ended: String::new(),
        caveats: Vec::new(),
        diverged: Vec::new(),
    }
}

/// A search that goes on.
pub(super) struct Search<'a> {
    pub(super) settings: &'a TuneSettings,
    pub(super) source: &'a Source,
    pub(super) runner: Runner<'a>,
    pub(super) draws: Sampler<'a>,
    /// Trials drawn so far.
    pub(super) drawn: usize,
    /// Drawn, but not begun.
    pub(super) waiting: VecDeque<Candidate>,
    pub(super) record: Record,
    pub(super) trials: BTreeMap<usize, Trial>,
    /// The attacks of the second rung.
    pub(super) strongest: BTreeSet<AttackPoint>,
    /// The stages of the undefended model, which no trial pays.
    pub(super) shared: BTreeSet<StageHash>,
    /// The largest number of operations of any trial begun.
    pub(super) dearest: f64,
    pub(super) design: &'a Design<'a>,
}

/// A trial that goes on.
pub(super) struct Candidate {
    pub(super) number: usize,
    pub(super) setting: Setting,
    pub(super) plan: Plan,
    /// Operations of each rung.
    pub(super) flops: Costs,
}

impl Search<'_> {
    fn whole(&mut self) -> Result<ControlFlow<()>> {
        if self.undefended()?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
        loop {
            let cohort = self.cohort()?;
            if cohort.is_empty() {
                break;
            }
            if self.climb(cohort)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        if self.close()?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
        self.record.finished = true;
        self.record.trials = self.trials.values().cloned().collect();
        self.record.caveats = self.record.warnings();
        Ok(ControlFlow::Continue(()))
    }

    /// Keeps the record in the store, as an experiment of its own.
    pub(super) fn save(&mut self) -> Result<()> {
        self.record.trials = self.trials.values().cloned().collect();
        self.record.diverged = self.runner.diverged.values().cloned().collect();
        let experiment = self.runner.store.experiment(&self.record.name)?;
        let plan = match &self.record.winner {
            Some(winner) => self.design.fresh(&self.trials[&winner.trial].setting)?,
            // As long as nothing is found, the measurements of an earlier search stay there.
            None if experiment.exists() && !self.record.finished => {
                return self.record.save(self.runner.store);
            }
            None => self.design.rung(&self.design.plan, Rung::Everything, &self.strongest),
        };
        let plan = serde_json::to_string_pretty(&plan)?;
        if experiment.plan_json().is_ok_and(|stored| stored == plan) {
            return self.record.save(self.runner.store);
        }
        experiment.save(&self.source.text, &plan)?;
        self.record.save(self.runner.store)
    }

    /// Measures the undefended model and learns from it which attacks are strong.
    fn undefended(&mut self) -> Result<ControlFlow<()>> {
        self.runner.price(&self.design.plan);
        let plan = self.design.undefended(&self.design.plan);
        self.shared = plan.stages.iter().map(|stage| stage.hash.clone()).collect();
        let flow = self.runner.run("the undefended model", &[(String::new(), plan.clone())])?;
        self.record.undefended += self.runner.charge(&plan)?;
        if flow.is_break() {
            return Ok(flow);
        }
        if let Some(trouble) = self.runner.trouble(&plan) {
            return Err(Error::NoBaseline { problem: trouble.reason });
        }
        self.record.strongest = strongest(&Results::of(plan, self.runner.store)?)?;
        self.strongest = self.record.strongest.iter().cloned().collect();
        Ok(ControlFlow::Continue(()))
    }

    /// Budget units of an operation.
    fn rate(&self) -> f64 {
        match self.settings.budget {
            Some(Budget::Seconds(_)) => self.runner.seconds_per_flop(),
            _ => 1.0,
        }
    }

    /// The next trials, as many as are sure to be paid.
    fn cohort(&mut self) -> Result<Vec<Candidate>> {
        let most = self.record.most_trials.unwrap_or(MOST_TRIALS);
        let mut exhausted = false;
        while self.waiting.len() < COHORT && self.drawn < most && !exhausted {
            exhausted = !self.draw()?;
        }
        let Some(budget) = self.settings.budget else {
            return Ok(self.begin(self.waiting.len(), most));
        };
        let rate = self.rate();
        let left = budget.amount() - self.record.spent.in_unit_of(budget);
        let costs: Vec<Costs> =
            self.waiting.iter().map(|candidate| candidate.flops.map(|flops| flops * rate)).collect();
        let count = affordable(&costs, self.dearest * rate, left);
        if count == 0 && self.dearest == 0.0 && !costs.is_empty() {
            let once: f64 = costs[0].iter().sum();
            let problem = format!(
                "a budget of {budget} does not pay one trial: the spec's own setting takes {}, and as much again \
                 with fresh seeds",
                budget.of(once)
            );
            return Err(Error::Search { problem });
        }
        if count == 0 && !costs.is_empty() {
            self.record.ended = format!("the budget of {budget} does not pay another trial");
        }
        Ok(self.begin(count, most))
    }

    fn begin(&mut self, count: usize, most: usize) -> Vec<Candidate> {
        if self.waiting.is_empty() {
            self.record.ended = if self.drawn < most {
                "the space holds no other setting".to_owned()
            } else {
                format!("all {most} trials were made")
            };
        }
        let begun: Vec<Candidate> = self.waiting.drain(..count).collect();
        for candidate in &begun {
            self.dearest = self.dearest.max(candidate.flops.iter().sum());
            let trial = Trial::new(candidate.number, candidate.setting.clone());
            self.trials.insert(candidate.number, trial);
        }
        begun
    }

    /// Draws one trial. False where there is none left.
    fn draw(&mut self) -> Result<bool> {
        let setting = match self.drawn {
            0 => Some(self.design.own()),
            _ => self.draws.next(),
        };
        let Some(setting) = setting else { return Ok(false) };
        let number = self.drawn;
        self.drawn += 1;
        match self.design.with(&setting) {
            Ok(plan) => {
                self.runner.price(&plan);
                let (mut before, mut flops) = (self.shared.clone(), [0.0; 3]);
                for (flops, rung) in flops.iter_mut().zip(Rung::ALL) {
                    let part = self.design.rung(&plan, rung, &self.strongest);
                    *flops = self.runner.flops(&part, &before);
                    before.extend(part.stages.iter().map(|stage| stage.hash.clone()));
                }
                self.waiting.push_back(Candidate { number, setting, plan, flops });
            }
            Err(mistakes) => {
                let reasons: Vec<String> = mistakes.mistakes.iter().map(ToString::to_string).collect();
                self.trials.insert(number, Trial::new(number, setting));
                self.end(number, End::Refused, reasons.join("; "));
            }
        }
        Ok(true)
    }

    /// The second condition of a winner.
    pub(super) fn learning(&self) -> &'static str {
        match self.record.threat_model {
            ThreatModel::OpenWeights => "trainability",
            ThreatModel::FineTuningApi => "accuracy",
        }
    }

    pub(super) fn outcome(&self, part: Plan) -> Result<(Outcome, Vec<String>)> {
        let results = Results::of(part, self.runner.store)?;
        let mut verdicts = results.verdicts()?;
        let place = verdicts.defences.iter().position(|verdict| verdict.defence == self.record.defence);
        let Some(place) = place else {
            return Err(Error::NoBaseline { problem: format!("{} was not measured", self.record.defence) });
        };
        let outcome = Outcome::of(&results, &verdicts.defences.swap_remove(place))?;
        Ok((outcome, verdicts.caveats))
    }

    /// Measures the best trial once more, with seeds that nothing was selected by.
    fn close(&mut self) -> Result<ControlFlow<()>> {
        let held = self.trials.values().filter(|trial| trial.end == Some(End::Held));
        let scored = held.filter_map(|trial| Some((trial, trial.outcome.as_ref()?)));
        let best = scored.min_by(|(_, a), (_, b)| a.score().rank(&b.score()));
        let Some((trial, selection)) = best.map(|(trial, outcome)| (trial.clone(), outcome.clone())) else {
            return Ok(ControlFlow::Continue(()));
        };
        let plan = self.design.fresh(&trial.setting)?;
        self.runner.price(&plan);
        let what = format!("trial {} once more, with fresh seeds", trial.number);
        let flow = self.runner.run(&what, &[(format!("trial {}: ", trial.number), plan.clone())])?;
        self.record.undefended += self.runner.charge(&self.design.undefended(&plan))?;
        let spent = self.runner.charge(&plan)?;
        self.record.spent += spent;
        if flow.is_break() {
            return Ok(flow);
        }
        let (fresh, problem) = match self.runner.trouble(&plan) {
            Some(trouble) => (None, trouble.reason),
            None => {
                let (fresh, caveats) = self.outcome(plan)?;
                self.record.caveats = caveats;
                (Some(fresh), String::new())
            }
        };
        let toml = self.design.named(&trial.setting)?.as_ref().map(block).unwrap_or_default();
        self.record.winner = Some(Winner { trial: trial.number, selection, fresh, problem, spent, toml });
        Ok(flow)
    }
}
