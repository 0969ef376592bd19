//! What was removed from a store, or would be, in words.

use std::collections::BTreeMap;

use serde_json::json;
use titer_store::{Collected, Taken};
use titer_view::{sanitise, wording};

use crate::output;

/// Things that are named one by one.
const SHOWN: usize = 20;

/// Says what was removed, or would be, and what was left with the reason.
pub(super) fn say(collected: &Collected, dry_run: bool, as_json: bool) -> anyhow::Result<()> {
    let bytes: u64 = collected.removed.iter().map(|removed| removed.bytes).sum();
    if as_json {
        return output::json(&json!({
            "dry_run": dry_run,
            "bytes": bytes,
            "removed": collected.removed,
            "left": collected.left,
        }));
    }
    let mut text = String::new();
    let mut line = |line: String| text.push_str(&(sanitise::line(&line).into_owned() + "\n"));
    for removed in collected.removed.iter().take(SHOWN) {
        let label = removed.label.as_ref().map(|label| format!(" ({label})")).unwrap_or_default();
        let (what, size) = (name(removed.what), wording::bytes(removed.bytes as f64));
        line(format!("{what} {}{label}: {size}", removed.path.display()));
    }
    if collected.removed.len() > SHOWN {
        line(format!("… and {} more", collected.removed.len() - SHOWN));
    }
    let mut counts = BTreeMap::<Taken, usize>::new();
    collected.removed.iter().for_each(|removed| *counts.entry(removed.what).or_default() += 1);
    let counts: Vec<String> =
        counts.iter().map(|(what, count)| format!("{count} × {}", name(*what))).collect();
    let did = if dry_run { "would be removed" } else { "removed" };
    line(match counts.is_empty() {
        true => format!("nothing {}", if dry_run { "would be removed" } else { "to remove" }),
        false => format!("{did}: {}; {}", counts.join(", "), wording::bytes(bytes as f64)),
    });
    let mut reasons = BTreeMap::<&str, Vec<String>>::new();
    for left in &collected.left {
        reasons.entry(&left.why).or_default().push(left.path.display().to_string());
    }
    for (why, paths) in reasons {
        let more = if paths.len() > 1 { format!(" and {} more", paths.len() - 1) } else { String::new() };
        line(format!("left: {}{more}: {why}", paths[0]));
    }
    Ok(output::result(&text)?)
}

fn name(what: Taken) -> &'static str {
    match what {
        Taken::Artifact => "artifact",
        Taken::Damaged => "damaged artifact",
        Taken::Weights => "weights",
        Taken::Checkpoint => "checkpoint",
        Taken::Leftover => "leftover",
        Taken::Experiment => "file of the experiment",
    }
}
