//! What was read of a table, before it is a type.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json};

use crate::table::Table;

/// The values of a table's keys. Those that were wrong or missing are not among them.
#[derive(Default)]
pub(crate) struct Values {
    found: Map<String, Json>,
    wrong: bool,
}

impl Values {
    /// The value of a key, or none after a mistake.
    pub(crate) fn insert(&mut self, key: &str, value: Option<Json>) {
        match value {
            Some(value) => drop(self.found.insert(key.to_owned(), value)),
            None => self.wrong = true,
        }
    }

    /// Leaves a value out.
    pub(crate) fn forget(&mut self, key: &str) {
        self.found.remove(key);
    }

    /// The value of a key that was left out.
    pub(crate) fn insert_default(&mut self, key: &str, value: Json) {
        self.found.entry(key).or_insert(value);
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Json> {
        self.found.get(key)
    }

    pub(crate) fn whole(&self, key: &str) -> Option<u64> {
        self.get(key)?.as_u64()
    }

    pub(crate) fn count(&self, key: &str) -> Option<usize> {
        usize::try_from(self.whole(key)?).ok()
    }

    pub(crate) fn real(&self, key: &str) -> Option<f64> {
        self.get(key)?.as_f64()
    }

    pub(crate) fn text(&self, key: &str) -> Option<String> {
        self.get(key)?.as_str().map(str::to_owned)
    }

    /// The values by name, or none if one was wrong or missing.
    pub(crate) fn all(self) -> Option<Map<String, Json>> {
        (!self.wrong).then_some(self.found)
    }

    /// The values as a type that has a field for each key, or none if one was wrong or missing.
    pub(crate) fn typed<T: DeserializeOwned>(self, table: &Table<'_>) -> Option<T> {
        match serde_json::from_value(Json::Object(self.all()?)) {
            Ok(value) => Some(value),
            // Declarations and types that disagree are a mistake of titer's, which a test excludes.
            Err(error) => table.reject("", format!("cannot be taken in: {error}"), "report this, please"),
        }
    }
}
