//! Seeds that are added until all is decided: how they are written, and which cells each look brings.

use std::collections::BTreeSet;

use titer_plan::{Arm, Before, Cell, Condition, Ladder, Mistakes, Open, Override, Plan, Seeds, Until};

use crate::catalogue;

const APOTHECARY: &str = include_str!("../../../data/presets/apothecary.toml");

fn read(set: &[(&str, &str)]) -> Result<Plan, Mistakes> {
    let set = set.iter().map(|(key, value)| Override { key: (*key).to_owned(), value: (*value).to_owned() });
    let overrides: Vec<Override> = set.collect();
    let draft = titer_plan::read("looks.toml", APOTHECARY, &overrides, &catalogue::catalogue())?;
    Ok(draft.plan(Vec::new()))
}

/// Two to five trainings of the second defence, three to twelve runs of the attacks, and the preset's tunings.
fn growing() -> Plan {
    read(&[
        ("until", "decided"),
        ("defence.1.seeds", "{ first = 2, most = 5 }"),
        ("defence.2.seeds", "2"),
        ("attack.0.seeds", "{ first = 3, most = 12 }"),
        ("trainability.seeds", "3"),
    ])
    .expect("a good spec")
}

fn open(defence: &str, condition: Condition) -> Open {
    Open { defence: defence.to_owned(), condition }
}

#[test]
fn a_range_is_read_where_seeds_are_added() {
    let plan = growing();
    assert_eq!((plan.experiment.until, plan.grows()), (Until::Decided, true));
    assert_eq!(plan.experiment.attack[0].seeds, Seeds { first: 3, most: 12 });
    let json = serde_json::to_string(&plan).expect("JSON");
    assert_eq!(titer_plan::parse_plan::<Plan>(&json).expect("the same"), plan);
    let refused = |set: &[(&str, &str)], said: &str| {
        let mistakes = read(set).expect_err("should be refused").to_string();
        assert!(mistakes.contains(said), "{mistakes}");
    };
    let range = ("attack.0.seeds", "{ first = 3, most = 12 }");
    refused(&[range], "is a range, but all seeds are measured; add until = \"decided\"");
    refused(&[("until", "decided")], "no `seeds` is a range, so that none can be added");
    let decided = ("until", "decided");
    refused(
        &[decided, ("attack.0.seeds", "{ first = 4, most = 3 }")],
        "begins with 4 seeds, more than 3 at most",
    );
    refused(
        &[decided, ("attack.0.seeds", "{ first = 0, most = 3 }")],
        "expected a whole number from 1 to 100, got 0",
    );
    refused(&[decided, ("attack.0.seeds", "{ most = 3 }")], "or a range such as { first = 3, most = 12 }");
    refused(&[decided, ("attack.0.seeds", "{ first = 1, most = 3, by = 1 }")], "unknown key");
    refused(&[("until", "bored")], "one of `measured`, `decided`");
}

#[test]
fn ranges_name_the_stages_that_numbers_name() {
    let most = read(&[
        ("defence.1.seeds", "5"),
        ("defence.2.seeds", "2"),
        ("attack.0.seeds", "12"),
        ("trainability.seeds", "3"),
    ]);
    let (most, growing) = (most.expect("a good spec"), growing());
    assert_eq!(growing.stages, most.stages);
    assert_eq!(growing.cells, most.cells);
    assert_eq!(growing.with_all_seeds().experiment, most.experiment);
}

#[test]
fn levels_are_spent_in_full_and_no_more() {
    let ladder = Ladder::of(&growing().experiment);
    let attack: Vec<u64> = ladder.seeds().iter().map(|seeds| seeds.attack).collect();
    assert_eq!(attack, [3, 5, 8, 12]);
    let defence: Vec<u64> = ladder.seeds().iter().map(|seeds| seeds.defence).collect();
    assert_eq!(defence, [2, 3, 4, 5]);
    let levels = ladder.levels(0.05);
    assert!((levels.iter().sum::<f64>() - 0.05).abs() < 1e-15 && levels.iter().all(|level| *level > 0.0005));
    let once = Ladder::of(&read(&[]).expect("the preset").experiment);
    assert_eq!((once.looks(), once.levels(0.05)), (1, vec![0.05]));
}

#[test]
fn a_look_asks_for_what_is_open_and_what_it_is_compared_with() {
    let plan = growing();
    let defence = plan.experiment.defence[1].label.clone();
    let sham = plan.experiment.defence[1].sham.clone().expect("a sham beside it");
    let asked = |open: &[Vec<Open>]| -> Vec<Cell> {
        let before: BTreeSet<String> = plan.asked(&open[..open.len() - 1]).cells.iter().map(name).collect();
        plan.asked(open).cells.into_iter().filter(|cell| !before.contains(&name(cell))).collect()
    };
    fn name(cell: &Cell) -> String {
        format!("{cell:?}")
    }
    let of = |cells: &[Cell], label: &str, kind: fn(&Cell) -> bool| {
        cells.iter().filter(|cell| cell.defence == label && kind(cell)).count()
    };
    let attack = |cell: &Cell| cell.before.attack().is_some() && cell.arm == Arm::Main;
    let across = |cell: &Cell| cell.arm == Arm::CrossDomain;
    let (tuning, nothing) =
        (|cell: &Cell| cell.before.is_tuning(), |cell: &Cell| cell.before == Before::Nothing);

    assert_eq!(plan.asked(&[vec![]]).cells, plan.asked(&[]).cells, "nothing is open");
    let points = plan.experiment.attack[0].size();
    let resistance = asked(&[vec![open(&defence, Condition::Resistance)]]);
    // Of 3 × 5 runs 2 × 3 are there; the undefended model has an alignment for each training.
    assert_eq!(of(&resistance, &defence, attack), (3 * 5 - 2 * 3) * points);
    assert_eq!(of(&resistance, "none", attack), (3 * 5 - 2 * 3) * points);
    assert_eq!((of(&resistance, &defence, nothing), of(&resistance, "none", nothing)), (1, 1));
    assert!(of(&resistance, &sham, attack) > 0);
    assert_eq!((of(&resistance, &defence, tuning), of(&resistance, &defence, across)), (0, 0));
    assert!(of(&asked(&[vec![open(&defence, Condition::Generalization)]]), &defence, across) > 0);

    let trainability = asked(&[vec![open(&defence, Condition::Trainability)]]);
    let rates = plan.experiment.trainability.rates.len();
    assert_eq!(of(&trainability, &defence, tuning), 3 * rates);
    assert_eq!((of(&trainability, "none", tuning), of(&trainability, &defence, attack)), (3 * rates, 0));
    assert_eq!(of(&trainability, &sham, tuning), 0);

    let stability = asked(&[vec![open(&defence, Condition::Stability)]]);
    assert_eq!((of(&stability, &defence, nothing), of(&stability, "none", nothing)), (1, 1));

    // What closes gets no more, whatever others get; the last look brings all there is.
    let all: Vec<Open> = plan
        .experiment
        .defence
        .iter()
        .flat_map(|entry| Condition::ALL.map(|condition| open(&entry.label, condition)))
        .collect();
    assert_eq!(plan.asked(&[all.clone(), all.clone(), all]).cells, plan.cells);
}
