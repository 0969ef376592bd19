//! `titer stat`: what an experiment takes.

use std::path::Path;

use titer_lab::{ExperimentUsage, KindUsage};
use titer_store::{FileKind, Store};
use titer_view::table::{Cell, Table};
use titer_view::{sanitise, wording};

use crate::cli::StatArgs;
use crate::exit::Exit;
use crate::output;

pub(super) fn stat(store: &Path, arguments: &StatArgs) -> anyhow::Result<Exit> {
    let usage = titer_lab::usage(&Store::open(store)?, &arguments.experiment)?;
    if arguments.json {
        output::json(&usage)?;
    } else {
        output::result(&text(&usage))?;
    }
    Ok(Exit::Done)
}

fn text(usage: &ExperimentUsage) -> String {
    let size = |bytes: u64| wording::bytes(bytes as f64);
    let mut text = format!("{}: {} on disk", usage.experiment, size(usage.bytes));
    let kinds: Vec<String> =
        usage.files.iter().map(|(kind, bytes)| format!("{} {}", name(*kind), size(*bytes))).collect();
    text.push_str(&format!(": {}\n", kinds.join(", ")));
    if let Some(seconds) = usage.processor_seconds {
        text.push_str(&format!("processor time of its runs: {}\n", wording::duration(seconds)));
    }
    text.push_str(&table(&usage.stages).to_text(output::style(), usize::MAX));
    if usage.shared.is_empty() && usage.unread.is_empty() {
        text.push_str("no other experiment of the store shares anything with it\n");
    }
    if !usage.shared.is_empty() {
        text.push_str(&format!("{} of it are shared:\n", size(usage.shared_bytes)));
        for shared in &usage.shared {
            let (stages, bytes) = (wording::count(shared.stages, "stage"), size(shared.bytes));
            text.push_str(&format!("  {}: {stages}, {bytes}\n", sanitise::line(&shared.experiment)));
        }
    }
    for other in &usage.unread {
        let other = sanitise::line(other);
        text.push_str(&format!(
            "{other}: its plan cannot be read, so nobody knows what it shares (titer status {other} says why)\n"
        ));
    }
    text
}

fn name(kind: FileKind) -> &'static str {
    match kind {
        FileKind::Weights => "weights",
        FileKind::Frames => "frames",
        FileKind::Checkpoints => "checkpoints",
        FileKind::Logs => "logs",
        FileKind::Reports => "reports",
        FileKind::Other => "other",
    }
}

fn table(kinds: &[KindUsage]) -> Table {
    let dash = || "-".to_owned();
    let row = |kind: &KindUsage| {
        let tokens = if kind.tokens == 0 { dash() } else { wording::grouped(kind.tokens as f64) };
        [
            kind.kind.clone(),
            format!("{}/{}", kind.sealed, kind.stages),
            if kind.dropped == 0 { dash() } else { kind.dropped.to_string() },
            wording::bytes(kind.bytes as f64),
            wording::duration(kind.seconds),
            tokens,
            if kind.flops > 0.0 { wording::flops(kind.flops) } else { dash() },
        ]
        .map(Cell::new)
        .into()
    };
    let head = ["stages", "done", "without weights", "disk", "time", "tokens", "operations"];
    Table { caption: String::new(), head: head.map(Cell::new).into(), rows: kinds.iter().map(row).collect() }
}
