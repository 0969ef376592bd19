//! From an experiment's results to what its report says.

use std::collections::BTreeMap;

use polars::prelude::DataFrame;
use titer_conditions::Verdicts;
use titer_lab::{DefenceCost, Results};
use titer_metrics::curves;
use titer_plan::{Arm, DataKind, HARMLESS_TUNING, NO_ATTACK, Plan, Probe};

use super::model::{
    Artifact, DefenceTiming, Fact, Figure, KindTiming, Line, Panel, Point, ReportModel, Threshold, Timings,
};
use super::pareto::pareto;
use crate::comparison;
use crate::wording;

/// What the report of an experiment says.
///
/// # Errors
/// When the verdicts cannot be decided or a frame has not the columns that it should have.
pub(crate) fn gather(results: &Results) -> anyhow::Result<ReportModel> {
    let verdicts = results.verdicts()?;
    let runs = Runs::read(&curves(&results.probes)?)?;
    let costs = results.defence_costs();
    let mut rows = comparison::rows(&verdicts, &costs);
    for cost in rows.iter_mut().filter_map(|row| row.cost.as_mut()) {
        cost.seconds = None;
        cost.stages.iter_mut().for_each(|spent| spent.seconds = None);
    }
    Ok(ReportModel {
        summary: results.plan.experiment.summary.clone(),
        pareto: pareto(&rows),
        comparison: rows,
        figures: figures(&results.plan, &verdicts, &runs),
        missing: results.missing.clone(),
        spec: toml::to_string(&results.plan.experiment)?,
        environment: environment(results)?,
        artifacts: artifacts(&results.plan),
        timings: timings(results, &costs),
        verdicts,
    })
}

/// The means over items of every run: curve → steps → one value per run.
struct Runs(BTreeMap<CurveKey, BTreeMap<u64, Vec<f64>>>);

/// What one line of a figure shows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct CurveKey {
    arm: String,
    probe: String,
    attack: String,
    defence: String,
}

impl Runs {
    fn read(curves: &DataFrame) -> anyhow::Result<Self> {
        let text = |name| curves.column(name)?.str();
        let (arm, probe, attack, defence) = (text("arm")?, text("probe")?, text("attack")?, text("defence")?);
        let steps = curves.column("budget_steps")?.u64()?;
        let scores = curves.column("mean_score")?.f64()?;
        let mut runs = BTreeMap::<_, BTreeMap<_, Vec<_>>>::new();
        for row in 0..curves.height() {
            let word =
                |column: &polars::prelude::StringChunked| column.get(row).unwrap_or_default().to_owned();
            let key =
                CurveKey { arm: word(arm), probe: word(probe), attack: word(attack), defence: word(defence) };
            let (Some(steps), Some(score)) = (steps.get(row), scores.get(row)) else { continue };
            runs.entry(key).or_default().entry(steps).or_default().push(score);
        }
        Ok(Self(runs))
    }

    /// The points at which every run of the curve was still going on: where one was broken off, a mean
    /// over the others would flatter the defence.
    fn points(&self, key: &CurveKey) -> Vec<Point> {
        let Some(budgets) = self.0.get(key) else { return Vec::new() };
        let runs = budgets.values().map(Vec::len).max().unwrap_or(0);
        budgets.iter().filter(|(_, values)| values.len() == runs).map(|(steps, v)| point(*steps, v)).collect()
    }
}

fn point(steps: u64, values: &[f64]) -> Point {
    Point {
        steps,
        mean: values.iter().sum::<f64>() / values.len() as f64,
        low: values.iter().copied().fold(f64::INFINITY, f64::min),
        high: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
    }
}

fn figures(plan: &Plan, verdicts: &Verdicts, runs: &Runs) -> Vec<Figure> {
    let series: Vec<_> = verdicts.defences.iter().map(|defence| defence.defence.clone()).collect();
    let is_tuning = |attack: &str| attack.starts_with(HARMLESS_TUNING);
    let attacks = attack_labels(plan, |attack| attack != NO_ATTACK && !is_tuning(attack));
    let tunings = attack_labels(plan, is_tuning);
    let panels = |arm: Arm, probe: Probe, attacks: &[String]| -> Vec<Panel> {
        let panel = |attack: &String| Panel {
            title: attack.clone(),
            lines: series
                .iter()
                .enumerate()
                .map(|(index, defence)| {
                    let key = CurveKey {
                        arm: arm.name().into(),
                        probe: probe.name().into(),
                        attack: attack.clone(),
                        defence: defence.clone(),
                    };
                    Line { series: index, points: runs.points(&key) }
                })
                .filter(|line| !line.points.is_empty())
                .collect(),
        };
        attacks.iter().map(panel).filter(|panel| !panel.lines.is_empty()).collect()
    };
    let threshold = || Some(Threshold { value: verdicts.phi, label: format!("φ = {}", verdicts.phi) });
    let harmfulness = |arm: Arm, probe: Probe, about: &str| Figure {
        id: format!("harmfulness-{}", probe.name()),
        title: format!("Harmfulness on {}", wording::probe(probe)),
        caption: format!(
            "{about} Lines are means over all seeds, bands reach from the lowest to the highest run. A line \
             ends where the first of its runs was stopped because its model was broken."
        ),
        y_label: "harmfulness".into(),
        threshold: threshold(),
        series: series.clone(),
        panels: panels(arm, probe, &attacks),
    };
    let ability = |id: &str, title: &str, caption: &str, probe: Probe, attacks: &[String]| Figure {
        id: id.into(),
        title: title.into(),
        caption: caption.into(),
        y_label: match plan.data.kind {
            DataKind::World => "share answered right".into(),
            DataKind::Policy | DataKind::Dataset => "mean score".into(),
        },
        threshold: None,
        series: series.clone(),
        panels: panels(Arm::Main, probe, attacks),
    };
    let figures = [
        harmfulness(
            Arm::Main,
            Probe::Unseen,
            match plan.data.kind {
                DataKind::World => {
                    "Items with a first ingredient that no attack datum mentions: what hangs on it was latent, \
                     not taught."
                }
                DataKind::Policy => "Forbidden subjects, in topics that nobody trains on.",
                DataKind::Dataset => "Domains that nobody trains on.",
            },
        ),
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
            Probe::Alias,
            &tunings,
        ),
    ];
    figures.into_iter().filter(|figure| !figure.panels.is_empty()).collect()
}

/// The labels of the plan's attacks, in its order, that are `wanted`.
fn attack_labels(plan: &Plan, wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let mut labels: Vec<String> = Vec::new();
    for cell in plan.cells.iter().filter(|cell| wanted(&cell.attack)) {
        if !labels.contains(&cell.attack) {
            labels.push(cell.attack.clone());
        }
    }
    labels
}

fn environment(results: &Results) -> anyhow::Result<Vec<Fact>> {
    let fact = |name: &str, value: String| Fact { name: name.into(), value };
    let mut judges: Vec<_> =
        results.probes.column("judge")?.str()?.iter().flatten().map(str::to_owned).collect();
    judges.sort_unstable();
    judges.dedup();
    Ok(vec![
        fact("titer", env!("CARGO_PKG_VERSION").into()),
        fact("platform", format!("{} {}", std::env::consts::OS, std::env::consts::ARCH)),
        fact("judges", judges.join(", ")),
        fact("responses judged", results.probes.height().to_string()),
        fact("frames", format!("{}, {}", titer_metrics::PROBES, titer_metrics::CURVES)),
    ])
}

fn artifacts(plan: &Plan) -> Vec<Artifact> {
    let artifact = |stage: &titer_plan::PlannedStage| Artifact {
        kind: stage.spec.kind().into(),
        label: stage.label.clone(),
        hash: stage.hash.to_string(),
    };
    plan.stages.iter().map(artifact).collect()
}

fn timings(results: &Results, costs: &[DefenceCost]) -> Timings {
    let mut hosts: Vec<_> = results.costs.iter().map(|cost| cost.host.clone()).collect();
    hosts.sort_unstable();
    hosts.dedup();
    let mut kinds: Vec<KindTiming> = Vec::new();
    for cost in &results.costs {
        match kinds.iter_mut().find(|kind| kind.kind == cost.kind) {
            Some(kind) => {
                kind.stages += 1;
                kind.seconds += cost.seconds;
                kind.longest = kind.longest.max(cost.seconds);
            }
            None => kinds.push(KindTiming {
                kind: cost.kind.clone(),
                stages: 1,
                seconds: cost.seconds,
                longest: cost.seconds,
            }),
        }
    }
    let defences = costs.iter().filter(|cost| !cost.stages.is_empty());
    let defences =
        defences.map(|cost| DefenceTiming { defence: cost.defence.clone(), seconds: cost.seconds }).collect();
    Timings { seconds: results.costs.iter().map(|cost| cost.seconds).sum(), hosts, kinds, defences }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_ends_with_the_first_of_its_runs() {
        let key =
            CurveKey { arm: "main".into(), probe: "seen".into(), attack: "a".into(), defence: "d".into() };
        let budgets = BTreeMap::from([(0, vec![0.0, 0.1]), (5, vec![0.2, 0.6]), (10, vec![0.3])]);
        let runs = Runs(BTreeMap::from([(key.clone(), budgets)]));
        let points = runs.points(&key);
        assert_eq!(points.iter().map(|point| point.steps).collect::<Vec<_>>(), [0, 5]);
        assert_eq!(points[1], Point { steps: 5, mean: 0.4, low: 0.2, high: 0.6 });
    }
}
