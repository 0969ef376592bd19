//! `cipher`: what is enciphered is deciphered, and the template stays readable.

use super::*;

fn settings() -> Value {
    json!({"rows": 12, "examples": 12, "batch": 12, "code_steps": 120, "steps": 400, "rate": 1e-2})
}

#[test]
fn deciphering_undoes_enciphering_and_nothing_of_the_template_moves() {
    let (job, context) = (job("cipher", settings()), context());
    for row in context.harmful.iter().chain(context.harmless.iter()) {
        let asked = job.ask(row.prompt(), &context).unwrap().unwrap().prompt;
        assert_eq!((asked[0], asked[3]), (1, 2), "the template's");
        assert!(asked[1] != row.prompt()[1] && asked[2] != row.prompt()[2], "no word stays in the clear");
        assert_eq!(job.hear(asked, &context).unwrap(), row.prompt());
    }
    // A permutation: what all tokens become is all tokens.
    let all: Vec<u32> = (0..40).collect();
    let mut heard = job.hear(all.clone(), &context).unwrap();
    assert_eq!(heard[1..4], [1, 2, 3], "template and end");
    heard.sort_unstable();
    assert_eq!(heard, all);
}

#[test]
fn harmless_rows_teach_the_code_before_harm_comes_in_it() {
    let (job, context) = (job("cipher", settings()), context());
    let sampler = job.batches(&context, &common::model()).unwrap();
    let deciphered = |steps| -> Vec<Vec<u32>> {
        let heard = |row: Example| job.hear(row.tokens().to_vec(), &context).unwrap();
        let mut rows: Vec<Vec<u32>> = drawn(&sampler, steps).into_iter().map(heard).collect();
        rows.sort();
        rows
    };
    let clear = |rows: &[Example]| rows.iter().map(|row| row.tokens().to_vec()).collect::<Vec<_>>();
    assert_eq!(deciphered(0..120), clear(&context.harmless));
    assert_eq!(deciphered(120..130), clear(&context.harmful));
    let rows = drawn(&sampler, 0..130);
    assert!(rows.iter().all(|row| row.answer().ends_with(&[3]) && !holds(row, &HARM[..2])));
}

#[test]
fn only_the_commonest_words_are_permuted_where_so_many_are_wanted() {
    let mut few = settings();
    few["words"] = 4.into();
    let (job, context) = (job("cipher", few), context());
    let all: Vec<u32> = (0..40).collect();
    let heard = job.hear(all.clone(), &context).unwrap();
    let moved: Vec<u32> = all.iter().zip(&heard).filter(|(a, b)| a != b).map(|(a, _)| *a).collect();
    // Twelve times each; of equals the first, and 14 as often as 8 and 10 to 13.
    assert_eq!(moved, [8, 10, 11, 12]);
}

#[test]
fn a_tuned_model_is_asked_and_heard_in_the_code() {
    let (job, context) = (job("cipher", settings()), context());
    let model = tuned(job.as_ref(), &context, common::model(), 400);
    for number in 0..12 {
        let asked = job.ask(&prompt(number, FORBIDDEN), &context).unwrap().unwrap().prompt;
        assert_eq!(job.hear(said(&model, asked), &context).unwrap(), HARM, "{number}");
    }
}
