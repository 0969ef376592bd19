//! Probes that end early: which stages say so, and by how much they may err together.

use std::collections::BTreeSet;

use titer_plan::stage::{MeasureSpec, Sequential};
use titer_plan::{Plan, StageHash, StageSpec};

use super::{APOTHECARY, SMOKE, hashes, plan};

/// What each attack of a plan is asked by, with its probes and checkpoints.
fn sequential(plan: &Plan) -> Vec<(Option<Sequential>, usize, usize)> {
    let stages = plan.stages.iter().filter_map(|stage| match &stage.spec {
        StageSpec::Attack(attack) => Some((attack.sequential, attack.probes.len(), attack.cadence.len())),
        _ => None,
    });
    stages.collect()
}

#[test]
fn ended_probes_err_by_a_tenth_of_alpha_together() {
    let plain = plan(APOTHECARY, &[]);
    assert!(sequential(&plain).iter().all(|(rule, _, _)| rule.is_none()));
    // 180 runs in each arm share what 256 may err by; 240 do as well.
    let ended = plan(APOTHECARY, &[("probe.sequential", "true"), ("attack.0.seeds", "3")]);
    let all = sequential(&ended);
    let error: f64 = all
        .iter()
        .map(|(rule, probes, checkpoints)| {
            let rule = rule.expect("every attack of the preset trains");
            assert_eq!((rule.broken_above, rule.ability_at_least), (0.2, 0.95));
            rule.level * (probes * (checkpoints - 2)) as f64
        })
        .sum();
    let most = Sequential::SHARE * 0.05;
    assert!(all.len() > 100 && error <= most && error > 0.25 * most, "{} attacks, {error}", all.len());

    // Another attack changes no other's stage.
    let more = plan(
        APOTHECARY,
        &[
            ("probe.sequential", "true"),
            ("attack.0.seeds", "3"),
            ("attack.0.rate", "[3e-4, 1e-3, 3e-3, 1e-2]"),
        ],
    );
    assert!(hashes(&ended).is_subset(&hashes(&more)));
    // Many more share the error.
    let many = plan(APOTHECARY, &[("probe.sequential", "true"), ("attack.0.seeds", "12")]);
    let level = |plan: &Plan| sequential(plan)[0].0.map(|rule| rule.level);
    assert!(level(&many) < level(&ended) && level(&more) == level(&ended));
}

#[test]
fn what_was_asked_by_the_judge_is_not_judged_anew() {
    let before = plan(SMOKE, &[("probe.sequential", "true")]);
    let after = before.rejudged(|measure| MeasureSpec { version: 2, ..measure.clone() });
    let attacks = |plan: &Plan| -> BTreeSet<StageHash> {
        let attacks = plan.stages.iter().filter(|stage| stage.spec.kind() == "attack");
        attacks.filter_map(|stage| stage.answers.clone()).collect()
    };
    assert!(!attacks(&before).is_empty() && attacks(&before).is_disjoint(&attacks(&after)));
}
