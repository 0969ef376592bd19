//! Which shams an experiment gets, and who shares them.

use std::collections::BTreeSet;

use titer_plan::spec::DefenceEntry;
use titer_plan::stage::{AlignStage, PretrainStage};
use titer_plan::{Arm, Control, DefenceRole, DefenceStage, Override, Plan, PlannedStage, StageSpec};

use crate::catalogue;

const SMOKE: &str = include_str!("../../../data/presets/apothecary-smoke.toml");

/// The smoke preset with these defences after `none`.
fn read(defences: &str, overrides: &[(&str, &str)]) -> Plan {
    let start = SMOKE.find("[[defence]]").expect("defences");
    let end = SMOKE.find("[[attack]]").expect("attacks");
    let none = "[[defence]]\nmethod = \"none\"\n";
    let text = [&SMOKE[..start], none, defences, "\n", &SMOKE[end..]].concat();
    let set = |(key, value): &(&str, &str)| Override { key: (*key).to_owned(), value: (*value).to_owned() };
    let overrides: Vec<Override> = overrides.iter().map(set).collect();
    titer_plan::read("arms.toml", &text, &overrides, &catalogue::catalogue())
        .unwrap_or_else(|mistakes| panic!("{mistakes}"))
        .plan(Vec::new())
}

/// The same where a provider trains.
fn read_api(defences: &str) -> Plan {
    let set = [("threat_model", "\"fine-tuning-api\""), ("probe.cadence", "[0, 32]")];
    let text = SMOKE.replace("stop_above = 0.5", "");
    let start = text.find("[[defence]]").expect("defences");
    let end = text.find("[[attack]]").expect("attacks");
    let none = "[[defence]]\nmethod = \"none\"\n";
    let text = [&text[..start], none, defences, "\n", &text[end..]].concat();
    let set = set.map(|(key, value)| Override { key: key.to_owned(), value: value.to_owned() });
    titer_plan::read("arms.toml", &text, &set, &catalogue::catalogue())
        .unwrap_or_else(|mistakes| panic!("{mistakes}"))
        .plan(Vec::new())
}

fn entry<'a>(plan: &'a Plan, label: &str) -> &'a DefenceEntry {
    let found = plan.experiment.defence.iter().find(|entry| entry.label == label);
    found.unwrap_or_else(|| panic!("no {label} in {:?}", labels(plan)))
}

fn labels(plan: &Plan) -> Vec<&str> {
    plan.experiment.defence.iter().map(|entry| entry.label.as_str()).collect()
}

fn sham<'a>(plan: &'a Plan, label: &str) -> Option<&'a str> {
    entry(plan, label).sham.as_deref()
}

#[test]
fn shams_with_equal_settings_are_one_entry_trained_as_often_as_any_needs() {
    let both = "[[defence]]\nmethod = \"adversarial-loss\"\nsteps = 50\nseeds = 1\n\
                [[defence]]\nmethod = \"tar\"\nsteps = 50\nseeds = 3\n";
    let plan = read(both, &[]);
    assert_eq!(labels(&plan), ["none", "adversarial-loss", "tar", "adversarial-loss-sham"]);
    assert_eq!(sham(&plan, "adversarial-loss"), Some("adversarial-loss-sham"));
    assert_eq!(sham(&plan, "tar"), Some("adversarial-loss-sham"));
    let shared = entry(&plan, "adversarial-loss-sham");
    assert_eq!((shared.method.as_str(), shared.role, shared.seeds.most), ("rehearsal", DefenceRole::Sham, 3));
    // Settings of the same names are the defence's, the others the registry's.
    assert_eq!((&shared.parameters["steps"], &shared.parameters["keep"]), (&50.into(), &1.0.into()));
    assert_eq!(shared.parameters.len(), 7);
    let roles: Vec<_> = plan.experiment.defence.iter().map(|entry| entry.role).collect();
    use DefenceRole::{Baseline, Defence, Sham};
    assert_eq!(roles, [Baseline, Defence, Defence, Sham]);

    let apart = read(both, &[("defence.2.steps", "60")]);
    assert_eq!(labels(&apart)[3..], ["adversarial-loss-sham", "tar-sham"]);
    assert_eq!(entry(&apart, "tar-sham").seeds.most, 3);
}

#[test]
fn a_sham_has_the_same_hash_whoever_it_belongs_to() {
    let immunized = |plan: &Plan, label: &str| -> BTreeSet<String> {
        let of = |cell: &&titer_plan::Cell| cell.defence == label;
        let models = plan.cells.iter().filter(of).filter_map(|cell| plan.stage(&cell.stage)?.inputs.first());
        models.map(|hash| hash.to_string()).collect()
    };
    let by =
        |method: &str| read(&format!("[[defence]]\nmethod = \"{method}\"\nsteps = 50\nseeds = 2\n"), &[]);
    let (first, second) = (by("adversarial-loss"), by("tar"));
    let shams = immunized(&first, "adversarial-loss-sham");
    assert_eq!((shams.len(), &shams), (2, &immunized(&second, "tar-sham")));
    let stated = by("rehearsal");
    assert_eq!(immunized(&stated, "rehearsal"), shams);
    assert_eq!((entry(&stated, "rehearsal").role, sham(&stated, "rehearsal")), (DefenceRole::Control, None));
}

#[test]
fn what_was_planned_before_is_planned_as_it_was() {
    let defence = "[[defence]]\nmethod = \"tar\"\nseeds = 2\n";
    let (with, without) = (read(defence, &[]), read(defence, &[("defence.1.sham", "false")]));
    assert_eq!((labels(&without), sham(&without, "tar")), (vec!["none", "tar"], None));
    assert_eq!(entry(&without, "tar").role, DefenceRole::Defence);
    assert!(without.stages.iter().all(|stage| with.stages.contains(stage)));
    assert!(without.cells.iter().all(|cell| with.cells.contains(cell)));
}

#[test]
fn what_settings_were_chosen_against_changes_no_stage() {
    let defence = "[[defence]]\nmethod = \"tar\"\nseeds = 2\n";
    let (with, without) =
        (read(&format!("{defence}tuned_against = [\"full-finetune\"]\n"), &[]), read(defence, &[]));
    assert_eq!(entry(&with, "tar").tuned_against, ["full-finetune"]);
    assert!(
        entry(&with, "tar-sham").tuned_against.is_empty() && entry(&without, "tar").tuned_against.is_empty()
    );
    assert_eq!((with.stages, with.cells), (without.stages, without.cells));
    let said = serde_json::to_string(&without.experiment).expect("plain data");
    assert!(!said.contains("tuned_against"), "what says nothing is written as before");
}

#[test]
fn a_stated_defence_that_equals_a_sham_serves_as_it() {
    let plan = read(
        "[[defence]]\nmethod = \"tar\"\nsteps = 50\nseeds = 2\n\
         [[defence]]\nmethod = \"rehearsal\"\nlabel = \"training-alone\"\nsteps = 50\nseeds = 1\n",
        &[],
    );
    assert_eq!(labels(&plan), ["none", "tar", "training-alone"]);
    assert_eq!(sham(&plan, "tar"), Some("training-alone"));
    let serves = entry(&plan, "training-alone");
    assert_eq!((serves.role, serves.seeds.most, &serves.sham), (DefenceRole::Sham, 1, &None));
}

#[test]
fn a_label_that_is_taken_gets_a_number() {
    let plan = read(
        "[[defence]]\nmethod = \"tar\"\nseeds = 1\n\
         [[defence]]\nmethod = \"identity\"\nlabel = \"tar-sham\"\nseeds = 1\n",
        &[],
    );
    assert_eq!(labels(&plan), ["none", "tar", "tar-sham", "tar-sham-2"]);
    assert_eq!(sham(&plan, "tar"), Some("tar-sham-2"));
    assert_eq!((entry(&plan, "tar-sham").role, sham(&plan, "tar-sham")), (DefenceRole::Control, None));
}

#[test]
fn where_nothing_is_left_none_is_the_sham() {
    let rmu = "[[defence]]\nmethod = \"rmu\"\nkeep = 0\nseeds = 1\n";
    let plan = read(rmu, &[]);
    assert_eq!((labels(&plan), sham(&plan, "rmu")), (vec!["none", "rmu"], Some("none")));
    assert_eq!(sham(&read(rmu, &[("defence.1.keep", "0.5")]), "rmu"), Some("rmu-sham"));
    let ewc = read_api("[[defence]]\nmethod = \"ewc\"\nseeds = 1\n");
    assert_eq!((labels(&ewc), sham(&ewc, "ewc")), (vec!["none", "ewc"], Some("none")));
}

#[test]
fn a_defence_without_its_idea_is_a_control() {
    let plan = read_api("[[defence]]\nmethod = \"lisa\"\nrho = 0\nseeds = 1\n");
    assert_eq!((labels(&plan), entry(&plan, "lisa").role), (vec!["none", "lisa"], DefenceRole::Control));
}

#[test]
fn the_sham_of_a_line_has_the_sham_of_each_method() {
    let line = |first: &str, then: &[&str]| {
        let then: String = then.iter().map(|name| format!("{{ method = \"{name}\" }},")).collect();
        let plan = read_api(&format!("[[defence]]\nmethod = \"{first}\"\nseeds = 2\nthen = [{then}]\n"));
        let label = plan.experiment.defence[1].sham.clone().expect("a sham");
        entry(&plan, &label).clone()
    };
    let whole = line("adversarial-loss", &["lisa", "antidote"]);
    let methods: Vec<String> = whole.chain().into_iter().map(|one| one.method).collect();
    assert_eq!(methods, ["rehearsal", "lisa", "antidote"]);
    assert_eq!(
        (&whole.then[0].parameters["rho"], &whole.then[1].parameters["place"]),
        (&0.0.into(), &"random".into())
    );
    assert_eq!((whole.seeds.most, whole.label.as_str()), (2, "adversarial-loss-lisa-antidote-sham"));
    // What leaves nothing is left out, and the next method comes first.
    let shorter = line("ewc", &["antidote"]);
    assert_eq!((shorter.method.as_str(), shorter.stage), ("antidote", DefenceStage::PostFineTuning));
    assert_eq!((&shorter.parameters["place"], shorter.then.len()), (&"random".into(), 0));
}

#[test]
fn a_sham_of_the_method_itself_draws_what_its_defence_draws() {
    let plan = read_api("[[defence]]\nmethod = \"lisa\"\nseeds = 1\n");
    let seed = |label: &str| {
        plan.cells.iter().filter(|cell| cell.defence == label).find_map(|cell| {
            match &plan.stage(&cell.stage)?.spec {
                StageSpec::Attack(attack) => attack.guard.as_ref().map(|guard| guard.seed),
                _ => None,
            }
        })
    };
    assert!(seed("lisa").is_some());
    assert_eq!(seed("lisa"), seed("lisa-sham"));
}

const NAIVE: &str = "[[defence]]\nmethod = \"data-filtering\"\nseeds = 2\n";

fn labelled<'a>(plan: &'a Plan, label: &str) -> &'a PlannedStage {
    let found = plan.stages.iter().find(|stage| stage.label == label);
    found.unwrap_or_else(|| {
        panic!("no {label} in {:?}", plan.stages.iter().map(|stage| &stage.label).collect::<Vec<_>>())
    })
}

fn pretrained<'a>(plan: &'a Plan, label: &str) -> &'a PretrainStage {
    match &labelled(plan, label).spec {
        StageSpec::Pretrain(stage) => stage,
        other => panic!("{label} is {other:?}"),
    }
}

fn aligned<'a>(plan: &'a Plan, label: &str) -> &'a AlignStage {
    match &labelled(plan, label).spec {
        StageSpec::Align(stage) => stage,
        other => panic!("{label} is {other:?}"),
    }
}

#[test]
fn a_model_without_the_forbidden_domains_is_made_as_the_plain_one_is() {
    let (plan, without) = (read(NAIVE, &[]), read("", &[]));
    let plain = "pretrain apothecary";
    assert_eq!(labelled(&plan, plain).hash, labelled(&without, plain).hash, "other models keep their hash");
    assert!(!serde_json::to_string(&labelled(&plan, plain).spec).unwrap().contains("curation"));
    for seed in [0, 1] {
        let (own, label) = (format!("data-filtering#{seed}"), format!("pretrain data-filtering#{seed}"));
        let naive = pretrained(&plan, &label);
        let curation = naive.curation.as_ref().expect("it is chosen what it reads");
        assert_eq!(
            (curation.defence.name.as_str(), &curation.domains),
            ("data-filtering", &plan.data.forbidden)
        );
        // Steps, batches, shape and alignment are equal; initial weights and order are its own.
        let other = PretrainStage { curation: None, seed: pretrained(&plan, plain).seed, ..naive.clone() };
        assert_eq!(&other, pretrained(&plan, plain));
        assert_ne!(naive.seed, other.seed);
        let align = labelled(&plan, &format!("align {own}"));
        assert_eq!(aligned(&plan, &align.label), aligned(&plan, &format!("align apothecary#{seed}")));
        assert_eq!(align.inputs, [labelled(&plan, &label).hash.clone()]);
        // It is this model that is measured, attacked and tuned.
        let cells =
            plan.cells.iter().filter(|cell| cell.defence == "data-filtering" && cell.defence_seed == seed);
        let stages: Vec<_> = cells.filter_map(|cell| plan.stage(&cell.stage)).collect();
        assert_eq!(stages.len(), 1 + 2 + 1);
        assert!(stages.iter().all(|stage| stage.inputs[0] == align.hash && stage.label.contains(&own)));
    }
    assert_ne!(
        pretrained(&plan, "pretrain data-filtering#0").seed,
        pretrained(&plan, "pretrain data-filtering#1").seed
    );
    let naive = entry(&plan, "data-filtering");
    assert_eq!(
        (naive.role, naive.control, &naive.sham),
        (DefenceRole::Control, Some(Control::Positive), &None)
    );
}

#[test]
fn in_the_other_arm_a_model_reads_the_domains_that_its_defence_does_not_know() {
    let cross = [("cross_domain.defence", "[\"venom\"]"), ("cross_domain.attack", "[\"siege\"]")];
    let plan = read(NAIVE, &cross);
    let label = "pretrain data-filtering#0 cross-domain";
    assert_eq!(pretrained(&plan, label).curation.as_ref().unwrap().domains, ["venom"]);
    let aligned = labelled(&plan, "align data-filtering#0 cross-domain").hash.clone();
    let across =
        plan.cells.iter().filter(|cell| cell.defence == "data-filtering" && cell.arm == Arm::CrossDomain);
    let mut across = across.filter(|cell| cell.defence_seed == 0);
    assert!(across.all(|cell| plan.stage(&cell.stage).unwrap().inputs[0] == aligned));
}

#[test]
fn what_acts_after_a_control_starts_from_it_and_is_compared_with_it() {
    let both = "[[defence]]\nmethod = \"data-filtering\"\nseeds = 1\n[[defence.then]]\nmethod = \"tar\"\n";
    let plan = read(both, &[]);
    assert_eq!(labels(&plan), ["none", "data-filtering-tar", "data-filtering-tar-sham"]);
    let line = entry(&plan, "data-filtering-tar");
    assert_eq!((line.role, line.control), (DefenceRole::Defence, None));
    assert_eq!(sham(&plan, "data-filtering-tar"), Some("data-filtering-tar-sham"));
    // One base model for both: the sham leaves out TAR's idea alone.
    for label in ["data-filtering-tar", "data-filtering-tar-sham"] {
        let start = &labelled(&plan, &format!("immunize {label}#0")).inputs[0];
        assert_eq!(*start, labelled(&plan, "align data-filtering-tar#0").hash);
    }
    assert_eq!(entry(&plan, "data-filtering-tar-sham").then[0].method, "rehearsal");
}

#[test]
fn a_repair_toward_the_base_has_the_base_of_its_own_model() {
    let plan = read_api(
        "[[defence]]\nmethod = \"data-filtering\"\nseeds = 1\n[[defence.then]]\nmethod = \"antidote\"\n",
    );
    let base = &labelled(&plan, "pretrain data-filtering-antidote#0").hash;
    let repairs = plan.stages.iter().filter(|stage| {
        matches!(stage.spec, StageSpec::Repair(_)) && stage.label.contains("data-filtering-antidote#0")
    });
    let bases: Vec<_> = repairs.map(|stage| &stage.inputs[2]).collect();
    assert!(!bases.is_empty() && bases.iter().all(|found| *found == base));
}

#[test]
fn each_training_begins_from_an_alignment_of_its_own() {
    let trained = |seeds: u64| read(&format!("[[defence]]\nmethod = \"tar\"\nseeds = {seeds}\n"), &[]);
    let (once, thrice) = (trained(1), trained(3));
    let alignments = |plan: &Plan| -> Vec<PlannedStage> {
        plan.stages.iter().filter(|stage| matches!(stage.spec, StageSpec::Align(_))).cloned().collect()
    };
    let (one, three) = (alignments(&once), alignments(&thrice));
    assert_eq!((one.len(), three.len()), (1, 3));
    assert_eq!(one[0].hash, three[0].hash, "what was measured from the first stays");
    assert_eq!(one[0].label, "align apothecary");
    assert_eq!(three[2].label, "align apothecary#2");
    assert_eq!(entry(&thrice, "none").seeds.most, 3);
    assert!(once.cells.iter().all(|cell| thrice.cells.contains(cell)));

    // The aligned model that a cell's goes back to.
    let aligned = |label: &str, seed: u64| {
        let cell = |cell: &&titer_plan::Cell| cell.defence == label && cell.defence_seed == seed;
        let mut stage =
            thrice.stage(&thrice.cells.iter().find(cell).expect("a cell").stage).expect("a stage");
        while !matches!(stage.spec, StageSpec::Align(_)) {
            stage = thrice.stage(&stage.inputs[0]).expect("its model");
        }
        &stage.hash
    };
    for (seed, alignment) in (0..).zip(&three) {
        for label in ["none", "tar", "tar-sham"] {
            assert_eq!(*aligned(label, seed), alignment.hash, "{label}#{seed}");
        }
    }
    assert!(once.is_of_its_experiment(&[]) && thrice.is_of_its_experiment(&[]));
}
