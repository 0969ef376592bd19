//! From the text of a spec to its plan.

use crate::catalogue::Catalogue;
use crate::check;
use crate::document::{Override, parse};
use crate::expand::expand;
use crate::mistake::Mistakes;
use crate::plan::Plan;
use crate::table::{Log, Table};

/// Reads a spec, checks it against the catalogue, and expands it to its stages.
///
/// `file` only names the text in mistakes; `overrides` replace values before anything is checked.
///
/// # Errors
/// Everything wrong with the text or the overrides, all at once.
pub fn read(file: &str, text: &str, overrides: &[Override], catalogue: &Catalogue) -> Result<Plan, Mistakes> {
    let mistakes = |mistakes| Mistakes { file: file.to_owned(), mistakes };
    let document = parse(text, overrides).map_err(mistakes)?;
    let log = Log::default();
    let experiment =
        Table::root(&document, &log).and_then(|root| root.whole(|root| check::experiment(root, catalogue)));
    let found = log.into_sorted();
    match experiment {
        Some((experiment, world)) if found.is_empty() => Ok(expand(experiment, world, &catalogue.tasks)),
        _ => Err(mistakes(found)),
    }
}
