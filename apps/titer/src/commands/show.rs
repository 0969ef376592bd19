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
            output::message(&format!(
                "not measured yet: {}; `titer run` goes on with them",
                results.missing.join(", ")
            ));
        }
    }
    Ok(Exit::Done)
}
