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
    /// A prompt, what is added to it, and a response where there is one.
    Pair { prompt: String, input: Option<String>, response: Option<String> },
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
const PAIRS: [(&str, &str); 6] = [
    ("prompt", "response"),
    ("prompt", "completion"),
    ("instruction", "output"),
    ("instruction", "response"),
    ("question", "answer"),
    // AdvBench
    ("goal", "target"),
];
/// Prompts without answers: those of HarmBench and StrongREJECT, and the first of the pairs.
const PROMPTS: [&str; 6] = ["Behavior", "forbidden_prompt", "prompt", "question", "instruction", "goal"];
/// Stands before HarmBench's prompts.
const CONTEXT: &str = "ContextString";
const SYSTEMS: [&str; 2] = ["system", "system_prompt"];
const LABELS: [&str; 4] = ["category", "domain", "label", "SemanticCategory"];
const IDS: [&str; 2] = ["id", "BehaviorID"];

impl Shape {
    /// The shape of a data set, told by the columns of its first row and by those that are named.
    pub(super) fn of(row: &Row, columns: &Columns) -> Result<Self, ConversationError> {
        let has = |name: &str| row.values.contains_key(name);
        let usual = |names: &[&str]| names.iter().find(|name| has(name)).map(|name| (*name).to_owned());
        let turns = match (&columns.messages, &columns.prompt, &columns.response) {
            (Some(messages), None, None) => Turns::List(messages.clone()),
            (None, Some(prompt), response) => {
                Turns::Pair { prompt: prompt.clone(), input: None, response: response.clone() }
            }
            (None, None, None) => {
                let pair = PAIRS.iter().find(|(prompt, response)| has(prompt) && has(response));
                // Beside two answers a prompt is none alone.
                let alone = usual(&PROMPTS).filter(|_| !has("chosen") && !has("rejected"));
                let pair = pair
                    .map(|(prompt, response)| ((*prompt).to_owned(), Some((*response).to_owned())))
                    .or(alone.map(|prompt| (prompt, None)));
                let pair = pair.map(|(prompt, response)| Turns::Pair {
                    input: usual(&["input"]).filter(|_| prompt == "instruction"),
                    prompt,
                    response,
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
            (None, None, Some(_)) => {
                return Err(ConversationError::Columns { problem: "a response goes with a prompt" });
            }
        };
        let pair = matches!(turns, Turns::Pair { .. });
        Ok(Self {
            turns,
            system: columns.system.clone().or_else(|| usual(&SYSTEMS).filter(|_| pair)),
            label: columns.label.clone().or_else(|| usual(&LABELS)),
            id: columns.id.clone().or_else(|| usual(&IDS)),
        })
    }

    /// Whether a row has the columns of the conversation.
    pub(super) fn fits(&self, row: &Row) -> bool {
        let has = |name: &String| row.values.contains_key(name);
        match &self.turns {
            Turns::List(column) => has(column),
            Turns::Pair { prompt, response, .. } => has(prompt) && response.as_ref().is_none_or(has),
        }
    }

    /// Whether rows have answers.
    pub(super) fn is_answered(&self) -> bool {
        !matches!(self.turns, Turns::Pair { response: None, .. })
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
                if matches!(row.values.get(prompt), Some(Value::Array(_))) {
                    messages.extend(turns(row, prompt)?);
                } else {
                    let mut question = text(row, prompt)?;
                    if let Some(column) = input
                        && let Some(input) = optional(row, column)?
                    {
                        question = format!("{question}\n\n{input}");
                    }
                    if let Some(context) = optional(row, CONTEXT)?.filter(|_| prompt == PROMPTS[0]) {
                        question = format!("{context}\n\n---\n\n{question}");
                    }
                    messages.push(Message::user(question));
                }
                match response {
                    Some(column) if matches!(row.values.get(column), Some(Value::Array(_))) => {
                        messages.extend(turns(row, column)?);
                    }
                    Some(column) => messages.push(Message::assistant(text(row, column)?)),
                    None => {}
                }
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
            Some(Value::Array(names)) if names.iter().all(Value::is_string) => {
                let mut labels: Vec<String> =
                    names.iter().filter_map(Value::as_str).map(str::to_owned).collect();
                labels.sort_unstable();
                Ok(labels)
            }
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
                let problem = format!(
                    "expected a text, a list, or a map of names to true or false, got {}",
                    kind(other)
                );
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

/// A text; of null, which many tools write for none, an empty one.
fn text(row: &Row, column: &str) -> Result<String, ConversationError> {
    match row.values.get(column) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(Value::Number(number)) => Ok(number.to_string()),
        Some(Value::Null) => Ok(String::new()),
        Some(other) => Err(row.wrong(column, format!("expected a text, got {}", kind(other)))),
        None => Err(row.wrong(column, "is missing")),
    }
}

/// A text that may be absent or blank.
fn optional(row: &Row, column: &str) -> Result<Option<String>, ConversationError> {
    match row.values.get(column) {
        None | Some(Value::Null) => Ok(None),
        Some(_) => Ok(Some(text(row, column)?).filter(|text| !text.trim().is_empty())),
    }
}

fn turns(row: &Row, column: &str) -> Result<Vec<Message>, ConversationError> {
    let read;
    let turns = match row.values.get(column) {
        Some(Value::Array(turns)) => turns,
        Some(Value::String(text)) if text.trim_start().starts_with('[') => {
            read = serde_json::from_str::<Vec<Value>>(text)
                .map_err(|error| row.wrong(column, format!("a text that is no list of turns: {error}")))?;
            &read
        }
        Some(Value::String(text)) if text.trim_start().starts_with("Human:") => return Ok(dialogue(text)),
        Some(other) => {
            return Err(row.wrong(column, format!("expected a list of turns, got {}", kind(other))));
        }
        None => return Err(row.wrong(column, "is missing")),
    };
    if turns.is_empty() {
        return Err(row.wrong(column, "has no turns"));
    }
    let messages = turns.iter().enumerate().map(|(at, turn)| message(row, &format!("{column}[{at}]"), turn));
    // A blank system prompt is how many data sets say that there is none.
    let said = |message: &Message| message.role != Role::System || !message.content.trim().is_empty();
    messages.filter(|message| message.as_ref().map_or(true, said)).collect()
}

/// The turns of a text in the manner of HH-RLHF: `Human:` and `Assistant:` after empty lines.
fn dialogue(text: &str) -> Vec<Message> {
    let (human, assistant) = ("\n\nHuman:", "\n\nAssistant:");
    let text = format!("\n\n{}", text.trim_start());
    let mut messages = Vec::new();
    let mut rest = text.as_str();
    while let Some((role, after)) = (rest.strip_prefix(human).map(|after| (Role::User, after)))
        .or_else(|| rest.strip_prefix(assistant).map(|after| (Role::Assistant, after)))
    {
        let end = [human, assistant].iter().filter_map(|mark| after.find(mark)).min().unwrap_or(after.len());
        messages.push(Message { role, content: after[..end].trim().to_owned() });
        rest = &after[end..];
    }
    messages
}

fn message(row: &Row, at: &str, turn: &Value) -> Result<Message, ConversationError> {
    let field = |names: [&str; 2]| {
        let found = names.iter().find_map(|name| turn.get(name));
        let [usual, other] = names;
        match found {
            Some(Value::String(text)) => Ok(text.clone()),
            Some(Value::Array(parts)) if usual == "content" => part_texts(row, at, parts),
            Some(Value::Null) if usual == "content" => Ok(String::new()),
            Some(wrong) => {
                Err(row.wrong(&format!("{at}.{usual}"), format!("expected a text, got {}", kind(wrong))))
            }
            None => Err(row.wrong(at, format!("expected an object with {usual} or {other}"))),
        }
    };
    let name = field(["role", "from"])?;
    let role = match name.to_ascii_lowercase().as_str() {
        "system" => Role::System,
        "user" | "human" | "prompter" => Role::User,
        "assistant" | "gpt" | "model" | "bot" | "chatgpt" => Role::Assistant,
        _ => {
            let problem = format!("{name:?} is no role: expected system, user or assistant");
            return Err(row.wrong(&format!("{at}.role"), problem));
        }
    };
    Ok(Message { role, content: field(["content", "value"])? })
}

/// The texts of a message in parts, one after the other; other parts than texts are none.
fn part_texts(row: &Row, at: &str, parts: &[Value]) -> Result<String, ConversationError> {
    let texts = parts.iter().map(|part| match part {
        Value::String(text) => Ok(text.as_str()),
        part => part.get("text").and_then(Value::as_str).ok_or_else(|| {
            let kind = part.get("type").and_then(Value::as_str).unwrap_or("something else");
            row.wrong(&format!("{at}.content"), format!("a part is {kind}, and only texts are read"))
        }),
    });
    Ok(texts.collect::<Result<Vec<_>, _>>()?.concat())
}
