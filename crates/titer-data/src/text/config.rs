//! `tokenizer_config.json`: the special tokens and the chat templates that come with a model.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{GgufVocabulary, TextError};

/// The special tokens that templates name.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SpecialTokens {
    /// Begins a text.
    pub bos: Option<String>,
    /// Ends a text, and what the model stops at.
    pub eos: Option<String>,
    /// Stands for what the vocabulary lacks.
    pub unk: Option<String>,
    /// Fills batches.
    pub pad: Option<String>,
}

impl SpecialTokens {
    /// Under the names that templates use.
    pub(super) fn named(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let all = [
            ("bos_token", &self.bos),
            ("eos_token", &self.eos),
            ("unk_token", &self.unk),
            ("pad_token", &self.pad),
        ];
        all.into_iter().filter_map(|(name, token)| Some((name, token.as_deref()?)))
    }
}

impl From<&GgufVocabulary> for SpecialTokens {
    fn from(vocabulary: &GgufVocabulary) -> Self {
        let token = |id| vocabulary.token(id).map(str::to_owned);
        Self {
            bos: token(vocabulary.bos),
            eos: token(vocabulary.eos),
            unk: token(vocabulary.unk),
            pad: token(vocabulary.pad),
        }
    }
}

/// What titer reads of a `tokenizer_config.json`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TokenizerConfig {
    /// Special tokens.
    pub special: SpecialTokens,
    /// Chat templates by name, as listed; a single one is called `default`. Empty when the model has its
    /// template in `chat_template.jinja`, or none.
    pub templates: Vec<(String, String)>,
}

impl TokenizerConfig {
    /// Reads the bytes of a `tokenizer_config.json`; keys that titer does not use may hold anything.
    ///
    /// # Errors
    /// When it is no JSON object, or a key that titer uses has the wrong shape.
    pub fn from_json(json: &[u8]) -> Result<Self, TextError> {
        let value: Value =
            serde_json::from_slice(json).map_err(|error| wrong("the file", error.to_string()))?;
        let Value::Object(keys) = value else { return Err(wrong("the file", "it is no object")) };
        Self::from_keys(&keys)
    }

    pub(super) fn from_keys(keys: &Map<String, Value>) -> Result<Self, TextError> {
        let token = |key: &str| special_token(keys, key);
        let special = SpecialTokens {
            bos: token("bos_token")?,
            eos: token("eos_token")?,
            unk: token("unk_token")?,
            pad: token("pad_token")?,
        };
        Ok(Self { special, templates: templates(keys)? })
    }

    /// The template for conversations without tools: the one called `default`.
    pub fn template(&self) -> Option<&str> {
        let default = self.templates.iter().find(|(name, _)| name == "default");
        default.map(|(_, template)| template.as_str())
    }
}

fn wrong(key: &str, problem: impl Into<String>) -> TextError {
    TextError::Config { key: key.to_owned(), problem: problem.into() }
}

fn special_token(keys: &Map<String, Value>, key: &str) -> Result<Option<String>, TextError> {
    match keys.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(token)) => Ok(Some(token.clone())),
        Some(other) => match other.get("content") {
            Some(Value::String(token)) => Ok(Some(token.clone())),
            _ => Err(wrong(key, "expected a text, or an object with a text as its content")),
        },
    }
}

fn templates(keys: &Map<String, Value>) -> Result<Vec<(String, String)>, TextError> {
    const KEY: &str = "chat_template";
    match keys.get(KEY) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::String(template)) => Ok(vec![("default".to_owned(), template.clone())]),
        Some(Value::Array(named)) => {
            let one = |entry: &Value| {
                let text = |key| Some(entry.get(key)?.as_str()?.to_owned());
                text("name").zip(text("template"))
            };
            let all: Option<Vec<_>> = named.iter().map(one).collect();
            all.ok_or_else(|| wrong(KEY, "each entry of the list must have a text as name and as template"))
        }
        Some(_) => Err(wrong(KEY, "expected a text or a list of named templates")),
    }
}
