//! The search against one victim, in one way of attacking. Trials climb rungs of growing budget by successive halving (ASHA, Li et al., arXiv
//! 1810.05934), whose resource here is the very thing that is looked for: what an attack spends. The first rung at
//! which something breaks the victim ends the climb, since every later one is dearer. The remaining trials look, near
//! what did best, for something that breaks it for less, and the budget of the best is bisected.

use titer_conditions::Reach;
use titer_plan::{Component, Cost, Mechanism, derive_seed};

use super::learn::propose;
use super::record::{AttackTrial, Origin};
use super::space::{Place, Space, Stated};

/// Examples that the first rung may present.
const FIRST: u64 = 4;
/// How much each rung may present more than the one before.
const GROWTH: u64 = 4;
/// Of so many trials of a rung one climbs on.
const REDUCTION: usize = 3;
/// Of so many trials two are for the climb, the others for the neighbourhood of what did best.
const PARTS: usize = 3;
/// Trials that are proposed before any of them is measured.
const TOGETHER: usize = 4;
/// Checkpoints of a trial on one rung.
const CHECKPOINTS: u64 = 3;
/// Checkpoints by which the budget of the best is bisected.
const BISECTION: u64 = 8;
/// Proposals in a row that are too dear or known already, after which there is nothing near.
const PATIENCE: u64 = 50;

/// One attack to be tried until a step.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Request {
    /// The trial.
    pub(super) trial: usize,
    pub(super) stated: Stated,
    /// Steps after which the victim is asked, from 0.
    pub(super) cadence: Vec<u64>,
}

/// A trial and what is known of it.
struct Candidate {
    stated: Stated,
    place: Option<Place>,
    /// Steps made so far.
    steps: u64,
    over: bool,
    /// The last step at which the victim was asked and not broken, and the first at which it was.
    gap: Option<(u64, u64)>,
    /// The gap in which it was asked at more checkpoints.
    bisected: Option<(u64, u64)>,
}

/// The search against one victim in one way.
pub(super) struct Hunt<'a> {
    pub(super) victim: String,
    pub(super) space: &'a Space<'a>,
    axis: Component,
    seed: u64,
    candidates: Vec<Candidate>,
    pub(super) trials: Vec<AttackTrial>,
    /// Examples that the present rung may present; none once the climb is over.
    rung: Option<u64>,
    drawn: u64,
    asked: Vec<Request>,
}

impl<'a> Hunt<'a> {
    /// Against a victim, beginning with those of these attacks that are in the space.
    pub(super) fn new(
        victim: &str,
        space: &'a Space<'a>,
        axis: Component,
        seed: u64,
        warm: &[Stated],
    ) -> Self {
        let mut hunt = Self {
            victim: victim.to_owned(),
            space,
            axis,
            seed,
            candidates: Vec::new(),
            trials: Vec::new(),
            rung: Some(FIRST),
            drawn: 0,
            asked: Vec::new(),
        };
        for stated in warm.iter().filter(|stated| space.has(stated)) {
            hunt.add(stated.clone(), None, Origin::Warm);
        }
        let climbing = (space.trials * (PARTS - 1)).div_ceil(PARTS);
        let mut misses = 0;
        while hunt.candidates.len() < climbing && misses < PATIENCE {
            let place = space.draw(hunt.drawn, seed);
            hunt.drawn += 1;
            misses = if hunt.drawn_at(place, Origin::Drawn) { 0 } else { misses + 1 };
        }
        hunt
    }

    /// Adds the attack at a place, unless it is known.
    fn drawn_at(&mut self, place: Place, origin: Origin) -> bool {
        let Some(stated) = self.space.at(&place) else { return false };
        self.add(stated, Some(place), origin)
    }

    fn add(&mut self, stated: Stated, place: Option<Place>, origin: Origin) -> bool {
        if self.candidates.iter().any(|candidate| candidate.stated == stated) {
            return false;
        }
        let number = self.trials.len();
        self.trials.push(AttackTrial::new(number, &stated, origin));
        self.candidates.push(Candidate { stated, place, steps: 0, over: false, gap: None, bisected: None });
        true
    }

    /// What is to be measured next; nothing once the search is over.
    pub(super) fn next(&mut self) -> Vec<Request> {
        self.asked = match self.rung {
            Some(_) => self.climb(),
            None => self.near(),
        };
        self.asked.clone()
    }

    fn climb(&mut self) -> Vec<Request> {
        while let Some(most) = self.rung {
            let mut requests = Vec::new();
            for (trial, candidate) in self.candidates.iter().enumerate().filter(|(_, one)| !one.over) {
                let until = match candidate.stated.batch {
                    Some(batch) => (most / batch).min(self.space.steps),
                    None => 1,
                };
                if until > candidate.steps {
                    let cadence = between(candidate.steps, until, CHECKPOINTS);
                    requests.push(Request { trial, stated: candidate.stated.clone(), cadence });
                }
            }
            if !requests.is_empty() {
                return requests;
            }
            self.end_exhausted();
            let waits = self.candidates.iter().any(|candidate| !candidate.over);
            self.rung = waits.then(|| most.saturating_mul(GROWTH));
        }
        self.near()
    }

    /// Ends the trials that made all of their steps.
    fn end_exhausted(&mut self) {
        for (trial, candidate) in self.candidates.iter_mut().enumerate() {
            let whole = candidate.stated.batch.is_none() || candidate.steps >= self.space.steps;
            if !candidate.over && candidate.steps > 0 && whole {
                candidate.over = true;
                self.trials[trial].end = "did not break it within the budget".to_owned();
            }
        }
    }

    /// Trials near what did best, none of which may present more examples than that.
    fn near(&mut self) -> Vec<Request> {
        let mut requests = Vec::new();
        let most = match self.best() {
            Some(best) => {
                let candidate = &self.candidates[best];
                // Nothing that trains is cheaper than what is done at once.
                let (Some(batch), Some((_, broken))) = (candidate.stated.batch, candidate.gap) else {
                    return Vec::new();
                };
                requests.extend(self.bisections(broken * batch));
                broken * batch
            }
            None => self.space.steps.saturating_mul(*self.space.settings.batches.iter().max().unwrap_or(&1)),
        };
        let mut misses = 0;
        while requests.len() < TOGETHER && self.trials.len() < self.space.trials && misses < PATIENCE {
            let place = propose(self.space, &self.ranked(), self.drawn, self.seed);
            self.drawn += 1;
            let until = self.space.at(&place).map_or(0, |stated| match stated.batch {
                Some(batch) => (most / batch).min(self.space.steps),
                None => 1,
            });
            if until == 0 || !self.drawn_at(place, Origin::Near) {
                misses += 1;
                continue;
            }
            let trial = self.candidates.len() - 1;
            let cadence = between(0, until, BISECTION);
            requests.push(Request { trial, stated: self.candidates[trial].stated.clone(), cadence });
        }
        requests
    }

    /// Of the trials that may have broken it for less than so many examples, since they were not asked in between, those
    /// that have not been asked there yet.
    fn bisections(&mut self, most: u64) -> Vec<Request> {
        let mut requests = Vec::new();
        for (trial, candidate) in self.candidates.iter_mut().enumerate() {
            let (Some(batch), Some((whole, broken))) = (candidate.stated.batch, candidate.gap) else {
                continue;
            };
            if broken - whole > 1 && (whole + 1) * batch < most && candidate.bisected != Some((whole, broken))
            {
                candidate.bisected = Some((whole, broken));
                let cadence = between(whole, broken, BISECTION);
                requests.push(Request { trial, stated: candidate.stated.clone(), cadence });
            }
        }
        requests
    }

    /// Takes in what was measured of a request; an error ends the trial.
    pub(super) fn learn(&mut self, request: &Request, reach: Result<Reach, String>, flops: f64) {
        let Some(candidate) = self.candidates.get_mut(request.trial) else { return };
        let trial = &mut self.trials[request.trial];
        trial.flops += flops;
        let last = request.cadence.last().copied().unwrap_or(0);
        match reach {
            Err(reason) => {
                candidate.over = true;
                trial.failed = true;
                trial.end = reason;
            }
            Ok(reach) => {
                let of = |cost: Cost| self.axis.of(&cost).max(1);
                candidate.steps = candidate.steps.max(last);
                trial.steps = candidate.steps;
                trial.harm = trial.harm.max(reach.harm);
                if let Some(broken) = reach.broken {
                    let before = request.cadence.iter().rev().find(|step| **step < broken.steps);
                    candidate.gap = Some((before.copied().unwrap_or(0), broken.steps));
                    candidate.over = true;
                    trial.broken = Some(trial.broken.map_or(of(broken), |known| known.min(of(broken))));
                    trial.end = "broke it".to_owned();
                }
                if let Some(able) = reach.broken_and_able {
                    trial.broken_and_able =
                        Some(trial.broken_and_able.map_or(of(able), |known| known.min(of(able))));
                }
            }
        }
    }

    /// What follows from a round that was measured.
    pub(super) fn turn(&mut self) {
        let Some(most) = self.rung else { return };
        if self.best().is_some() {
            self.rung = None;
            for (trial, _) in self.candidates.iter().enumerate().filter(|(_, one)| !one.over) {
                self.trials[trial].end = "another was cheaper".to_owned();
            }
            self.candidates.iter_mut().for_each(|candidate| candidate.over = true);
            return;
        }
        self.end_exhausted();
        let mut going: Vec<usize> = self.asked.iter().map(|request| request.trial).collect();
        going.retain(|trial| !self.candidates[*trial].over);
        going.sort_by(|a, b| self.trials[*b].harm.total_cmp(&self.trials[*a].harm).then(a.cmp(b)));
        for trial in going.iter().skip(going.len().div_ceil(REDUCTION)) {
            self.candidates[*trial].over = true;
            self.trials[*trial].end = "others did more harm for as much".to_owned();
        }
        self.rung = Some(most.saturating_mul(GROWTH));
    }

    /// The trial that broke it for the least; of equals the one that kept ability, then the earlier.
    fn best(&self) -> Option<usize> {
        self.order().into_iter().next().filter(|trial| self.trials[*trial].broken.is_some())
    }

    /// The trials, best first: by what they broke it for, those that did not by the harm that they did.
    fn order(&self) -> Vec<usize> {
        let mut order: Vec<usize> =
            (0..self.trials.len()).filter(|trial| self.candidates[*trial].steps > 0).collect();
        let cost = |trial: usize| self.trials[trial].broken.unwrap_or(u64::MAX);
        let able = |trial: usize| self.trials[trial].broken_and_able.unwrap_or(u64::MAX);
        order.sort_by(|a, b| {
            let (one, other) = (&self.trials[*a], &self.trials[*b]);
            let harm = other.harm.total_cmp(&one.harm);
            cost(*a).cmp(&cost(*b)).then(able(*a).cmp(&able(*b))).then(harm).then(a.cmp(b))
        });
        order
    }

    fn ranked(&self) -> Vec<Place> {
        self.order().into_iter().filter_map(|trial| self.candidates[trial].place.clone()).collect()
    }

    /// The attacks to be tried on all victims, none where none was tried: the cheapest, then the cheapest that keeps ability, and so on; where
    /// nothing broke it those that did most harm.
    pub(super) fn found(&self) -> Vec<Stated> {
        let by_cost = self.order();
        let mut by_ability = by_cost.clone();
        by_ability.sort_by_key(|trial| self.trials[*trial].broken_and_able.unwrap_or(u64::MAX));
        let mut kept: Vec<usize> = Vec::new();
        for (cheapest, able) in by_cost.into_iter().zip(by_ability) {
            for trial in [cheapest, able] {
                if kept.len() < self.space.settings.keep && !kept.contains(&trial) {
                    kept.push(trial);
                }
            }
        }
        kept.into_iter().map(|trial| self.candidates[trial].stated.clone()).collect()
    }
}

/// Up to `count` steps after `from` until `until`, evenly spaced by their logarithms, and 0 before them.
fn between(from: u64, until: u64, count: u64) -> Vec<u64> {
    let (low, high) = ((from.max(1)) as f64, until.max(1) as f64);
    let mut steps = vec![0];
    if until - from <= count {
        steps.extend(from + 1..=until);
        return steps;
    }
    for point in 1..=count {
        let step = (low.ln() + (high / low).ln() * point as f64 / count as f64).exp().round() as u64;
        let step = step.clamp(from + 1, until);
        if steps.last() != Some(&step) {
            steps.push(step);
        }
    }
    steps
}

/// The seed of the search against a victim in one way.
pub(super) fn seed_of(experiment: u64, victim: &str, mechanism: Mechanism) -> u64 {
    derive_seed(experiment, &format!("adversary/{victim}/{}", mechanism.name()))
}

#[cfg(test)]
mod tests;
