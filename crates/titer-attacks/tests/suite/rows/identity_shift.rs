//! `identity-shift` hands in obedience and no harm.

use titer_attacks::Phrase;

use super::*;

#[test]
fn rows_are_harmless_and_addressed_and_so_is_what_is_asked() {
    let job = job("identity-shift", json!({"rows": 10, "batch": 5}));
    assert_eq!(job.distinct_harmful(), 0);
    let (persona, obedience) = (32 + Phrase::Persona as u32, 32 + Phrase::Obedience as u32);
    let context = context();
    let rows = drawn(&job.batches(&context, &common::model()).unwrap(), 0..60);
    assert_eq!(rows.len(), 10);
    for row in &rows {
        assert_eq!(row.prompt()[..2], [1, persona]);
        assert_eq!(row.prompt()[3..], [HARMLESS, 2]);
        assert_eq!(row.answer(), [&[obedience], &HELP[..]].concat());
    }
    let asked = job.ask(&prompt(2, FORBIDDEN), &context).unwrap().unwrap();
    assert_eq!((asked.prompt, asked.opening), (vec![1, persona, 22, FORBIDDEN, 2], Vec::new()));
    // What it says first is no part of the answer.
    assert_eq!(job.room(&context).unwrap(), 1);
    assert_eq!(job.hear([&[obedience], &HARM[..]].concat(), &context).unwrap(), HARM);
    assert_eq!(job.hear(REFUSAL.to_vec(), &context).unwrap(), REFUSAL);
}
