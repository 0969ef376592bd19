//! Special tokens that stand beside a `tokenizer.json`, put into it as Transformers 5 does.
//!
//! The rules are those of `PreTrainedTokenizerBase._from_pretrained` and of `TokenizersBackend.__init__`:
//! `added_tokens_decoder` of `tokenizer_config.json`, or where that key is absent the older files
//! `special_tokens_map.json` and `added_tokens.json`; then the named special tokens; then the list of further ones.

use serde_json::{Map, Value};
use tokenizers::AddedToken;

use super::{TextError, Tokenizer, TokenizerConfig};

/// The files of a folder that make a tokenizer, as bytes.
#[derive(Debug, Clone, Copy, Default)]
pub struct TokenizerFiles<'a> {
    /// `tokenizer.json`.
    pub tokenizer: &'a [u8],
    /// `tokenizer_config.json`.
    pub config: Option<&'a [u8]>,
    /// `special_tokens_map.json`, of older versions of Transformers.
    pub special_tokens_map: Option<&'a [u8]>,
    /// `added_tokens.json`, of older versions of Transformers.
    pub added_tokens: Option<&'a [u8]>,
}

/// The special tokens that have names of their own in Transformers.
const NAMED: [&str; 7] =
    ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];
const CONFIG: &str = "tokenizer_config.json";
const MAP: &str = "special_tokens_map.json";
const ADDED: &str = "added_tokens.json";
const DECODER: &str = "added_tokens_decoder";
const EXTRA: &str = "extra_special_tokens";
const ADDITIONAL: &str = "additional_special_tokens";

impl TokenizerFiles<'_> {
    /// The tokenizer that Transformers makes of the files, and what they say of templates and special tokens.
    ///
    /// # Errors
    /// Names the file and key that has the wrong shape.
    pub fn read(&self) -> Result<(Tokenizer, TokenizerConfig), TextError> {
        let mut tokenizer = Tokenizer::from_json(self.tokenizer)?;
        let mut keys = object(CONFIG, self.config)?;
        let mut known = Vec::new();
        let tokens = match keys.get(DECODER) {
            Some(decoder) => decoded(decoder)?,
            None => {
                for (key, value) in object(MAP, self.special_tokens_map)? {
                    keys.insert(key, value);
                }
                known = tokenizer.added();
                self.older(&keys)?
            }
        };
        // A named token that is described elsewhere too is what is said there.
        known.extend(tokens.iter().cloned());
        let mut special = named(&keys)?;
        for token in &mut special {
            let described = known.iter().rev().find(|known| known.content == token.content);
            if let Some(described) = described.filter(|_| is_named(&keys, &token.content)) {
                *token = AddedToken { special: true, ..described.clone() };
            }
        }
        tokenizer.add(tokens, special)?;
        if keys.contains_key("add_bos_token") || keys.contains_key("add_eos_token") {
            let text =
                |key: &str| token(key, keys.get(key), true).map(|token| token.map(|token| token.content));
            let wanted = |key: &str| keys.get(key) == Some(&Value::Bool(true));
            let (before, after) = (text("bos_token")?, text("eos_token")?);
            tokenizer.surround(
                before.as_deref().filter(|_| wanted("add_bos_token")),
                after.as_deref().filter(|_| wanted("add_eos_token")),
            )?;
        }
        if keys.get("split_special_tokens") == Some(&Value::Bool(true)) {
            tokenizer.split_special();
        }
        Ok((tokenizer, TokenizerConfig::from_keys(&keys)?))
    }

    /// The tokens of `added_tokens.json`, in order of their ids.
    fn older(&self, keys: &Map<String, Value>) -> Result<Vec<AddedToken>, TextError> {
        let special: Vec<String> = named(keys)?.into_iter().map(|token| token.content).collect();
        let mut tokens = Vec::new();
        for (content, id) in object(ADDED, self.added_tokens)? {
            let Some(id) = id.as_u64() else { return Err(wrong(ADDED, &content, "expected the token's id")) };
            let special = special.contains(&content);
            tokens.push((id, AddedToken::from(content, special).normalized(!special)));
        }
        tokens.sort_by_key(|(id, _)| *id);
        Ok(tokens.into_iter().map(|(_, token)| token).collect())
    }
}

/// Whether a token has one of the names that Transformers knows.
fn is_named(keys: &Map<String, Value>, content: &str) -> bool {
    let of = |value: &Value| value.as_str().or_else(|| value.get("content")?.as_str()) == Some(content);
    NAMED.iter().any(|key| keys.get(*key).is_some_and(of))
}

/// The named special tokens, those that a model's makers named themselves, and the list of further ones.
fn named(keys: &Map<String, Value>) -> Result<Vec<AddedToken>, TextError> {
    let mut tokens = Vec::new();
    for key in NAMED {
        tokens.extend(token(key, keys.get(key), true)?);
    }
    for (key, value) in
        keys.iter().filter(|(key, _)| key.ends_with("_token") && !NAMED.contains(&key.as_str()))
    {
        if value.is_string() {
            tokens.extend(token(key, Some(value), true)?);
        }
    }
    let is_empty = |value: &Value| match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(list) => list.is_empty(),
        _ => false,
    };
    let key = if keys.get(EXTRA).is_none_or(is_empty) { ADDITIONAL } else { EXTRA };
    match keys.get(key) {
        None | Some(Value::Null) => {}
        Some(Value::Array(list)) => {
            for entry in list {
                tokens.extend(token(key, Some(entry), true)?);
            }
        }
        Some(Value::Object(list)) => {
            for entry in list.values() {
                tokens.extend(token(key, Some(entry), true)?);
            }
        }
        Some(_) => return Err(wrong(CONFIG, key, "expected a list of tokens, or tokens by name")),
    }
    Ok(tokens)
}

/// The tokens of `added_tokens_decoder`, in order of their ids.
fn decoded(decoder: &Value) -> Result<Vec<AddedToken>, TextError> {
    let Value::Object(entries) = decoder else {
        return Err(wrong(CONFIG, DECODER, "expected tokens by their ids"));
    };
    let mut tokens = Vec::new();
    for (id, entry) in entries {
        let Ok(id) = id.parse::<u32>() else {
            return Err(wrong(CONFIG, DECODER, format!("{id:?} is no id of a token")));
        };
        let special = entry.get("special").and_then(Value::as_bool).unwrap_or(false);
        tokens.extend(token(DECODER, Some(entry), special)?.map(|token| (id, token)));
    }
    tokens.sort_by_key(|(id, _)| *id);
    Ok(tokens.into_iter().map(|(_, token)| token).collect())
}

/// A token, from its text or from an object with its text as content.
fn token(key: &str, value: Option<&Value>, special: bool) -> Result<Option<AddedToken>, TextError> {
    let (content, keys) = match value {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(content)) => (content, None),
        Some(value) => match value.get("content") {
            Some(Value::String(content)) => (content, Some(value)),
            _ => return Err(wrong(CONFIG, key, "expected a text, or an object with a text as its content")),
        },
    };
    let flag = |name: &str, absent| keys.and_then(|keys| keys.get(name)?.as_bool()).unwrap_or(absent);
    let token = AddedToken::from(content.clone(), special)
        .normalized(flag("normalized", !special))
        .lstrip(flag("lstrip", false))
        .rstrip(flag("rstrip", false))
        .single_word(flag("single_word", false));
    Ok(Some(token).filter(|token| !token.content.is_empty()))
}

fn object(file: &str, json: Option<&[u8]>) -> Result<Map<String, Value>, TextError> {
    let Some(json) = json else { return Ok(Map::new()) };
    match serde_json::from_slice(json) {
        Ok(Value::Object(keys)) => Ok(keys),
        Ok(_) => Err(wrong(file, "the file", "it is no object")),
        Err(error) => Err(wrong(file, "the file", error.to_string())),
    }
}

fn wrong(file: &str, key: &str, problem: impl Into<String>) -> TextError {
    TextError::Beside { file: file.to_owned(), key: key.to_owned(), problem: problem.into() }
}
