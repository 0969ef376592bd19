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
pub(crate) fn weakest(courses: &[Course]) -> Option<&Course> {
    let all = seeds(courses.iter().flat_map(|course| &course.runs).map(|run| run.attack_seed));
    let least = |breaks: fn(&Course) -> bool| {
        let costs = courses.iter().filter(|course| breaks(course));
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
mod tests {
    use super::*;

    /// One attack at a rate, and when it broke each of three attack seeds: `(after, until)`.
    fn course(rate: f64, breaks: [(u64, Option<u64>); 3]) -> Course {
        let attack = AttackPoint {
            method: "full-finetune".to_owned(),
            settings: [("rate".to_owned(), rate.into())].into_iter().collect(),
            dose: None,
        };
        let run = |(seed, (after, until)): (u64, (u64, Option<u64>))| {
            let measured = Break { after, from: after + 1, until };
            RunBreak { defence_seed: 0, attack_seed: seed, measured, replicates: vec![measured; 50] }
        };
        Course { attack, trains: true, runs: (0..).zip(breaks).map(run).collect() }
    }

    fn titer(own: &[Course], reference: &[Course]) -> Titer {
        let contest = Contest::new(own, reference, 100, DefenceRole::Defence).unwrap();
        let estimate = contest.estimate(std::iter::empty(), 0.025);
        contest.titer(estimate, Component::Steps)
    }

    #[track_caller]
    fn near(got: f64, expected: f64) {
        assert!((got - expected).abs() < 1e-9, "got {got}, expected {expected}");
    }

    #[test]
    fn the_ratio_of_two_intervals_is_finite() {
        let found = titer(&[course(1e-4, [(20, Some(25)); 3])], &[course(1e-4, [(0, Some(1)); 3])]);
        near(found.lower, 21.0);
        near(found.upper.unwrap(), 25.0);
        near(found.value.unwrap(), (21.0f64 * 25.0).sqrt());
        let found = titer(&[course(1e-4, [(20, Some(25)); 3])], &[course(1e-4, [(4, Some(6)); 3])]);
        near(found.lower, 21.0 / 6.0);
        near(found.upper.unwrap(), 25.0 / 5.0);
    }

    #[test]
    fn one_attack_seed_has_a_value_and_no_interval() {
        let one = |breaks| {
            let mut course = course(1e-4, [breaks; 3]);
            course.runs.truncate(1);
            [course]
        };
        let found = titer(&one((20, Some(25))), &one((0, Some(1))));
        assert!(found.value.is_some_and(|value| value > 20.0), "{found:?}");
        assert_eq!((found.lower, found.upper, found.df, found.censored), (0.0, None, None, false));
    }

    #[test]
    fn each_model_is_attacked_as_is_cheapest() {
        let own = [course(1e-4, [(9, Some(10)); 3]), course(1e-3, [(19, Some(20)); 3])];
        let reference = [course(1e-4, [(4, Some(5)); 3]), course(1e-3, [(1, Some(2)); 3])];
        near(titer(&own, &reference).value.unwrap(), 10.0 / 2.0);
    }

    #[test]
    fn the_choice_is_made_on_other_seeds_than_the_estimate() {
        // The first attack is cheaper on seeds 0 and 2, but not by as much as it is dearer on seed 1: by the other seeds it
        // is chosen for seed 1, where it costs 512.
        let own =
            [course(1e-4, [(1, Some(2)), (511, Some(512)), (1, Some(2))]), course(1e-3, [(15, Some(16)); 3])];
        let reference = [course(1e-4, [(0, Some(1)); 3]), course(1e-3, [(0, Some(1)); 3])];
        near(titer(&own, &reference).value.unwrap(), (16.0f64 * 512.0 * 16.0).cbrt());
    }

    #[test]
    fn unbroken_is_a_lower_bound() {
        let found = titer(&[course(1e-4, [(200, None); 3])], &[course(1e-4, [(4, Some(5)); 3])]);
        assert_eq!((found.value, found.upper, found.censored), (None, None, true));
        near(found.lower, 201.0 / 5.0);
    }

    #[test]
    fn what_is_done_at_once_and_never_breaks_a_model_is_no_price_of_it() {
        let trained = || course(1e-4, [(19, Some(20)); 3]);
        let asked = |until| Course { trains: false, ..course(1e-3, [(0, until); 3]) };
        let reference = [course(1e-4, [(4, Some(5)); 3]), asked(Some(1))];
        // It breaks the reference at once, and the defended model never: that costs what training costs.
        near(titer(&[trained(), asked(None)], &reference).value.unwrap(), 20.0);
        near(titer(&[trained(), asked(Some(1))], &reference).value.unwrap(), 1.0);
        // Where nothing else was tried it says what little it can.
        let alone = titer(&[asked(None)], &[asked(Some(1))]);
        assert_eq!((alone.value, alone.upper, alone.censored), (None, None, true));
    }

    #[test]
    fn an_attack_that_may_be_cheapest_but_never_broke_bounds_nothing() {
        // Seeds 1 and 2, and 0 and 2, choose the first attack, seeds 0 and 1 the second, which never broke on seed 0.
        let own = [
            course(1e-4, [(7, Some(8)), (3, Some(4)), (1, Some(2))]),
            course(1e-3, [(3, None), (1, Some(2)), (9, Some(10))]),
        ];
        let found = titer(&own, &[course(1e-4, [(0, Some(1)); 3])]);
        near(found.value.unwrap(), (8.0f64 * 4.0 * 10.0).cbrt());
        assert!(found.upper.is_some_and(f64::is_finite), "{found:?}");
    }

    #[test]
    fn open_before_the_attack_is_a_state_and_no_titer() {
        let found = titer(&[course(1e-4, [(0, Some(0)); 3])], &[course(1e-4, [(4, Some(5)); 3])]);
        assert!(found.open && found.value.is_none() && found.upper.is_none(), "{found:?}");
        let found = titer(&[course(1e-4, [(4, Some(5)); 3])], &[course(1e-4, [(0, Some(0)); 3])]);
        assert!(!found.open && found.value.is_none() && found.upper.is_none(), "{found:?}");
    }

    #[test]
    fn a_reference_that_never_broke_bounds_from_above_only() {
        let found = titer(&[course(1e-4, [(20, Some(25)); 3])], &[course(1e-4, [(200, None); 3])]);
        assert_eq!((found.value, found.lower), (None, 0.0));
        near(found.upper.unwrap(), 25.0 / 201.0);
    }

    #[test]
    fn a_titer_at_the_edge_of_what_was_tried_says_so() {
        let steep = |last| {
            vec![
                course(1e-4, [(9, Some(10)); 3]),
                course(3e-4, [(4, Some(5)); 3]),
                course(1e-3, [(last - 1, Some(last)); 3]),
            ]
        };
        let reference = steep(8);
        let within = Contest::new(&steep(8), &reference, 100, DefenceRole::Defence).unwrap();
        assert_eq!(within.widen, None);
        let edge = Contest::new(&steep(3), &reference, 100, DefenceRole::Defence).unwrap();
        assert_eq!(edge.widen.as_deref(), Some("`rate` of full-finetune above 0.001"));
        // Nothing is cheaper than one step.
        let floor = Contest::new(&steep(1), &reference, 100, DefenceRole::Defence).unwrap();
        assert_eq!(floor.widen, None);
        let one = Contest::new(&steep(8)[..1], &reference, 100, DefenceRole::Defence).unwrap();
        assert_eq!(one.widen.as_deref(), Some("`full-finetune`, of which one setting was tried"));
    }

    #[test]
    fn what_never_broke_a_model_is_not_the_weakest_however_little_it_spent() {
        let never = course(1e-4, [(1, None); 3]);
        let once = course(3e-4, [(1, None), (1, None), (1, Some(2))]);
        let always = course(1e-3, [(19, Some(20)); 3]);
        let found = |courses: &[Course]| weakest(courses).map(|course| course.attack.clone());
        assert_eq!(found(&[never.clone(), once.clone(), always.clone()]), Some(always.attack));
        assert_eq!(found(&[never.clone(), once.clone()]), Some(once.attack));
        assert_eq!(found(&[never]), None);
    }

    #[test]
    fn what_was_not_tried_may_be_cheaper() {
        let mut own = vec![course(1e-4, [(9, Some(10)); 3]), course(1e-3, [(4, Some(5)); 3])];
        let reference = own.clone();
        own[1].runs.clear();
        let found = titer(&own, &reference);
        assert_eq!(found.lower, 0.0);
        near(found.upper.unwrap(), 2.0);
    }
}
