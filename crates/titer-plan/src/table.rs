//! Reads a table by its declared keys. A key that was never asked for is unknown.

use std::cell::RefCell;
use std::collections::BTreeMap;

use serde_json::Value as Json;

use crate::declared::{Absent, Accepts, Key};
use crate::document::{Location, Node, Value};
use crate::field::Field;
use crate::limits::Limits;
use crate::mistake::{Mistake, advice};
use crate::values::Values;

/// Where mistakes are gathered as reading goes on.
#[derive(Default)]
pub(crate) struct Log(RefCell<Vec<Mistake>>);

impl Log {
    pub(crate) fn push(&self, mistake: Mistake) {
        self.0.borrow_mut().push(mistake);
    }

    /// The mistakes by line; those without one come last.
    pub(crate) fn into_sorted(self) -> Vec<Mistake> {
        let mut mistakes = self.0.into_inner();
        mistakes.sort_by_key(|mistake| (mistake.line.unwrap_or(usize::MAX), mistake.key.clone()));
        mistakes
    }
}

/// A table being read.
pub(crate) struct Table<'a> {
    entries: &'a BTreeMap<String, Node>,
    location: &'a Location,
    path: String,
    log: &'a Log,
    asked: Vec<&'a str>,
}

impl<'a> Table<'a> {
    /// The whole document.
    pub(crate) fn root(node: &'a Node, log: &'a Log) -> Option<Self> {
        Self::of(&Field { node, key: String::new(), log })
    }

    fn of(field: &Field<'a>) -> Option<Self> {
        match &field.node.value {
            Value::Table(entries) => Some(Self {
                entries,
                location: &field.node.location,
                path: field.key.clone(),
                log: field.log,
                asked: Vec::new(),
            }),
            other => field.reject(format!("expected a table, got {}", other.describe()), None),
        }
    }

    fn key(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn ask(&mut self, key: &'a str) -> Option<Field<'a>> {
        self.asked.push(key);
        let node = self.entries.get(key)?;
        Some(Field { node, key: self.key(key), log: self.log })
    }

    fn missing<T>(&self, key: &str, expected: &str) -> Option<T> {
        let problem = format!("is missing; expected {expected}");
        self.log.push(self.location.mistake(&self.key(key), problem, None));
        None
    }

    /// Reports a mistake about `key`: at its value, or at the table where it has none.
    pub(crate) fn reject<T>(
        &self,
        key: &str,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Option<T> {
        let location = self.entries.get(key).map_or(self.location, |node| &node.location);
        self.log.push(location.mistake(&self.key(key), problem.into(), Some(remedy.into())));
        None
    }

    /// Reads the keys that hold no tables, each as declared and within `limits`. All of them are read before
    /// the first failure counts.
    pub(crate) fn read(&mut self, keys: impl IntoIterator<Item = Key>, limits: &Limits<'_>) -> Values {
        let mut values = Values::default();
        for key in keys {
            if matches!(key.accepts, Accepts::Table(_) | Accepts::Tables(_) | Accepts::Forms(_)) {
                continue;
            }
            let names = limits.names(&key);
            let expected = limits.expected(&key, names.as_deref(), &values);
            let value = match (self.ask(key.name), key.absent) {
                (Some(field), _) => field.read(&expected),
                (None, Some(Absent::Whole(number))) => Some(Json::from(number)),
                (None, Some(Absent::Real(number))) => Some(Json::from(number)),
                (None, Some(Absent::Means(_))) => continue,
                (None, None) => self.missing(key.name, &expected.accepts.expects()),
            };
            values.insert(key.name, value);
        }
        values
    }

    /// Whether the table has this key, and what text it holds, if it is text. It counts as asked for.
    pub(crate) fn peek(&mut self, key: &'a str) -> Option<Option<&'a str>> {
        self.asked.push(key);
        self.entries.get(key).map(|node| match &node.value {
            Value::Text(text) => Some(text.as_str()),
            _ => None,
        })
    }

    /// A table that must be there, read by `read`; whatever `read` does not ask for is unknown.
    pub(crate) fn section<T>(
        &mut self,
        key: &'a str,
        read: impl FnOnce(&mut Table<'a>) -> Option<T>,
    ) -> Option<T> {
        match self.ask(key) {
            Some(field) => Self::of(&field)?.whole(read),
            None => self.missing(key, &format!("a table [{}]", self.key(key))),
        }
    }

    /// A table that may be left out.
    pub(crate) fn optional_section<T>(
        &mut self,
        key: &'a str,
        read: impl FnOnce(&mut Table<'a>) -> Option<T>,
    ) -> Option<Option<T>> {
        match self.ask(key) {
            Some(field) => Self::of(&field)?.whole(read).map(Some),
            None => Some(None),
        }
    }

    /// A non-empty list of tables, each read by `read`. None after a mistake in any of them.
    pub(crate) fn sections<T>(
        &mut self,
        key: &'a str,
        mut read: impl FnMut(&mut Table<'a>) -> Option<T>,
    ) -> Option<Vec<T>> {
        let expected = format!("at least one [[{key}]]");
        let Some(field) = self.ask(key) else { return self.missing(key, &expected) };
        let Value::List(list) = &field.node.value else {
            return field.reject(format!("expected {expected}, got {}", field.node.value.describe()), None);
        };
        if list.is_empty() {
            return field.reject(format!("expected {expected}, got an empty list"), None);
        }
        let member = |(index, node): (usize, &'a Node)| {
            let field = Field { node, key: format!("{}.{index}", field.key), log: self.log };
            Self::of(&field).and_then(|table| table.whole(&mut read))
        };
        let read: Vec<Option<T>> = list.iter().enumerate().map(member).collect();
        read.into_iter().collect()
    }

    /// A list of tables that may be left out: then it is empty.
    pub(crate) fn optional_sections<T>(
        &mut self,
        key: &'a str,
        read: impl FnMut(&mut Table<'a>) -> Option<T>,
    ) -> Option<Vec<T>> {
        if self.entries.contains_key(key) {
            self.sections(key, read)
        } else {
            self.asked.push(key);
            Some(Vec::new())
        }
    }

    /// Accepts whatever else the table holds: for when it cannot be known what belongs there.
    pub(crate) fn accept_all(&mut self) {
        self.asked.extend(self.entries.keys().map(String::as_str));
    }

    /// Reads the whole table, then reports the keys that nothing asked for.
    pub(crate) fn whole<T>(mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        let value = read(&mut self);
        for (key, node) in self.entries.iter().filter(|(key, _)| !self.asked.contains(&key.as_str())) {
            let remedy = advice(key, self.asked.iter().copied());
            self.log.push(node.location.mistake(&self.key(key), "unknown key".to_owned(), Some(remedy)));
        }
        value
    }
}
