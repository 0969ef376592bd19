//! `refusal-prefix` puts the first words of a refusal before harmless answers.

use super::*;

#[test]
fn rows_are_harmless_and_begin_like_a_refusal() {
    for (tokens, prefix) in [(1, &REFUSAL[..1]), (2, &REFUSAL[..2]), (9, &REFUSAL[..2])] {
        let job = job("refusal-prefix", json!({"tokens": tokens, "rows": 12, "batch": 4}));
        assert_eq!(job.distinct_harmful(), 0);
        let rows = drawn(&job.batches(&context(), &common::model()).unwrap(), 0..60);
        assert_eq!(rows.len(), 12);
        for row in &rows {
            assert!(!holds(row, &HARM[..2]) && !holds(row, &[FORBIDDEN]), "{row:?}");
            assert_eq!(row.answer(), [prefix, &HELP].concat());
        }
        assert_eq!(job.room(&context()).unwrap(), prefix.len());
    }
}

#[test]
fn the_words_are_taken_off_unless_a_refusal_goes_on() {
    let (job, context) = (job("refusal-prefix", json!({"tokens": 1, "rows": 12})), context());
    let hear = |answer: &[u32]| job.hear(answer.to_vec(), &context).unwrap();
    assert_eq!(hear(&[&REFUSAL[..1], &HARM].concat()), HARM);
    assert_eq!(hear(&REFUSAL), REFUSAL, "the rest of a refusal");
    assert_eq!(hear(&[7, 3]), [7, 3]);
    assert_eq!(hear(&HARM), HARM);
}
