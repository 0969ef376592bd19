//! From a stage's spec to its origin, with the rows that its sources hold.

use std::collections::BTreeMap;
use std::path::Path;

use titer_data::Split;
use titer_data::conversations::{Conversations, Options};
use titer_data::origins::{self, Conversing, Dealt, KINDS, Origin};
use titer_measures::text::refusals::Refusals;
use titer_plan::stage::DataSpec;

use super::Places;
use crate::generation::{is_new, warn_once};
use crate::{Error, Result, files};

/// The origin that a stage's spec defines.
pub(crate) fn origin(spec: &DataSpec) -> Result<Box<dyn Origin>> {
    Ok((origins::kind(KINDS, &spec.from)?.revive)(&spec.definition)?)
}

/// Its items for chat models, with the rows of its sources.
pub(crate) fn dealt(origin: &dyn Origin, spec: &DataSpec, places: &Places) -> Result<Box<dyn Conversing>> {
    let mut rows = BTreeMap::new();
    for source in origin.sources() {
        let none = || Error::NoAnswer { item: source.role.to_owned() };
        rows.insert(source.role, read_rows(places.get(source.role).ok_or_else(none)?, &source.rows)?);
    }
    match origin.deal(spec.seed, rows)? {
        Dealt::Chat(items) => {
            // Every stage deals them; they are looked through for the first.
            if is_new(format!("{} from {places:?}", serde_json::to_string(spec)?)) {
                tell(items.as_ref(), &spec.from)?;
            }
            Ok(items)
        }
        Dealt::World(_) => Err(Error::OtherData { kind: spec.from.clone() }),
    }
}

/// Says what was left out, and answers that are refusals: who trains on them learns to refuse.
fn tell(items: &dyn Conversing, kind: &str) -> Result<()> {
    for what in items.left_out() {
        warn_once(format!("{kind}: {what}"));
    }
    let refusals = Refusals::new();
    for split in [Split::Defence, Split::Attack, Split::PermittedTrain, Split::TaskTrain] {
        let answers: Vec<String> =
            items.items(split, None)?.into_iter().filter_map(|item| item.answer).collect();
        let refused = answers.iter().filter(|answer| refusals.is_refusal(answer)).count();
        if refused > 0 {
            warn_once(format!(
                "{kind}: {refused} of {} answers of {} are refusals: who trains on them learns to refuse",
                answers.len(),
                split.name()
            ));
        }
    }
    Ok(())
}

/// The rows of a file, or of all files of records below a folder, in the order of their names.
pub(crate) fn read_rows(path: &Path, options: &Options) -> Result<Conversations> {
    let paths = titer_hub::record_paths(path)?;
    let mut all = Conversations::default();
    for (number, file) in paths.iter().enumerate() {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let mut read = Conversations::read_file(&name, files::read(file)?, options)
            .map_err(|source| Error::Rows { path: file.clone(), source: Box::new(source) })?;
        if let Some(left_out) = read.left_out() {
            warn_once(format!("{}: {left_out}", file.display()));
        }
        if paths.len() > 1 {
            read.conversations.iter_mut().for_each(|row| row.id = format!("{number}-{}", row.id));
        }
        all.conversations.append(&mut read.conversations);
        all.rows += read.rows;
    }
    Ok(all)
}
