//! The titer: how many times more an attacker must pay, a ratio of break budgets.
//!
//! Runs of the defended model and of the reference are paired by their seeds, and the logarithms of their break budgets
//! subtracted. The attacker takes the cheapest attack on either model, so that the titer is a difference of two minima;
//! the least of several estimates is too low, so that for each attack seed both models' cheapest attacks are chosen on the
//! other seeds and their cost is read from this one. What the estimate and its interval are is in
//! [`crate::sample`].

use std::collections::BTreeSet;

use titer_plan::{AttackPoint, Component, DefenceRole};

use crate::breaks::{Break, RunBreak};
use crate::course::Course;
use crate::sample::{Estimate, Reading, Sample, closest, differences, seeds};
use crate::verdict::{Effort, Titer};

/// The ratio of one defence to a reference, before others have lent their spread.
#[derive(Debug)]
pub(crate) struct Contest {
    /// The pairs that the estimate is of; then, where seeds disagree about the cheapest attack, those of each pair of
    /// attacks that may be it.
    samples: Vec<Sample>,
    /// Whether the defended model is harmful before its cheapest attack begins.
    pub(crate) open: bool,
    /// The same of the reference, so that there is nothing to compare with.
    reference_open: bool,
    /// Whether some run of the defended model, under its cheapest attack, never broke.
    censored: bool,
    /// Whether an attack that was tried on others was not tried on the defended model: it may be cheaper.
    untried: bool,
    /// The same of the reference.
    reference_untried: bool,
    /// What a wider search might change, in words; none where both cheapest attacks lie within what was tried.
    pub(crate) widen: Option<String>,
    effort: Effort,
    /// The cheapest attack on the defended model and that on the reference; none where none of its runs broke.
    pub(crate) cheapest: [Option<AttackPoint>; 2],
    /// The attacks that some seed takes for the cheapest, on either model: without any other the titer is the same.
    pub(crate) chosen: BTreeSet<AttackPoint>,
}

/// What stood against a model.
pub(crate) fn effort(courses: &[Course]) -> Effort {
    Effort {
        attacks: courses.iter().filter(|course| !course.runs.is_empty()).count(),
        runs: courses.iter().map(|course| course.runs.len()).sum(),
    }
}

/// How cheap an attack is on the runs of some attack seeds: the mean logarithm of its cost.
fn cost(course: &Course, of: &[u64]) -> Option<f64> {
    let runs = course.runs.iter().filter(|run| of.contains(&run.attack_seed));
    let (sum, count) = runs.fold((0.0, 0.0), |(sum, count), run| (sum + run.measured.middle(), count + 1.0));
    (count > 0.0).then(|| sum / count)
}

/// The cheapest attack by the runs of some attack seeds; of equals one that lies within what was tried, then the first.
/// What is done at once has no dearer form: where it never broke a model it does not count, if others do.
fn cheapest<'a>(courses: &'a [Course], of: &[u64]) -> Option<&'a Course> {
    let counts = |course: &Course| course.trains || course.broken() > 0;
    let some = courses.iter().any(|course| counts(course) && cost(course, of).is_some());
    let those = || courses.iter().filter(|course| !some || counts(course));
    let costs = || those().filter_map(|course| Some((course, cost(course, of)?)));
    let least = costs().map(|(_, cost)| cost).min_by(f64::total_cmp)?;
    let mut equals = costs().filter(|(_, cost)| *cost <= least + 1e-9).map(|(course, _)| course);
    let first = equals.clone().next();
    equals.find(|course| edge(course, courses).is_none()).or(first)
}

/// The attack that breaks a model for the least, by all of its runs: of those that break most of them, or else of those
/// that break any. One that never broke it, however little it had spent, breaks it for nothing known.
pub(crate) fn weakest<'a>(courses: impl IntoIterator<Item = &'a Course> + Clone) -> Option<&'a Course> {
    let courses = || courses.clone().into_iter();
    let all = seeds(courses().flat_map(|course| &course.runs).map(|run| run.attack_seed));
    let least = |breaks: fn(&Course) -> bool| {
        let costs = courses().filter(|course| breaks(course));
        let costs = costs.filter_map(|course| Some((course, cost(course, &all)?)));
        costs.min_by(|(_, a), (_, b)| a.total_cmp(b)).map(|(course, _)| course)
    };
    least(|course| 2 * course.broken() > course.runs.len()).or_else(|| least(|course| course.broken() > 0))
}

/// What lies beyond what was tried, where an attack is at its edge: which setting to widen, and where.
pub(crate) fn edge(course: &Course, all: &[Course]) -> Option<String> {
    if course.at_once() {
        return None;
    }
    let same =
        || all.iter().filter(|other| other.attack.method == course.attack.method && !other.runs.is_empty());
    let mut varied = false;
    for (key, value) in &course.attack.settings {
        let Some(value) = value.as_f64() else { continue };
        let values = || same().filter_map(|other| other.attack.settings.get(key)?.as_f64());
        let (least, most) = (values().fold(value, f64::min), values().fold(value, f64::max));
        if least == most {
            continue;
        }
        varied = true;
        if value == most {
            return Some(format!("`{key}` of {} above {value:?}", course.attack.method));
        }
        if value == least {
            return Some(format!("`{key}` of {} below {value:?}", course.attack.method));
        }
    }
    (!varied).then(|| format!("`{}`, of which one setting was tried", course.attack.method))
}

/// A run's break as a reading: the logarithm of what it cost.
fn reading(run: &RunBreak, logs: impl Fn(&Break) -> (f64, f64)) -> Reading {
    let (low, high) = logs(&run.measured);
    let replicates = run.replicates.iter().map(Break::middle).collect();
    Reading { seeds: (run.defence_seed, run.attack_seed), low, high, replicates }
}

/// The runs of one attack, read.
struct Readings<'a> {
    course: &'a Course,
    runs: Vec<Reading>,
}

impl Readings<'_> {
    /// The runs of one attack seed, each with those of `against` that it is compared with.
    fn against<'a>(
        &'a self,
        against: &'a Self,
        attack_seed: u64,
    ) -> impl Iterator<Item = (&'a Reading, Vec<&'a Reading>)> {
        self.runs.iter().filter(move |run| run.seeds.1 == attack_seed).map(move |run| {
            let mut same = closest(run.seeds, &against.runs, |other| other.seeds);
            same.retain(|other| other.seeds.1 == attack_seed);
            (run, same)
        })
    }
}

impl Contest {
    /// Of a defended model against a reference, both under the same attacks; none where nothing was measured.
    pub(crate) fn new<'a>(
        own: &'a [Course],
        reference: &'a [Course],
        items: usize,
        role: DefenceRole,
    ) -> Option<Self> {
        Self::with(own, reference, items, role, Break::logs)
    }

    /// The same of budgets up to what was tried: what never broke counts as if it broke one step later.
    pub(crate) fn restricted<'a>(
        own: &'a [Course],
        reference: &'a [Course],
        items: usize,
        role: DefenceRole,
    ) -> Option<Self> {
        let capped = |found: &Break| match found.logs() {
            (low, high) if high.is_infinite() => (low, low),
            known => known,
        };
        Self::with(own, reference, items, role, capped)
    }

    fn with<'a>(
        own: &'a [Course],
        reference: &'a [Course],
        items: usize,
        role: DefenceRole,
        logs: impl Fn(&Break) -> (f64, f64),
    ) -> Option<Self> {
        let all = seeds(own.iter().flat_map(|course| &course.runs).map(|run| run.attack_seed));
        let best = cheapest(own, &all)?;
        let best_reference = cheapest(reference, &all);
        // A model that is open needs no attack: compare nothing.
        let open = best.open();
        let reference_open = best_reference.is_some_and(Course::open);
        // The attacker's choice is made on the other seeds than the one that is read.
        let choice = |courses: &'a [Course], seed: u64| -> Option<&'a Course> {
            let others: Vec<u64> = all.iter().copied().filter(|&other| other != seed).collect();
            cheapest(courses, if others.is_empty() { &all } else { &others })
        };
        let read = |courses: &'a [Course]| -> Vec<Readings<'a>> {
            let runs = |course: &Course| course.runs.iter().map(|run| reading(run, &logs)).collect();
            courses.iter().map(|course| Readings { course, runs: runs(course) }).collect()
        };
        let (own_read, reference_read) = (read(own), read(reference));
        let of = |all: &'_ [Readings<'a>], course: &Course| {
            all.iter().position(|read| read.course.attack == course.attack)
        };
        // The places of the attacks that are chosen for each seed.
        let choices: Vec<(u64, usize, usize)> = all
            .iter()
            .filter_map(|&seed| {
                let own = of(&own_read, choice(own, seed)?)?;
                Some((seed, own, of(&reference_read, choice(reference, seed)?)?))
            })
            .collect();
        let sample = |choices: &[(u64, usize, usize)]| {
            let pairs = choices
                .iter()
                .flat_map(|&(seed, own, against)| own_read[own].against(&reference_read[against], seed));
            differences(pairs, items, role)
        };
        let mut samples: Vec<Sample> = sample(&choices).into_iter().collect();
        // Where the seeds disagree about the cheapest attack, each may be it.
        let distinct =
            |of: fn(&(u64, usize, usize)) -> usize| choices.iter().map(of).collect::<BTreeSet<_>>();
        let (chosen, chosen_reference) = (distinct(|choice| choice.1), distinct(|choice| choice.2));
        if chosen.len() * chosen_reference.len() > 1 {
            for &own in &chosen {
                for &against in &chosen_reference {
                    let fixed: Vec<_> = all.iter().map(|&seed| (seed, own, against)).collect();
                    samples.extend(sample(&fixed));
                }
            }
        }
        let names = |read: &[Readings<'a>], places: BTreeSet<usize>| -> Vec<AttackPoint> {
            places.into_iter().map(|place| read[place].course.attack.clone()).collect()
        };
        let named = [names(&own_read, chosen), names(&reference_read, chosen_reference)].concat();
        samples.retain(|_| !open && !reference_open);
        let censored = best.runs.iter().any(|run| run.measured.until.is_none());
        let widen =
            [(best, own, ""), (best_reference.unwrap_or(best), reference, " on the model compared with")];
        let widen = widen.into_iter().find_map(|(course, all, whose)| Some(edge(course, all)? + whose));
        Some(Self {
            samples,
            open,
            reference_open,
            censored,
            untried: own.iter().any(|course| course.runs.is_empty()),
            reference_untried: reference.iter().any(|course| course.runs.is_empty()),
            widen,
            effort: effort(own),
            cheapest: [own, reference].map(|all| weakest(all).map(|course| course.attack.clone())),
            chosen: named.into_iter().collect(),
        })
    }

    /// The logarithm of the ratio, with the spreads that other defences lend: the interval covers every pair of attacks
    /// that may be the cheapest.
    pub(crate) fn estimate<'a>(&self, others: impl Iterator<Item = &'a Self>, tail: f64) -> Option<Estimate> {
        let others: Vec<&Sample> = others.filter_map(Self::sample).collect();
        let estimates: Vec<Estimate> =
            self.samples.iter().map(|sample| sample.estimate(&others, tail)).collect();
        let first = *estimates.first()?;
        // The least cost is at most that of an attack that did break: one that never did bounds nothing more.
        let known = |of: fn(&Estimate) -> f64| estimates.iter().map(of).filter(|end| end.is_finite());
        let lower = known(|found| found.lower).reduce(f64::min).filter(|_| first.lower.is_finite());
        let upper = known(|found| found.upper).reduce(f64::max).filter(|_| first.upper.is_finite());
        let (lower, upper) = (lower.unwrap_or(first.lower), upper.unwrap_or(first.upper));
        Some(Estimate { lower, upper, ..first })
    }

    /// The titer, with what other defences lend.
    pub(crate) fn titer(&self, estimate: Option<Estimate>, unit: Component) -> Titer {
        let none = Titer {
            open: self.open,
            censored: self.censored,
            bracketed: self.widen.is_none(),
            effort: self.effort,
            ..Titer::unknown(unit)
        };
        let Some(estimate) = estimate else { return none };
        let Estimate { value, lower, upper, df, blind, .. } = estimate;
        // Where a seed is read from an attack that never broke it, only the lower end is known.
        let censored = self.censored || (upper.is_infinite() && lower.is_finite());
        let value = Some(value.exp()).filter(|_| !censored && lower.is_finite());
        let (lower, upper) = estimate.ends();
        let (lower, upper) = (lower.exp(), upper.exp());
        Titer {
            censored,
            value,
            lower: if self.untried { 0.0 } else { lower },
            upper: Some(upper).filter(|upper| upper.is_finite() && !self.reference_untried),
            df: Some(df).filter(|df| df.is_finite() && !blind),
            ..none
        }
    }

    /// What it is estimated from.
    pub(crate) fn sample(&self) -> Option<&Sample> {
        self.samples.first()
    }

    /// Whether both models are whole before the attack, so that there is a ratio at all.
    pub(crate) fn comparable(&self) -> bool {
        !self.open && !self.reference_open
    }
}

#[cfg(test)]
#[path = "tests/titers.rs"]
mod simulations;

#[cfg(test)]
mod tests;
