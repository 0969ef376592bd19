//! A world's words as tokens.

use std::collections::{BTreeMap, BTreeSet};

use super::Definition;
use crate::{Error, Result};

/// Words and their numbers.
#[derive(Debug, Clone)]
pub(super) struct Vocabulary {
    words: Vec<String>,
    numbers: BTreeMap<String, u32>,
}

impl Vocabulary {
    /// # Errors
    /// When two things have the same word, such as a domain and a numbered ingredient.
    pub(super) fn new(definition: &Definition) -> Result<Self> {
        let special = &definition.special;
        let mut words: Vec<String> =
            [&special.pad, &special.begin, &special.end, &special.user, &special.model]
                .map(String::clone)
                .into();
        let texts = definition.templates.iter().chain([&definition.answer, &definition.refusal]);
        let plain: BTreeSet<&str> =
            texts.flat_map(|text| text.split_whitespace()).filter(|word| !word.starts_with('{')).collect();
        words.extend(plain.into_iter().map(str::to_owned));
        words.extend(definition.forbidden.iter().chain(&definition.permitted).cloned());
        words.extend(definition.alias.iter().map(|alias| alias.word.clone()));
        let kinds = [&definition.ingredients.first, &definition.ingredients.second]
            .into_iter()
            .chain(&definition.results);
        for kind in kinds {
            words.extend((0..definition.ingredients.count).map(|number| format!("{kind}{number}")));
        }
        let mut numbers = BTreeMap::new();
        for (word, number) in words.iter().zip(0..) {
            if numbers.insert(word.clone(), number).is_some() {
                let problem = format!("{word:?} is a word of two things: give one of them another name");
                return Err(Error::Definition { of: "world", key: "words".to_owned(), problem });
            }
        }
        Ok(Self { words, numbers })
    }

    pub(super) fn len(&self) -> usize {
        self.words.len()
    }

    pub(super) fn number(&self, word: &str) -> Option<u32> {
        self.numbers.get(word).copied()
    }

    pub(super) fn word(&self, number: u32) -> &str {
        self.words.get(number as usize).map_or("<unknown>", String::as_str)
    }
}
