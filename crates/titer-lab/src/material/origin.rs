//! From a stage's spec to its origin, with the rows that its sources hold.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use titer_data::conversations::{Conversations, Options};
use titer_data::origins::{self, Conversing, Dealt, KINDS, Origin};
use titer_plan::stage::DataSpec;

use super::Places;
use crate::{Error, Result, files};

/// The origin that a stage's spec defines.
pub(crate) fn origin(spec: &DataSpec) -> Result<Box<dyn Origin>> {
    Ok((origins::kind(KINDS, &spec.from)?.revive)(&spec.definition)?)
}

/// Its items for chat models, with the rows of its sources.
pub(super) fn dealt(origin: &dyn Origin, spec: &DataSpec, places: &Places) -> Result<Box<dyn Conversing>> {
    let mut rows = BTreeMap::new();
    for source in origin.sources() {
        let none = || Error::NoAnswer { item: source.role.to_owned() };
        rows.insert(source.role, read(places.get(source.role).ok_or_else(none)?, &source.rows)?);
    }
    match origin.deal(spec.seed, rows)? {
        Dealt::Chat(items) => Ok(items),
        Dealt::World(_) => Err(Error::OtherData { kind: spec.from.clone() }),
    }
}

/// The rows of a file, or of all files of a folder, in the order of their names.
fn read(path: &Path, options: &Options) -> Result<Conversations> {
    let failed = |source| titer_model::Error::File { path: path.to_owned(), action: "read", source };
    let mut paths = vec![path.to_owned()];
    if path.is_dir() {
        let entries = fs::read_dir(path).and_then(Iterator::collect::<std::io::Result<Vec<_>>>);
        paths = entries.map_err(failed)?.into_iter().map(|entry| entry.path()).collect();
        paths.retain(|file| file.is_file());
        paths.sort();
    }
    let mut all = Conversations::default();
    for (number, file) in paths.iter().enumerate() {
        let mut read = Conversations::read(files::read(file)?, options)
            .map_err(|source| Error::Rows { path: file.clone(), source: Box::new(source) })?;
        if paths.len() > 1 {
            read.conversations.iter_mut().for_each(|row| row.id = format!("{number}-{}", row.id));
        }
        all.conversations.append(&mut read.conversations);
        all.rows += read.rows;
    }
    Ok(all)
}
