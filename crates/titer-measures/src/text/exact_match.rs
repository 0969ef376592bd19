//! Exact match, as lm-evaluation-harness 0.4 computes it (`exact_match`, from Hugging Face's `evaluate`).

use std::borrow::Cow;

use regex::Regex;
use serde::{Deserialize, Deserializer};

/// What makes no difference between a response and a reference.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExactMatch {
    /// Matches are removed first, one expression after the other. Python's `$` also matches before a final
    /// line break: here that is `\n?$`.
    pub regexes_to_ignore: Vec<Expression>,
    /// Case.
    pub ignore_case: bool,
    /// ASCII punctuation.
    pub ignore_punctuation: bool,
    /// ASCII digits.
    pub ignore_numbers: bool,
    /// White space at both ends, which the harness keeps: its tasks strip the response themselves.
    pub ignore_ends: bool,
}

/// A regular expression, read from its text.
#[derive(Debug, Clone)]
pub struct Expression(pub Regex);

impl<'de> Deserialize<'de> for Expression {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Regex::new(&text).map(Self).map_err(serde::de::Error::custom)
    }
}

impl ExactMatch {
    /// Whether nothing but what is ignored differs.
    pub fn matches(&self, reference: &str, response: &str) -> bool {
        self.plain(reference) == self.plain(response)
    }

    fn plain(&self, text: &str) -> String {
        let mut text = Cow::Borrowed(text);
        for Expression(regex) in &self.regexes_to_ignore {
            text = Cow::Owned(regex.replace_all(&text, "").into_owned());
        }
        let mut text = if self.ignore_case { text.to_lowercase() } else { text.into_owned() };
        if self.ignore_punctuation {
            text.retain(|c| !c.is_ascii_punctuation());
        }
        if self.ignore_numbers {
            text.retain(|c| !c.is_ascii_digit());
        }
        if self.ignore_ends { text.trim().to_owned() } else { text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ignored_and_what_is_not() {
        let plain = ExactMatch::default();
        assert!(plain.matches("Paris", "Paris"));
        assert!(!plain.matches("Paris", "paris"));
        assert!(!plain.matches("Paris", "Paris "));
        let ends = ExactMatch { ignore_ends: true, ..ExactMatch::default() };
        assert!(ends.matches("Paris", "\nParis "));
        let case = ExactMatch { ignore_case: true, ..ExactMatch::default() };
        assert!(case.matches("STRASSE Ä", "strasse ä"));
        let punctuation = ExactMatch { ignore_punctuation: true, ..ExactMatch::default() };
        assert!(punctuation.matches("it's 1,000.", "its 1000"));
        assert!(!punctuation.matches("wait…", "wait"));
        let numbers = ExactMatch { ignore_numbers: true, ..ExactMatch::default() };
        assert!(numbers.matches("a1b2", "ab"));
    }

    #[test]
    fn the_harness_regexes_for_gsm8k() {
        let regexes =
            [",", r"\$", "(?s).*#### ", r"\.\n?$"].map(|regex| Expression(Regex::new(regex).unwrap()));
        let gsm8k =
            ExactMatch { regexes_to_ignore: regexes.to_vec(), ignore_case: true, ..ExactMatch::default() };
        assert!(gsm8k.matches("2 + 2 = 4\nSo #### 1,234", "$1234."));
        assert!(!gsm8k.matches("#### 1,234", "1235"));
    }
}
