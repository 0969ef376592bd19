//! Plans over a model that was made elsewhere, under a policy.

use std::collections::{BTreeMap, BTreeSet};

use titer_plan::{Draft, Found, MODEL_SOURCE, Override, Plan, PlannedSource, StageHash};

use super::{catalogue, hashes};

pub(super) const POLICY: &str = include_str!("../../../../data/presets/smollm2-policy.toml");

/// The policy preset with a model of that content, judged as the catalogue's first measure does.
fn plan_of(model: Option<&str>, location: &str) -> Plan {
    judged_by("policy-compliance", model, location)
}

/// A policy preset within the test catalogue's bounds, judged so.
pub(super) fn smaller(policy: &str, judges: &str) -> Draft {
    let smaller = [
        ("probe.judges", judges),
        ("model.align.refusals", "32"),
        ("model.align.permitted", "32"),
        ("probe.items", "8"),
        ("cross_domain.defence", "[\"baking\"]"),
        ("cross_domain.attack", "[\"gardening\"]"),
        ("attack.0.examples", "16"),
        ("stability.items", "8"),
        ("stability.choices", "8"),
        ("stability.texts", "8"),
    ];
    let smaller = smaller.map(|(key, value)| Override { key: key.to_owned(), value: value.to_owned() });
    let draft = titer_plan::read("p.toml", policy, &smaller, &catalogue::catalogue());
    draft.unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

fn judged_by(judge: &str, model: Option<&str>, location: &str) -> Plan {
    planned(POLICY, judge, model, location)
}

fn planned(policy: &str, judge: &str, model: Option<&str>, location: &str) -> Plan {
    let draft = smaller(policy, &format!("[{judge:?}]"));
    assert_eq!(draft.references(), [(MODEL_SOURCE, "smollm2-135m")]);
    let found = model.map(|identity| Found {
        location: location.to_owned(),
        identity: identity.to_owned(),
        files: BTreeMap::new(),
    });
    let (role, reference) = (MODEL_SOURCE.to_owned(), "smollm2-135m".to_owned());
    draft.plan(vec![PlannedSource { role, reference, found }])
}

#[test]
fn the_key_of_a_source_is_its_content_and_not_where_it_lies() {
    let one = plan_of(Some("c0ffee"), "/here");
    assert_eq!(hashes(&one), hashes(&plan_of(Some("c0ffee"), "/there")));
    let other = plan_of(Some("decaf"), "/here");
    assert!(hashes(&one).is_disjoint(&hashes(&other)), "every stage rests on the model");
    let absent = plan_of(None, "/here");
    assert!(hashes(&one).is_disjoint(&hashes(&absent)));
    assert_eq!((one.not_here().count(), absent.not_here().count()), (0, 1));
    // How it is spoken to is part of what it is.
    let stated = POLICY.replacen("policy = ", "chat_template = \"x\"\npolicy = ", 1);
    let stated = planned(&stated, "policy-compliance", Some("c0ffee"), "/here");
    assert!(hashes(&one).is_disjoint(&hashes(&stated)));
}

#[test]
fn the_base_models_own_answers_are_an_input_of_what_compares_with_them() {
    let plain = judged_by("policy-compliance", Some("c0ffee"), "/here");
    let own = judged_by("policy-harm", Some("c0ffee"), "/here");
    let distilled = |plan: &Plan| -> Vec<String> {
        let distils = plan.stages.iter().filter(|stage| stage.spec.kind() == "distil");
        distils.map(|stage| stage.label.clone()).collect()
    };
    assert_eq!(distilled(&plain), ["distil forbidden", "distil permitted"]);
    assert_eq!(distilled(&own), ["distil forbidden", "distil permitted", "distil probed"]);
    let probed = own.stages.iter().find(|stage| stage.label == "distil probed").expect("a stage");
    let compares: BTreeSet<&str> = own
        .stages
        .iter()
        .filter(|stage| stage.inputs.last() == Some(&probed.hash))
        .map(|stage| stage.spec.kind())
        .collect();
    assert_eq!(compares, BTreeSet::from(["attack", "measure"]));
    let others = own.stages.iter().filter(|stage| !["attack", "measure"].contains(&stage.spec.kind()));
    assert!(others.flat_map(|stage| &stage.inputs).all(|input| *input != probed.hash));

    // To judge by them is no other answer, and no other training.
    let names = |plan: &Plan| -> BTreeSet<StageHash> {
        plan.stages.iter().filter_map(|stage| stage.answers.clone()).collect()
    };
    assert_eq!(names(&plain), names(&own));
    let silent = |plan: &Plan| -> BTreeSet<StageHash> {
        let silent =
            plan.stages.iter().filter(|stage| stage.answers.is_none() && stage.label != "distil probed");
        silent.map(|stage| stage.hash.clone()).collect()
    };
    assert_eq!(silent(&plain), silent(&own));
}
