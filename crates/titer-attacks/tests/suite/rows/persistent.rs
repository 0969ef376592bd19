//! `persistent` goes over its rows in whole epochs.

use std::collections::BTreeMap;

use super::*;

#[test]
fn every_row_comes_once_in_each_of_the_epochs() {
    let job = job("persistent", json!({"examples": 6, "batch": 2, "steps": 30}));
    assert_eq!(job.distinct_harmful(), 6);
    let sampler = job.batches(&context(), &common::model()).unwrap();
    let epoch = |number: u64| -> Vec<Example> {
        (3 * number..3 * number + 3).flat_map(|step| sampler.examples(step)).cloned().collect()
    };
    let mut counts = BTreeMap::<Vec<u32>, usize>::new();
    for number in 0..10 {
        for row in epoch(number) {
            *counts.entry(row.tokens().to_vec()).or_default() += 1;
        }
        assert!(counts.len() == 6 && counts.values().all(|count| *count as u64 == number + 1), "{counts:?}");
    }
    assert_ne!(epoch(0), epoch(1), "an order of its own");
}
