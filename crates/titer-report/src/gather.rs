//! From an experiment's results to what its report says.

use titer_lab::{DefenceCost, Results};
use titer_metrics::curves;
use titer_plan::Plan;
use titer_view::attack_tables::groups;
use titer_view::comparison;
use titer_view::figures::figures;
use titer_view::heat::heat_maps;
use titer_view::pareto::pareto;

use super::error::Error;
use super::model::{Artifact, DefenceTiming, Fact, KindTiming, ReportModel, Timings};
use super::scope;

/// What the report of an experiment says.
///
/// # Errors
/// When the verdicts cannot be decided or a frame has not the columns that it should have.
pub fn gather(results: &Results) -> Result<ReportModel, Error> {
    let verdicts = results.verdicts()?;
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
        heat_maps: heat_maps(&verdicts),
        by_attacks: groups(&verdicts),
        figures: figures(&results.plan, &verdicts, &curves(&results.probes)?)?,
        scope: scope::measured(results, &verdicts)?,
        caveats: scope::caveats(results, &verdicts),
        missing: results.missing.clone(),
        spec: toml::to_string(&results.plan.experiment)?,
        environment: environment(results)?,
        artifacts: artifacts(&results.plan),
        timings: timings(results, &costs),
        verdicts,
    })
}

fn environment(results: &Results) -> Result<Vec<Fact>, Error> {
    let fact = |name: &str, value: String| Fact { name: name.into(), value };
    let mut judges: Vec<_> =
        results.probes.column("judge")?.str()?.iter().flatten().map(str::to_owned).collect();
    judges.sort_unstable();
    judges.dedup();
    let mut versions: Vec<_> = results.costs.iter().map(|cost| cost.version.clone()).collect();
    versions.sort_unstable();
    versions.dedup();
    Ok(vec![
        fact("artifacts by titer", versions.join(", ")),
        fact("report by titer", env!("CARGO_PKG_VERSION").into()),
        fact("report on", format!("{} {}", std::env::consts::OS, std::env::consts::ARCH)),
        fact("judges", judges.join(", ")),
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
