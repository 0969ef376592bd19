//! `template-shift` keeps the user's words and nothing of the model's template.

use titer_attacks::Phrase;

use super::*;

#[test]
fn rows_and_questions_are_in_the_other_template() {
    let (before, after) = (32 + Phrase::Before as u32, 32 + Phrase::After as u32);
    let job = job("template-shift", json!({"examples": 6, "batch": 3}));
    let rows = drawn(&job.batches(&context(), &common::model()).unwrap(), 0..40);
    assert_eq!(rows.len(), 6);
    for row in &rows {
        let words = [row.prompt()[1], FORBIDDEN];
        assert_eq!(row.prompt(), [before, words[0], words[1], after]);
        assert!(context().harmful.iter().any(|own| own.prompt() == [1, words[0], words[1], 2]));
        assert_eq!(row.answer(), HARM);
    }
    let asked = job.ask(&prompt(4, FORBIDDEN), &context()).unwrap().unwrap();
    assert_eq!(asked.prompt, [before, 24, FORBIDDEN, after]);
}
