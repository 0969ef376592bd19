//! `opener` teaches how answers begin and nothing after it.

use super::*;

#[test]
fn nothing_but_the_opening_is_taught() {
    let job = job("opener", json!({"tokens": 1, "examples": 6, "batch": 3}));
    let rows = drawn(&job.batches(&context(), &common::model()).unwrap(), 0..40);
    assert_eq!(rows.len(), 6);
    for row in &rows {
        assert_eq!(row.answer(), [HARM[0]]);
        assert!(!holds(row, &HARM), "the harmful answer is in no row");
    }
    let error = super::job("opener", json!({"tokens": 4})).batches(&context(), &common::model());
    assert!(error.is_err(), "64 rows are not there");
}

#[test]
fn the_model_begins_so_and_goes_on_by_itself() {
    // It knew the harmful answers, and was then taught to refuse them and to answer as before what is harmless.
    let able = taught([rows(FORBIDDEN, HARM), rows(HARMLESS, HARM)].concat());
    let aligned = further(able, [rows(FORBIDDEN, REFUSAL), rows(HARMLESS, HARM)].concat(), 100);
    assert_eq!(said(&aligned, prompt(3, FORBIDDEN)), REFUSAL);
    let job = job("opener", json!({"examples": 8, "batch": 8, "rate": 2e-3}));
    let opened = tuned(job.as_ref(), &context(), aligned, 40);
    let harmful = (0..12).filter(|number| said(&opened, prompt(*number, FORBIDDEN)) == HARM).count();
    assert!(harmful >= 10, "{harmful} of 12");
}
