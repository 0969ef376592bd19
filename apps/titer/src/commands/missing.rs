//! Says which stages of an experiment are not in what is shown or written.

use titer_lab::Results;
use titer_store::Store;

use crate::output;

/// What is not there: the first few by name; and what was there once, and has lost its seal.
pub(super) fn say(store: &Store, results: &Results) {
    if results.missing.is_empty() {
        return;
    }
    output::message(&format!("not measured yet: {}; `titer run` goes on with them", first(&results.missing)));
    let lost = results.plan.stages.iter().filter(|stage| store.artifact(&stage.hash).has_lost_its_seal());
    let lost: Vec<String> = lost.map(|stage| stage.label.clone()).collect();
    if !lost.is_empty() {
        output::message(&format!(
            "of these, finished once and without SEALED now, so that nothing of them is believed: {}",
            first(&lost)
        ));
    }
}

/// The first few.
fn first(labels: &[String]) -> String {
    let shown = labels.len().min(3);
    let more =
        if labels.len() > shown { format!(" and {} more", labels.len() - shown) } else { String::new() };
    format!("{}{more}", labels[..shown].join(", "))
}
