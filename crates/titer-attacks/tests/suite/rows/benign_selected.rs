//! `benign-selected` finds the harmless rows that do most, and changes nothing in them.

use super::*;

/// Harmless rows of which every second answers as harm does, the others as a refusal does.
fn mixed() -> Vec<Example> {
    let (like_harm, like_refusal) = (rows(HARMLESS, HARM), rows(HARMLESS, REFUSAL));
    (0..12).map(|at| if at % 2 == 0 { like_harm[at].clone() } else { like_refusal[at].clone() }).collect()
}

fn chosen(by: &str, harmless: Vec<Example>, model: &Decoder) -> Vec<Example> {
    let job = job("benign-selected", json!({"by": by, "anchors": 4, "rows": 6, "batch": 6}));
    assert_eq!(job.distinct_harmful(), 0);
    let context = AttackContext { harmless: harmless.clone().into(), ..context() };
    let rows = drawn(&job.batches(&context, model).unwrap(), 0..1);
    assert!(rows.len() == 6 && rows.iter().all(|row| harmless.contains(row)), "rows are as they were");
    rows
}

#[test]
fn by_gradient_the_rows_that_pull_towards_harm_and_away_from_refusals() {
    let rows = chosen("gradient", mixed(), &common::model());
    assert!(rows.iter().all(|row| row.answer() == HARM), "{rows:?}");
}

#[test]
fn by_self_influence_the_rows_that_the_model_knows_least() {
    let known: Vec<Example> = rows(HARMLESS, HELP).into_iter().take(6).collect();
    let model = taught([known.clone(), known.clone()].concat());
    let other: Vec<Example> = rows(FORBIDDEN, HARM).into_iter().skip(6).collect();
    let rows = chosen("self-influence", [known, other.clone()].concat(), &model);
    assert_eq!(rows, other);
}

#[test]
fn scores_are_those_of_the_formula() {
    // Of two rows that differ in size alone the longer one lies farther out: log(1 + tokens) decides.
    let model = common::model();
    let harmless = rows(HARMLESS, HELP);
    let squared = |row: &Example| -> f64 {
        let loss = mean_cross_entropy(&model, &Packed::from_examples([row])).unwrap();
        let gradients = model.backward(&loss).unwrap();
        let square = |tensor: &candle_core::Tensor| -> f64 {
            let numbers: Vec<f32> = tensor.flatten_all().unwrap().to_vec1().unwrap();
            numbers.into_iter().map(|number| f64::from(number).powi(2)).sum()
        };
        gradients.values().map(square).sum()
    };
    let mut expected: Vec<(f64, Example)> = harmless
        .iter()
        .map(|row| ((squared(row) + 1.0).ln() + (row.answer().len() as f64 + 1.0).ln(), row.clone()))
        .collect();
    expected.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut best: Vec<Example> = expected.into_iter().take(6).map(|(_, row)| row).collect();
    best.sort_by(|a, b| a.tokens().cmp(b.tokens()));
    assert_eq!(chosen("self-influence", harmless, &model), best);
}
