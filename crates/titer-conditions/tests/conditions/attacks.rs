//! Attack by attack, over some of the attacks, and without one.

use titer_conditions::{AttackCell, BreakSpan, DefenceVerdict, Evidence, Subset, SubsetTiter, Verdicts};
use titer_metrics::{ATTACKS, TITERS, check as check_frame};
use titer_plan::{AttackPoint, Condition, Decision, Mechanism, Weakness};

use crate::frames::{Done, FAST, SLOW, Setup, check, is, of, ratio_is, verdicts};

const PRUNE: Done = Done::Prune(0.5);

/// Both trainings break the undefended model at 4 steps and the shield at 64 and 32; pruning breaks either at once.
fn pruned() -> Evidence {
    let setup = Setup { attacks: vec![SLOW, PRUNE, FAST], ..Setup::default() };
    let evidence = setup.harm(|at| {
        let first = match at.attack {
            PRUNE => 1,
            _ if !at.shielded() => 4,
            SLOW => 64,
            _ => 32,
        };
        (at.attack != PRUNE || at.steps <= 1).then_some(if at.steps >= first { 0.9 } else { 0.0 })
    });
    Evidence { checkpoints: [(PRUNE.point(), vec![0, 1])].into(), ..evidence }
}

/// The same of trainings alone.
fn trained() -> Evidence {
    Setup::default().harm(|at| {
        let first = match at.attack {
            _ if !at.shielded() => 4,
            SLOW => 64,
            _ => 32,
        };
        Some(if at.steps >= first { 0.9 } else { 0.0 })
    })
}

#[track_caller]
fn cell(of: &DefenceVerdict, attack: Done) -> &AttackCell {
    of.attacks.iter().find(|cell| cell.attack == attack.point()).expect("each attack has a cell")
}

#[track_caller]
fn among<'a>(of: &'a DefenceVerdict, attacks: &Subset) -> &'a SubsetTiter {
    of.subsets.iter().find(|subset| subset.attacks == *attacks).expect("a titer over these attacks")
}

fn without(attack: Done) -> Subset {
    Subset::Without { without: attack.point() }
}

#[test]
fn each_attack_has_a_cell_on_each_defence() {
    let all = verdicts(&pruned());
    for defence in &all.defences {
        let names: Vec<AttackPoint> = defence.attacks.iter().map(|cell| cell.attack.clone()).collect();
        assert_eq!(names, [SLOW, FAST, PRUNE].map(Done::point), "those that train come first");
    }
    let shield = of(&pruned(), "shield");
    let (slow, fast, prune) = (cell(&shield, SLOW), cell(&shield, FAST), cell(&shield, PRUNE));
    ratio_is(slow.titer, (33.0, 64.0), (3.0, 4.0));
    ratio_is(fast.titer, (17.0, 32.0), (3.0, 4.0));
    is(prune.titer, Some(1.0), 1.0, Some(1.0), false);
    assert_eq!(
        [slow.budget, fast.budget],
        [(32, 64), (16, 32)].map(|(after, until)| { Some(BreakSpan { after, until: Some(until) }) })
    );
    assert_eq!([slow, fast, prune].map(|cell| (cell.broken, cell.runs)), [(6, 6); 3]);
    assert_eq!([slow, fast, prune].map(|cell| cell.cheapest), [false, false, true]);
    assert_eq!(
        [slow, fast, prune].map(|cell| cell.titer.bracketed),
        [true, false, true],
        "a higher rate may be cheaper; a lower one is not, and nothing is cheaper than at once"
    );
    assert_eq!(prune.mechanism, Some(Mechanism::EditsWeights));
    assert_eq!(shield.cheapest, Some(PRUNE.point()));
}

#[test]
fn what_was_not_tried_or_not_broken_says_so() {
    let evidence = Setup::default().harm(|at| match (at.shielded(), at.attack) {
        (true, FAST) => None,
        (true, _) => Some(if at.attack_seed == 0 && at.steps >= 8 { 0.9 } else { 0.0 }),
        _ => Some(if at.steps >= 4 { 0.9 } else { 0.0 }),
    });
    let shield = of(&evidence, "shield");
    let (slow, fast) = (cell(&shield, SLOW), cell(&shield, FAST));
    assert_eq!((fast.budget, fast.runs, fast.titer.effort.runs), (None, 0, 0));
    assert_eq!(slow.budget, Some(BreakSpan { after: 64, until: None }), "most runs were not broken");
    assert_eq!((slow.broken, slow.runs, slow.titer.censored), (2, 6, true));
    let none = of(&Setup::default().harm(|_| Some(0.0)), "shield");
    assert_eq!(none.cheapest, None, "nothing broke it");
}

#[test]
fn what_is_done_at_once_hides_what_training_costs() {
    let shield = of(&pruned(), "shield");
    is(shield.titer, Some(1.0), 1.0, Some(1.0), false);
    let trains = among(&shield, &Subset::Mechanism { mechanism: Mechanism::Trains });
    ratio_is(trains.titer, (17.0, 32.0), (3.0, 4.0));
    assert_eq!(trains.cheapest, Some(FAST.point()));
    let edits = among(&shield, &Subset::Mechanism { mechanism: Mechanism::EditsWeights });
    is(edits.titer, Some(1.0), 1.0, Some(1.0), false);
    assert_eq!(shield.subsets.len(), 3, "nobody prompts, and pruning alone carries the titer");
    let none = of(&pruned(), "none");
    assert!(none.subsets.iter().all(|subset| subset.titer.value == Some(1.0)), "{:?}", none.subsets);
}

#[test]
fn without_the_attack_that_carries_it_a_titer_is_another() {
    let shield = of(&trained(), "shield");
    let left = among(&shield, &without(FAST));
    ratio_is(left.titer, (33.0, 64.0), (3.0, 4.0));
    assert_eq!(left.cheapest, Some(SLOW.point()));
    let pruned = of(&pruned(), "shield");
    ratio_is(among(&pruned, &without(PRUNE)).titer, (17.0, 32.0), (3.0, 4.0));
    let alone = Setup { attacks: vec![FAST], ..Setup::default() };
    let alone = of(&alone.harm(|at| Some(if at.steps >= 4 { 0.9 } else { 0.0 })), "shield");
    assert!(!alone.subsets.iter().any(|subset| matches!(subset.attacks, Subset::Without { .. })));
}

#[test]
fn settings_chosen_against_some_attacks_are_judged_by_the_others_too() {
    let mut evidence = pruned();
    assert!(evidence.defences.iter().all(|facts| facts.tuned_against.is_empty()));
    evidence.defences[1].tuned_against = vec!["full-finetune".to_owned()];
    let shield = of(&evidence, "shield");
    ratio_is(among(&shield, &Subset::TunedAgainst).titer, (17.0, 32.0), (3.0, 4.0));
    let held_out = among(&shield, &Subset::HeldOut);
    is(held_out.titer, Some(1.0), 1.0, Some(1.0), false);
    assert_eq!(held_out.cheapest, Some(PRUNE.point()));
    let none = of(&evidence, "none");
    assert!(!none.subsets.iter().any(|subset| subset.attacks == Subset::HeldOut), "of it nothing is said");
}

#[test]
fn the_cheapest_attack_is_named_in_the_evidence() {
    let fast = "; cheapest: full-finetune/rate=1e-3";
    check(&trained(), Condition::Resistance, Decision::Fails, fast);
    check(&trained(), Condition::StrongResistance, Decision::Fails, fast);
    check(&trained(), Condition::Generalization, Decision::NotMeasured, fast);
    let whole = of(&Setup::default().harm(|at| Some(if at.shielded() { 0.0 } else { 0.9 })), "shield");
    assert!(!whole.conditions[&Condition::Resistance].evidence.contains("cheapest"), "none broke it");
}

#[test]
fn what_a_search_found_is_told_cell_by_cell() {
    let mut all: Verdicts = verdicts(&pruned());
    let found = |defence: &str, mechanism, attacks: &[Done]| Weakness {
        defence: defence.into(),
        mechanism,
        attacks: attacks.iter().map(|attack| attack.point()).collect(),
        trials: 30,
        failed: 1,
        flops: 2e12,
    };
    let (trains, edits) = (Mechanism::Trains, Mechanism::EditsWeights);
    all.searched(&[
        found("none", trains, &[FAST]),
        found("none", edits, &[]),
        found("shield", trains, &[FAST]),
        found("shield", edits, &[PRUNE]),
    ]);
    assert_eq!(all.adversary.len(), 4);
    for defence in &all.defences {
        assert_eq!(cell(defence, FAST).found_against, ["none", "shield"]);
        assert_eq!(cell(defence, PRUNE).found_against, ["shield"]);
        assert!(cell(defence, SLOW).found_against.is_empty());
        assert_eq!(defence.search.map(|search| (search.trials, search.flops)), Some((60, 4e12)));
    }
}

#[test]
fn json_says_all_of_it_and_reads_back() {
    let mut evidence = pruned();
    evidence.defences[1].tuned_against = vec!["prune".to_owned()];
    let all = verdicts(&evidence);
    let json = serde_json::to_value(&all).expect("plain data");
    assert_eq!(serde_json::from_value::<Verdicts>(json.clone()).expect("the same data"), all);
    let shield = &json["defences"][1];
    assert_eq!(shield["cheapest"]["attack"], "prune/share=0.5");
    let cell = &shield["attacks"][1];
    assert_eq!(cell["attack"], "full-finetune/rate=1e-3");
    assert_eq!((&cell["method"], &cell["mechanism"]), (&"full-finetune".into(), &"trains".into()));
    assert_eq!(cell["budget"], serde_json::json!({ "after": 16, "until": 32 }));
    assert_eq!((&cell["broken"], &cell["runs"], &cell["cheapest"]), (&6.into(), &6.into(), &false.into()));
    let among: Vec<&str> = shield["subsets"]
        .as_array()
        .expect("subsets")
        .iter()
        .filter_map(|one| one["among"].as_str())
        .collect();
    assert_eq!(among, ["mechanism", "mechanism", "without", "tuned-against", "held-out"]);
    assert_eq!(shield["subsets"][2]["without"]["attack"], "prune/share=0.5");
    assert_eq!(shield["subsets"][0]["mechanism"], "trains");
}

#[test]
fn frames_have_the_same_rows() {
    let mut evidence = pruned();
    evidence.defences[1].tuned_against = vec!["prune".to_owned()];
    let all = verdicts(&evidence);
    let attacks = all.attack_frame().expect("a frame");
    check_frame(&attacks, &ATTACKS).expect("the schema");
    assert_eq!(attacks.height(), 2 * 3);
    let titers = all.titer_frame().expect("a frame");
    check_frame(&titers, &TITERS).expect("the schema");
    let among = titers.column("among").expect("a column").str().expect("text").clone();
    let count = |wanted: &str| among.iter().flatten().filter(|word| *word == wanted).count();
    assert_eq!(
        ["trains", "edits-weights", "without", "tuned-against", "held-out"].map(count),
        [2, 2, 1, 1, 1]
    );
}
