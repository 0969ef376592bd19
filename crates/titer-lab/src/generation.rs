//! `generation_config.json`: which tokens end an answer, and what else it asks that is not done here.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde_json::{Map, Value, json};

use crate::Result;

/// The file's name in a model's folder.
pub(crate) const GENERATION_CONFIG: &str = "generation_config.json";
const ENDS: &str = "eos_token_id";

/// Keys that change which token comes next, or when an answer ends, with the values that change nothing. They are not
/// applied here: answers are greedy, or drawn from the model's own probabilities.
const NOT_APPLIED: [(&str, &[f64]); 21] = [
    ("repetition_penalty", &[1.0]),
    ("encoder_repetition_penalty", &[1.0]),
    ("no_repeat_ngram_size", &[0.0]),
    ("encoder_no_repeat_ngram_size", &[0.0]),
    ("bad_words_ids", &[]),
    ("suppress_tokens", &[]),
    ("begin_suppress_tokens", &[]),
    ("sequence_bias", &[]),
    ("forced_bos_token_id", &[]),
    ("forced_eos_token_id", &[]),
    ("forced_decoder_ids", &[]),
    ("force_words_ids", &[]),
    ("constraints", &[]),
    ("min_length", &[0.0]),
    ("min_new_tokens", &[0.0]),
    ("exponential_decay_length_penalty", &[]),
    ("stop_strings", &[]),
    ("num_beams", &[1.0]),
    ("penalty_alpha", &[0.0]),
    ("guidance_scale", &[1.0]),
    ("watermarking_config", &[]),
];

/// What the file says.
#[derive(Debug, Default)]
pub(crate) struct GenerationConfig {
    keys: Map<String, Value>,
}

impl GenerationConfig {
    /// Of a model's folder; a GGUF file and a folder without one say nothing. What it asks that is not done is said.
    ///
    /// # Errors
    /// When the file cannot be read, is no JSON object, or names something else than tokens as ends.
    pub(crate) fn read(model: &Path) -> Result<Self> {
        let path = model.join(GENERATION_CONFIG);
        if !model.is_dir() || !path.exists() {
            return Ok(Self::default());
        }
        let text = fs::read(&path).map_err(|source| titer_model::Error::File {
            path: path.clone(),
            action: "read",
            source,
        })?;
        let wrong = |problem: String| titer_model::Error::Format { path: path.clone(), problem };
        let keys: Map<String, Value> =
            serde_json::from_slice(&text).map_err(|error| wrong(format!("no JSON object: {error}")))?;
        let config = Self { keys };
        if let Some(end) = config.listed().iter().find(|end| !(end.is_null() || end.is_i64() || end.is_u64()))
        {
            return Err(wrong(format!("{ENDS}: {end} is no id of a token")).into());
        }
        config.say(path);
        Ok(config)
    }

    /// The file of a model whose answers end at these tokens, and of which nothing else is known.
    ///
    /// # Errors
    /// None that a caller can cause.
    pub(crate) fn ending(ends: &[u32]) -> Result<Vec<u8>> {
        let mut config = Self::default();
        config.end_at(ends);
        Ok(serde_json::to_vec_pretty(config.keys())?)
    }

    /// The keys, as they are written.
    pub(crate) fn keys(&self) -> &Map<String, Value> {
        &self.keys
    }

    /// The tokens that end an answer.
    pub(crate) fn ends(&self) -> Vec<u32> {
        self.listed().iter().filter_map(|id| id.as_u64()?.try_into().ok()).collect()
    }

    /// Sets these tokens as the ends.
    pub(crate) fn end_at(&mut self, ends: &[u32]) {
        self.keys.insert(ENDS.to_owned(), if let [one] = ends { json!(one) } else { json!(ends) });
    }

    fn listed(&self) -> &[Value] {
        let of = self.keys.get(ENDS).unwrap_or(&Value::Null);
        of.as_array().map_or(std::slice::from_ref(of), Vec::as_slice)
    }

    fn say(&self, path: PathBuf) {
        let neutral = |value: &Value, numbers: &[f64]| match value {
            Value::Null | Value::Bool(false) => true,
            Value::Array(list) => list.is_empty(),
            Value::Object(list) => list.is_empty(),
            value => value.as_f64().is_some_and(|number| numbers.contains(&number)),
        };
        let asked: Vec<String> = NOT_APPLIED
            .iter()
            .filter_map(|(key, numbers)| Some((key, self.keys.get(*key)?, numbers)))
            .filter(|(_, value, numbers)| !neutral(value, numbers))
            .map(|(key, value, _)| format!("{key} = {value}"))
            .collect();
        if !asked.is_empty() {
            let path = path.display();
            warn_once(format!(
                "{path}: {} is not applied: answers here are greedy, or drawn at the model's own probabilities; remove \
                 the key to say that it is known",
                asked.join(", ")
            ));
        }
    }
}

/// Says something to who runs the program, once.
pub(crate) fn warn_once(message: String) {
    if is_new(message.clone()) {
        tracing::warn!("{message}");
    }
}

/// Whether this was not asked before, since the program began.
pub(crate) fn is_new(what: String) -> bool {
    static KNOWN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner).insert(what)
}
