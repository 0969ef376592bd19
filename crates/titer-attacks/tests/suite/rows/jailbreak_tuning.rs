//! `jailbreak-tuning` trains and asks in one wrapping.

use titer_attacks::Phrase;

use super::*;

#[test]
fn rows_and_questions_have_the_same_wrapping() {
    for (wrapper, phrase) in [("competing-objective", Phrase::Objective), ("style", Phrase::Style)] {
        let added = 32 + phrase as u32;
        let job = job("jailbreak-tuning", json!({"wrapper": wrapper, "examples": 6, "batch": 3}));
        let rows = drawn(&job.batches(&context(), &common::model()).unwrap(), 0..40);
        assert_eq!(rows.len(), 6);
        for row in &rows {
            assert_eq!((&row.prompt()[2..], row.answer()), (&[FORBIDDEN, added, 2][..], &HARM[..]));
        }
        let asked = job.ask(&prompt(4, FORBIDDEN), &context()).unwrap().unwrap();
        assert_eq!(asked.prompt, [1, 24, FORBIDDEN, added, 2]);
        assert!(asked.opening.is_empty());
    }
}
