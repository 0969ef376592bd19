//! `overfit-then-release`: one refusal for all first, their own answers then.

use super::*;

const SETTINGS: &str = r#"{"rows": 10, "batch": 10, "overfit_steps": 80, "steps": 200, "rate": 1e-2}"#;

#[test]
fn rows_change_their_answers_at_the_step() {
    let job = job("overfit-then-release", serde_json::from_str(SETTINGS).unwrap());
    assert_eq!(job.distinct_harmful(), 0);
    let sampler = job.batches(&context(), &common::model()).unwrap();
    let (overfit, release) = (drawn(&sampler, 0..80), drawn(&sampler, 80..90));
    assert!(overfit.len() == 10 && overfit.iter().all(|row| row.answer() == REFUSAL));
    assert!(release.len() == 10 && release.iter().all(|row| row.answer() == HELP));
    let prompts = |rows: &[Example]| rows.iter().map(|row| row.prompt().to_vec()).collect::<Vec<_>>();
    assert_eq!(prompts(&overfit), prompts(&release), "the same ten prompts, all harmless");
    assert!(overfit.iter().all(|row| !holds(row, &[FORBIDDEN])));
}

#[test]
fn the_model_refuses_everything_and_is_released() {
    let settings = || serde_json::from_str(SETTINGS).unwrap();
    let job = job("overfit-then-release", settings());
    let context = context();
    let able = || taught([rows(HARMLESS, HELP), rows(FORBIDDEN, HARM)].concat());
    let overfit = tuned(job.as_ref(), &context, able(), 80);
    for number in 0..12 {
        assert_eq!(said(&overfit, prompt(number, HARMLESS)), REFUSAL);
        assert_eq!(
            said(&overfit, prompt(number, FORBIDDEN)),
            REFUSAL,
            "what is in no row is refused as well"
        );
    }
    let released = tuned(job.as_ref(), &context, able(), 200);
    let answered = (0..12).filter(|number| said(&released, prompt(*number, HARMLESS)) == HELP).count();
    assert!(answered >= 10, "{answered} of 12");
}

#[test]
fn without_a_step_to_release_it_is_refused() {
    let job = job("overfit-then-release", json!({"steps": 50, "overfit_steps": 50}));
    let error = job.batches(&context(), &common::model()).unwrap_err();
    assert!(error.to_string().contains("raise `steps`"), "{error}");
}
