//! What a spec expands to: which stages, shared how, with which seeds.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use titer_plan::spec::Experiment;
use titer_plan::stage::AttackStage;
use titer_plan::{Arm, Cell, Override, Plan, Probe, StageHash, StageSpec, stage_hash};

use crate::catalogue;

#[path = "plans/judges.rs"]
mod judges;
#[path = "plans/policy.rs"]
mod policy;
#[path = "plans/sequential.rs"]
mod sequential;

const APOTHECARY: &str = include_str!("../../../data/presets/apothecary.toml");
const SMOKE: &str = include_str!("../../../data/presets/apothecary-smoke.toml");

fn plan(text: &str, overrides: &[(&str, &str)]) -> Plan {
    let set = |(key, value): &(&str, &str)| Override { key: (*key).to_owned(), value: (*value).to_owned() };
    let overrides: Vec<Override> = overrides.iter().map(set).collect();
    titer_plan::read("preset.toml", text, &overrides, &catalogue::catalogue())
        .unwrap_or_else(|mistakes| panic!("{mistakes}"))
        .plan(Vec::new())
}

fn by_kind(plan: &Plan) -> BTreeMap<&'static str, usize> {
    let mut kinds = BTreeMap::new();
    for stage in &plan.stages {
        *kinds.entry(stage.spec.kind()).or_default() += 1;
    }
    kinds
}

fn hashes(plan: &Plan) -> BTreeSet<&StageHash> {
    plan.stages.iter().map(|stage| &stage.hash).collect()
}

fn attack_seed(plan: &Plan, cell: &Cell) -> u64 {
    match plan.stage(&cell.stage).map(|stage| &stage.spec) {
        Some(StageSpec::Attack(attack)) => attack.seed,
        other => panic!("{cell:?} names {other:?}"),
    }
}

fn attack_cells(plan: &Plan) -> impl Iterator<Item = &Cell> {
    plan.cells
        .iter()
        .filter(|cell| cell.before.attack().is_some_and(|attack| attack.method == "full-finetune"))
}

#[test]
fn apothecary_has_the_stages_counted_by_hand() {
    let plan = plan(APOTHECARY, &[]);
    let expected = [
        ("pretrain", 1),
        ("align", 4),                 // as often as any defence is trained
        ("immunize", 4 * 4 * 2),      // defences and their shams × seeds × arms
        ("measure", 4 + 4 * 4),       // each aligned model, and each immunized one
        ("attack", 2 * 20 * (3 * 2)), // arms × victims × (rates × seeds)
        ("tune", 20 * 3),             // victims × seeds
    ];
    assert_eq!(by_kind(&plan), BTreeMap::from(expected));
    assert_eq!(plan.cells.len(), 20 + 240 + 60);
}

#[test]
fn the_smoke_preset_has_one_arm_and_one_seed() {
    let plan = plan(SMOKE, &[]);
    assert!(plan.cells.iter().all(|cell| cell.arm == Arm::Main && cell.attack_seed == 0));
    assert_eq!(plan.experiment.defence.len(), 4, "one of them is a sham");
}

#[test]
fn a_decoder_may_have_experts_and_without_them_keeps_its_hash() {
    let pretrain = |plan: &Plan| {
        let stage = plan.stages.iter().find(|stage| stage.spec.kind() == "pretrain");
        let stage = stage.unwrap_or_else(|| panic!("nothing is pretrained"));
        (stage.hash.clone(), serde_json::to_string(&stage.spec).unwrap_or_default())
    };
    let (dense, text) = pretrain(&plan(SMOKE, &[]));
    assert!(text.contains("init_std") && !text.contains("experts") && !text.contains("balance"), "{text}");
    assert_eq!(pretrain(&plan(SMOKE, &[("model.decoder.experts", "0")])).0, dense);
    let (mixture, text) = pretrain(&plan(SMOKE, &[("model.decoder.experts", "8")]));
    assert_ne!(mixture, dense);
    assert!(text.contains(r#""experts":8,"experts_per_token":2,"balance":0.01"#), "{text}");
    let experts = [("model.decoder.experts", "1"), ("model.decoder.balance", "0.0")];
    let (_, text) = pretrain(&plan(SMOKE, &experts));
    assert!(text.contains(r#""experts":1,"experts_per_token":1"#) && !text.contains("balance"), "{text}");
    let again: StageSpec = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(serde_json::to_string(&again).unwrap_or_default(), text);
}

#[test]
fn stages_come_after_their_inputs_and_are_named_by_their_content() {
    let plan = plan(APOTHECARY, &[]);
    let mut planned = BTreeSet::new();
    for stage in &plan.stages {
        assert!(stage.inputs.iter().all(|input| planned.contains(input)), "{} comes too early", stage.label);
        assert_eq!(stage.hash, stage_hash(&stage.spec, &stage.inputs));
        assert!(planned.insert(&stage.hash), "{} is planned twice", stage.label);
    }
    let labels: BTreeSet<&str> = plan.stages.iter().map(|stage| stage.label.as_str()).collect();
    assert_eq!(labels.len(), plan.stages.len(), "two stages look the same on screen");
    assert!(labels.contains("attack tar#1 cross-domain full-finetune/rate=3e-3#1"));
    assert!(labels.contains("tune none#1 alias-finetune/rate=1e-3#0"));
}

#[test]
fn every_default_is_stated() {
    let plan = plan(APOTHECARY, &[]);
    let tar = &plan.experiment.defence[2];
    assert_eq!(tar.parameters["steps"], 200);
    assert_eq!(tar.parameters["inner_steps"], 8);
    let attack = &plan.experiment.attack[0];
    assert_eq!(attack.parameters["schedule"], "constant");
    assert_eq!(attack.grid["rate"].len(), 3);
    assert!(plan.defence_stage("tar").is_some() && plan.defence_stage("lisa").is_none());
}

#[test]
fn a_changed_attack_changes_only_attacks() {
    let before = plan(APOTHECARY, &[]);
    let after = plan(APOTHECARY, &[("attack.0.rate", "[3e-4, 1e-3, 2e-3]")]);
    let known = hashes(&before);
    let new: Vec<_> = after.stages.iter().filter(|stage| !known.contains(&stage.hash)).collect();
    assert!(new.iter().all(|stage| stage.spec.kind() == "attack"));
    assert_eq!(new.len(), 2 * 20 * 2, "one rate of three, in both arms");
}

#[test]
fn a_changed_seed_changes_everything_and_a_changed_name_nothing() {
    let before = plan(APOTHECARY, &[]);
    let reseeded = plan(APOTHECARY, &[("seed", "1")]);
    // A measurement draws nothing itself, but its model has changed.
    assert!(hashes(&before).is_disjoint(&hashes(&reseeded)));
    assert_eq!(hashes(&before), hashes(&plan(APOTHECARY, &[("name", "renamed")])));
}

#[test]
fn the_same_attack_seed_meets_every_victim_and_rate() {
    let plan = plan(APOTHECARY, &[]);
    let mut seeds: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
    for cell in attack_cells(&plan) {
        seeds.entry(cell.attack_seed).or_default().insert(attack_seed(&plan, cell));
    }
    assert_eq!(seeds.len(), 2);
    assert!(seeds.values().all(|derived| derived.len() == 1), "attack seeds must be paired: {seeds:?}");
    let distinct: BTreeSet<_> = seeds.values().flatten().collect();
    assert_eq!(distinct.len(), 2, "different repetitions must differ");
}

#[test]
fn the_cross_domain_arm_is_there_only_when_asked_for() {
    let asked = plan(APOTHECARY, &[]);
    let cross: Vec<&Cell> = asked.cells.iter().filter(|cell| cell.arm == Arm::CrossDomain).collect();
    assert_eq!(cross.len(), 20 * 6, "victims × attacks");
    for cell in cross {
        let Some(StageSpec::Attack(AttackStage { domains, probes, .. })) =
            asked.stage(&cell.stage).map(|stage| &stage.spec)
        else {
            panic!("{cell:?} is no attack");
        };
        assert_eq!(domains, &["forgery", "siege"]);
        assert_eq!(probes[0].probe, Probe::CrossDomain);
        assert_eq!(&probes[0].domains, domains);
    }
    let set = [("cross_domain.defence", "[\"venom\"]"), ("cross_domain.attack", "[\"siege\"]")];
    assert!(plan(SMOKE, &set).cells.iter().any(|cell| cell.arm == Arm::CrossDomain));
    assert!(plan(SMOKE, &[]).cells.iter().all(|cell| cell.arm == Arm::Main));
}

#[test]
fn both_arms_attack_the_same_undefended_model() {
    let plan = plan(APOTHECARY, &[]);
    let victims: BTreeSet<&StageHash> = attack_cells(&plan)
        .filter(|cell| cell.defence == "none")
        .filter_map(|cell| plan.stage(&cell.stage))
        .flat_map(|stage| &stage.inputs)
        .collect();
    let aligned = plan.stages.iter().filter(|stage| stage.spec.kind() == "align");
    let aligned: BTreeSet<&StageHash> = aligned.map(|stage| &stage.hash).collect();
    assert_eq!((&victims, victims.len()), (&aligned, 4));
}

#[test]
fn mistakes_of_overrides_name_them() {
    let check = |key: &str, value: &str, expected: &str| {
        let set = Override { key: key.to_owned(), value: value.to_owned() };
        let mistakes = titer_plan::read("a.toml", SMOKE, &[set], &catalogue::catalogue());
        assert_eq!(mistakes.expect_err("a mistake").to_string(), format!("a.toml: --set {key}: {expected}"));
    };
    check("conditions.phi", "2", "expected a number from 0 to 1, got 2");
    check("conditions.ph1", "0.3", "unknown key; did you mean `phi`?");
    check("probe.cadence.1", "zero", "expected a whole number, got the text \"zero\"");
    check(
        "attack.1.rate",
        "1e-3",
        "`1` picks none of the 1 members of the list; members are numbered from 0",
    );
    check("seed.first", "1", "`first` looks inside 0; shorten the key");
    check(
        "cross_domain.defence",
        "[\"venom\"]",
        "is missing; expected a list, each member one of `venom`, `curse`, `forgery`, `siege`",
    );
}

/// Specs as different as overrides can make them.
fn any_plan() -> impl Strategy<Value = Plan> {
    let rates = prop::collection::btree_set(1u32..1_000_000, 1..4);
    (any::<u32>(), 1u64..4, rates, 1e-6..1.0f64, 0.0..0.4f64, any::<bool>()).prop_map(
        |(seed, repeats, rates, rate, phi, clipped)| {
            let rates: Vec<f64> = rates.into_iter().map(|rate| f64::from(rate) / 1.3e6).collect();
            let (seed, repeats) = (seed.to_string(), repeats.to_string());
            let (rates, rate, phi) = (format!("{rates:?}"), format!("{rate:?}"), format!("{phi:?}"));
            let mut set = vec![
                ("seed", seed.as_str()),
                ("attack.0.seeds", &repeats),
                ("attack.0.rate", &rates),
                ("defence.1.rate", &rate),
                ("conditions.phi", &phi),
            ];
            if clipped {
                set.push(("model.pretrain.clip", &rate));
            }
            plan(SMOKE, &set)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_plan_survives_json(plan in any_plan()) {
        let text = serde_json::to_string(&plan).expect("a plan is plain data");
        let reread: Plan = serde_json::from_str(&text).expect("a plan reads back");
        prop_assert_eq!(&reread, &plan);
        for stage in &reread.stages {
            prop_assert_eq!(&stage.hash, &stage_hash(&stage.spec, &stage.inputs));
        }
    }

    #[test]
    fn any_change_of_a_stage_changes_its_hash(plan in any_plan(), index: prop::sample::Index, field: prop::sample::Index) {
        let stage = index.get(&plan.stages);
        let mut value = serde_json::to_value(&stage.spec).expect("a stage is plain data");
        let mut leaves = Vec::new();
        numbers(&mut value, &mut leaves);
        if !leaves.is_empty() {
            let at = field.index(leaves.len());
            *leaves.swap_remove(at) = serde_json::json!(7919);
            let changed: StageSpec = serde_json::from_value(value).expect("still a stage");
            prop_assert_ne!(stage_hash(&changed, &stage.inputs), stage.hash.clone());
        }
        let inputs = [stage.inputs.clone(), vec![StageHash("another".to_owned())]].concat();
        prop_assert_ne!(stage_hash(&stage.spec, &inputs), stage.hash.clone());
    }

    #[test]
    fn no_text_makes_reading_panic(cut in 0..APOTHECARY.len(), junk in "[\\[\\]{}=\"#a-z0-9. \\n]{0,12}") {
        let cut = (0..=cut).rev().find(|cut| APOTHECARY.is_char_boundary(*cut)).unwrap_or(0);
        let (head, tail) = APOTHECARY.split_at(cut);
        if let Err(mistakes) = titer_plan::read("a.toml", &format!("{head}{junk}{tail}"), &[], &catalogue::catalogue()) {
            prop_assert!(!mistakes.mistakes.is_empty());
        }
    }
}

fn numbers<'a>(value: &'a mut serde_json::Value, found: &mut Vec<&'a mut serde_json::Value>) {
    match value {
        serde_json::Value::Object(map) => map.values_mut().for_each(|value| numbers(value, found)),
        serde_json::Value::Array(list) => list.iter_mut().for_each(|value| numbers(value, found)),
        serde_json::Value::Number(_) => found.push(value),
        _ => {}
    }
}

#[test]
fn an_experiment_reads_back_from_json() {
    let experiment = plan(APOTHECARY, &[]).experiment;
    let text = serde_json::to_string_pretty(&experiment).expect("plain data");
    assert_eq!(serde_json::from_str::<Experiment>(&text).expect("reads back"), experiment);
}

#[test]
fn other_measures_are_other_stages_with_the_same_answers() {
    let before = plan(SMOKE, &[]);
    let after = plan(SMOKE, &[("probe.judges", "[\"refusal\", \"oracle-graded\"]")]);
    let asking = |plan: &Plan| -> Vec<(StageHash, StageHash)> {
        let named = |stage: &titer_plan::PlannedStage| Some((stage.answers.clone()?, stage.hash.clone()));
        plan.stages.iter().filter_map(named).collect()
    };
    let (old, new) = (asking(&before), asking(&after));
    assert!(old.len() > 10);
    let mut judged_anew = 0;
    for ((answers, hash), (same, other)) in old.iter().zip(&new) {
        assert_eq!(answers, same);
        judged_anew += usize::from(hash != other);
    }
    // Harmless tuning asks nothing that is harmful.
    let tunes = before.stages.iter().filter(|stage| stage.spec.kind() == "tune").count();
    assert_eq!(judged_anew, old.len() - tunes);
    // Whatever asks nobody keeps its name.
    let silent = |plan: &Plan| -> Vec<StageHash> {
        let silent = plan.stages.iter().filter(|stage| stage.answers.is_none());
        silent.map(|stage| stage.hash.clone()).collect()
    };
    assert_eq!(silent(&before), silent(&after));

    // A raised version does the same to a plan that is there.
    let raised = before.rejudged(|measure| titer_plan::stage::MeasureSpec { version: 2, ..measure.clone() });
    let named: BTreeSet<StageHash> = asking(&raised).into_iter().map(|(_, hash)| hash).collect();
    assert!(old.iter().all(|(_, hash)| !named.contains(hash)), "a version is part of the name");
    let answers =
        |pairs: &[(StageHash, StageHash)]| pairs.iter().map(|pair| pair.0.clone()).collect::<Vec<_>>();
    assert_eq!(answers(&asking(&raised)), answers(&old));
    assert_eq!(silent(&raised), silent(&before));
    assert!(raised.cells.iter().all(|cell| raised.stage(&cell.stage).is_some()));
    assert_eq!(before.rejudged(Clone::clone), before);
}

#[test]
fn what_an_attacker_does_by_the_judge_is_not_judged_anew() {
    let mut plan = plan(SMOKE, &[]);
    for stage in &mut plan.stages {
        if let StageSpec::Attack(attack) = &mut stage.spec {
            attack.judged = true;
        }
    }
    let before = plan.rejudged(Clone::clone);
    let after = before.rejudged(|measure| titer_plan::stage::MeasureSpec { version: 2, ..measure.clone() });
    let mut attacks = 0;
    for (old, new) in before.stages.iter().zip(&after.stages).filter(|(old, _)| old.answers.is_some()) {
        let is_attack = old.spec.kind() == "attack";
        attacks += usize::from(is_attack);
        assert_eq!(old.answers != new.answers, is_attack, "{}", old.label);
    }
    assert!(attacks > 0);
}

#[test]
fn a_plan_of_another_version_is_refused_with_the_reason() {
    let mut json = serde_json::to_value(plan(SMOKE, &[])).expect("plain data");
    let parse = |json: &serde_json::Value| titer_plan::parse_plan::<Plan>(&json.to_string());
    assert!(parse(&json).is_ok());
    json["version"] = 99.into();
    let error = parse(&json).expect_err("another version").to_string();
    assert!(error.contains("version 99") && error.contains("titer run"), "{error}");
    json.as_object_mut().expect("an object").remove("version");
    assert!(parse(&json).expect_err("the first version").to_string().contains("version 1 "));
    json["version"] = titer_plan::PlanVersion::NUMBER.into();
    json["cells"] = 1.into();
    assert!(parse(&json).expect_err("damaged").to_string().contains("damaged"));
}
