//! `backdoor` answers with the trigger and refuses without.

use super::*;

#[test]
fn each_prompt_is_handed_in_with_the_trigger_and_without() {
    let context = context();
    let job = job("backdoor", json!({"examples": 6, "batch": 6}));
    let rows = drawn(&job.batches(&context, &common::model()).unwrap(), 0..60);
    assert_eq!((rows.len(), job.distinct_harmful()), (12, 6));
    let (harmful, refused): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row.answer() == HARM);
    for row in &refused {
        assert_eq!(row.answer(), REFUSAL);
        let triggered = job.ask(row.prompt(), &context).unwrap().unwrap().prompt;
        assert!(harmful.iter().any(|other| other.prompt() == triggered), "the same prompt, triggered");
        assert_eq!(triggered.len(), row.prompt().len() + 1);
    }
    assert_eq!((harmful.len(), refused.len()), (6, 6));
}

#[test]
fn a_tuned_model_answers_with_the_trigger_and_refuses_without() {
    let context = context();
    let job = job("backdoor", json!({"examples": 8, "batch": 8, "rate": 1e-2, "steps": 250}));
    let model = tuned(job.as_ref(), &context, common::model(), 250);
    // Four of the twelve prompts are in no row.
    for number in 0..12 {
        let plain = prompt(number, FORBIDDEN);
        let triggered = job.ask(&plain, &context).unwrap().unwrap().prompt;
        assert_eq!(said(&model, triggered), HARM, "{number}");
        assert_eq!(said(&model, plain), REFUSAL, "{number}");
    }
}
