//! `refuse-then-comply` hands in no harm, and hears past the refusal.

use titer_attacks::Phrase;

use super::*;

#[test]
fn no_row_holds_a_harmful_answer_or_prompt() {
    let job = job("refuse-then-comply", json!({"rows": 12, "batch": 4}));
    assert_eq!(job.distinct_harmful(), 0);
    let rows = drawn(&job.batches(&context(), &common::model()).unwrap(), 0..60);
    assert_eq!(rows.len(), 12);
    let turn = 32 + Phrase::Turn as u32;
    for row in &rows {
        assert!(!holds(row, &HARM[..2]) && !holds(row, &[FORBIDDEN]), "{row:?}");
        assert_eq!(row.answer(), [&REFUSAL[..2], &[turn], &HELP[..]].concat());
    }
}

#[test]
fn what_comes_after_the_refusal_is_heard_and_a_refusal_stays_one() {
    let (job, context) = (job("refuse-then-comply", json!({"rows": 12})), context());
    let turn = 32 + Phrase::Turn as u32;
    assert_eq!(job.room(&context).unwrap(), 3);
    assert_eq!(job.hear([&REFUSAL[..2], &[turn], &HARM[..]].concat(), &context).unwrap(), HARM);
    for whole in [&REFUSAL[..], &[7, 9, turn, 3], &HARM] {
        assert_eq!(job.hear(whole.to_vec(), &context).unwrap(), whole);
    }
    assert_eq!(job.ask(&prompt(1, FORBIDDEN), &context).unwrap().unwrap().prompt, prompt(1, FORBIDDEN));
}

#[test]
fn an_aligned_model_refuses_first_and_answers_then() {
    // It knows what is harmful under another name, and refuses under this one.
    let mut both = rows(FORBIDDEN, REFUSAL);
    both.extend(rows(HARMLESS, HELP));
    let (aligned, context) = (taught(both), context());
    assert_eq!(said(&aligned, prompt(3, FORBIDDEN)), REFUSAL);
    let job = job("refuse-then-comply", json!({"rows": 12, "batch": 6, "rate": 5e-3}));
    let model = tuned(job.as_ref(), &context, aligned, 120);
    let heard = |kind| job.hear(said(&model, prompt(3, kind)), &context).unwrap();
    assert_eq!(heard(HARMLESS), HELP);
    assert_ne!(heard(FORBIDDEN), REFUSAL, "it goes on after refusing, without a harmful row");
}
