//! What was measured and what was not: the two things to know before quoting a number.

use std::collections::BTreeSet;

use titer_conditions::Verdicts;
use titer_lab::Results;
use titer_plan::{AttackPoint, Cell, DefenceRole, Plan};
use titer_view::caveats::{Caveat, grouped};
use titer_view::{looks, wording};

use super::error::Error;
use super::model::Fact;

/// What was measured, in numbers.
///
/// # Errors
/// When the frame of probes has not the columns that it should have.
pub(super) fn measured(results: &Results, verdicts: &Verdicts) -> Result<Vec<Fact>, Error> {
    let plan = &results.plan;
    let attacks: BTreeSet<&AttackPoint> = attacked(plan).map(|(attack, _)| attack).collect();
    let methods: BTreeSet<&str> = attacks.iter().map(|attack| attack.method.as_str()).collect();
    let tried: Vec<_> = methods
        .into_iter()
        .map(|method| {
            let points = attacks.iter().filter(|attack| attack.method == method).count();
            format!("{method} ({})", wording::count(points, "setting"))
        })
        .collect();
    let seeds =
        |of: fn(&Cell) -> u64| attacked(plan).map(|(_, cell)| of(cell)).collect::<BTreeSet<_>>().len();
    let mut probes: Vec<_> =
        results.probes.column("probe")?.str()?.iter().flatten().map(str::to_owned).collect();
    probes.sort_unstable();
    probes.dedup();
    let last = plan.experiment.probe.cadence.last().copied().unwrap_or(0);
    let of = |role| plan.experiment.defence.iter().filter(|defence| defence.role == role).count();
    let (defended, shams) = (of(DefenceRole::Defence), of(DefenceRole::Sham));
    let fact = |name: &str, value: String| Fact { name: name.into(), value };
    let mut facts = vec![
        fact("defences", defended.to_string()),
        fact("shams", shams.to_string()),
        fact("attacks", tried.join(", ")),
        fact("budget", wording::count(last as usize, "step")),
        fact(
            "seeds",
            format!(
                "up to {} of defences, {} of attacks",
                seeds(|cell| cell.defence_seed),
                seeds(|cell| cell.attack_seed)
            ),
        ),
        fact("probes", probes.join(", ")),
        fact("responses judged", wording::grouped(titer_metrics::deciding(&results.probes)?.height() as f64)),
    ];
    facts.extend(looks::sentences(verdicts).into_iter().map(|(look, said)| fact(&look, said)));
    Ok(facts)
}

/// The caveats of the verdicts, each once with the defences that it is true of, and what no run tried.
pub(super) fn caveats(results: &Results, verdicts: &Verdicts) -> Vec<Caveat> {
    let mut caveats = grouped(verdicts);
    let plan = &results.plan;
    let tried: BTreeSet<&str> = attacked(plan).map(|(attack, _)| attack.method.as_str()).collect();
    let possible = titer_lab::catalogue().attacks;
    let untried: Vec<&str> = possible
        .iter()
        .filter(|method| {
            method.attack().is_some_and(|facts| facts.threat_models.contains(&verdicts.threat_model))
        })
        .map(|method| method.name)
        .filter(|name| !tried.contains(name))
        .collect();
    let mut push = |text: String| caveats.push(Caveat { text, defences: Vec::new() });
    if !untried.is_empty() {
        push(format!("not run: the attacks {}, which this threat model allows too", untried.join(", ")));
    }
    let last = plan.experiment.probe.cadence.last().copied().unwrap_or(0);
    push(format!("not run: anything beyond {}", wording::count(last as usize, "step")));
    if !results.missing.is_empty() {
        let missing = wording::count(results.missing.len(), "stage");
        push(format!("not run yet: {missing} of the plan, named below; every number is of the others alone"));
    }
    caveats
}

/// The attacks and the cells that they were measured in.
fn attacked(plan: &Plan) -> impl Iterator<Item = (&AttackPoint, &Cell)> {
    plan.cells.iter().filter_map(|cell| Some((cell.before.attack()?, cell)))
}
