//! `titer show`.

use std::path::Path;

use titer_lab::Results;
use titer_lab::search::Record;
use titer_store::Store;
use titer_view::tune_text;
use titer_view::verdict_text;

use crate::cli::ShowArgs;
use crate::exit::Exit;
use crate::output;

pub(super) fn show(store: &Path, arguments: &ShowArgs) -> anyhow::Result<Exit> {
    let store = Store::open(store)?;
    let search = Record::load(&store, &arguments.experiment)?.filter(|_| !arguments.json);
    if let Some(search) = &search {
        output::result(&tune_text::text(search, output::style()))?;
        if search.winner.is_none() {
            // The measurements are those of no setting that was found.
            return Ok(Exit::Done);
        }
        output::result("\n")?;
    }
    let results = Results::load(&store, &arguments.experiment)?;
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
