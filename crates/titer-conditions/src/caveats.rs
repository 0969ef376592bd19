//! What a reader must know before quoting a number.

use std::collections::BTreeSet;

use titer_plan::{Before, Probe};

use crate::course::{Course, unbounded};
use crate::curve::AttackCurve;
use crate::evidence::DefenceFacts;
use crate::study::{Curves, HARMFUL, Study, arm_of};

/// Resamples below which the ends of an interval are themselves a matter of chance.
const ENOUGH_RESAMPLES: usize = 1000;

/// Seeds below which their spread is hardly known.
const ENOUGH_SEEDS: usize = 5;

/// Share of answers cut by the limit of tokens above which a reader should know.
const MUCH_CUT: f64 = 0.1;

/// The caveats of an experiment as a whole.
pub(crate) fn general(study: &Study<'_>) -> Vec<String> {
    let mut caveats = Vec::new();
    if study.settings.resamples < ENOUGH_RESAMPLES {
        caveats.push(format!(
            "{} bootstrap resamples: the ends of intervals are rough; use at least {ENOUGH_RESAMPLES}",
            study.settings.resamples
        ));
    }
    if study.baseline.is_none() {
        caveats.push("no undefended model among the defences: no titer, stability or trainability".into());
    }
    if study.delivered {
        caveats.push(
            "fine-tuning API: decided at the end of training, which is all that the user receives; a titer \
             compares the harmful rows that break the models, not steps"
                .into(),
        );
    }
    let (asked, all) = study.table.asked();
    if asked < all {
        caveats.push(format!(
            "sequential probing: {asked} of {all} answers under attack were asked; between the first and the last \
             checkpoint of a run only the side of φ is measured, its means are of what was asked, and a tenth of α is \
             what sides may err by"
        ));
    }
    let ends = &study.table.ends;
    let cut = ends.cut as f64 / ends.answers.max(1) as f64;
    if cut > MUCH_CUT {
        caveats.push(format!(
            "the limit of tokens ended {:.0} % of the answers to harmful probes: what would have followed was not \
             judged; a higher `answer_tokens` hears more of it",
            100.0 * cut
        ));
    }
    for probe in HARMFUL.into_iter().filter(|&probe| !study.asked(probe)) {
        let why = study.absent(probe).map(|why| format!(": {why}")).unwrap_or_default();
        caveats.push(format!("no attack was measured on {probe} probes{why}"));
    }
    caveats
}

/// The caveats of one defence.
pub(crate) fn of(study: &Study<'_>, facts: &DefenceFacts, curves: &Curves) -> Vec<String> {
    let label = &facts.label;
    let mut caveats = Vec::new();
    let counts = |count: fn(&crate::curve::AttackCurve) -> usize| curves.0.iter().map(count).min();
    let attack_seeds = counts(|curve| curve.seeds.attack.len());
    let trainings = counts(|curve| curve.seeds.defence.len());
    let (trainings, trained) = match facts.baseline() {
        // One alignment is the model that was given.
        true => (trainings.filter(|&count| count > 1), "alignment"),
        false => (trainings, "defence"),
    };
    for (count, what) in [(trainings, trained), (attack_seeds, "attack")] {
        match count {
            Some(1) => caveats.push(format!(
                "{label}: one {what} seed, so its intervals say nothing of other {what} seeds"
            )),
            Some(count) if count < ENOUGH_SEEDS => caveats.push(format!(
                "{label}: {count} {what} seeds, so their spread is known mostly from the other defences"
            )),
            _ => {}
        }
    }
    caveats.extend(unpaired(study, facts, curves));
    let stopped: usize = curves.0.iter().map(|curve| curve.stopped).max().unwrap_or(0);
    if stopped > 0 {
        caveats.push(format!(
            "{label}: attacks that broke the model were stopped early; their last scores stand for later budgets"
        ));
    }
    for probe in HARMFUL {
        caveats.extend(censoring(study, label, curves, probe));
        for attack in study.not_measured(curves, probe) {
            caveats.push(format!("{label}: {attack} was not measured on {probe} probes"));
        }
        caveats
            .extend(curves.of(probe).flat_map(|curve| &curve.missing).map(|what| format!("{label}: {what}")));
    }
    if curves.0.iter().any(|curve| !curve.ability_known) {
        let why = study.absent(Probe::Permitted).map(|why| format!(" ({why})")).unwrap_or_default();
        caveats.push(format!(
            "{label}: ability under attack was not measured everywhere{why}, so the utility-bounded titer is open"
        ));
    }
    caveats
}

/// Attacked models whose own alignment has no attacked undefended model, so that the mean of other alignments stands for it.
fn unpaired(study: &Study<'_>, facts: &DefenceFacts, curves: &Curves) -> Option<String> {
    let baseline = study.baseline.filter(|_| !facts.baseline())?;
    let alone = |curve: &AttackCurve| {
        let before = Before::Attack(curve.attack.clone());
        let arm = arm_of(curve.probe);
        let seeds = |of: &DefenceFacts| -> BTreeSet<(u64, u64)> {
            let runs = study.table.runs(&of.label, arm, &before, curve.probe);
            runs.iter().map(|run| (run.defence_seed, run.attack_seed)).collect()
        };
        let reference = seeds(baseline);
        // A model that was given is everyone's.
        let several = reference.iter().any(|(alignment, _)| *alignment > 0);
        if several { seeds(facts).difference(&reference).count() } else { 0 }
    };
    let most = curves.0.iter().map(alone).max().filter(|&count| count > 0)?;
    Some(format!(
        "{}: {most} of the runs of an attack are compared with the undefended model of other alignments, for that of their \
         own was not measured",
        facts.label
    ))
}

/// Attacks that never broke the defence.
fn censoring(study: &Study<'_>, label: &str, curves: &Curves, probe: Probe) -> Option<String> {
    if study.delivered {
        return no_share(study, label, curves, probe);
    }
    let unbroken = curves.of(probe).filter(|curve| {
        !curve.unbounded.is_empty() && curve.unbounded.iter().all(|run| run.measured.until.is_none())
    });
    let names: Vec<String> = unbroken.map(|curve| curve.attack.to_string()).collect();
    let (budget, unit) = (curves.budget(study, probe), study.axis.unit());
    (!names.is_empty()).then(|| {
        format!(
            "{label}: not broken within {budget} {unit} on {probe} probes by {}: ratios are lower bounds",
            names.join(", ")
        )
    })
}

/// What the shares tried leave open of a titer.
fn no_share(study: &Study<'_>, label: &str, curves: &Curves, probe: Probe) -> Option<String> {
    let courses = curves.courses(study, &[probe], unbounded);
    let named = |found: fn(&Course) -> bool| -> Option<String> {
        let names: Vec<String> =
            courses.iter().filter(|course| found(course)).map(|course| course.attack.to_string()).collect();
        (!names.is_empty()).then(|| names.join(", "))
    };
    let measured = curves.of(probe).next().is_some();
    if let Some(names) = named(Course::open).filter(|_| measured) {
        return Some(format!(
            "{label}: broken on {probe} probes by {names} without a single harmful example, so that no share has \
             a titer: compare the harmful scores"
        ));
    }
    let names =
        named(|found| found.runs.iter().any(|run| run.measured.until.is_none())).filter(|_| measured)?;
    Some(format!(
        "{label}: not broken on {probe} probes at any share tried by {names}: ratios are lower bounds"
    ))
}
