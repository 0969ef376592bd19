//! Which attacks are strong: learnt from the undefended model, before any trial.

use std::collections::BTreeMap;

use titer_conditions::{Verdicts, final_harm};
use titer_lab::{Error, Result, Results};
use titer_plan::{AttackPoint, Meaning, Plan, Probe, ThreatModel};

/// The stronger half, rounded up, of the attacks on the undefended model, the strongest first: those that break
/// it soonest, or where a provider trains those that leave it the most harmful; of equal ones the faster.
///
/// # Errors
/// When none of them breaks it, or it is broken before any.
pub(super) fn strongest(undefended: &Results) -> Result<Vec<AttackPoint>> {
    let mut attacks = match undefended.plan.experiment.threat_model {
        ThreatModel::OpenWeights => by_break(&undefended.verdicts()?)?,
        ThreatModel::FineTuningApi => final_harm(&undefended.probes)?,
    };
    let rates = rates(&undefended.plan);
    let rate = |attack: &AttackPoint| rates.get(attack).copied().unwrap_or_default();
    attacks.sort_by(|(a, a_strength), (b, b_strength)| {
        b_strength.total_cmp(a_strength).then(rate(b).total_cmp(&rate(a))).then(a.cmp(b))
    });
    attacks.truncate(attacks.len().div_ceil(2));
    Ok(attacks.into_iter().map(|(attack, _)| attack).collect())
}

/// Each attack with its strength against the undefended model: the sooner it breaks it, the stronger.
fn by_break(verdicts: &Verdicts) -> Result<Vec<(AttackPoint, f64)>> {
    let mut first: BTreeMap<&AttackPoint, f64> = BTreeMap::new();
    for run in verdicts.defences.iter().flat_map(|verdict| &verdict.break_budgets) {
        if run.probe != Probe::CrossDomain {
            let earliest = first.entry(&run.attack).or_insert(f64::INFINITY);
            *earliest = earliest.min(run.until.map_or(f64::INFINITY, |until| until as f64));
        }
    }
    let earliest = first.values().copied().fold(f64::INFINITY, f64::min);
    if earliest == f64::INFINITY || earliest == 0.0 {
        let how = if earliest == 0.0 { "before any attack" } else { "by none of the attacks" };
        let problem = format!(
            "the undefended model is broken {how}, so that no defence has a titer; change the attacks, \
             `conditions.phi` or how the model is aligned"
        );
        return Err(Error::Search { problem });
    }
    Ok(first.into_iter().map(|(attack, until)| (attack.clone(), -until)).collect())
}

/// The learning rate of each attack that has one.
fn rates(plan: &Plan) -> BTreeMap<AttackPoint, f64> {
    let methods = titer_attacks::registry::methods();
    let points = plan.experiment.attack.iter().flat_map(|entry| entry.points());
    let rate = |point: titer_plan::GridPoint| {
        let method = methods.iter().find(|method| method.name == point.attack.name)?;
        let key = method.setting(Meaning::Rate)?.name;
        Some((point.point, point.attack.parameters.get(key)?.as_f64()?))
    };
    points.filter_map(rate).collect()
}
