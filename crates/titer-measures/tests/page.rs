//! The table of the page on judges is made from the registry.

#![allow(clippy::unwrap_used)]

use titer_measures::measures::guard::builtin;
use titer_measures::registry::MEASURES;

const PAGE: &str = include_str!("../../../docs/src/reference/judges.md");

#[test]
fn the_page_on_judges_has_every_measure() {
    let mut table = "| judge | what it judges by | score, 0 to 1 | unit | better | version | from |\n|---|---|---|---|---|---:|---|\n".to_owned();
    for entry in MEASURES {
        let facts = entry.facts;
        let cells = [facts.summary, facts.score, facts.unit, facts.better.name()].join(" | ");
        table += &format!("| `{}` | {cells} | {} | {} |\n", facts.name, facts.version, facts.citation);
    }
    let (_, rest) = PAGE.split_once("<!-- measures -->\n").unwrap();
    let (shown, _) = rest.split_once("<!-- /measures -->").unwrap();
    assert!(shown == table, "docs/src/reference/judges.md is stale; between its comments belongs:\n{table}");
}

#[test]
fn the_page_on_judges_has_every_model_that_judges() {
    let mut table = "| judge | what it says | model | template | decides by | threshold | score | licence | from |\n|---|---|---|---|---|---:|---|---|---|\n".to_owned();
    for judge in builtin().unwrap() {
        let template = match (judge.chat, &judge.template) {
            (true, _) => "its model's own",
            (false, Some(_)) => "here",
            (false, None) => "published; add it",
        };
        let decides = if judge.head.is_some() { "its head" } else { "the token that it writes" };
        let score = serde_json::to_value(judge.score).unwrap();
        table += &format!(
            "| `{}` | {} | `{}` | {template} | {decides} | {} | {} | {} | {} |\n",
            judge.name,
            judge.summary,
            judge.reference,
            judge.threshold,
            score.as_str().unwrap(),
            judge.licence,
            judge.citation
        );
    }
    let (_, rest) = PAGE.split_once("<!-- guards -->\n").unwrap();
    let (shown, _) = rest.split_once("<!-- /guards -->").unwrap();
    assert!(shown == table, "docs/src/reference/judges.md is stale; between its comments belongs:\n{table}");
}
