//! How the columns of a data set make conversations.

use serde_json::Value;

use super::rows::{Row, kind};
use super::{Columns, ConversationError};
use crate::text::{Message, Role};

/// The turns of a conversation, as the columns tell them.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Turns {
    /// A list of objects.
    List(String),
    /// A prompt, what is added to it, and a response.
    Pair { prompt: String, input: Option<String>, response: String },
}

/// Which columns of a data set say what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    turns: Turns,
    system: Option<String>,
    label: Option<String>,
    id: Option<String>,
}

const LISTS: [&str; 3] = ["messages", "conversations", "conversation"];
const PAIRS: [(&str, &str); 5] = [
    ("prompt", "response"),
    ("prompt", "completion"),
    ("instruction", "output"),
    ("instruction", "response"),
    ("question", "answer"),
];
const SYSTEMS: [&str; 2] = ["system", "system_prompt"];
const LABELS: [&str; 3] = ["category", "domain", "label"];

impl Shape {
    /// The shape of a data set, told by the columns of its first row and by those that are named.
    pub(super) fn of(row: &Row, columns: &Columns) -> Result<Self, ConversationError> {
        let has = |name: &str| row.values.contains_key(name);
        let usual = |names: &[&str]| names.iter().find(|name| has(name)).map(|name| (*name).to_owned());
        let turns = match (&columns.messages, &columns.prompt, &columns.response) {
            (Some(messages), None, None) => Turns::List(messages.clone()),
            (None, Some(prompt), Some(response)) => {
                Turns::Pair { prompt: prompt.clone(), input: None, response: response.clone() }
            }
            (None, None, None) => {
                let pair = PAIRS.iter().find(|(prompt, response)| has(prompt) && has(response));
                let pair = pair.map(|(prompt, response)| Turns::Pair {
                    prompt: (*prompt).to_owned(),
                    input: usual(&["input"]).filter(|_| *prompt == "instruction"),
                    response: (*response).to_owned(),
                });
                usual(&LISTS).map(Turns::List).or(pair).ok_or_else(|| ConversationError::UnknownShape {
                    place: row.place,
                    there: row.values.keys().cloned().collect(),
                })?
            }
            (Some(_), _, _) => {
                return Err(ConversationError::Columns {
                    problem: "either messages, or prompt and response",
                });
            }
            _ => return Err(ConversationError::Columns { problem: "prompt and response go together" }),
        };
        let pair = matches!(turns, Turns::Pair { .. });
        Ok(Self {
            turns,
            system: columns.system.clone().or_else(|| usual(&SYSTEMS).filter(|_| pair)),
            label: columns.label.clone().or_else(|| usual(&LABELS)),
            id: columns.id.clone().or_else(|| usual(&["id"])),
        })
    }

    /// The messages of a row.
    pub(super) fn messages(&self, row: &Row) -> Result<Vec<Message>, ConversationError> {
        let mut messages = Vec::new();
        if let Some(column) = &self.system
            && let Some(system) = optional(row, column)?
        {
            messages.push(Message::system(system));
        }
        match &self.turns {
            Turns::List(column) => messages.extend(turns(row, column)?),
            Turns::Pair { prompt, input, response } => {
                let mut question = text(row, prompt)?.to_owned();
                if let Some(column) = input
                    && let Some(input) = optional(row, column)?
                {
                    question = format!("{question}\n\n{input}");
                }
                messages.push(Message::user(question));
                messages.push(Message::assistant(text(row, response)?));
            }
        }
        Ok(messages)
    }

    /// The names of what a row is about, ascending.
    pub(super) fn labels(&self, row: &Row) -> Result<Vec<String>, ConversationError> {
        let Some(column) = &self.label else { return Ok(Vec::new()) };
        match row.values.get(column) {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::String(label)) => Ok(vec![label.clone()]),
            Some(Value::Number(label)) => Ok(vec![label.to_string()]),
            Some(Value::Object(names)) => {
                let mut labels = Vec::new();
                for (name, holds) in names {
                    match holds {
                        Value::Bool(true) => labels.push(name.clone()),
                        Value::Bool(false) | Value::Null => {}
                        other => {
                            let problem = format!("expected true or false, got {}", kind(other));
                            return Err(row.wrong(&format!("{column}.{name}"), problem));
                        }
                    }
                }
                labels.sort_unstable();
                Ok(labels)
            }
            Some(other) => {
                let problem =
                    format!("expected a text or a map of names to true or false, got {}", kind(other));
                Err(row.wrong(column, problem))
            }
        }
    }

    /// What the data set calls a row.
    pub(super) fn id(&self, row: &Row) -> Result<Option<String>, ConversationError> {
        let Some(column) = &self.id else { return Ok(None) };
        match row.values.get(column) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(id)) => Ok(Some(id.clone())),
            Some(Value::Number(id)) => Ok(Some(id.to_string())),
            Some(other) => {
                Err(row.wrong(column, format!("expected a text or a number, got {}", kind(other))))
            }
        }
    }
}

fn text<'r>(row: &'r Row, column: &str) -> Result<&'r str, ConversationError> {
    match row.values.get(column) {
        Some(Value::String(text)) => Ok(text),
        Some(other) => Err(row.wrong(column, format!("expected a text, got {}", kind(other)))),
        None => Err(row.wrong(column, "is missing")),
    }
}

/// A text that may be absent or blank.
fn optional<'r>(row: &'r Row, column: &str) -> Result<Option<&'r str>, ConversationError> {
    match row.values.get(column) {
        None | Some(Value::Null) => Ok(None),
        Some(_) => Ok(Some(text(row, column)?).filter(|text| !text.trim().is_empty())),
    }
}

fn turns(row: &Row, column: &str) -> Result<Vec<Message>, ConversationError> {
    let turns = match row.values.get(column) {
        Some(Value::Array(turns)) if !turns.is_empty() => turns,
        Some(Value::Array(_)) => return Err(row.wrong(column, "has no turns")),
        Some(other) => {
            return Err(row.wrong(column, format!("expected a list of turns, got {}", kind(other))));
        }
        None => return Err(row.wrong(column, "is missing")),
    };
    let messages = turns.iter().enumerate().map(|(at, turn)| message(row, &format!("{column}[{at}]"), turn));
    // A blank system prompt is how many data sets say that there is none.
    let said = |message: &Message| message.role != Role::System || !message.content.trim().is_empty();
    messages.filter(|message| message.as_ref().map_or(true, said)).collect()
}

fn message(row: &Row, at: &str, turn: &Value) -> Result<Message, ConversationError> {
    let field = |names: [&str; 2]| {
        let found = names.iter().find_map(|name| turn.get(name));
        let [usual, other] = names;
        match found {
            Some(Value::String(text)) => Ok(text.as_str()),
            Some(wrong) => {
                Err(row.wrong(&format!("{at}.{usual}"), format!("expected a text, got {}", kind(wrong))))
            }
            None => Err(row.wrong(at, format!("expected an object with {usual} or {other}"))),
        }
    };
    let name = field(["role", "from"])?;
    let role = match name {
        "system" => Role::System,
        "user" | "human" | "prompter" => Role::User,
        "assistant" | "gpt" | "model" | "bot" => Role::Assistant,
        _ => {
            let problem = format!("{name:?} is no role: expected system, user or assistant");
            return Err(row.wrong(&format!("{at}.role"), problem));
        }
    };
    Ok(Message { role, content: field(["content", "value"])?.to_owned() })
}
