//! Reads a definition, and says all that is wrong with it at once, each thing at its line and column.

use std::fmt;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Definition;
use crate::{Error, Result};

const OF: &str = "data set";

/// One thing wrong with a definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Line and column of the key or value, from 1; none for what is missing at the top.
    pub place: Option<(usize, usize)>,
    /// The dotted key.
    pub key: String,
    /// What is wrong with it and what would be right.
    pub problem: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((line, column)) = self.place {
            write!(f, "line {line}, column {column}: ")?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.problem)
    }
}

/// What a key may hold.
enum Holds {
    Text,
    /// A list of texts, none of them blank.
    Texts,
    Flags,
    Count,
    Table(&'static [Field]),
    /// A table that somebody else reads.
    Any,
}

struct Field {
    name: &'static str,
    holds: Holds,
    required: bool,
}

const fn must(name: &'static str, holds: Holds) -> Field {
    Field { name, holds, required: true }
}

const fn may(name: &'static str, holds: Holds) -> Field {
    Field { name, holds, required: false }
}

const COLUMNS: &[Field] = &[
    may("messages", Holds::Text),
    may("prompt", Holds::Text),
    may("response", Holds::Text),
    may("system", Holds::Text),
    may("label", Holds::Text),
    may("id", Holds::Text),
];
const SOURCE: &[Field] =
    &[must("reference", Holds::Text), may("columns", Holds::Table(COLUMNS)), may("flags", Holds::Flags)];
const COUNTS: &[Field] = &[
    must("defence", Holds::Count),
    must("attack", Holds::Count),
    must("seen", Holds::Count),
    may("unseen", Holds::Count),
    may("harmless_train", Holds::Count),
    may("harmless_probe", Holds::Count),
    may("task_train", Holds::Count),
    may("task_probe", Holds::Count),
];
const DEFINITION: &[Field] = &[
    must("name", Holds::Text),
    must("summary", Holds::Text),
    may("system", Holds::Text),
    may("refusals", Holds::Texts),
    may("forbidden", Holds::Texts),
    may("unseen", Holds::Texts),
    must("harmful", Holds::Table(SOURCE)),
    may("harmless", Holds::Table(SOURCE)),
    may("task", Holds::Table(SOURCE)),
    may("judge", Holds::Any),
    may("counts", Holds::Table(COUNTS)),
];

impl Definition {
    /// Reads a definition.
    ///
    /// # Errors
    /// When it is no TOML, all its mistakes when it is not of this shape, or its values make no data set.
    pub fn parse(text: &str) -> Result<Self> {
        let (table, errors) = DeTable::parse_recoverable(text);
        let mut reader = Reader { text, mistakes: Vec::new() };
        for error in &errors {
            let problem =
                format!("this is no TOML: {}", error.message().lines().collect::<Vec<_>>().join(", "));
            reader.note(error.span(), "", problem);
        }
        if errors.is_empty() {
            reader.table(table.get_ref(), DEFINITION, None, "");
        }
        if !reader.mistakes.is_empty() {
            // What the parser finds after its first mistake on a line is its finding its feet again.
            reader.mistakes.sort_by_key(|mistake| mistake.place.unwrap_or((usize::MAX, 0)));
            if !errors.is_empty() {
                reader.mistakes.dedup_by_key(|mistake| mistake.place.map(|(line, _)| line));
            }
            return Err(Error::Mistakes { of: OF, mistakes: reader.mistakes });
        }
        let definition: Self =
            toml::from_str(text).map_err(|error| Error::Syntax { of: OF, problem: error.to_string() })?;
        for (key, problem) in definition.contradictions() {
            let span = span_of(table.get_ref(), &key);
            reader.note(span, &key, problem);
        }
        match reader.mistakes.is_empty() {
            true => Ok(definition),
            false => Err(Error::Mistakes { of: OF, mistakes: reader.mistakes }),
        }
    }

    /// Refuses values that make no data set.
    pub(super) fn check(&self) -> Result<()> {
        let mistakes: Vec<Mistake> = self
            .contradictions()
            .into_iter()
            .map(|(key, problem)| Mistake { place: None, key, problem })
            .collect();
        if mistakes.is_empty() { Ok(()) } else { Err(Error::Mistakes { of: OF, mistakes }) }
    }
}

/// Where the key is written, or the part of it that is.
fn span_of(table: &DeTable<'_>, key: &str) -> Option<Range<usize>> {
    let (mut table, mut span) = (Some(table), None);
    for part in key.split('.') {
        let Some((name, value)) =
            table.and_then(|table| table.iter().find(|(name, _)| name.get_ref() == part))
        else {
            break;
        };
        span = Some(name.span());
        table = value.get_ref().as_table();
    }
    span
}

struct Reader<'a> {
    text: &'a str,
    mistakes: Vec<Mistake>,
}

impl Reader<'_> {
    fn note(&mut self, span: Option<Range<usize>>, key: &str, problem: impl Into<String>) {
        let place = span.map(|span| {
            let before = self.text.get(..span.start).unwrap_or_default();
            let line = before.rsplit('\n').next().unwrap_or_default();
            (before.matches('\n').count() + 1, line.chars().count() + 1)
        });
        self.mistakes.push(Mistake { place, key: key.to_owned(), problem: problem.into() });
    }

    fn table(&mut self, table: &DeTable<'_>, fields: &[Field], span: Option<Range<usize>>, path: &str) {
        let full = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        for (name, value) in table.iter() {
            let key = full(name.get_ref());
            match fields.iter().find(|field| name.get_ref() == field.name) {
                Some(field) => self.value(name.span(), value, &field.holds, &key),
                None => {
                    let known: Vec<&str> = fields.iter().map(|field| field.name).collect();
                    self.note(Some(name.span()), &key, format!("unknown key; known: {}", known.join(", ")));
                }
            }
        }
        for field in fields.iter().filter(|field| field.required) {
            if table.iter().all(|(name, _)| name.get_ref() != field.name) {
                self.note(span.clone(), &full(field.name), "is missing");
            }
        }
    }

    fn value(&mut self, name: Range<usize>, value: &Spanned<DeValue<'_>>, holds: &Holds, key: &str) {
        let expected = match (holds, value.get_ref()) {
            (Holds::Text, DeValue::String(_)) | (Holds::Any, DeValue::Table(_)) => return,
            (Holds::Count, DeValue::Integer(count)) => {
                match u32::from_str_radix(count.as_str(), count.radix()) {
                    Ok(_) => return,
                    Err(_) => "a whole number from 0",
                }
            }
            (Holds::Texts, DeValue::Array(texts)) => {
                for text in texts.iter() {
                    if text.get_ref().as_str().is_none_or(|text| text.trim().is_empty()) {
                        self.note(Some(text.span()), key, "expected a list of texts, none of them blank");
                    }
                }
                return;
            }
            (Holds::Flags, DeValue::Table(flags)) => {
                for (flag, value) in flags.iter() {
                    if value.get_ref().as_bool().is_none() {
                        let key = format!("{key}.{}", flag.get_ref());
                        self.note(Some(value.span()), &key, "expected true or false");
                    }
                }
                return;
            }
            (Holds::Table(fields), DeValue::Table(table)) => {
                self.table(table, fields, Some(name), key);
                return;
            }
            (Holds::Text, _) => "a text",
            (Holds::Texts, _) => "a list of texts",
            (Holds::Count, _) => "a whole number from 0",
            (Holds::Flags | Holds::Table(_) | Holds::Any, _) => "a table",
        };
        self.note(
            Some(value.span()),
            key,
            format!("expected {expected}, got {}", value.get_ref().type_str()),
        );
    }
}
