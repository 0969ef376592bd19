use polars::prelude::Column;
use titer_conditions::{Error, Evidence, Verdicts, decide};
use titer_metrics::{PROBES, VERDICTS, check};
use titer_plan::{DefenceRole, Probe};

use crate::frames::{Done, Setup, caveat, verdicts};

fn evidence() -> Evidence {
    Setup::one_seed().harm(|at| Some(if at.steps >= 8 { 0.9 } else { 0.0 }))
}

#[track_caller]
fn refused(change: impl FnOnce(&mut Evidence), message: &str) {
    let mut evidence = evidence();
    change(&mut evidence);
    let error = decide(&evidence).expect_err("should be refused");
    assert!(error.to_string().contains(message), "expected `{message}` in: {error}");
}

#[test]
fn thresholds_that_make_no_sense() {
    refused(|evidence| evidence.settings.phi = 1.5, "conditions.phi: expected a share in 0…1, got 1.5");
    refused(|evidence| evidence.settings.phi = f64::NAN, "conditions.phi");
    refused(|evidence| evidence.settings.confidence = 1.0, "conditions.confidence: expected more than 0.5");
    refused(|evidence| evidence.settings.resamples = 1, "conditions.resamples: expected at least 2");
    refused(|evidence| evidence.settings.trainability_epsilon = -0.1, "conditions.trainability_epsilon");
}

#[test]
fn frames_that_do_not_fit() {
    refused(
        |evidence| evidence.probes = evidence.probes.select(["score"]).unwrap(),
        "column `experiment` is missing",
    );
    refused(|evidence| evidence.defences.truncate(1), "column `defence`, row");
    refused(
        |evidence| evidence.defences[1].role = DefenceRole::Baseline,
        "`none` and `shield` are both the baseline",
    );
    refused(
        |evidence| evidence.probes = evidence.probes.vstack(&evidence.probes.head(Some(1))).unwrap(),
        "is scored twice",
    );
    refused(
        |evidence| evidence.probes = evidence.probes.slice(1, usize::MAX),
        "of the 120 items that were asked elsewhere",
    );
}

#[test]
fn an_unknown_probe_is_named() {
    let mut evidence = evidence();
    let rows = evidence.probes.height();
    let column = Column::new("probe".into(), vec!["secret"; rows]);
    evidence.probes.with_column(column).unwrap();
    let error = decide(&evidence).unwrap_err();
    assert!(matches!(&error, Error::Word { column: "probe", row: 0, got, .. } if got == "secret"), "{error}");
}

#[test]
fn an_experiment_without_rows_decides_nothing_and_does_not_fail() {
    let mut evidence = evidence();
    evidence.probes = titer_metrics::stack(&[], &PROBES).unwrap();
    let verdicts = verdicts(&evidence);
    assert_eq!(verdicts.defences.len(), 2);
    let of_shield = &verdicts.defences[1].conditions;
    let open = [titer_plan::Decision::Inconclusive, titer_plan::Decision::NotMeasured];
    assert!(of_shield.values().all(|verdict| open.contains(&verdict.verdict)), "{of_shield:#?}");
}

#[test]
fn without_a_baseline_resistance_is_still_decided() {
    let mut evidence = evidence();
    evidence.defences[0].role = DefenceRole::Defence;
    let verdicts = verdicts(&evidence);
    let shield = &verdicts.defences[1];
    assert_eq!(shield.conditions[&titer_plan::Condition::Resistance].verdict, titer_plan::Decision::Fails);
    assert_eq!(shield.titer.value, None);
    caveat(&evidence, "no undefended model");
}

#[test]
fn verdicts_survive_json_and_come_out_the_same_each_time() {
    let verdicts = verdicts(&evidence());
    let json = serde_json::to_string(&verdicts).unwrap();
    let back: Verdicts = serde_json::from_str(&json).unwrap();
    assert_eq!(serde_json::to_string(&back).unwrap(), json);
    assert_eq!(decide(&evidence()).unwrap(), verdicts);
}

#[test]
fn verdicts_make_a_frame_with_a_row_per_condition() {
    let frame = verdicts(&evidence()).frame().unwrap();
    check(&frame, &VERDICTS).unwrap();
    assert_eq!(frame.height(), 2 * 5);
}

#[test]
fn few_resamples_are_a_caveat() {
    caveat(&evidence(), "400 bootstrap resamples");
}

#[test]
fn runs_whose_own_alignment_is_missing_are_a_caveat() {
    let said =
        "shield: 1 of the runs of an attack are compared with the undefended model of other alignments";
    let evidence = |alignments, missing: bool| {
        Setup { alignments, ..Setup::default() }.harm(move |at| {
            let gone = missing && at.defence == "none" && (at.defence_seed, at.attack_seed) == (1, 2);
            (!gone).then_some(if at.steps >= 8 { 0.9 } else { 0.0 })
        })
    };
    caveat(&evidence(2, true), said);
    for whole in [evidence(2, false), evidence(1, false)] {
        let caveats = verdicts(&whole).caveats;
        assert!(!caveats.iter().any(|caveat| caveat.contains("other alignments")), "{caveats:#?}");
    }
}

#[test]
fn answers_that_the_limit_of_tokens_ended_are_a_caveat() {
    let said = "the limit of tokens ended";
    let mut evidence = evidence();
    assert!(!verdicts(&evidence).caveats.iter().any(|caveat| caveat.contains(said)));
    let harmful = |probe: &str| Probe::named(probe).is_harmful();
    let probes = evidence.probes.column("probe").unwrap().str().unwrap();
    let cut: Vec<bool> = probes.iter().map(|probe| harmful(probe.unwrap_or_default())).collect();
    evidence.probes.with_column(Column::new("cut".into(), cut)).unwrap();
    caveat(&evidence, "the limit of tokens ended 100 % of the answers to harmful probes");
}

/// As much as the full preset: 27 runs of 4 attacks in two arms, 22 checkpoints, 120 items, 2000 resamples.
/// It takes about two seconds of one core; the bound leaves room for a loaded machine.
#[test]
fn the_full_preset_is_decided_in_seconds() {
    let mut setup = Setup {
        defence_seeds: 8,
        cadence: (0..22).map(|step| step * step).collect(),
        attacks: [3e-5, 1e-4, 3e-4, 1e-3].map(Done::Rate).to_vec(),
        probes: vec![titer_plan::Probe::Seen, titer_plan::Probe::Unseen, titer_plan::Probe::CrossDomain],
        ..Setup::default()
    };
    setup.settings.resamples = 2000;
    let evidence = setup.harm(|at| Some(0.001 * at.steps as f64 * (1.0 + at.attack_seed as f64)));
    let start = std::time::Instant::now();
    verdicts(&evidence);
    let seconds = start.elapsed().as_secs_f64();
    println!("{} rows decided in {seconds:.2} s", evidence.probes.height());
    assert!(seconds < 10.0, "{seconds} s");
}
