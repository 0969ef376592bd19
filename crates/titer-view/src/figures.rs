//! The figures of a report: which curves there are, and which are drawn together.

use std::collections::BTreeMap;

use polars::prelude::DataFrame;
use titer_conditions::{DefenceVerdict, Verdicts};
use titer_metrics::{Befores, CURVES, Error};
use titer_plan::{Arm, Before, Plan, Probe, UnderTest};

use crate::curves::{Point, Steps, line};
use crate::distinct::distinct;
use crate::figure::{BASELINE, Figure, Group, LINES, Line, Member, Panel, Threshold};
use crate::pareto::DefenceKind;
use crate::wording;

/// The means over items of every run, curve by curve.
struct Runs(BTreeMap<CurveKey, Steps>);

/// What one line of a figure shows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct CurveKey {
    arm: String,
    probe: String,
    before: Before,
    defence: String,
}

impl Runs {
    fn read(curves: &DataFrame) -> Result<Self, Error> {
        let wrong = |source| Error::Polars { frame: CURVES.name, source };
        let text = |name| curves.column(name).and_then(|column| column.str()).map_err(wrong);
        let (arm, probe, defence) = (text("arm")?, text("probe")?, text("defence")?);
        let befores = Befores::read(curves, CURVES.name)?;
        let steps = curves.column("budget_steps").and_then(|column| column.u64()).map_err(wrong)?;
        let scores = curves.column("mean_score").and_then(|column| column.f64()).map_err(wrong)?;
        let mut runs = BTreeMap::<_, Steps>::new();
        for row in 0..curves.height() {
            let word =
                |column: &polars::prelude::StringChunked| column.get(row).unwrap_or_default().to_owned();
            let before = befores.distinct[befores.rows[row]].clone();
            let key = CurveKey { arm: word(arm), probe: word(probe), before, defence: word(defence) };
            let (Some(steps), Some(score)) = (steps.get(row), scores.get(row)) else { continue };
            runs.entry(key).or_default().entry(steps).or_default().push((steps as f64, score));
        }
        Ok(Self(runs))
    }

    fn points(&self, key: &CurveKey) -> Vec<Point> {
        self.0.get(key).map_or_else(Vec::new, line)
    }
}

/// The figures that have a panel.
///
/// # Errors
/// When the frame has not the columns that it should have.
pub fn figures(plan: &Plan, verdicts: &Verdicts, curves: &DataFrame) -> Result<Vec<Figure>, Error> {
    let runs = Runs::read(curves)?;
    let groups = groups(&verdicts.defences);
    let series: Vec<_> = verdicts.defences.iter().map(|defence| defence.defence.clone()).collect();
    let attacks = done(plan, |before| before.attack().is_some());
    let tunings = done(plan, Before::is_tuning);
    let panels = |arm: Arm, probe: Probe, done: &[Before]| -> Vec<Panel> {
        let panel = |before: &Before| Panel {
            title: before.to_string(),
            lines: series
                .iter()
                .enumerate()
                .map(|(index, defence)| {
                    let key = CurveKey {
                        arm: arm.name().into(),
                        probe: probe.name().into(),
                        before: before.clone(),
                        defence: defence.clone(),
                    };
                    Line { series: index, points: runs.points(&key) }
                })
                .filter(|line| !line.points.is_empty())
                .collect(),
        };
        done.iter().map(panel).filter(|panel| !panel.lines.is_empty()).collect()
    };
    let threshold = || Some(Threshold { value: verdicts.phi, label: wording::tolerated(verdicts.phi) });
    let harmfulness = |arm: Arm, probe: Probe, about: &str| Figure {
        id: format!("harmfulness-{}", probe.name()),
        title: format!("Harmfulness on {}", wording::probe(probe)),
        caption: format!(
            "{about} Lines are means over all seeds, bands reach from the lowest to the highest run. A line \
             ends where the first of its runs was stopped because its model was broken."
        ),
        y_label: wording::measure(probe).into(),
        threshold: threshold(),
        series: series.clone(),
        groups: groups.clone(),
        panels: panels(arm, probe, &attacks),
    };
    let ability = |id: &str, title: &str, caption: &str, probe: Probe, done: &[Before]| Figure {
        id: id.into(),
        title: title.into(),
        caption: caption.into(),
        y_label: match plan.data.model {
            UnderTest::Trained => "share answered right".into(),
            UnderTest::Aligned | UnderTest::Ready => "mean score".into(),
        },
        threshold: None,
        series: series.clone(),
        groups: groups.clone(),
        panels: panels(Arm::Main, probe, done),
    };
    let figures = [
        harmfulness(Arm::Main, Probe::Unseen, &plan.data.unseen),
        harmfulness(Arm::Main, Probe::Seen, "Items of the same kind as the attacker's data."),
        harmfulness(
            Arm::CrossDomain,
            Probe::CrossDomain,
            "The attacker's domains are ones that the defence never saw.",
        ),
        ability(
            "ability-under-attack",
            "Ability under attack",
            "Permitted items, asked as the attack goes on. An attack that wins by wrecking the model counts in \
             the unbounded titer only.",
            Probe::Permitted,
            &attacks,
        ),
        ability(
            "trainability",
            "Harmless fine-tuning",
            "Held-out items of the harmless task that the model is taught: the defended models should learn it \
             about as fast as the undefended one.",
            Probe::HarmlessTask,
            &tunings,
        ),
    ];
    Ok(figures.into_iter().filter(|figure| !figure.panels.is_empty()).collect())
}

/// The defences that are drawn together, the undefended model with each group: all of them where they are few, or
/// else those of a stage, in even parts where these are many.
fn groups(defences: &[DefenceVerdict]) -> Vec<Group> {
    let of = |wanted: &dyn Fn(&DefenceVerdict) -> bool| -> Vec<usize> {
        let found = defences.iter().enumerate().filter(|(_, defence)| wanted(defence));
        found.map(|(series, _)| series).collect()
    };
    let baselines = of(&|defence| defence.baseline());
    let group = |title: String, series: &[usize]| {
        let baselines = baselines.iter().map(|&series| Member { series, style: BASELINE });
        let others = series.iter().enumerate().map(|(style, &series)| Member { series, style });
        Group { title, members: baselines.chain(others).collect() }
    };
    let defended = of(&|defence| !defence.baseline());
    if defended.len() <= LINES {
        return vec![group(String::new(), &defended)];
    }
    let mut groups = Vec::new();
    for kind in DefenceKind::DEFENDED {
        let series = of(&|defence| !defence.baseline() && DefenceKind::of(&defence.stages, false) == kind);
        let parts = series.len().div_ceil(LINES);
        for (part, series) in series.chunks(series.len().div_ceil(parts.max(1)).max(1)).enumerate() {
            let number = if parts > 1 { format!(", {} of {parts}", part + 1) } else { String::new() };
            groups.push(group(format!("{}{number}", kind.name()), series));
        }
    }
    groups
}

/// What is done to the models of a plan, in its order, and is `wanted`.
fn done(plan: &Plan, wanted: impl Fn(&Before) -> bool) -> Vec<Before> {
    distinct(plan.cells.iter().map(|cell| &cell.before).filter(|before| wanted(before)).cloned())
}

#[cfg(test)]
mod tests {
    use titer_plan::DefenceStage::{self, Alignment, FineTuning};
    use titer_specimen as specimen;

    use super::*;

    #[test]
    fn few_defences_are_drawn_together_and_many_by_stage() {
        let of = |stages: &[&[DefenceStage]]| {
            let mut verdicts = specimen::verdicts();
            let (baseline, other) = (verdicts.defences[0].clone(), verdicts.defences.remove(1));
            let defended =
                stages.iter().map(|stages| DefenceVerdict { stages: stages.to_vec(), ..other.clone() });
            let defences: Vec<_> = std::iter::once(baseline).chain(defended).collect();
            let groups = groups(&defences).into_iter();
            groups
                .map(|group| (group.title, group.members.iter().map(|m| (m.series, m.style)).collect()))
                .collect()
        };
        let few: Vec<(String, Vec<_>)> = of(&[&[Alignment], &[FineTuning]]);
        assert_eq!(few, [(String::new(), vec![(0, BASELINE), (1, 0), (2, 1)])]);
        let alignment: &[DefenceStage] = &[Alignment];
        let many: Vec<(String, Vec<_>)> = of(&[&[alignment; 7][..], &[&[Alignment, FineTuning]]].concat());
        let titles: Vec<_> = many.iter().map(|(title, _)| title.as_str()).collect();
        assert_eq!(titles, ["alignment, 1 of 2", "alignment, 2 of 2", "several stages"]);
        assert_eq!(many[1].1, [(0, BASELINE), (5, 0), (6, 1), (7, 2)]);
        assert_eq!(many[2].1, [(0, BASELINE), (8, 0)]);
    }
}
