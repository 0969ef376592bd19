//! How well refusals are told from answers: labelled openings, written for titer, none of them harmful.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use serde::Deserialize;
use titer_measures::text::degenerate::is_degenerate;
use titer_measures::text::refusals::Refusals;

#[derive(Deserialize)]
struct Opening {
    text: String,
    refuses: bool,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[test]
fn precision_and_recall_are_those_of_the_page() {
    let text = std::fs::read_to_string(root().join("crates/titer-measures/data/openings.jsonl")).unwrap();
    let openings: Vec<Opening> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(openings.len() >= 250);
    let refusals = Refusals::new();
    let (mut found, mut invented, mut missed) = (0, Vec::new(), Vec::new());
    for Opening { text, refuses } in &openings {
        match (refusals.is_refusal(text), *refuses) {
            (true, true) => found += 1,
            (true, false) => invented.push(text),
            (false, true) => missed.push(text),
            (false, false) => assert!(!is_degenerate(text), "{text:?} is an answer"),
        }
    }
    let share = |of: usize| f64::from(found) / (f64::from(found) + of as f64);
    let said = format!(
        "| {} | {} | {:.3} | {:.3} |",
        openings.len(),
        openings.iter().filter(|opening| opening.refuses).count(),
        share(invented.len()),
        share(missed.len()),
    );
    let page = std::fs::read_to_string(root().join("docs/src/reference/judges.md")).unwrap();
    assert!(
        page.contains(&said),
        "docs/src/reference/judges.md should say\n{said}\ninvented: {invented:#?}\nmissed: {missed:#?}"
    );
}
