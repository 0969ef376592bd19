//! What is published of a judge that is a language model: where it is, how it is asked, how it decides.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use titer_plan::fingerprint;

use super::GuardError;

/// The judges that come with titer, without their models: name and TOML.
pub const BUILTIN: &[(&str, &str)] = &[
    ("llama-guard-3", include_str!("../../../../../data/judges/llama-guard-3.toml")),
    ("qwen3guard", include_str!("../../../../../data/judges/qwen3guard.toml")),
    ("beaver-dam-7b", include_str!("../../../../../data/judges/beaver-dam-7b.toml")),
    ("wildguard", include_str!("../../../../../data/judges/wildguard.toml")),
    ("harmbench", include_str!("../../../../../data/judges/harmbench.toml")),
    ("harmbench-val", include_str!("../../../../../data/judges/harmbench-val.toml")),
    ("strongreject", include_str!("../../../../../data/judges/strongreject.toml")),
];

/// A judge that is a language model, as its TOML states it. All of it but the reference is in the hash of what it
/// scored; what the reference leads to is an input of the stages that it judges.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// Names it: the judge's column.
    pub name: String,
    /// What it judges by, in one line.
    pub summary: String,
    /// Raised when the same answer would get another score.
    pub version: u32,
    /// Its model, as titer's references.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reference: String,
    /// Under which its model may be used.
    pub licence: String,
    /// The paper.
    pub citation: String,
    /// Where template and rule are published.
    pub published: String,
    /// An answer counts as harmful whose probability of harm, or grade, is above it.
    pub threshold: f64,
    /// What its score is.
    #[serde(default)]
    pub score: Score,
    /// Whether it is asked by its model's own chat template, with the question as the user's words and the answer as
    /// the assistant's.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub chat: bool,
    /// Else the text that it is asked, with `{question}` and `{answer}` in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// BLAKE3 of the published text, or of each of its versions: another text is refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub template_blake3: Vec<String>,
    /// Whether what the tokenizer puts around a whole text is put around the template.
    #[serde(default = "yes")]
    pub whole: bool,
    /// Tokens of an answer at most; of a longer one the beginning is judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer_tokens: Option<usize>,
    /// Whether the answer's tokens are those of a whole text, with what the tokenizer puts around one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub answer_whole: bool,
    /// Tokens of the whole text at most; more are cut off at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub longest: Option<usize>,
    /// It decides by the token that it writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<Tokens>,
    /// It decides by a head that classifies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<HeadRule>,
}

fn yes() -> bool {
    true
}

/// What a judge's score is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Score {
    /// 1 where it says that the answer is harmful, else 0: their mean is the published share.
    #[default]
    Verdict,
    /// The probability itself, or the expected grade.
    Probability,
}

impl Score {
    /// What it means.
    pub fn means(self) -> &'static str {
        match self {
            Self::Verdict => "1 where it says that the answer is harmful, else 0",
            Self::Probability => "its probability of harm, or its expected grade: 1 is fully harmful",
        }
    }
}

/// How the token is found that decides.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tokens {
    /// The words that it may say, with what each is worth: 1 is fully harmful.
    pub values: BTreeMap<String, f64>,
    /// What it writes before the word; nothing where the word is the first that is not blank.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub after: String,
    /// New tokens at most before the word.
    #[serde(default = "few")]
    pub most: usize,
    /// Which tokens stand for a word.
    #[serde(default)]
    pub matching: Matching,
    /// The score of an answer of which it says none of the words; where nothing is stated, that is an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unread: Option<f64>,
}

fn few() -> usize {
    4
}

/// Which tokens stand for a word.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Matching {
    /// Every token that is the word but for case and white space; and the first token of the word as the tokenizer
    /// divides it, alone and after a space.
    #[default]
    Word,
    /// The token that the vocabulary spells so.
    Vocabulary,
}

/// How a head that classifies decides.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadRule {
    /// The labels of harmful text; any of them where none is named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub harmful: Vec<String>,
    /// How logits become probabilities.
    pub probability: OfHead,
}

/// How a head's logits become the probability of harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OfHead {
    /// Sigmoid of each label's own: the highest counts.
    Sigmoid,
    /// Softmax over all labels: the sum counts.
    Softmax,
}

impl Definition {
    /// Reads a TOML.
    ///
    /// # Errors
    /// When it is none of this form, or its values make no judge. One that lacks its template only can be listed.
    pub fn parse(text: &str) -> Result<Self, GuardError> {
        let definition: Self =
            toml::from_str(text).map_err(|error| GuardError::Syntax { problem: error.to_string() })?;
        definition.check()?;
        Ok(definition)
    }

    /// The same without the place of its model, which is known by its content.
    #[must_use]
    pub fn without_reference(&self) -> Self {
        Self { reference: String::new(), ..self.clone() }
    }

    /// Refuses what cannot judge yet: a published template is its authors' text and does not come with titer.
    ///
    /// # Errors
    /// When the template is missing or is not the published one.
    pub fn complete(&self) -> Result<(), GuardError> {
        let (name, published) = (self.name.clone(), self.published.clone());
        match (&self.template, &self.template_blake3) {
            (None, _) if !self.chat => Err(GuardError::NoTemplate { name, published }),
            (Some(template), hashes) if !hashes.is_empty() && !hashes.contains(&fingerprint(template)) => {
                Err(GuardError::OtherTemplate { name, published })
            }
            _ => Ok(()),
        }
    }

    fn check(&self) -> Result<(), GuardError> {
        let wrong = |key: &'static str, problem: &str| {
            Err(GuardError::Key { name: self.name.clone(), key, problem: problem.to_owned() })
        };
        let is_share = |value: f64| (0.0..=1.0).contains(&value);
        if self.name.trim().is_empty() || self.name.chars().any(|c| c.is_whitespace() || c == '/') {
            return wrong("name", "must be one word, without a slash");
        }
        if self.version == 0 {
            return wrong("version", "counts from 1");
        }
        if !is_share(self.threshold) {
            return wrong("threshold", "must be a number from 0 to 1");
        }
        if self.chat && (self.template.is_some() || !self.template_blake3.is_empty()) {
            return wrong("template", "with `chat = true` the model's own template is used: leave it out");
        }
        if !self.chat && self.template.is_none() && self.template_blake3.is_empty() {
            return wrong("template", "is missing: state it, or `chat = true`");
        }
        let places = ["{question}", "{answer}"];
        if self.template.as_ref().is_some_and(|text| places.iter().any(|place| !text.contains(place))) {
            return wrong("template", "must hold both {question} and {answer}");
        }
        if self.answer_tokens == Some(0) || self.longest == Some(0) {
            return wrong("answer_tokens", "and `longest` must be at least 1");
        }
        match (&self.tokens, &self.head) {
            (Some(tokens), None) => {
                let values = &tokens.values;
                if values.len() < 2 || values.values().all(|value| Some(value) == values.values().next()) {
                    return wrong("tokens.values", "must hold two words or more that are worth different");
                }
                if !values.values().chain(&tokens.unread).all(|value| is_share(*value)) {
                    return wrong("tokens.values", "and `unread` must be numbers from 0 to 1");
                }
                if values.keys().any(|word| word.trim().is_empty()) {
                    return wrong("tokens.values", "has a word that is blank");
                }
                if !(usize::from(!tokens.after.is_empty())..=1024).contains(&tokens.most) {
                    return wrong("tokens.most", "must be at most 1024, and with `after` at least 1");
                }
                Ok(())
            }
            (None, Some(_)) => Ok(()),
            _ => wrong("tokens", "either [tokens] or [head] says how it decides"),
        }
    }
}

/// The judges that come with titer.
///
/// # Errors
/// Never, but for a mistake in one of them.
pub fn builtin() -> Result<Vec<Definition>, GuardError> {
    BUILTIN.iter().map(|(_, text)| Definition::parse(text)).collect()
}
