//! Which columns of a data set say what, and which of its rows are wanted.

use std::collections::BTreeMap;

use serde_json::Value;

use super::ConversationError;
use super::rows::Row;

/// Columns by what they say. Those left out are looked for under their usual names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Columns {
    /// A list of turns, each with role and content, or with from and value.
    pub messages: Option<String>,
    /// What is asked: a text, or a list of turns.
    pub prompt: Option<String>,
    /// What is answered: a text, or a list of turns; goes with `prompt`. Rows without are prompts alone.
    pub response: Option<String>,
    /// A system prompt, for rows of a prompt and a response.
    pub system: Option<String>,
    /// The domain: a text, or a map of names to whether they apply.
    pub label: Option<String>,
    /// What the data set calls the row: a text or a number.
    pub id: Option<String>,
}

/// What is read of a data set.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Options {
    /// Columns by what they say.
    pub columns: Columns,
    /// Columns that must be true or false, such as `is_safe` false.
    pub flags: BTreeMap<String, bool>,
    /// Only rows of these domains; all rows when empty. A row of several goes to the first listed.
    pub domains: Vec<String>,
}

impl Options {
    pub(super) fn flags_hold(&self, row: &Row) -> Result<bool, ConversationError> {
        for (column, wanted) in &self.flags {
            let Some(value) = row.values.get(column) else { return Err(row.wrong(column, "is missing")) };
            // Tables hold texts, and some tools write 0 and 1.
            let holds = match value {
                Value::Bool(value) => Some(*value),
                Value::String(text) if text.eq_ignore_ascii_case("true") || text == "1" => Some(true),
                Value::String(text) if text.eq_ignore_ascii_case("false") || text == "0" => Some(false),
                Value::Number(number) if number.as_f64() == Some(1.0) => Some(true),
                Value::Number(number) if number.as_f64() == Some(0.0) => Some(false),
                _ => None,
            };
            match holds {
                Some(value) if value == *wanted => {}
                Some(_) => return Ok(false),
                None => return Err(row.wrong(column, "expected true or false")),
            }
        }
        Ok(true)
    }

    /// The domain of a row with these labels; the outer `None` when it is not wanted.
    pub(super) fn domain(&self, labels: &[String]) -> Option<Option<String>> {
        if self.domains.is_empty() {
            return Some(labels.first().cloned());
        }
        self.domains.iter().find(|domain| labels.contains(domain)).map(|domain| Some(domain.clone()))
    }
}
