//! One titer of every defence: over which reference, through which probes, by which breaks, under which attacks.

use titer_plan::{AttackPoint, Probe};

use crate::course::{Among, Course, Which, unbounded};
use crate::evidence::DefenceFacts;
use crate::panel::Panel;
use crate::sample::{Estimate, Sample};
use crate::study::{Curves, Study};
use crate::titer::{Contest, effort, weakest};
use crate::verdict::{Effort, Titer};

/// The model that a defence is compared with.
pub(crate) type Reference = for<'f> fn(&'f Study<'f>, &'f DefenceFacts) -> Option<&'f str>;

pub(crate) fn undefended<'f>(study: &'f Study<'f>, _: &'f DefenceFacts) -> Option<&'f str> {
    study.baseline.map(|facts| facts.label.as_str())
}

pub(crate) fn sham<'f>(_: &'f Study<'f>, facts: &'f DefenceFacts) -> Option<&'f str> {
    facts.sham.as_deref()
}

/// One titer of every defence over its reference, by label; those without a reference are left out.
pub(crate) struct Titers<'a> {
    found: Vec<Found<'a>>,
}

/// That of one defence.
struct Found<'a> {
    label: &'a str,
    contest: Option<Contest>,
    titer: Titer,
    cheapest: Option<AttackPoint>,
}

/// What one defence is compared by, before others have lent their spread.
struct Side<'a> {
    facts: &'a DefenceFacts,
    contest: Option<Contest>,
    effort: Effort,
    cheapest: Option<AttackPoint>,
}

impl<'a> Titers<'a> {
    /// Over some probes of one arm, under the cheapest attack `among` some.
    pub(crate) fn new(
        panel: &'a Panel<'a>,
        reference: Reference,
        probes: &[Probe],
        which: Which,
        among: Among<'_>,
    ) -> Self {
        let study = panel.study;
        let items = probes.iter().map(|&probe| study.items(probe)).sum();
        let courses = |curves: &Curves| -> Vec<Course> { curves.courses_among(study, probes, which, among) };
        let side = |facts: &'a DefenceFacts| -> Option<Side<'a>> {
            let label = reference(study, facts)?;
            let own = courses(panel.curves(&facts.label)?);
            let cheapest = weakest(&own).map(|course| course.attack.clone());
            let contest = (label != facts.label).then(|| {
                let theirs = panel.curves(label).map(courses).unwrap_or_default();
                Contest::new(&own, &theirs, items, facts.role)
            });
            Some(Side { facts, contest: contest.flatten(), effort: effort(&own), cheapest })
        };
        let sides: Vec<Side<'a>> = panel.defences().filter_map(side).collect();
        let estimates: Vec<Option<Estimate>> = sides
            .iter()
            .enumerate()
            .map(|(own, side)| {
                let others = sides.iter().enumerate().filter(|(other, _)| *other != own);
                let others = others.filter_map(|(_, other)| other.contest.as_ref());
                side.contest.as_ref()?.estimate(others, study.alpha_under_attack() / 2.0)
            })
            .collect();
        let unit = study.unit();
        let found = sides.into_iter().zip(estimates).map(|(side, estimate)| {
            let Side { facts, contest, effort, cheapest } = side;
            let titer = match &contest {
                Some(contest) => contest.titer(estimate, unit),
                // Against itself.
                None if effort.runs > 0 && reference(study, facts) == Some(facts.label.as_str()) => {
                    Titer::one(unit, effort)
                }
                None => Titer::unknown(unit),
            };
            Found { label: facts.label.as_str(), contest, titer, cheapest }
        });
        Self { found: found.collect() }
    }

    /// Over the undefended model, under one attack or family.
    pub(crate) fn of_attack(panel: &'a Panel<'a>, probes: &[Probe], attack: &AttackPoint) -> Self {
        Self::new(panel, undefended, probes, unbounded, &|other| other == attack)
    }

    fn find(&self, label: &str) -> Option<&Found<'a>> {
        self.found.iter().find(|found| found.label == label)
    }

    /// That of one defence.
    pub(crate) fn of(&self, label: &str) -> Option<Titer> {
        self.find(label).map(|found| found.titer)
    }

    /// The attack that breaks a defence for the least; none where none broke it.
    pub(crate) fn cheapest(&self, label: &str) -> Option<&AttackPoint> {
        self.find(label)?.cheapest.as_ref()
    }

    /// What each defence was measured to.
    pub(crate) fn samples(&self) -> impl Iterator<Item = &Sample> {
        self.found.iter().filter_map(|found| found.contest.as_ref()?.sample())
    }

    /// What a wider search might change for one defence.
    pub(crate) fn widen(&self, label: &str) -> Option<&str> {
        self.find(label)?.contest.as_ref()?.widen.as_deref()
    }

    /// The attacks that carry a defence's titer: those that some seed takes for the cheapest, on it or on its reference.
    pub(crate) fn carriers(&self, label: &str) -> impl Iterator<Item = &AttackPoint> {
        let contest = self.find(label).and_then(|found| found.contest.as_ref());
        contest.into_iter().flat_map(|contest| &contest.chosen)
    }
}
