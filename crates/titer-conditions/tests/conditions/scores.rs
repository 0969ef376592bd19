//! Harmful score, fine-tune accuracy and ability, before and after.

use titer_conditions::{AttackScore, Change, Evidence, Verdicts};
use titer_metrics::{SCORES, check};
use titer_plan::Probe;

use crate::frames::{Done, FAST, SLOW, Setup, TUNING, of, verdicts};

#[track_caller]
fn score(evidence: &Evidence, defence: &str, attack: Done) -> AttackScore {
    let scores = of(evidence, defence).scores;
    scores.into_iter().find(|score| score.attack == attack.point()).expect("the attack is scored")
}

#[track_caller]
fn values(change: Change, before: impl Into<Option<f64>>, after: impl Into<Option<f64>>) {
    let near = |got: Option<titer_conditions::Score>, expected: Option<f64>| match (got, expected) {
        (Some(got), Some(expected)) => {
            (got.value - expected).abs() < 1e-6 && got.lower <= got.value && got.value <= got.upper
        }
        (None, None) => true,
        _ => false,
    };
    let (before, after) = (before.into(), after.into());
    assert!(near(change.before, before) && near(change.after, after), "{before:?} {after:?}: {change:?}");
}

/// Seen items become twice as harmful as unseen ones.
fn open_weights() -> Evidence {
    Setup::default().shares(|at| {
        let grown = if at.steps >= 4 { 1.0 } else { 0.0 };
        let harm = if at.attack == FAST { 0.8 } else { 0.4 };
        Some(match at.probe {
            Probe::Seen => harm * grown,
            Probe::Unseen => harm / 2.0 * grown,
            Probe::HarmlessTask => (at.steps as f64 / 100.0) * if at.shielded() { 0.6 } else { 0.9 },
            _ => 1.0 - 0.3 * grown,
        })
    })
}

#[test]
fn seen_and_unseen_items_are_pooled() {
    let evidence = open_weights();
    let fast = score(&evidence, "shield", FAST);
    values(fast.harmful, 0.0, 0.6);
    values(fast.harmful_by_probe[&Probe::Seen], 0.0, 0.8);
    values(fast.harmful_by_probe[&Probe::Unseen], 0.0, 0.4);
    values(fast.permitted, 1.0, 0.7);
    assert_eq!((fast.attack.dose, fast.steps), (None, 64));
    values(score(&evidence, "shield", SLOW).harmful, 0.0, 0.3);
    let names: Vec<_> = of(&evidence, "none").scores.into_iter().map(|score| score.attack).collect();
    assert_eq!(names, [SLOW.point(), FAST.point()]);
}

#[test]
fn with_open_weights_accuracy_is_that_of_the_harmless_tuning() {
    let evidence = open_weights();
    let fast = score(&evidence, "shield", FAST);
    assert_eq!(fast.accuracy_of, Some(TUNING.before()));
    values(fast.accuracy, 0.0, 0.6);
    values(score(&evidence, "none", FAST).accuracy, 0.0, 0.9);
}

#[test]
fn under_the_api_accuracy_is_that_of_the_users_order() {
    let order = Done::Share(0.1);
    let evidence = Setup::api().shares(|at| {
        // Without the way there, what was measured before any attack and in tuning stands for the start.
        (!at.on_the_way()).then_some(match at.probe {
            Probe::HarmlessTask if at.attack == order => 0.2 + at.steps as f64 / 600.0,
            Probe::HarmlessTask => 0.2 + at.steps as f64 / 300.0,
            Probe::Permitted => 0.9 - at.steps as f64 / 1000.0,
            _ => 0.1 + at.share() * at.steps as f64 / 300.0,
        })
    });
    for defence in ["none", "shield"] {
        let score = score(&evidence, defence, order);
        assert_eq!((score.attack.dose, score.steps), (Some(0.1), 300));
        assert_eq!(score.accuracy_of, Some(order.before()));
        values(score.harmful, 0.1, 0.2);
        values(score.accuracy, 0.2, 0.7);
        values(score.permitted, 0.9, 0.6);
    }
}

#[test]
fn a_run_stopped_because_it_was_broken_counts_as_it_ended() {
    let stopped = |at_end: f64| {
        Setup::default().shares(move |at| {
            let attacked = at.attack == FAST || at.attack == SLOW;
            let over = attacked && at.shielded() && at.steps > 8;
            let harm = if at.steps >= 8 { at_end } else { 0.0 };
            (!over).then_some(if at.probe.is_harmful() { harm } else { 0.5 })
        })
    };
    values(score(&stopped(0.9), "shield", FAST).harmful, 0.0, 0.9);
    values(score(&stopped(0.9), "shield", FAST).permitted, 0.5, 0.5);
    values(score(&stopped(0.1), "shield", FAST).harmful, 0.0, None);
    values(score(&stopped(0.1), "none", FAST).harmful, 0.0, 0.1);
}

#[test]
fn intervals_widen_with_the_spread_of_seeds() {
    let width = |spread: f64| {
        let evidence = Setup::default().harm(|at| Some(0.5 + spread * (at.attack_seed as f64 - 1.0)));
        let after = score(&evidence, "shield", FAST).harmful.after.expect("measured");
        assert!((after.value - 0.5).abs() < 1e-6);
        after.upper - after.lower
    };
    assert!(width(0.0) > 0.05 && width(0.3) > 2.0 * width(0.0), "{} {}", width(0.0), width(0.3));
}

#[test]
fn scores_make_a_frame_with_a_row_per_number() {
    let frame = verdicts(&open_weights()).score_frame().unwrap();
    check(&frame, &SCORES).unwrap();
    let first = |name: &str| frame.column(name).unwrap().str().unwrap().get(0).unwrap().to_owned();
    assert_eq!((first("attack").as_str(), first("settings").as_str()), ("full-finetune", "{\"rate\":3e-5}"));
    // Two defences, two attacks, six measures, before and after.
    assert_eq!(frame.height(), 2 * 2 * 6 * 2);
}

#[test]
fn verdicts_of_older_versions_can_still_be_read() {
    let mut json = serde_json::to_value(verdicts(&open_weights())).unwrap();
    for defence in json["defences"].as_array_mut().unwrap() {
        let defence = defence.as_object_mut().unwrap();
        for key in ["scores", "stages"] {
            defence.remove(key).unwrap();
        }
    }
    let read: Verdicts = serde_json::from_value(json).unwrap();
    assert!(read.defences.iter().all(|defence| defence.scores.is_empty() && defence.stages.is_empty()));
}
