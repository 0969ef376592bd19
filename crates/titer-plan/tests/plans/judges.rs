//! Judges that are models of their own: inputs of what they judge, and of nothing else.

use std::collections::{BTreeMap, BTreeSet};

use titer_plan::{Found, Plan, PlannedSource, StageHash, judge_role};

use super::policy::{POLICY, smaller};

/// The plan with sources of these contents, by their roles.
fn plan(judges: &str, contents: &[(&str, &str)]) -> Plan {
    let draft = smaller(POLICY, judges);
    let source = |(role, reference): (&str, &str)| {
        let content = contents.iter().find(|(of, _)| *of == role);
        let found = content.map(|(_, identity)| Found {
            location: format!("/{role}"),
            identity: (*identity).to_owned(),
            files: BTreeMap::new(),
        });
        PlannedSource { role: role.to_owned(), reference: reference.to_owned(), found }
    };
    let sources = draft.references().into_iter().map(source).collect();
    draft.plan(sources)
}

#[test]
fn a_model_that_judges_is_an_input_of_what_it_judges() {
    let both = [("model", "c0ffee"), ("judge/guard", "1"), ("judge/other", "2")];
    let plain = plan("[\"policy-compliance\"]", &both);
    let judged = plan("[\"policy-compliance\", \"other.toml\", \"guard\"]", &both);
    assert_eq!(judged.experiment.probe.judges, ["policy-compliance", "other", "guard"]);
    let source = |role: &str| {
        let stages = judged.stages.iter();
        let found =
            stages.filter(|stage| stage.label.starts_with(&format!("source {role} "))).collect::<Vec<_>>();
        assert_eq!(found.len(), 1, "{role}");
        found[0].hash.clone()
    };
    let (guard, other) = (source("judge/guard"), source("judge/other"));
    // In the order of the spec, last of all.
    let asked: Vec<&titer_plan::PlannedStage> =
        judged.stages.iter().filter(|stage| stage.inputs.contains(&guard)).collect();
    assert!(!asked.is_empty());
    for stage in &asked {
        assert!(["attack", "measure"].contains(&stage.spec.kind()), "{}", stage.label);
        assert!(stage.inputs.ends_with(&[other.clone(), guard.clone()]), "{}", stage.label);
        assert_eq!(stage.spec.judge_models(), [judge_role("other"), judge_role("guard")]);
    }

    // To judge by them is no other answer, and nothing else is named by them.
    let names = |plan: &Plan| -> BTreeSet<StageHash> {
        plan.stages.iter().filter_map(|stage| stage.answers.clone()).collect()
    };
    assert_eq!(names(&plain), names(&judged));
    let hashes =
        |plan: &Plan| -> BTreeSet<StageHash> { plan.stages.iter().map(|stage| stage.hash.clone()).collect() };
    let anew: BTreeSet<StageHash> = hashes(&judged).difference(&hashes(&plain)).cloned().collect();
    assert_eq!(anew.len(), asked.len() + 2);
    // Another model is another judge.
    let weights = [("model", "c0ffee"), ("judge/guard", "3"), ("judge/other", "2")];
    let again = plan("[\"policy-compliance\", \"other.toml\", \"guard\"]", &weights);
    assert_eq!(hashes(&again).difference(&hashes(&judged)).count(), asked.len() + 1);
    assert_eq!(names(&again), names(&judged));
}
