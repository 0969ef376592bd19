//! `titer show`.

use std::path::Path;

use titer_lab::Results;
use titer_store::Store;

use crate::cli::ShowArgs;
use crate::exit::Exit;
use crate::output;
use crate::verdict_text;

pub(super) fn show(store: &Path, arguments: &ShowArgs) -> anyhow::Result<Exit> {
    let results = Results::load(&Store::open(store)?, &arguments.experiment)?;
    let verdicts = results.verdicts()?;
    if arguments.json {
        output::json(&verdicts)?;
    } else {
        output::result(&verdict_text::full(&verdicts, output::style()))?;
        if !results.missing.is_empty() {
            output::message(&missing(&results.missing));
        }
    }
    Ok(Exit::Done)
}

/// What is not there yet: the first few by name.
fn missing(labels: &[String]) -> String {
    let shown = labels.len().min(3);
    let more =
        if labels.len() > shown { format!(" and {} more", labels.len() - shown) } else { String::new() };
    format!("not measured yet: {}{more}; `titer run` goes on with them", labels[..shown].join(", "))
}
